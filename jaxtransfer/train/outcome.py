"""What a training run hands back: the trained model, its rows, and what it took."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from jaxtransfer.adapt.adapted import Adapted

Row = dict[str, float]
"""`{"step": steps taken, name: value, ...}`: of a step or of an evaluation."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What a training run took, over all processes that worked on it where it was resumed.

    What a killed process did after its last checkpoint is done again, and counts once.

    Attributes:
      seconds: of training steps, their data included; not of compilation, evaluation, saving.
      compile_seconds: of tracing and compiling the step; 0 if it was there.
      evaluation_seconds: of evaluations.
      cache_seconds: of computing the activations of the frozen prefix that were not there.
      wall_seconds: from the call to its end, all of the above and saving included.
      flops: of all steps, by XLA's count, on one device.
      peak_bytes: of a step on one device: arguments, outputs and temporaries.
    """

    seconds: float = 0.0
    compile_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    cache_seconds: float = 0.0
    wall_seconds: float = 0.0
    flops: float = 0.0
    peak_bytes: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """The outcome of a training run.

    Attributes:
      adapted: what was trained, with the trained variables.
      history: a row a step (`step`, `loss`, `grad_norm`, terms), and a row an evaluation (`step`,
        `validation/...`).
      steps: steps taken, fewer than the recipe's if training stopped early.
      best_step: step of the variables, if an evaluation chose them; else `steps`.
      cost: see `Cost`.
    """

    adapted: Adapted
    history: list[Row]
    steps: int
    best_step: int
    cost: Cost

    @property
    def variables(self) -> dict[str, Any]:
        """All variables, trained."""
        return self.adapted.variables


def add_costs(costs: Sequence[Cost]) -> Cost:
    """Sums of times and operations, and the largest peak."""
    total = {
        field.name: sum(getattr(cost, field.name) for cost in costs)
        for field in dataclasses.fields(Cost)
    }
    return Cost(**{**total, "peak_bytes": max(cost.peak_bytes for cost in costs)})
