"""Paired permutation tests over examples: swap which model made which prediction, and see what changes.

No distribution is assumed, and any metric will do; for accuracy, McNemar's test is the exact form.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.definition import Definition, check_bounds, describe
from jaxtransfer.evaluation.intervals import chunks
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.rows import Rows, concatenate
from jaxtransfer.evaluation.statistic import (
    CountStatistic,
    MeanStatistic,
    Statistic,
    Undefined,
    grouped_sum,
)
from jaxtransfer.evaluation.table import Predictions

CHECKED = 8
"""So many swaps are measured on tables, too, before a faster way is trusted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExchangeTest:
    """A two-sided test of no difference by exchanging the two models.

    Attributes:
      metric: name of the metric.
      value: the difference a - b that was observed (for seeds, its mean); None where undefined.
      p_value: of no difference; None where the metric is undefined.
      smallest: the smallest p-value that this test could have given.
      n: number of exchangeable units: examples, or pairs of seeds.
      unit: `examples`, `queries` or `seeds`.
      exchanges: how many exchanges were looked at.
      exact: whether they are all there are.
      definition: what exactly was compared.
      note: why there is no p-value, or what it cannot show.
    """

    metric: str
    value: float | None
    p_value: float | None
    smallest: float | None
    n: int
    unit: str
    exchanges: int
    exact: bool
    definition: str
    note: str | None = None

    def can_reach(self, alpha: float = 0.05) -> bool:
        """Whether any outcome could have been significant at alpha."""
        return self.smallest is not None and self.smallest <= alpha

    def is_significant(self, alpha: float = 0.05) -> bool:
        """Whether the p-value is at most alpha."""
        return self.p_value is not None and self.p_value <= alpha

    def __str__(self) -> str:
        size = f"{self.unit}={self.n}"
        if self.value is None or self.p_value is None:
            return f"{self.metric} difference undefined: {self.note} ({size})"
        kind = "exact" if self.exact else f"{self.exchanges} random exchanges"
        text = f"{self.metric} difference {self.value:+.3f} p={self.p_value:.2g} ({size}, {kind})"
        return text if self.note is None else f"{text}; {self.note}"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return dataclasses.asdict(self)


