"""What the studies share: what a cell took, and all comparisons of a study as one family."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.evaluation.correction import correct


class Clock:
    """Started before a cell runs, and read after it."""

    def __init__(self) -> None:
        self.load = os.getloadavg()[0]
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, Any]:
        """Wall and processor seconds (all threads) since the start, and the load average at start and end."""
        return {
            "seconds": time.perf_counter() - self.wall,
            "processor_seconds": time.process_time() - self.processor,
            "load": [self.load, os.getloadavg()[0]],
        }


def total(times: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """The sum of several times and the range of their loads; None where one of them is not known."""
    known = [one for one in times if one is not None]
    if not known or len(known) < len(times):
        return None
    loads = [load for one in known for load in one["load"]]
    return {
        "seconds": sum(one["seconds"] for one in known),
        "processor_seconds": sum(one["processor_seconds"] for one in known),
        "load": [min(loads), max(loads)],
    }


def took(times: Sequence[Mapping[str, Any] | None]) -> str | None:
    """A sentence on what the cells took together, or None where it is not known of all of them."""
    found = total(times)
    if found is None:
        return None
    low, high = found["load"]
    return (
        f"The cells took {found['seconds'] / 60:.0f} min of wall time and"
        f" {found['processor_seconds'] / 60:.0f} min of processor time, at load averages of"
        f" {low:.1f} to {high:.1f}."
    )


def one_family(families: Sequence[Sequence[Mapping[str, Any]]]) -> list[list[float]]:
    """P-values of several families, each adjusted by Holm, adjusted as one family instead.

    A raw p-value is read off its adjusted one. Where Holm has raised that to another's, so that two are equal, what
    is read is an upper bound, and no result is too small.
    """
    raw = {}
    for place, family in enumerate(families):
        values = [one["p_adjusted"] for one in family]
        for row, p in enumerate(values):
            # Holm's factor is at least the number of those that are not before it.
            factor = 1 + sum(other > p for other in values)
            raw[f"{place} {row}"] = p / factor if p < 1 else 1.0
    adjusted = correct(raw).adjusted
    return [
        [adjusted[f"{place} {row}"] for row in range(len(family))]
        for place, family in enumerate(families)
    ]
