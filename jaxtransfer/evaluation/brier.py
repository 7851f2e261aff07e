"""What a Brier score is made of: reliability, resolution, uncertainty, and what lies within bins.

Murphy (1973), with the within-bin terms of Stephenson et al. (2008), so that the parts add up to
the score exactly, and the bias corrections of Ferro and Fricker (2012).
"""

import dataclasses
from typing import Any

import numpy as np

from jaxtransfer.errors import EvaluationError, nearest
from jaxtransfer.evaluation.calibration_errors import BinnedError, of_classes, squared_gap
from jaxtransfer.evaluation.probabilities import log_softmax_at
from jaxtransfer.evaluation.probability_bins import BINS, width_bins
from jaxtransfer.evaluation.table import Predictions


@dataclasses.dataclass(frozen=True, kw_only=True)
class BrierDecomposition:
    """Parts of a Brier score: brier = reliability - resolution + uncertainty + variance - covariance.

    Each class's probability is decomposed against the rest, in bins of its own, and the parts are
    summed over classes, as the score is.

    Attributes:
      brier: the mean squared error of the probabilities, summed over classes (0 to 2).
      reliability: mean over examples of (mean probability - share)^2 of their bin; 0 is calibrated.
      resolution: mean over examples of (share of their bin - share of all)^2; larger is better.
      uncertainty: share (1 - share) of all; a property of the labels alone.
      within_variance: variance of probabilities within bins.
      within_covariance: twice the covariance of probability and outcome within bins.
      corrected_reliability: reliability less what chance adds (Ferro and Fricker 2012, equation 8);
        unbiased but for bins of one example, which are left as they are.
      corrected_resolution: likewise.
      corrected_uncertainty: likewise.
      bins: of equal width, for each class, closed on the right.
      n: examples.
      classes: names of the classes summed over.
    """

    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    within_variance: float
    within_covariance: float
    corrected_reliability: float
    corrected_resolution: float
    corrected_uncertainty: float
    bins: int
    n: int
    classes: tuple[str, ...]

    @property
    def generalised_resolution(self) -> float:
        """Resolution with what lies within bins (Stephenson et al. 2008, equation 10)."""
        return self.resolution - self.within_variance + self.within_covariance

    def __str__(self) -> str:
        return (
            f"brier {self.brier:.3f} = reliability {self.reliability:.3f} - resolution"
            f" {self.resolution:.3f} + uncertainty {self.uncertainty:.3f} + within bins"
            f" {self.within_variance - self.within_covariance:+.3f} (n={self.n}, {self.bins} bins)"
        )

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {**dataclasses.asdict(self), "classes": list(self.classes)}


def brier_decomposition(
    table: Predictions, bins: int = BINS, *, classes: tuple[str, ...] | None = None
) -> BrierDecomposition:
    """Decomposes the Brier score of a table.

    Args:
      table: the predictions.
      bins: of equal width, for each class.
      classes: those to sum over; None means all. One class of two gives the binary score, half of
        the sum.

    Raises:
      EvaluationError: if a class is unknown, or there is no bin.
    """
    columns = [_column(table, name) for name in (table.classes if classes is None else classes)]
    parts = np.zeros(9)
    for column in columns:
        happened = (table.labels == column).astype(np.float64)
        parts += _parts(np.exp(log_softmax_at(table, column)), happened, bins)
    return BrierDecomposition(
        **dict(zip(_PARTS, parts.tolist(), strict=True)),
        bins=bins,
        n=len(table),
        classes=tuple(table.classes[column] for column in columns),
    )


def brier_reliability(table: Predictions, bins: int = BINS) -> BinnedError:
    """Prepares the reliability of the Brier score, summed over classes."""
    return of_classes(table, bins, squared_gap)


_PARTS = tuple(field.name for field in dataclasses.fields(BrierDecomposition))[:9]


def _parts(probability: np.ndarray, happened: np.ndarray, bins: int) -> np.ndarray:
    """The parts of one event's score, in the order of the attributes."""
    n = len(happened)
    index = width_bins(probability, bins)
    _, index, count = np.unique(index, return_inverse=True, return_counts=True)
    index = index.ravel()
    share = np.bincount(index, weights=happened) / count
    mean = np.bincount(index, weights=probability) / count
    all_ = happened.mean()
    inside = probability - mean[index]
    reliability = (count * (mean - share) ** 2).sum() / n
    resolution = (count * (share - all_) ** 2).sum() / n
    uncertainty = all_ * (1 - all_)
    several = count > 1
    spread = (share * (1 - share) * count)[several] / (count[several] - 1)
    noise = spread.sum() / n
    of_all = uncertainty / (n - 1) if n > 1 else 0.0
    return np.array(
        [
            ((probability - happened) ** 2).mean(),
            reliability,
            resolution,
            uncertainty,
            (inside**2).mean(),
            2 * ((happened - share[index]) * inside).mean(),
            reliability - noise,
            resolution - noise + of_all,
            uncertainty + of_all,
        ]
    )


def _column(table: Predictions, name: str) -> int:
    if name not in table.classes:
        raise EvaluationError(
            f"{table.source}: unknown class {name!r}; nearest: {nearest(name, table.classes)}"
        )
    return table.classes.index(name)
