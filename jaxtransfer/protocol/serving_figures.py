"""What it costs to serve one example by a rung: measured once before it trains, since weights do not change it."""

import dataclasses
import json
import math
import pathlib
from typing import Any

from jaxtransfer.errors import WorkdirError
from jaxtransfer.protocol.acceptance import LATENCY, MEMORY
from jaxtransfer.protocol.problem import TUNE, Problem
from jaxtransfer.protocol.sections import RungSettings
from jaxtransfer.protocol.settings import LadderSettings
from jaxtransfer.protocol.training import untrained
from jaxtransfer.protocol.workdir import write_json
from jaxtransfer.train.compiled import CompiledSteps
from jaxtransfer.train.latency import measure_latency, quantile, serve

LEVEL = 0.95
FEWEST_CALLS = 100
FOLDER = "serving"
MIB = 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Serving:
    """Times and memory of serving one example.

    Attributes:
      seconds: of each timed call, preprocessing included; none where no network is served.
      peak_bytes: arguments (weights included), outputs and temporaries by XLA's analysis.
      note: what the figures are of.
    """

    seconds: tuple[float, ...]
    peak_bytes: int
    note: str

    @property
    def calls(self) -> int:
        """Number of timed calls."""
        return len(self.seconds)

    @property
    def peak_mib(self) -> float:
        """Peak memory in MiB."""
        return self.peak_bytes / MIB

    def latency_p95_ms(self, confidence: float) -> tuple[float, tuple[float | None, float | None]]:
        """The 95th percentile in milliseconds, and its interval."""
        if not self.seconds:
            return 0.0, (0.0, 0.0)
        found = quantile(self.seconds, LEVEL, confidence)
        low, high = (None if end is None else end * 1e3 for end in found.ci)
        return found.value * 1e3, (low, high)

    def times(self, members: int) -> "Serving":
        """Of an ensemble whose members run one after another."""
        return Serving(
            seconds=tuple(members * value for value in self.seconds),
            peak_bytes=members * self.peak_bytes,
            note=f"{members} times one member's: {self.note}",
        )


NOTHING = Serving(seconds=(), peak_bytes=0, note="no network is served")


def is_needed(settings: LadderSettings) -> bool:
    """Whether a guard or the budget bounds what serving costs."""
    guards = settings.acceptance.guards
    return LATENCY in guards or MEMORY in guards or settings.budget.latency_p95_ms is not None


def of_rung(problem: Problem, rung: RungSettings, workdir: pathlib.Path) -> Serving:
    """What it costs to serve a rung on examples of the tuning half; kept in the work directory.

    As many calls are timed as bound the 95th percentile from above at the criterion's level.

    Raises:
      WorkdirError: if what was kept is damaged.
    """
    found = kept(rung, workdir)
    if found is not None:
        return found
    path = _path(rung, workdir)
    adapted = untrained(problem, rung)
    examples = problem.examples[TUNE].table.inputs
    tail = (1 - problem.settings.acceptance.level) / 2
    calls = max(FEWEST_CALLS, math.ceil(math.log(tail) / math.log(LEVEL)))
    raw = [examples[row] for row in range(min(calls, len(examples)))]
    compiled = CompiledSteps()
    latency = measure_latency(adapted, raw, repetitions=calls, compiled=compiled)
    found = Serving(
        seconds=latency.samples["total"],
        # There already: nothing compiles again.
        peak_bytes=serve(adapted, raw[:1], compiled=compiled).executable.peak_bytes,
        note="one example a call, preprocessing included; memory by XLA's analysis",
    )
    path.parent.mkdir(exist_ok=True)
    write_json(path, dataclasses.asdict(found))
    return found


def kept(rung: RungSettings, workdir: pathlib.Path) -> Serving | None:
    """What a work directory says of serving a rung; None if it was not measured. Raises as `of_rung` does."""
    if rung.method == "majority_class":
        return NOTHING
    path = _path(rung, workdir)
    return _read(path) if path.is_file() else None


def _path(rung: RungSettings, workdir: pathlib.Path) -> pathlib.Path:
    return workdir / FOLDER / f"{rung.name}.json"


def _read(path: pathlib.Path) -> Serving:
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        return Serving(**{**values, "seconds": tuple(values["seconds"])})
    except (ValueError, TypeError, KeyError) as error:
        raise WorkdirError(f"{path} is damaged ({error}); remove it to measure again") from error
