"""A statistic as a function of example weights, from which value, bootstrap and jackknife follow.

Whole replicates are evaluated at once: counts for classification rates, sums for means, per-bin
sums, sorted ranks.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.evaluation.intervals import bootstrap_weights, chunks


@dataclasses.dataclass(frozen=True)
class Undefined:
    """A statistic that these examples do not define, and why."""

    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Statistic(abc.ABC):
    """A statistic prepared on one table of n examples.

    The bootstrap draws a plain sample: that the classes' shares vary from sample to sample is part
    of the uncertainty. A statistic that a sample without some class does not define sets
    `stratified`, and each class is then drawn to its own size.

    Attributes:
      labels: (n,) the classes, strata where `stratified`.
      detail: what its definition adds for this table, such as how many classes were averaged.
    """

    labels: Int[np.ndarray, "n"]
    detail: str = ""

    stratified: ClassVar[bool] = False

    @property
    def strata(self) -> Int[np.ndarray, "n"]:
        """(n,) what the bootstrap draws to its own size: classes, or all examples as one."""
        return self.labels if self.stratified else np.zeros_like(self.labels)

    @abc.abstractmethod
    def weighted(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, "r"]:
        """The statistic when example i counts weights[:, i] times; not finite where that has none."""

    @abc.abstractmethod
    def leave_one_out(self) -> Float[np.ndarray, "n"]:
        """The statistic without each example; arbitrary where the example is alone in its class."""

    @functools.cached_property
    def value(self) -> float:
        """The statistic of the table."""
        return float(self.weighted(np.ones((1, len(self.labels))))[0])

    def resample(self, rng: np.random.Generator, replicates: int) -> Float[np.ndarray, "r"]:
        """The statistic of bootstrap samples, drawn within strata."""
        return np.concatenate(
            [
                self.weighted(bootstrap_weights(self.strata, count, rng))
                for count in chunks(replicates, len(self.labels))
            ]
        )


Rates = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""From correct, predicted and labelled counts, each (r, k), to the statistic, (r,)."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CountStatistic(Statistic):
    """A statistic of the counts of correct, predicted and labelled examples of each class.

    Examples of equal label and prediction are one cell: a bootstrap sample is one multinomial draw,
    and the jackknife has as many values as there are cells.
    """

    predicted: Int[np.ndarray, "n"]
    classes: int
    rates: Rates

    @functools.cached_property
    def _cells(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        cells, index, counts = np.unique(
            self.labels * self.classes + self.predicted, return_inverse=True, return_counts=True
        )
        return cells // self.classes, cells % self.classes, counts, index.ravel()

    def _of_cells(self, cells: np.ndarray, labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """The statistic from the weight of each cell, (r, cells)."""
        correct, *totals = (np.zeros((len(cells), self.classes)) for _ in range(3))
        hits = labels == predicted
        correct[:, labels[hits]] = cells[:, hits]
        for total, by in zip(totals, (predicted, labels)):
            groups, sums = grouped_sum(cells, by)
            total[:, groups] = sums
        return self.rates(correct, *totals)

    def weighted(self, weights):
        """See Statistic."""
        labels, predicted, _, index = self._cells
        _, cells = grouped_sum(weights, index)
        return self._of_cells(cells, labels, predicted)

    def leave_one_out(self):
        """See Statistic."""
        labels, predicted, counts, index = self._cells
        values, start = [], 0
        for size in chunks(len(counts), len(counts) + 3 * self.classes):
            rows = np.arange(start, start + size)
            cells = np.tile(counts.astype(np.float64), (size, 1))
            cells[np.arange(size), rows] -= 1
            with np.errstate(invalid="ignore", divide="ignore"):
                values.append(self._of_cells(cells, labels, predicted))
            start += size
        return np.concatenate(values)[index]

    def resample(self, rng, replicates):
        """See Statistic."""
        labels, predicted, counts, _ = self._cells
        values = []
        for count in chunks(replicates, len(counts) + 3 * self.classes):
            draws = rng.multinomial(counts.sum(), counts / counts.sum(), size=count)
            values.append(self._of_cells(draws.astype(np.float64), labels, predicted))
        return np.concatenate(values)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MeanStatistic(Statistic):
    """The mean of one number an example."""

    numbers: Float[np.ndarray, "n"]

    def weighted(self, weights):
        """See Statistic."""
        return weights @ self.numbers / weights.sum(axis=1)

    def leave_one_out(self):
        """See Statistic."""
        return (self.numbers.sum() - self.numbers) / max(1, len(self.numbers) - 1)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SumsStatistic(Statistic):
    """A smooth function of sums over examples, such as a ratio.

    Attributes:
      numbers: (n, m) what is summed.
      function: from sums (r, m) to the statistic (r,).
    """

    numbers: Float[np.ndarray, "n m"]
    function: Callable[[np.ndarray], np.ndarray]

    def weighted(self, weights):
        """See Statistic."""
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            return self.function(weights @ self.numbers)

    def leave_one_out(self):
        """See Statistic."""
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            return self.function(self.numbers.sum(axis=0) - self.numbers)


def grouped_sum(
    numbers: Float[np.ndarray, "r n"], groups: Int[np.ndarray, "n"]
) -> tuple[Int[np.ndarray, "g"], Float[np.ndarray, "r g"]]:
    """The groups that occur, sorted, and the sums of each row's numbers over them.

    >>> grouped_sum(np.array([[1.0, 2.0, 4.0]]), np.array([7, 3, 7]))
    (array([3, 7]), array([[2., 5.]]))
    """
    from scipy.sparse import csr_array

    present, index = np.unique(groups, return_inverse=True)
    order = np.argsort(index.ravel(), kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(index.ravel()))])
    members = csr_array((np.ones(len(order)), order, starts), shape=(len(present), len(order)))
    return present, (members @ np.ascontiguousarray(numbers.T)).T
