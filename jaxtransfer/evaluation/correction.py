"""P-values of a family of comparisons, adjusted for how many there are.

Holm bounds the chance of any false rejection, Benjamini-Hochberg the expected share of false ones.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from jaxtransfer.errors import EvaluationError

Method = Literal["holm", "benjamini_hochberg"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corrected:
    """A family of comparisons after correction.

    Attributes:
      method: `holm` or `benjamini_hochberg`.
      alpha: the rate that is kept: of any false rejection under Holm, the expected share of false
        ones among the rejected under Benjamini-Hochberg.
      family: how many comparisons the family has, those without a p-value included.
      p_values: name to the p-value; None where the comparison is undefined.
      adjusted: name to the adjusted p-value; None where it is undefined.
    """

    method: Method
    alpha: float
    family: int
    p_values: Mapping[str, float | None]
    adjusted: Mapping[str, float | None]

    @property
    def rejected(self) -> tuple[str, ...]:
        """The comparisons whose adjusted p-value is at most alpha, in the order given."""
        return tuple(name for name, p in self.adjusted.items() if p is not None and p <= self.alpha)

    def __str__(self) -> str:
        names = ", ".join(self.rejected) or "none"
        rate = "family-wise error rate" if self.method == "holm" else "false discovery rate"
        return (
            f"{len(self.rejected)} of a family of {self.family} rejected at {rate}"
            f" {self.alpha:g} ({self.method}): {names}"
        )

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "method": self.method,
            "alpha": self.alpha,
            "family": self.family,
            "p_values": dict(self.p_values),
            "adjusted": dict(self.adjusted),
            "rejected": list(self.rejected),
        }


def correct(
    p_values: Mapping[str, float | None],
    method: Method = "holm",
    *,
    alpha: float = 0.05,
    family: int | None = None,
) -> Corrected:
    """Corrects named comparisons as one family.

    Args:
      p_values: name to p-value; an undefined comparison (None) stays undefined and counts.
      method: `holm` or `benjamini_hochberg`.
      alpha: the rate to keep, in (0, 1).
      family: how many comparisons were made, if more than are listed, as by a search that reports
        its best finds only.

    Raises:
      EvaluationError: for another method, a rate outside of (0, 1), a p-value outside of [0, 1], or
        a family smaller than the list.

    >>> print(correct({"a": 0.01, "b": 0.04, "c": None}))
    1 of a family of 3 rejected at family-wise error rate 0.05 (holm): a
    """
    functions = {"holm": holm, "benjamini_hochberg": benjamini_hochberg}
    if method not in functions:
        raise EvaluationError(f"correction {method!r} is unknown; there are {sorted(functions)}")
    if not 0 < alpha < 1:
        raise EvaluationError(f"alpha {alpha} is not between 0 and 1")
    size = len(p_values) if family is None else family
    if size < len(p_values):
        raise EvaluationError(f"a family of {size} cannot hold {len(p_values)} comparisons")
    defined = {name: p for name, p in p_values.items() if p is not None}
    found = functions[method](list(defined.values()), family=size)
    adjusted = dict(zip(defined, map(float, found)))
    return Corrected(
        method=method,
        alpha=alpha,
        family=size,
        p_values=dict(p_values),
        adjusted={name: adjusted.get(name) for name in p_values},
    )


def holm(p_values: Sequence[float], *, family: int | None = None) -> Float[np.ndarray, "m"]:
    """Adjusts p-values so that the chance of any false rejection is kept (Holm 1979).

    Valid whatever the dependence between the comparisons; reject where the result is at most alpha.

    Args:
      p_values: the family's p-values.
      family: its size, if it has more comparisons than p-values; those count as p = 1.

    Raises:
      EvaluationError: if a value is not in [0, 1], as that of an undefined comparison.

    >>> holm([0.01, 0.04, 0.03]).round(2)
    array([0.03, 0.06, 0.06])
    """
    values, order, size = _sorted(p_values, family)
    steps = values[order] * np.arange(size, size - len(values), -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def benjamini_hochberg(
    p_values: Sequence[float], *, family: int | None = None
) -> Float[np.ndarray, "m"]:
    """Adjusts p-values so that the false discovery rate is kept (Benjamini and Hochberg 1995).

    Valid for independent or positively dependent comparisons (Benjamini and Yekutieli 2001).

    Args:
      p_values: the family's p-values.
      family: its size, if it has more comparisons than p-values; those count as p = 1.

    Raises:
      EvaluationError: if a value is not in [0, 1], as that of an undefined comparison.

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(2)
    array([0.03, 0.04, 0.04])
    """
    values, order, size = _sorted(p_values, family)
    steps = values[order] * size / np.arange(1, len(values) + 1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    return adjusted


def _sorted(p_values: Sequence[float], family: int | None) -> tuple[np.ndarray, np.ndarray, int]:
    """The checked values, the order that sorts them, and the size of their family."""
    for index, p_value in enumerate(p_values):
        if p_value is None or not 0 <= p_value <= 1:
            raise EvaluationError(f"p-value {index} is {p_value}: leave undefined comparisons out")
    values = np.asarray(p_values, np.float64)
    size = len(values) if family is None else family
    if size < len(values):
        raise EvaluationError(f"a family of {size} cannot hold {len(values)} p-values")
    return values, np.argsort(values, kind="stable"), size
