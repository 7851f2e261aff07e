"""Accuracy and calibration of a labelled batch against the reference, with intervals of one look."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from jaxtransfer.evaluation.intervals import wilson

Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Performance:
    """Accuracy and calibration of a labelled batch against the reference.

    Attributes:
      accuracy: of the batch.
      accuracy_ci: its 95 % Wilson interval.
      reference_accuracy: of the reference.
      drop: reference_accuracy - accuracy.
      drop_ci: its 95 % interval (Newcombe 1998, method 10).
      overconfidence: mean confidence minus accuracy, of the batch.
      overconfidence_ci: its 95 % interval, by the normal approximation.
      reference_overconfidence: of the reference.
      n: rows of the batch.
    """

    accuracy: float
    accuracy_ci: tuple[float, float]
    reference_accuracy: float
    drop: float
    drop_ci: tuple[float, float]
    overconfidence: float
    overconfidence_ci: tuple[float, float]
    reference_overconfidence: float
    n: int

    def to_json(self) -> dict:
        """Plain values."""
        return dataclasses.asdict(self)

    def __str__(self):
        return (
            f"this batch's labels: accuracy {self.accuracy:.3f}"
            f" [{self.accuracy_ci[0]:.3f}, {self.accuracy_ci[1]:.3f}] against"
            f" {self.reference_accuracy:.3f}, a drop of {self.drop:+.3f}"
            f" [{self.drop_ci[0]:+.3f}, {self.drop_ci[1]:+.3f}]; confidence exceeds accuracy by"
            f" {self.overconfidence:+.3f}"
            f" [{self.overconfidence_ci[0]:+.3f}, {self.overconfidence_ci[1]:+.3f}],"
            f" {self.reference_overconfidence:+.3f} in the reference (95 % intervals, of this look"
            " alone)"
        )


def performance(
    reference_confidence: Float[np.ndarray, "n"],
    reference_correct: np.ndarray,
    confidence: Float[np.ndarray, "m"],
    correct: np.ndarray,
) -> Performance:
    """Accuracy, its drop, and overconfidence, each with its interval."""
    m, n = len(correct), len(reference_correct)
    new, old = float(correct.mean()), float(reference_correct.mean())
    new_low, new_high = wilson(int(correct.sum()), m)
    old_low, old_high = wilson(int(reference_correct.sum()), n)
    drop = old - new
    gaps = confidence - correct
    half = Z * float(gaps.std()) / math.sqrt(m)
    return Performance(
        accuracy=new,
        accuracy_ci=(new_low, new_high),
        reference_accuracy=old,
        drop=drop,
        drop_ci=(
            drop - math.hypot(old - old_low, new_high - new),
            drop + math.hypot(old_high - old, new - new_low),
        ),
        overconfidence=float(gaps.mean()),
        overconfidence_ci=(float(gaps.mean()) - half, float(gaps.mean()) + half),
        reference_overconfidence=float((reference_confidence - reference_correct).mean()),
        n=m,
    )