def permutation_test(
    a: Rows,
    b: Rows,
    metric: str | Definition,
    *,
    permutations: int = 9999,
    seed: int = 0,
) -> ExchangeTest:
    """Tests whether two models differ on one metric, by swapping their predictions example by example.

    A ranking is swapped query by query: scores of two models for one query are of no common scale.
    Under the null, which model made which of an example's two predictions is a coin flip, so the
    test is valid for any metric and any sample. It speaks of these two trained models, not of their
    methods: the variance of training is not in it. The p-value counts the observed table as one
    permutation, (1 + as extreme) / (1 + permutations), and is then never too small (Phipson and
    Smyth 2010); when there are no more than `permutations` swaps they are all enumerated.

    Args:
      a: predictions of one model.
      b: those of the other on the same examples, matched by id.
      metric: name or definition.
      permutations: random swaps, at least 1.
      seed: of the swaps.

    Raises:
      EvaluationError: if ids, labels or classes differ, or the metric is a simulation, or of units
        of several rows without being their mean.
    """
    if permutations < 1:
        raise EvaluationError(f"{permutations} permutations test nothing; give at least 1")
    defined = definition(metric, a.kind)
    if defined.interval == "simulation":
        raise EvaluationError(f"{defined.name} is simulated: it has no paired difference")
    b = b.align(a)
    fixed: dict[str, Any] = {"metric": defined.name, "n": len(a), "unit": "examples"}
    left, right = defined.statistic(a), defined.statistic(b)
    for side in (left, right):
        if isinstance(side, Undefined):
            return ExchangeTest(
                **fixed,
                value=None,
                p_value=None,
                smallest=None,
                exchanges=0,
                exact=False,
                definition=defined.text,
                note=side.reason,
            )
        check_bounds(defined, side.value)
    assert isinstance(left, Statistic)
    assert isinstance(right, Statistic)
    value = left.value - right.value
    n = len(left.labels)
    if n == len(a):
        swapped = _swapper(a, b, defined, left, right)
    elif isinstance(left, MeanStatistic) and isinstance(right, MeanStatistic):
        fixed |= {"n": n, "unit": "queries"}
        swapped = _swapped_means(left, right)
    else:
        raise EvaluationError(
            f"{defined.name} has {n} units in {len(a)} rows and is no mean over them: it has no"
            " permutation test"
        )
    rng = np.random.default_rng(seed)
    exact = 2 ** min(n, 60) <= permutations
    if exact:
        differences = swapped(_all_masks(n))
    else:
        differences = np.concatenate(
            [swapped(rng.random((count, n)) < 0.5) for count in chunks(permutations, 4 * n)]
        )
    extreme = count_extreme(differences, value)
    total = len(differences)
    return ExchangeTest(
        **fixed,
        value=value,
        p_value=extreme / total if exact else (1 + extreme) / (1 + total),
        smallest=min(1.0, 2 / total) if exact else 1 / (1 + total),
        exchanges=total,
        exact=exact,
        definition=describe(defined, left),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class McNemar:
    """McNemar's exact test: the examples that only one of two models has right.

    Attributes:
      only_a: examples that only the first has right.
      only_b: examples that only the second has right.
      n: number of examples.
      p_value: two-sided, of equal accuracy: the binomial tail of the smaller count at 1/2, doubled.
    """

    only_a: int
    only_b: int
    n: int
    p_value: float

    def __str__(self) -> str:
        return f"{self.only_a} to {self.only_b} of n={self.n}, p={self.p_value:.2g} (exact McNemar)"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return dataclasses.asdict(self)


def mcnemar(a: Predictions, b: Predictions) -> McNemar:
    """Tests whether two classifiers have the same accuracy (McNemar 1947, exact form).

    The permutation test of accuracy with all swaps enumerated.

    Raises:
      EvaluationError: if ids, labels or classes differ.
    """
    from scipy.special import bdtr

    b = b.align(a)
    right_a, right_b = a.predicted == a.labels, b.predicted == a.labels
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    tail = float(bdtr(min(only_a, only_b), only_a + only_b, 0.5))
    return McNemar(only_a=only_a, only_b=only_b, n=len(a), p_value=min(1.0, 2 * tail))


Swapped = Callable[[Bool[np.ndarray, "r n"]], Float[np.ndarray, "r"]]
"""From which examples are swapped, (r, n), to the difference of the two models, (r,)."""


def _swapper(a: Rows, b: Rows, defined: Definition, left: Statistic, right: Statistic) -> Swapped:
    """The fastest way to evaluate swaps that gives what measuring the swapped tables gives.

    A metric may depend on a table beyond its rows, as bins of equal mass do; a few swaps show it.
    """
    stacked = _stack(a, b)
    anew = _swapped_tables(stacked, defined)
    if type(left) is type(right) is MeanStatistic:
        fast = _swapped_means(left, right)
    elif type(left) is type(right) is CountStatistic:
        fast = _swapped_counts(left, right)
    elif isinstance(both := defined.statistic(stacked), Statistic):
        fast = _swapped_rows(both, len(a))
    else:
        return anew
    masks = np.random.default_rng(0).random((CHECKED, len(a))) < 0.5
    masks[0] = False
    alike = np.allclose(fast(masks), anew(masks), rtol=1e-9, atol=1e-12, equal_nan=True)
    return fast if alike else anew


def _swapped_means(left: MeanStatistic, right: MeanStatistic) -> Swapped:
    gaps = (left.numbers - right.numbers) / len(left.numbers)
    return lambda masks: gaps.sum() - 2 * (masks @ gaps)


def _swapped_counts(left: CountStatistic, right: CountStatistic) -> Swapped:
    classes, labels = left.classes, left.labels
    pairs = (labels * classes + left.predicted) * classes + right.predicted
    cells, index, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    truth, first, second = cells // classes**2, cells // classes % classes, cells % classes
    labelled = np.bincount(labels, minlength=classes).astype(np.float64)

    def side(kept: np.ndarray, taken: np.ndarray, mine: np.ndarray, other: np.ndarray):
        correct, predicted = (np.zeros((len(kept), classes)) for _ in range(2))
        for weights, guess in ((kept, mine), (taken, other)):
            groups, sums = grouped_sum(weights, guess)
            predicted[:, groups] += sums
            hits = np.flatnonzero(guess == truth)
            if hits.size:
                groups, sums = grouped_sum(weights[:, hits], truth[hits])
                correct[:, groups] += sums
        return left.rates(correct, predicted, np.broadcast_to(labelled, correct.shape))

    def swapped(masks: np.ndarray) -> np.ndarray:
        _, moved = grouped_sum(masks.astype(np.float64), index.ravel())
        kept = counts - moved
        return side(kept, moved, first, second) - side(kept, moved, second, first)

    return swapped


def _swapped_rows(both: Statistic, n: int) -> Swapped:
    def swapped(masks: np.ndarray) -> np.ndarray:
        taken = masks.astype(np.float64)
        weights = np.concatenate([1 - taken, taken], axis=1)
        return both.weighted(weights) - both.weighted(1 - weights)

    return swapped


def _swapped_tables(stacked: Rows, defined: Definition) -> Swapped:
    n = len(stacked) // 2

    def value(rows: np.ndarray) -> float:
        statistic = defined.statistic(stacked.take(rows))
        return math.nan if isinstance(statistic, Undefined) else statistic.value

    def swapped(masks: np.ndarray) -> np.ndarray:
        rows = np.arange(n) + n * masks.astype(np.int64)
        others = np.arange(n) + n * (~masks).astype(np.int64)
        return np.array([value(mine) - value(theirs) for mine, theirs in zip(rows, others)])

    return swapped


def _stack(a: Rows, b: Rows) -> Rows:
    """One table of both models' rows, those of the first before those of the second."""
    sides = [
        dataclasses.replace(table, ids=np.char.add(name, table.ids))
        for name, table in (("a/", a), ("b/", b))
    ]
    if (a.split is None) != (b.split is None) or set(a.groups) != set(b.groups):
        sides = [dataclasses.replace(table, split=None, groups={}) for table in sides]
    return concatenate(sides)


def _all_masks(n: int) -> Bool[np.ndarray, "r n"]:
    return (np.arange(2**n)[:, None] >> np.arange(n)) % 2 == 1


def count_extreme(differences: np.ndarray, value: float) -> int:
    """How many are as far from 0 as the value; an undefined one counts, against significance."""
    slack = 1e-9 * abs(value) + 1e-15
    return int((~(np.abs(differences) < abs(value) - slack)).sum())
