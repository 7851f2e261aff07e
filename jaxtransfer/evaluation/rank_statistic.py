"""Areas under ROC and precision-recall curves from exact ranks, for all bootstrap replicates at once.

A weighted area needs, at each positive example, the weight of all examples that score at least as
high; those are sums over the segments that the positives cut the sorted examples into.
"""

import abc
import dataclasses
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxtransfer.evaluation.statistic import Statistic


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Ranked:
    """One class's examples in descending order of score, cut at the positives.

    Attributes:
      n: number of examples.
      positives: (p,) rows of the positive examples.
      order: (n,) rows, highest score first.
      cuts: (c,) where in the order each distinct score of a positive starts and ends.
      starts: (p,) which of the cuts is the start of the positive's score.
      ends: (p,) which one is its end.
    """

    n: int
    positives: Int[np.ndarray, "p"]
    order: Int[np.ndarray, "n"]
    cuts: Int[np.ndarray, "c"]
    starts: Int[np.ndarray, "p"]
    ends: Int[np.ndarray, "p"]

    def above(
        self, weights: Float[np.ndarray, "r n"]
    ) -> tuple[Float[np.ndarray, "p r"], Float[np.ndarray, "p r"], Float[np.ndarray, "r"]]:
        """Weight of the examples that score higher than each positive; at least as high; of all."""
        from scipy.sparse import csr_array

        bounds = np.concatenate([[0], self.cuts, [self.n]])
        segments = csr_array((np.ones(self.n), self.order, bounds), shape=(len(bounds) - 1, self.n))
        # The last of the cumulative sums is the total, the one before a cut what is above it.
        sums = np.cumsum(segments @ np.ascontiguousarray(weights.T), axis=0)
        return sums[self.starts], sums[self.ends], sums[-1]

    def positives_above(
        self, weights: Float[np.ndarray, "r n"]
    ) -> tuple[Float[np.ndarray, "p r"], Float[np.ndarray, "p r"]]:
        """Weight of the positives that score higher than each positive, and at least as high."""
        own = np.ascontiguousarray(weights.T)[self.positives]
        # Positives come in the order of their scores, so that equal ones lie together.
        sums = np.concatenate([np.zeros((1, own.shape[1])), np.cumsum(own, axis=0)])
        first = np.searchsorted(self.starts, self.starts, "left")
        last = np.searchsorted(self.starts, self.starts, "right")
        return sums[first], sums[last]


def ranked(scores: Float[np.ndarray, "n"], positive: Bool[np.ndarray, "n"]) -> Ranked:
    """Sorts one class's scores."""
    order = np.argsort(-scores, kind="stable")
    descending = -scores[order]
    places = np.flatnonzero(positive[order])
    values = descending[places]
    starts = np.searchsorted(descending, values, "left")
    ends = np.searchsorted(descending, values, "right")
    cuts = np.unique(np.concatenate([starts, ends]))
    return Ranked(
        n=len(scores),
        positives=order[places],
        order=order.astype(np.int32),
        cuts=cuts,
        starts=np.searchsorted(cuts, starts),
        ends=np.searchsorted(cuts, ends),
    )


