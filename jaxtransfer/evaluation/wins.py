"""On how many examples one of two models does better: what a difference of means is made of.

A difference of 0.01 may be one example in a hundred, or fifty won and forty lost.
"""

import dataclasses
from typing import Any

import numpy as np

from jaxtransfer.evaluation.definition import Definition
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.permutation import mcnemar
from jaxtransfer.evaluation.rows import Rows
from jaxtransfer.evaluation.statistic import MeanStatistic, Statistic, SumsStatistic, Undefined
from jaxtransfer.evaluation.table import Predictions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wins:
    """Examples on which one of two models does better.

    Attributes:
      only_a: examples that the first does better on: it alone is right, or its number is better.
      only_b: those that the second does better on.
      n: examples, or queries of a ranking.
      of: what is compared example by example: `right`, or the metric.
      p_value: exact McNemar test of equal accuracy, where right and wrong are compared; else None.
    """

    only_a: int
    only_b: int
    n: int
    of: str
    p_value: float | None

    def __str__(self) -> str:
        if self.p_value is None:
            return f"better in {self.of} on {self.only_a} and {self.only_b} of n={self.n}"
        return (
            f"alone right on {self.only_a} and {self.only_b} of n={self.n}"
            f" (exact McNemar p={self.p_value:.2g})"
        )

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return dataclasses.asdict(self)


def wins(a: Rows, b: Rows, metric: str | Definition) -> Wins | None:
    """Counts the examples on which each of two models does better.

    Of a classification, right and wrong predictions are compared, whatever the metric. Of other
    tables, the metric of each example by itself; None for a metric that a single example does not
    define, as a correlation.

    Raises:
      EvaluationError: if ids, truths or classes differ.

    >>> one, other = (
    ...     Predictions(ids=["a", "b"], labels=[0, 1], logits=x, classes=("p", "q"))
    ...     for x in ([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]])
    ... )
    >>> print(wins(one, other, "accuracy"))
    alone right on 1 and 0 of n=2 (exact McNemar p=1)
    """
    if isinstance(a, Predictions) and isinstance(b, Predictions):
        found = mcnemar(a, b)
        return Wins(
            only_a=found.only_a,
            only_b=found.only_b,
            n=found.n,
            of="right",
            p_value=found.p_value,
        )
    defined = definition(metric, a.kind)
    one, other = defined.prepare(a), defined.prepare(b.align(a))
    mine, its = _numbers(one), _numbers(other)
    if mine is None or its is None:
        return None
    gaps = mine - its if defined.maximise else its - mine
    # Equal numbers that differ in the last digit are equal.
    gaps = np.where(np.abs(gaps) < 1e-12, 0.0, gaps)
    return Wins(
        only_a=int((gaps > 0).sum()),
        only_b=int((gaps < 0).sum()),
        n=len(gaps),
        of=defined.name,
        p_value=None,
    )


def _numbers(statistic: Statistic | Undefined) -> np.ndarray | None:
    """The metric of each example by itself, (n,)."""
    if isinstance(statistic, MeanStatistic):
        return statistic.numbers
    if not isinstance(statistic, SumsStatistic):
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        found = statistic.function(statistic.numbers)
    return found if np.isfinite(found).all() else None
