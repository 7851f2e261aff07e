"""Rates per group: who is selected, and how often rightly, for each class against the rest.

A rate without a denominator is undefined, never 0.
"""

import dataclasses
from typing import Any

import numpy as np

from jaxtransfer.errors import EvaluationError, nearest
from jaxtransfer.evaluation.intervals import wilson
from jaxtransfer.evaluation.table import Predictions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rate:
    """A proportion of the examples of one group.

    Attributes:
      value: successes / n; None where n is 0.
      ci: Wilson interval, which also holds for a group of one; None where n is 0.
      successes: numerator.
      n: denominator.
      undefined: why there is no value.
    """

    value: float | None
    ci: tuple[float, float] | None
    successes: int
    n: int
    undefined: str | None = None

    def __str__(self) -> str:
        if self.value is None or self.ci is None:
            return f"undefined, n=0 ({self.undefined})"
        return f"{self.value:.3f} [{self.ci[0]:.3f}, {self.ci[1]:.3f}] (n={self.n})"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values; `undefined` is there only where something is."""
        document = {"value": self.value, "ci": self.ci and list(self.ci), "n": self.n}
        return document if self.undefined is None else {**document, "undefined": self.undefined}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassRates:
    """Rates of one class against the rest, in one group.

    Attributes:
      label: name of the class that counts as positive.
      selection_rate: predicted positive, of all.
      tpr: predicted positive, of the positives (recall).
      fpr: predicted positive, of the negatives.
      precision: positives, of those predicted positive.
    """

    label: str
    selection_rate: Rate
    tpr: Rate
    fpr: Rate
    precision: Rate

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        rates = ("selection_rate", "tpr", "fpr", "precision")
        return {"label": self.label, **{name: getattr(self, name).to_json() for name in rates}}


def group_column(table: Predictions, column: str) -> np.ndarray:
    """The group of each example.

    Raises:
      EvaluationError: with the nearest names, if the table has no such column.
    """
    if column not in table.groups:
        raise EvaluationError(
            f"{table.source}: no group column {column!r}; nearest: {nearest(column, table.groups)}"
        )
    return table.groups[column]


def class_rates(
    table: Predictions, *, positive: str | None = None, confidence: float = 0.95
) -> tuple[ClassRates, ...]:
    """The rates of each class against the rest, or of the positive class alone.

    Args:
      table: the examples of one group.
      positive: name of the positive class; None means each in turn.
      confidence: nominal coverage of Wilson's intervals.

    Raises:
      EvaluationError: if the table has no such class.
    """
    found = []
    n = len(table)
    for index in positive_classes(table, positive):
        label, chosen = table.labels == index, table.predicted == index
        both, labelled, selected = int((label & chosen).sum()), int(label.sum()), int(chosen.sum())
        name = table.classes[index]
        wrong = selected - both
        found.append(
            ClassRates(
                label=name,
                selection_rate=_rate(selected, n, "no example", confidence),
                tpr=_rate(both, labelled, f"no example of class {name!r}", confidence),
                fpr=_rate(wrong, n - labelled, f"every example is of class {name!r}", confidence),
                precision=_rate(both, selected, f"none is predicted {name!r}", confidence),
            )
        )
    return tuple(found)


def positive_classes(table: Predictions, positive: str | None) -> list[int]:
    """Positions of the classes that are taken against the rest: the one named, or each in turn.

    Raises:
      EvaluationError: if the table has no such class.
    """
    if positive is None:
        return list(range(len(table.classes)))
    if positive not in table.classes:
        raise EvaluationError(
            f"{table.source}: the positive class {positive!r} is not a class; nearest:"
            f" {nearest(positive, table.classes)}"
        )
    return [table.classes.index(positive)]


def _rate(successes: int, n: int, reason: str, confidence: float) -> Rate:
    if n == 0:
        return Rate(value=None, ci=None, successes=0, n=0, undefined=reason)
    ci = wilson(successes, n, confidence)
    return Rate(value=successes / n, ci=ci, successes=successes, n=n)
