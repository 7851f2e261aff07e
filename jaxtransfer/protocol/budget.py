"""What a ladder has spent, over all the processes that worked on it, and whether anything is left."""

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated

from jaxtransfer import json_text
from jaxtransfer.checking import Interval, check_document
from jaxtransfer.errors import ConfigError, WorkdirError
from jaxtransfer.protocol import cell_facts
from jaxtransfer.protocol.acceptance import BudgetSettings
from jaxtransfer.protocol.workdir import write_json

FILE = "spent.json"
BETWEEN = 1.0
"""Seconds between two notes of the time spent while a cell runs: what a kill can lose."""


class BudgetSpent(Exception):
    """Nothing new may run; the message says which limit is reached."""


class Ledger:
    """Seconds and operations spent in cells.

    Seconds are noted while a cell runs, so that those before a kill count when it is resumed; operations
    are those of finished cells, since what a killed one did is done again.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        budget: BudgetSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._path = workdir / FILE
        self._budget = budget
        self._clock = clock
        self._began: float | None = None
        self._noted = 0.0
        finished = [
            cell_facts.read(path.parent) for path in (workdir / "cells").glob("*/*/cell.json")
        ]
        self._before = max(self._read(), sum(cell["wall_seconds"] for cell in finished))
        self.flops = sum(cell["cost"]["flops"] for cell in finished)

    @property
    def seconds(self) -> float:
        """Spent in cells up to now."""
        running = 0.0 if self._began is None else self._clock() - self._began
        return self._before + running

    def check(self) -> None:
        """Finds whether anything new may run.

        Raises:
          BudgetSpent: naming what is spent.
        """
        limit = self._budget
        if limit.seconds is not None and self.seconds >= limit.seconds:
            raise BudgetSpent(
                f"the budget of {limit.seconds:g} seconds is spent ({self.seconds:.1f})"
            )
        if limit.flops is not None and self.flops >= limit.flops:
            raise BudgetSpent(f"the budget of {limit.flops:g} FLOPs is spent ({self.flops:.3g})")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Counts the time of the block, also where it fails."""
        self._began = self._clock()
        self._note()
        try:
            yield
        finally:
            self._before, self._began = self.seconds, None
            self._note()

    def add(self, cell: Mapping) -> None:
        """Counts the operations of a cell that has just finished."""
        self.flops += cell["cost"]["flops"]

    def progress(self, step: int, steps: int, metrics: Mapping[str, float]) -> None:
        """Notes the time spent now and then; given to what trains as its `Progress`."""
        if self._clock() - self._noted >= BETWEEN:
            self._note()

    def _note(self) -> None:
        self._noted = self._clock()
        write_json(self._path, {"seconds": self.seconds})

    def _read(self) -> float:
        if not self._path.is_file():
            return 0.0
        try:
            facts = json_text.loads(self._path.read_text(encoding="utf-8"))
            check_document(facts, {"seconds": Annotated[float, Interval(0)]})
        except (ValueError, ConfigError) as error:
            raise WorkdirError(
                f"{self._path} is damaged: {error}; remove it, and the finished runs alone count"
            ) from None
        return float(facts["seconds"])
