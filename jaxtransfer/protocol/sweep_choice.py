"""Which trial of a sweep wins, and by how much its value flatters it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer.errors import TrainingError
from jaxtransfer.evaluation.intervals import t_quantile
from jaxtransfer.evaluation.metrics import definition


def best(rows: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any]:
    """The trial with the best value; among equals the smaller learning rate, which moves less.

    Args:
      rows: of the journal, all trained to their ends.
      metric: whose values they are.

    Raises:
      TrainingError: if none has a value, with what the last one said.
    """
    sign = 1.0 if definition(metric).maximise else -1.0
    known = [row for row in rows if row["value"] is not None]
    if not known:
        said = rows[-1]["diverged"] if rows else "none went to its end"
        raise TrainingError(f"no trial of the sweep has a value; the last one: {said}")

    def rank(row: Any) -> tuple[float, float, int]:
        rate = row["parameters"].get("learning_rate", 0.0)
        return sign * row["value"], -rate, -row["trial"]

    return {**max(known, key=rank)}


def optimism(
    value: float, confirmed: Sequence[float | None], *, maximise: bool, confidence: float
) -> dict[str, Any]:
    """By how much the best trial looks better than the same parameters do on fresh seeds.

    It is the trial's value minus the mean of the confirmed ones (or the reverse, of a metric that is
    to be small), with Student's t interval of that mean. Seeds alone are fresh: what was won by
    choosing among trials on these examples is not in it.

    Args:
      value: of the trial.
      confirmed: one a fresh seed, None where training diverged.
      maximise: whether larger values are better.
      confidence: of the interval.

    >>> optimism(0.9, [0.8, 0.9], maximise=True, confidence=0.95)["value"]
    0.05
    """
    known = [one for one in confirmed if one is not None]
    if len(known) < len(confirmed):
        lost = len(confirmed) - len(known)
        return {
            "value": None,
            "ci": None,
            "undefined": f"{lost} of {len(confirmed)} fresh seeds diverged",
        }
    gap = value - float(np.mean(known))
    gap = round(gap if maximise else -gap, 12) + 0.0
    variance = float(np.var(known, ddof=1)) / len(known)
    if variance < 1e-24:
        return {"value": gap, "ci": None, "undefined": "the fresh seeds do not differ"}
    half = math.sqrt(variance) * t_quantile([variance], [len(known) - 1], 0.5 + confidence / 2)
    return {"value": gap, "ci": [gap - half, gap + half], "undefined": None}
