"""What a metric's name means, and what a metric of a table is: a number never travels without its definition."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.statistic import Statistic, Undefined


@dataclasses.dataclass(frozen=True, kw_only=True)
class Definition:
    """What a metric's name means.

    Attributes:
      name: how it is called.
      text: the definition, with its class and tie policy; a table's own counts are added to it.
      prepare: from a table to the statistic, or why the table does not define it.
      interval: `wilson` (a proportion of examples), `logit` (jackknife on the logit scale, for an
        area under the ROC curve), `bca` (bootstrap), or
        `simulation` (the value is a simulation's mean and the interval its central part: a spread,
        not a confidence interval).
      bounds: smallest and largest value; intervals are cut there.
      maximise: whether larger is better.
      kind: the `kind` of the tables that it measures.
    """

    name: str
    text: str
    prepare: Callable[[Any], Statistic | Undefined]
    interval: Literal["wilson", "logit", "bca", "simulation"] = "bca"
    bounds: tuple[float, float] = (0.0, 1.0)
    maximise: bool = True
    kind: str = "classification"

    def statistic(self, table: Any) -> Statistic | Undefined:
        """The statistic of a table, or why it has none: a value that is not finite is a reason too."""
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            found = self.prepare(table)
            if isinstance(found, Undefined) or self.interval == "simulation":
                return found
            if not np.isfinite(found.value):
                return Undefined(f"its value is {found.value} in float64, n={len(found.labels)}")
            return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """A metric of a table.

    Attributes:
      name: the metric.
      value: its value, or None where it is undefined.
      ci: interval at the confidence asked for, or None where there is none.
      n: number of examples.
      definition: what exactly was computed; numbers of different definition are not comparable.
      undefined: why the value or the interval is None.
    """

    name: str
    value: float | None
    ci: tuple[float, float] | None
    n: int
    definition: str
    undefined: str | None = None

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.name} undefined: {self.undefined} (n={self.n})"
        interval = f"[{self.ci[0]:.3f}, {self.ci[1]:.3f}]" if self.ci else f"({self.undefined})"
        return f"{self.name} {self.value:.3f} {interval} (n={self.n})"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values; `undefined` is there only where something is."""
        document: dict[str, Any] = {
            "value": self.value,
            "ci": None if self.ci is None else list(self.ci),
            "n": self.n,
            "definition": self.definition,
        }
        return document if self.undefined is None else {**document, "undefined": self.undefined}

    @classmethod
    def from_json(cls, name: str, document: dict[str, Any]) -> "Measured":
        """Inverse of `to_json`."""
        return cls(
            name=name,
            value=document["value"],
            ci=None if document["ci"] is None else (document["ci"][0], document["ci"][1]),
            n=document["n"],
            definition=document["definition"],
            undefined=document.get("undefined"),
        )


def check_bounds(defined: Definition, found: float) -> None:
    """Finds a definition whose bounds are wrong, before an interval is cut at them.

    Raises:
      EvaluationError: if the value lies outside of them.
    """
    low, high = defined.bounds
    if not low - 1e-9 <= found <= high + 1e-9:
        raise EvaluationError(
            f"{defined.name} is {found:g}, outside of its bounds {defined.bounds}: give its"
            " Definition the bounds that it has"
        )


def check_comparable(a: Measured, b: Measured) -> None:
    """Refuses to compare numbers that mean different things, such as macro-F1 over 3 and 4 classes.

    Raises:
      EvaluationError: naming both definitions, if they differ.
    """
    if (a.name, a.definition) != (b.name, b.definition):
        raise EvaluationError(
            f"numbers of different definition cannot be compared: {a.name} is {a.definition!r},"
            f" {b.name} is {b.definition!r}; measure both in the same way"
        )


def describe(defined: Definition, statistic: Statistic) -> str:
    """The definition's text with the table's own counts."""
    return f"{defined.text} ({statistic.detail})" if statistic.detail else defined.text
