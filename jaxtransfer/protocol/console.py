"""What a ladder prints: progress while it runs, and its table at the end.

On a terminal the progress is one bar for the whole ladder; otherwise each finished cell is a plain line.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO


class LadderProgress:
    """Counts finished cells (one run of one rung with one learning rate and seed)."""

    def __init__(self, total: int, stream: TextIO | None = None):
        self._stream = stream or sys.stderr
        self._total = total
        self._done = 0
        self._bar = None
        if self._stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="run", file=self._stream, dynamic_ncols=True)

    def start(self, text: str) -> None:
        """Says what runs now; shown on a terminal alone."""
        if self._bar is not None:
            self._bar.set_description(text)

    def finish(self, text: str) -> None:
        """Counts one finished cell and says how it ended."""
        self._done += 1
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
            self._bar.update()
        else:
            print(f"[{self._done}/{self._total}] {text}", file=self._stream, flush=True)

    def say(self, text: str) -> None:
        """Prints a line that counts nothing."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()


def table(record: Mapping[str, Any]) -> str:
    """The ladder of a record as text: a row a rung, its reason on the last column."""
    metric = record["task"]["metric"]
    header = [
        "rung",
        "trainable",
        f"val {metric}",
        f"test {metric}",
        "difference",
        "seconds",
        "decision",
        "reason",
    ]
    rows = [header]
    for rung in record["rungs"]:
        difference = rung["difference"]
        rows.append(
            [
                ("* " if rung["name"] == record["chosen"] else "  ") + rung["name"],
                f"{rung['trainable']:,}",
                interval(rung["metrics"]["accept"][metric]),
                interval(rung["metrics"]["test"][metric]),
                "" if difference is None else signed_interval(difference),
                f"{rung['cost']['seconds']:.1f}",
                rung["decision"],
                rung["reason"],
            ]
        )
    return align(rows)


def interval(measured: Mapping[str, Any]) -> str:
    """A value and its interval, or why there is none."""
    if measured["value"] is None:
        return "undefined"
    if measured["ci"] is None:
        return f"{measured['value']:.3f}"
    return f"{measured['value']:.3f} [{measured['ci'][0]:.3f}, {measured['ci'][1]:.3f}]"


def signed_interval(difference: Mapping[str, Any]) -> str:
    """A difference and its interval, with signs; `undefined` where there is none."""
    if difference["value"] is None:
        return "undefined"
    if difference["ci"] is None:
        return f"{difference['value']:+.3f}"
    low, high = difference["ci"]
    return f"{difference['value']:+.3f} [{low:+.3f}, {high:+.3f}]"


def align(rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart; the last one is not padded.

    >>> print(align([["a", "b"], ["long", "c"]]))
    a     b
    long  c
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines)