def dense_ranks(scores: Float[np.ndarray, "n k"]) -> Int[np.ndarray, "n k"]:
    """Each column's ranks from 0, int32: equal where scores are equal, and in their order.

    >>> dense_ranks(np.array([[0.5], [-1.0], [0.5]])).ravel().tolist()
    [1, 0, 1]
    """
    ranks = np.empty(scores.shape, np.int32)
    for place in range(scores.shape[1]):
        order = np.argsort(scores[:, place], kind="stable")
        ascending = scores[order, place]
        ranks[order, place] = np.concatenate([[0], np.cumsum(ascending[1:] != ascending[:-1])])
    return ranks


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RankStatistic(Statistic):
    """Macro average over classes of an area of each class against the rest.

    A class without weight on positives, or on negatives where the area needs them, is left out of a
    replicate's average; of the table itself, `prepare` has left those out.

    Attributes:
      columns: one class each.
      scores: (n, k) what the columns were sorted by, or their ranks.
      positive: (n, k) bool.
    """

    columns: tuple[Ranked, ...]
    scores: Float[np.ndarray, "n k"]
    positive: Bool[np.ndarray, "n k"]

    stratified: ClassVar[bool] = True

    @abc.abstractmethod
    def _area(self, column: Ranked, weights: np.ndarray) -> np.ndarray:
        """One class's area (r,), NaN where the weights do not define it."""

    @abc.abstractmethod
    def _areas_without(self, place: int) -> np.ndarray:
        """One class's area without each example, (n,)."""

    def weighted(self, weights):
        """See Statistic."""
        total, defined = np.zeros(len(weights)), np.zeros(len(weights))
        with np.errstate(invalid="ignore", divide="ignore"):
            for column in self.columns:
                area = self._area(column, weights)
                known = ~np.isnan(area)
                total += np.where(known, area, 0)
                defined += known
            return total / defined

    def leave_one_out(self):
        """See Statistic."""
        total = np.zeros(len(self.labels))
        for place in range(len(self.columns)):
            total += self._areas_without(place)
        return total / len(self.columns)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class AreaUnderRoc(RankStatistic):
    """The share of (positive, negative) pairs in which the positive scores higher, ties one half.

    Mann and Whitney 1947.
    """

    def _area(self, column, weights):
        higher, at_least, total = column.above(weights)
        positives_higher, positives_at_least = column.positives_above(weights)
        own = np.ascontiguousarray(weights.T)[column.positives]
        mass = own.sum(axis=0)
        negatives = total - mass
        lost = (higher - positives_higher) + (at_least - positives_at_least)
        return 1 - (own * lost).sum(axis=0) / (2 * mass * negatives)

    def _areas_without(self, place):
        scores, positive = self.scores[:, place], self.positive[:, place]
        ups, downs = scores[positive], scores[~positive]
        wins = np.empty(len(scores))
        wins[positive] = _pairs_above(ups, downs)
        wins[~positive] = len(ups) - _pairs_above(downs, ups)
        rest = np.where(positive, (len(ups) - 1) * len(downs), len(ups) * (len(downs) - 1))
        return (wins[positive].sum() - wins) / np.maximum(1, rest)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class AveragePrecision(RankStatistic):
    """The mean over positives of the precision among examples that score at least as high.

    That is the sum over distinct scores of precision times gain of recall, without interpolation.
    It depends on how frequent the class is, so the bootstrap lets the classes' shares vary, and a
    class that was not drawn is left out of that replicate.
    """

    stratified: ClassVar[bool] = False

    def _area(self, column, weights):
        _, at_least, _ = column.above(weights)
        _, positives_at_least = column.positives_above(weights)
        own = np.ascontiguousarray(weights.T)[column.positives]
        # A positive that was not drawn counts nothing, even where nothing above it was drawn.
        precision = np.divide(
            positives_at_least, at_least, out=np.zeros_like(at_least), where=at_least > 0
        )
        return (own * precision).sum(axis=0) / own.sum(axis=0)

    def _areas_without(self, place):
        column = self.columns[place]
        positive = self.positive[:, place]
        _, at_least, _ = (part[..., 0] for part in column.above(np.ones((1, column.n))))
        own = column.positives_above(np.ones((1, column.n)))[1][:, 0]
        count = len(column.positives)
        # Precisions at each positive as they are, and less a negative or a positive above them.
        whole = own / at_least
        no_negative = own / np.maximum(1, at_least - 1)
        no_positive = (own - 1) / np.maximum(1, at_least - 1)
        values = -self.scores[column.positives, place]
        first = np.searchsorted(values, -self.scores[:, place], "left")
        # Example i lies above, or beside, the positives from `first` on: they lose it.
        before = _cumulative(whole)[first]
        changed = np.where(positive, _after(no_positive)[first], _after(no_negative)[first])
        own_term = np.zeros(column.n)
        own_term[column.positives] = no_positive
        remaining = np.where(positive, count - 1, count)
        return (before + changed - own_term) / np.maximum(1, remaining)


def _cumulative(numbers: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(numbers)])


def _after(numbers: np.ndarray) -> np.ndarray:
    return numbers.sum() - _cumulative(numbers)


def _pairs_above(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each score, how many of the others it exceeds, ties one half."""
    others = np.sort(others)
    return (np.searchsorted(others, scores, "left") + np.searchsorted(others, scores, "right")) / 2
