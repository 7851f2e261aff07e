"""An append-only file of finished trials: a header that says whose they are, then a line each.

A line stands whole or counts for nothing, so that a sweep killed at any moment goes on from its last
finished trial; processes take turns by a lock of the kernel's.
"""

import dataclasses
import fcntl
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.checking import check
from jaxtransfer.errors import ConfigError, WorkdirError
from jaxtransfer.evaluation.definition import Definition
from jaxtransfer.protocol.sections import Count, CountOrNone, Weight
from jaxtransfer.train.checkpoint import writing
from jaxtransfer.version import __version__

FILE = "trials.jsonl"
FORMAT = 1
KIND = "jaxtransfer sweep"
SLACK = 1e-9
"""How far rounding may take a value out of its metric's bounds."""
ROW = {
    "trial": CountOrNone,
    "parameters": Mapping[str, Any],
    "steps": Count,
    "value": float | None,
    "diverged": str,
    "seconds": Weight,
}
"""What every line of a trial holds; `value` is None where training diverged or the metric is undefined."""
OUTCOME = ("parameters", "value", "diverged")
_NAMES = {"trials": "number of trials"}
"""Names of a header's facts where their key alone would mislead."""
AGAIN = "remove the line to run its trial again"

Asked = Mapping[tuple[int, int], Mapping[str, Any]]
"""Number of a trial and the step it is trained to, to its parameters."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Journal:
    """Finished trials of one sweep.

    Attributes:
      path: of the file.
    """

    path: pathlib.Path

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds finished trials; they are on disk when it returns.

        Raises:
          WorkdirError: if the disk is full.
        """
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        with writing(self.path), self.path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # What a killed process left of a line goes.
            file.seek(_whole(file.read()))
            file.truncate()
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    def rows(self) -> list[dict[str, Any]]:
        """Finished trials in the order of their ends, each once.

        Raises:
          WorkdirError: if a line is damaged, lacks a key or has a value of another kind, or if two lines
            differ in how one trial ended, naming them.
        """
        return list(self._numbered().values())

    def check(self, asked: Asked, source: str, metric: Definition) -> None:
        """Compares every line with what the sweep runs.

        Args:
          asked: what the sweep runs.
          source: who asks for it, in words.
          metric: of the values.

        Raises:
          WorkdirError: if a line is of another trial, of other parameters, or its value is out of the
            metric's bounds, naming it.
        """
        low, high = metric.bounds
        for number, row in self._numbered().items():
            place = f"{self.path}, line {number}"
            key = row["trial"], row["steps"]
            if key not in asked:
                raise WorkdirError(
                    f"{place}, is of trial {key[0]} after {key[1]} steps, which {source} has not:"
                    " remove the line"
                )
            # As the line's own: a tuple is a list in JSON.
            parameters = json.loads(json.dumps(asked[key]))
            if row["parameters"] != parameters:
                raise WorkdirError(
                    f"{place}, has trial {key[0]} with {row['parameters']}, but {source} gives it"
                    f" {parameters}; {AGAIN}"
                )
            if row["value"] is not None and not low - SLACK <= row["value"] <= high + SLACK:
                raise WorkdirError(
                    f"{place}, has the value {row['value']:g}, but {metric.name} is from {low:g} to"
                    f" {high:g}; {AGAIN}"
                )

    def _numbered(self) -> dict[int, dict[str, Any]]:
        """Number of its line to each finished trial."""
        found: dict[int, dict[str, Any]] = {}
        first: dict[tuple[int, int], int] = {}
        lines = self.path.read_bytes()
        for number, line in enumerate(lines[: _whole(lines)].splitlines()[1:], start=2):
            row = _row(self.path, number, line)
            # A process that outlived its killed sweep may have written what another has run again.
            earlier = first.setdefault((row["trial"], row["steps"]), number)
            if earlier == number:
                found[number] = row
            elif any(found[earlier][name] != row[name] for name in OUTCOME):
                raise WorkdirError(
                    f"{self.path}, lines {earlier} and {number}, differ about trial {row['trial']}"
                    f" after {row['steps']} steps; remove both to run it again"
                )
        return found


def is_begun(workdir: pathlib.Path) -> bool:
    """Whether a journal stands there with its header; one that a kill cut short in it is begun anew."""
    path = workdir / FILE
    return path.is_file() and bool(_whole(path.read_bytes()))


def open_journal(workdir: pathlib.Path, facts: Mapping[str, Any]) -> Journal:
    """The journal of a work directory, begun if it is not there.

    Args:
      workdir: the sweep's.
      facts: what the trials depend on, by name: space, sampler, seeds, config and data.

    Raises:
      WorkdirError: if the journal is another version's or of other facts, naming the first that
        differs, or is damaged.
    """
    path = workdir / FILE
    header = {"journal": KIND, "format": FORMAT, "version": __version__, **facts}
    content = path.read_bytes() if path.is_file() else b""
    if not _whole(content):
        with writing(path):
            path.write_text(json.dumps(header) + "\n")
        return Journal(path=path)
    found = _parsed(path, 1, content.splitlines()[0])
    if found.get("journal") != KIND:
        raise WorkdirError(f"{path} is no journal of a sweep: choose another --workdir")
    for name in ("format", "version"):
        if found.get(name) != header[name]:
            raise WorkdirError(
                f"{path} was written by another version of jaxtransfer ({name}"
                f" {found.get(name)!r}, now {header[name]!r}): its trials are not comparable; choose"
                " another --workdir"
            )
    for name, value in json.loads(json.dumps(header)).items():
        if found.get(name) != value:
            raise WorkdirError(
                f"{path} belongs to a sweep with another {_NAMES.get(name, name.replace('_', ' '))}"
                f" ({_short(found.get(name))}, now {_short(value)}): choose another --workdir"
            )
    return Journal(path=path)


def _whole(content: bytes) -> int:
    """Length of the lines that end."""
    return content.rfind(b"\n") + 1


def _row(path: pathlib.Path, number: int, line: bytes) -> dict[str, Any]:
    row = _parsed(path, number, line)
    place = f"{path}, line {number}"
    missing = sorted(set(ROW) - set(row))
    if missing:
        raise WorkdirError(f"{place}, lacks {missing}; {AGAIN}")
    try:
        for name, kind in ROW.items():
            check(name, row[name], kind)
    except ConfigError as error:
        raise WorkdirError(f"{place}: {error}; {AGAIN}") from error
    if row["diverged"] and row["value"] is not None:
        raise WorkdirError(f"{place}, has a value of a trial that diverged; {AGAIN}")
    return row


def _parsed(path: pathlib.Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError("it is no mapping")
    except ValueError as error:
        what = "choose another --workdir" if number == 1 else "remove it to run its trial again"
        raise WorkdirError(f"{path}, line {number}, is damaged ({error}); {what}") from error
    return row


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."
