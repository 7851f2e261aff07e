"""Calibration errors over bins: equal width, equal mass, debiased, maximum and class by class.

Each is a sum (or maximum) over bins of a function of the bin's count and gap, the gap being the sum
of outcome minus probability.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.evaluation.intervals import chunks
from jaxtransfer.evaluation.perfect_calibration import CalibrationStatistic
from jaxtransfer.evaluation.probability_bins import (
    BINS,
    Binned,
    binned_classes,
    binned_prediction,
    check_bins,
)
from jaxtransfer.evaluation.table import Predictions

Error = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From counts and gaps of bins, of any one shape, to each bin's error, 0 in an empty bin."""


def absolute_gap(count: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """count |mean gap|: a bin's part in the expected calibration error."""
    return np.abs(gap)


def mean_gap(count: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """|mean gap| of a bin."""
    return np.divide(np.abs(gap), count, out=np.zeros_like(gap), where=count > 0.5)


def squared_gap(count: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """count (mean gap)^2: a bin's part in the reliability of the Brier score."""
    return np.divide(gap**2, count, out=np.zeros_like(gap), where=count > 0.5)


def mass_bins(probabilities: Float[np.ndarray, "n"], bins: int) -> Int[np.ndarray, "n"]:
    """The bin of equal mass that holds each: floor(bins (mid-rank - 1/2) / n).

    Equal probabilities have one mid-rank and so one bin, whatever the order of rows; without ties
    the sizes of bins differ by at most one.

    >>> mass_bins(np.array([0.9, 0.5, 0.5, 0.5]), 2)
    array([1, 0, 0, 0])
    """
    check_bins(bins)
    _, index, counts = np.unique(probabilities, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    return np.floor(bins * middle / len(probabilities)).astype(np.int64)[index.ravel()]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BinnedError(CalibrationStatistic):
    """Errors over bins of equal width, added up or their maximum; over all columns' bins.

    Attributes:
      binned: the probabilities and outcomes, and their bins.
      error: of one bin.
      scale: the sum is divided by this and by the number of examples.
      maximum: the largest error instead, divided by nothing.
    """

    probabilities: Float[np.ndarray, "n k"] = dataclasses.field(init=False)
    outcomes: Int[np.ndarray, "n"] = dataclasses.field(init=False)
    binned: Binned
    error: Error
    scale: float = 1.0
    maximum: bool = False

    def __post_init__(self):
        object.__setattr__(self, "probabilities", self.binned.probabilities)
        object.__setattr__(self, "outcomes", self.binned.outcomes)

    def _value(self, errors: np.ndarray, total: np.ndarray | int) -> np.ndarray:
        return errors.max(axis=1) if self.maximum else errors.sum(axis=1) / (total * self.scale)

    def weighted(self, weights):
        """See Statistic."""
        return self._value(self.error(*self.binned.weighted(weights)), weights.sum(axis=1))

    def of_outcomes(self, outcomes):
        """See CalibrationStatistic."""
        return self._value(self.error(*self.binned.of_outcomes(outcomes)), outcomes.shape[1])

    def leave_one_out(self):
        """See Statistic."""
        n, k = self.probabilities.shape
        counts, gaps = (sums[0] for sums in self.binned.weighted(np.ones((1, n))))
        errors = self.error(counts, gaps)
        values, start = np.empty(n), 0
        order = np.argsort(errors)[::-1]
        for size in chunks(n, 4 * k):
            rows = slice(start, start + size)
            mine = self.binned.cells(rows)
            left = self.error(counts[mine] - 1, gaps[mine] - self.binned.gaps(rows))
            if self.maximum:
                second = errors[order[1]] if len(order) > 1 else 0.0
                others = np.where(mine[:, 0] == order[0], second, errors[order[0]])
                values[rows] = np.maximum(others, left[:, 0])
            else:
                rest = errors.sum() + (left - errors[mine]).sum(axis=1)
                values[rows] = rest / (max(1, n - 1) * self.scale)
            start += size
        return values


def expected_calibration_error(table: Predictions, bins: int = BINS) -> BinnedError:
    """Prepares the expected calibration error (Guo et al. 2017, equation 3)."""
    return _of_prediction(table, bins, absolute_gap)


def maximum_calibration_error(table: Predictions, bins: int = BINS) -> BinnedError:
    """Prepares the maximum calibration error (Guo et al. 2017, equation 4)."""
    return _of_prediction(table, bins, mean_gap, maximum=True)


def classwise_calibration_error(table: Predictions, bins: int = BINS) -> BinnedError:
    """Prepares the class-wise calibration error (Kull et al. 2019, equation 2).

    The mean over all classes of the error of the class's probability; Nixon et al. (2019) call it
    the static calibration error.
    """
    return of_classes(table, bins, absolute_gap, scale=float(len(table.classes)))


def of_classes(table: Predictions, bins: int, error: Error, scale: float = 1.0) -> BinnedError:
    """An error over the bins of every class's probability, whether or not it is predicted."""
    return BinnedError(
        labels=table.labels,
        detail=f"{bins} bins, {len(table.classes)} classes",
        binned=binned_classes(table, bins),
        error=error,
        scale=scale,
    )


def _of_prediction(
    table: Predictions, bins: int, error: Error, *, maximum: bool = False
) -> BinnedError:
    return BinnedError(
        labels=table.labels,
        detail=f"{bins} bins",
        binned=binned_prediction(table, bins),
        error=error,
        maximum=maximum,
    )
