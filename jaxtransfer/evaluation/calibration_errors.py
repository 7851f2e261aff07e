"""Calibration errors over bins: equal width, equal mass, debiased, maximum and class by class.

Each is a sum (or maximum) over bins of a function of the bin's count and gap, the gap being the sum
of outcome minus probability.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.intervals import chunks
from jaxtransfer.evaluation.perfect_calibration import NOTHING, CalibrationStatistic
from jaxtransfer.evaluation.probabilities import log_softmax
from jaxtransfer.evaluation.table import Predictions

BINS = 15

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


def confidence_and_correct(
    table: Predictions,
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """The probability of the predicted class, in (0, 1], and 1.0 where it is the label."""
    confidence = np.exp(log_softmax(table.logits).max(axis=1))
    return confidence, (table.predicted == table.labels).astype(np.float64)


def width_edges(bins: int) -> Float[np.ndarray, "edges"]:
    """Edges of bins of equal width from 0 to 1.

    Raises:
      EvaluationError: if there is no bin.
    """
    check_bins(bins)
    return np.arange(bins + 1) / bins


def width_bins(probabilities: np.ndarray, bins: int) -> np.ndarray:
    """The bin (low, high] of equal width that holds each; rounding above 1 stays in the last."""
    edges = width_edges(bins)
    return np.clip(np.searchsorted(edges, probabilities, side="left") - 1, 0, bins - 1)


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


def check_bins(bins: int) -> None:
    """Raises EvaluationError unless there is a bin."""
    if bins < 1:
        raise EvaluationError(f"{bins} bins: at least 1 is needed")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BinnedError(CalibrationStatistic):
    """Errors over bins of equal width, added up or their maximum; over all columns' bins.

    Attributes:
      bins: how many to a column.
      error: of one bin.
      scale: the sum is divided by this and by the number of examples.
      maximum: the largest error instead, divided by nothing.
    """

    bins: int
    error: Error
    scale: float = 1.0
    maximum: bool = False

    @functools.cached_property
    def _gaps(self) -> np.ndarray:
        gaps = -self.probabilities
        rows = np.flatnonzero(self.outcomes != NOTHING)
        gaps[rows, self.outcomes[rows]] += 1
        return gaps

    @functools.cached_property
    def _cells(self) -> np.ndarray:
        """(n, k) the bin of each probability, counted through all columns."""
        columns = self.probabilities.shape[1]
        return width_bins(self.probabilities, self.bins) + self.bins * np.arange(columns)

    @functools.cached_property
    def _members(self):
        """Counts and gaps as matrices (cells, n) over all bins but the first of each column.

        Most of many classes' probabilities lie in the first bin, which is the rest of the column.
        """
        import scipy.sparse

        rows, columns = np.nonzero(self._cells % self.bins)
        shape = (self._cells.shape[1] * self.bins, len(self.labels))
        where = (self._cells[rows, columns], rows)
        count = scipy.sparse.csr_array((np.ones(len(rows)), where), shape=shape)
        gap = scipy.sparse.csr_array((self._gaps[rows, columns], where), shape=shape)
        return count, gap

    def _sums(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighted count and gap of each cell, (r, cells)."""
        columns = np.ascontiguousarray(weights.T)
        totals = weights.sum(axis=1)[:, None], weights @ self._gaps
        sums = []
        for members, total in zip(self._members, totals):
            cells = (members @ columns).T.reshape(len(weights), -1, self.bins)
            cells[:, :, 0] = total - cells.sum(axis=2)
            sums.append(cells.reshape(len(weights), -1))
        return sums[0], sums[1]

    def _value(self, errors: np.ndarray, total: np.ndarray) -> np.ndarray:
        return errors.max(axis=1) if self.maximum else errors.sum(axis=1) / (total * self.scale)

    def weighted(self, weights):
        """See Statistic."""
        return self._value(self.error(*self._sums(weights)), weights.sum(axis=1))

    @functools.cached_property
    def _predicted(self) -> tuple[np.ndarray, np.ndarray]:
        """Count and sum of probabilities of each cell."""
        size, cells = self._cells.shape[1] * self.bins, self._cells.ravel()
        count = np.bincount(cells, minlength=size).astype(np.float64)
        return count, np.bincount(cells, weights=self.probabilities.ravel(), minlength=size)

    def of_outcomes(self, outcomes):
        """See CalibrationStatistic."""
        r, n = outcomes.shape
        count, predicted = self._predicted
        size = len(count)
        # One column more takes the examples of which nothing came true.
        cells = np.column_stack([self._cells, np.full(n, size)])
        last = cells.shape[1] - 1
        where = np.where(outcomes == NOTHING, last, outcomes) + (last + 1) * np.arange(n)
        happened = np.take(cells.ravel(), where) + (size + 1) * np.arange(r)[:, None]
        seen = np.bincount(happened.ravel(), minlength=r * (size + 1)).reshape(r, -1)[:, :size]
        errors = self.error(np.broadcast_to(count, seen.shape), seen - predicted)
        return self._value(errors, np.full(r, n))

    def leave_one_out(self):
        """See Statistic."""
        n = len(self.labels)
        counts, gaps = (sums[0] for sums in self._sums(np.ones((1, n))))
        errors = self.error(counts, gaps)
        values, start = np.empty(n), 0
        order = np.argsort(errors)[::-1]
        for size in chunks(n, 4 * self._cells.shape[1]):
            rows = slice(start, start + size)
            mine = self._cells[rows]
            left = self.error(counts[mine] - 1, gaps[mine] - self._gaps[rows])
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
    check_bins(bins)
    return BinnedError(
        labels=table.labels,
        detail=f"{bins} bins, {len(table.classes)} classes",
        probabilities=np.exp(log_softmax(table.logits)),
        outcomes=table.labels,
        bins=bins,
        error=error,
        scale=scale,
    )


def _of_prediction(
    table: Predictions, bins: int, error: Error, *, maximum: bool = False
) -> BinnedError:
    check_bins(bins)
    confidence, correct = confidence_and_correct(table)
    return BinnedError(
        labels=table.labels,
        detail=f"{bins} bins",
        probabilities=confidence[:, None],
        outcomes=np.where(correct == 1, 0, NOTHING),
        bins=bins,
        error=error,
        maximum=maximum,
    )
