"""Calibration error over bins of equal mass, plain and debiased.

The bins are those of the examples that are counted, so each bootstrap sample has its own.
"""

import abc
import dataclasses
import functools
from typing import Any

import numpy as np

from jaxtransfer.evaluation.calibration_errors import mass_bins
from jaxtransfer.evaluation.intervals import bootstrap_weights, chunks
from jaxtransfer.evaluation.perfect_calibration import NOTHING, CalibrationStatistic
from jaxtransfer.evaluation.probability_bins import BINS, check_bins, predicted_event
from jaxtransfer.evaluation.statistic import Undefined
from jaxtransfer.evaluation.table import Predictions


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MassError(CalibrationStatistic):
    """An error of the predicted class over bins of equal mass (`calibration_errors.mass_bins`).

    Attributes:
      bins: how many.
    """

    bins: int

    @abc.abstractmethod
    def _errors(self, count: np.ndarray, gap: np.ndarray, square: np.ndarray) -> np.ndarray:
        """Each bin's part from its count, gap and sum of squared gaps, all of one shape."""

    def _finish(self, mean: np.ndarray) -> np.ndarray:
        """The statistic from the sum of errors over the number of examples."""
        return mean

    @functools.cached_property
    def _gaps(self) -> np.ndarray:
        return (self.outcomes != NOTHING) - self.probabilities[:, 0]

    @functools.cached_property
    def _levels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The order by confidence, where each level of equal confidence starts, its size."""
        order = np.argsort(self.probabilities[:, 0], kind="stable")
        _, starts, sizes = np.unique(
            self.probabilities[order, 0], return_index=True, return_counts=True
        )
        return order, starts, sizes

    def _moments(self, weights: np.ndarray) -> np.ndarray:
        """Weighted count, gap and squared gap of each bin, (3, r, bins)."""
        order, starts, _ = self._levels
        gaps, counts = self._gaps[order], np.take(weights, order, axis=1)
        passed, of_levels = self._passed(counts)
        targets = passed[:, -1:] * np.arange(self.bins + 1)
        edges = np.empty((len(weights), self.bins + 1), np.int64)
        for ends, total, own, target in zip(edges, passed, of_levels, targets):
            ends[:] = np.searchsorted(self.bins * (total[1:] - own / 2), target, "left")
        edges[:, -1] = len(starts)
        moments = np.empty((3, len(weights), self.bins))
        # One sum at a time: each is as large as the weights.
        for power, moment in enumerate(moments):
            if power:
                passed, _ = self._passed(counts * gaps**power)
            moment[:] = np.diff(np.take_along_axis(passed, edges, axis=1), axis=1)
        return moments

    def _passed(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums over the levels up to each, (r, levels + 1) from 0, and over each, of ordered numbers."""
        order, starts, _ = self._levels
        if len(starts) < len(order):
            numbers = np.add.reduceat(numbers, starts, axis=1)
        passed = np.zeros((len(numbers), len(starts) + 1))
        np.cumsum(numbers, axis=1, out=passed[:, 1:])
        return passed, numbers

    def _means(self, weights: np.ndarray) -> np.ndarray:
        return self._errors(*self._moments(weights)).sum(axis=1) / weights.sum(axis=1)

    def weighted(self, weights):
        """See Statistic."""
        return self._finish(self._means(weights))

    def of_outcomes(self, outcomes):
        """See CalibrationStatistic."""
        r, n = outcomes.shape
        confidence = self.probabilities[:, 0]
        cells = mass_bins(confidence, self.bins) + self.bins * np.arange(r)[:, None]
        gaps = (outcomes != NOTHING) - confidence
        moments = [
            np.bincount(cells.ravel(), weights=numbers, minlength=r * self.bins).reshape(r, -1)
            for numbers in (None, gaps.ravel(), gaps.ravel() ** 2)
        ]
        return self._finish(self._errors(*moments).sum(axis=1) / n)

    def leave_one_out(self):
        """See Statistic.

        Without an example, levels below its own keep their mid-rank, and those above have one less.
        """
        order, starts, sizes = self._levels
        n, levels = len(order), len(starts)
        if n == 1:
            return np.zeros(1)
        gaps = self._gaps[order]
        numbers = np.stack([np.ones(n), gaps, gaps**2])
        passed = np.zeros((3, levels + 1))
        passed[:, 1:] = np.cumsum(np.add.reduceat(numbers, starts, axis=1), axis=1)
        own = np.diff(passed, axis=1)
        middle = self.bins * (passed[0, 1:] - sizes / 2)
        targets = (n - 1) * np.arange(self.bins + 1)
        below = np.searchsorted(middle, targets, "left")
        above = np.searchsorted(middle - self.bins, targets, "left")
        below[-1] = above[-1] = levels
        above[0] = 0
        home = np.minimum((middle - self.bins / 2) // (n - 1), self.bins - 1).astype(np.int64)
        level = np.repeat(np.arange(levels), sizes)
        values = np.empty(n)
        start = 0
        for size in chunks(n, 8 * self.bins):
            at = level[start : start + size]
            rows = np.arange(len(at))
            moments = np.diff(passed[:, np.minimum(below, at[:, None])], axis=2)
            moments += np.diff(passed[:, np.maximum(above, at[:, None] + 1)], axis=2)
            moments[:, rows, home[at]] += own[:, at] - numbers[:, start : start + size]
            values[start : start + size] = self._errors(*moments).sum(axis=1) / (n - 1)
            start += size
        out = np.empty(n)
        out[order] = self._finish(values)
        return out


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EqualMassError(MassError):
    """The sum over bins of |sum of (correct - confidence)|, over n."""

    def _errors(self, count, gap, square):
        return np.abs(gap)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DebiasedError(MassError):
    """The signed root of the unbiased estimate of the mean squared gap of bins."""

    def _errors(self, count, gap, square):
        several = count > 1.5
        mean_square = np.divide(gap**2, count, out=np.zeros_like(gap), where=several)
        noise = np.divide(square - mean_square, count - 1, out=np.zeros_like(gap), where=several)
        return mean_square - noise

    def _finish(self, mean):
        return np.sign(mean) * np.sqrt(np.abs(mean))

    def resample(self, rng, replicates):
        """The statistic of bootstrap samples, moved by what sampling adds to them.

        Resampling takes the sample's own gaps for true ones, so replicates centre on the biased
        estimate; they are moved to the debiased one before the root is taken.
        """
        unit = np.ones((1, len(self.labels)))
        count, gap, _ = self._moments(unit)
        several = count > 1.5
        plain = np.divide(gap**2, count, out=np.zeros_like(gap), where=several).sum()
        excess = plain / len(self.labels) - self._means(unit)[0]
        return self._finish(
            np.concatenate(
                [
                    self._means(bootstrap_weights(self.labels, size, rng)) - excess
                    for size in chunks(replicates, len(self.labels))
                ]
            )
        )


def equal_mass_calibration_error(table: Predictions, bins: int = BINS) -> EqualMassError:
    """Prepares the expected calibration error over bins of equal mass (Nguyen and O'Connor 2015)."""
    return EqualMassError(**_fields(table, bins))


def debiased_calibration_error(table: Predictions, bins: int = BINS) -> DebiasedError | Undefined:
    """Prepares the debiased calibration error (Kumar et al. 2019, section 4; Brocker 2012).

    The mean over examples of the squared gap of their bin, less in each bin the variance of its
    mean gap: sum of n_b (mean_b^2 - s_b^2 / n_b), over n. That is unbiased, and negative where gaps
    are smaller than chance would make them; the statistic is its root with its sign. s_b^2 is the
    sample variance of correct - confidence, where Kumar et al. take that of correct alone; the two
    are one where a bin's confidences are equal. A bin of one example has no variance and adds
    nothing; where all bins are such, the error is undefined.
    """
    statistic = DebiasedError(**_fields(table, bins))
    count, _, _ = statistic._moments(np.ones((1, len(table))))
    if count.max() < 2:
        return Undefined(f"no bin of {bins} holds two examples of n={len(table)}")
    return statistic


def _fields(table: Predictions, bins: int) -> dict[str, Any]:
    check_bins(bins)
    probabilities, outcomes = predicted_event(table)
    return {
        "labels": table.labels,
        "detail": f"{bins} bins",
        "probabilities": probabilities,
        "outcomes": outcomes,
        "bins": bins,
    }
