"""Priors of one parameter: what may be drawn, and which value a quantile is.

Every prior names a default inside it, so that a sweep can begin with what a rung has now.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from jaxtransfer.errors import ConfigError

DIGITS = 4
"""Significant digits of a drawn number: what is printed is what was run."""

Value = float | int | str | tuple[Any, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prior:
    """Base of priors.

    Attributes:
      kind: what JSON calls it.
      default: where a sweep begins; inside the prior.
    """

    kind: ClassVar[str] = ""
    default: Any

    def __post_init__(self):
        if not self.contains(self.default):
            raise ConfigError(
                f"the prior {self} excludes its default {self.default!r}: widen it, or give"
                " another default"
            )

    def contains(self, value: Any) -> bool:
        """Whether the prior may draw the value."""
        return value in self.ends()

    def at(self, position: float) -> Any:
        """The value at a quantile in [0, 1)."""
        ends = self.ends()
        return ends[min(int(position * len(ends)), len(ends) - 1)]

    def ends(self) -> tuple[Any, ...]:
        """The extremes of the values, or all of them where they are few."""
        return (self.default,)

    def to_json(self) -> dict[str, Any]:
        """Plain values, which `search_space.from_json` reads back."""
        return {"prior": self.kind, **json.loads(json.dumps(dataclasses.asdict(self)))}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Uniform(Prior):
    """Evenly between two numbers, in four significant digits.

    >>> Uniform(low=0.0, high=0.2, default=0.1).at(0.25)
    0.05
    """

    kind: ClassVar[str] = "uniform"
    low: float
    high: float

    def __post_init__(self):
        _check_ends(self, self.low, self.high)
        super().__post_init__()

    def contains(self, value: Any) -> bool:
        """Whether it is a number from `low` to `high`."""
        return _is_number(value) and self.low <= value <= self.high

    def at(self, position: float) -> float:
        """The value at a quantile in [0, 1)."""
        return _rounded(self.low + position * (self.high - self.low), self.low, self.high)

    def ends(self) -> tuple[float, ...]:
        """Smallest and largest value."""
        return float(self.low), float(self.high)

    def __str__(self) -> str:
        return f"{self.kind} [{self.low:g}, {self.high:g}]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogUniform(Uniform):
    """Evenly on a logarithmic scale between two positive numbers.

    >>> LogUniform(low=1e-4, high=1e-2, default=1e-3).at(0.5)
    0.001
    """

    kind: ClassVar[str] = "log_uniform"

    def __post_init__(self):
        if not (_is_number(self.low) and self.low > 0):
            raise ConfigError(f"a log_uniform prior begins above 0, not at {self.low!r}")
        super().__post_init__()

    def at(self, position: float) -> float:
        """The value at a quantile in [0, 1)."""
        low, high = math.log(self.low), math.log(self.high)
        return _rounded(math.exp(low + position * (high - low)), self.low, self.high)


@dataclasses.dataclass(frozen=True, kw_only=True)
class IntUniform(Prior):
    """Evenly among whole numbers, both ends included.

    >>> IntUniform(low=1, high=4, default=2).at(0.99)
    4
    """

    kind: ClassVar[str] = "int_uniform"
    low: int
    high: int

    def __post_init__(self):
        _check_ends(self, self.low, self.high, whole=True)
        super().__post_init__()

    def contains(self, value: Any) -> bool:
        """Whether it is a whole number from `low` to `high`."""
        return _is_number(value, whole=True) and self.low <= value <= self.high

    def at(self, position: float) -> int:
        """The value at a quantile in [0, 1)."""
        return min(self.low + int(position * (self.high - self.low + 1)), self.high)

    def ends(self) -> tuple[int, ...]:
        """Smallest and largest value."""
        return self.low, self.high

    def __str__(self) -> str:
        return f"{self.kind} [{self.low}, {self.high}]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice(Prior):
    """Evenly among values, in their order where they have one.

    >>> Choice(values=("cosine", "constant"), default="cosine").at(0.5)
    'constant'
    """

    kind: ClassVar[str] = "choice"
    values: tuple[Value, ...]

    def __post_init__(self):
        for name in ("values", "default"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        if not self.values or len(set(self.values)) != len(self.values):
            raise ConfigError(f"a choice needs distinct values, not {self.values!r}")
        super().__post_init__()

    def ends(self) -> tuple[Value, ...]:
        """All values."""
        return self.values

    def __str__(self) -> str:
        return f"{self.kind} {self.values!r}"


PRIORS: dict[str, type[Prior]] = {
    prior.kind: prior for prior in (LogUniform, Uniform, IntUniform, Choice)
}


def powers_of_two(low: int, high: int, default: int) -> Choice:
    """The powers of two from `low` to `high`.

    >>> powers_of_two(2, 16, 8).values
    (2, 4, 8, 16)
    """
    values = tuple(2**k for k in range(31) if low <= 2**k <= high)
    return Choice(values=values, default=default)


def plain(value: Any) -> Any:
    """A value of a choice, a list as the tuple that a JSON file had to write as one.

    Raises:
      ConfigError: if it is a section, or holds one.

    >>> plain([2, ["a"]])
    (2, ('a',))
    """
    if isinstance(value, Mapping):
        raise ConfigError(
            f"a choice is among numbers, texts and sequences of these, not the section {dict(value)!r}"
        )
    return tuple(map(plain, value)) if isinstance(value, list | tuple) else value


def _is_number(value: Any, *, whole: bool = False) -> bool:
    kinds = int if whole else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)


def _check_ends(prior: Prior, low: Any, high: Any, *, whole: bool = False) -> None:
    if not (_is_number(low, whole=whole) and _is_number(high, whole=whole) and low < high):
        kind = "whole numbers" if whole else "numbers"
        raise ConfigError(
            f"a {prior.kind} prior goes from a smaller to a larger of two {kind}, not from"
            f" {low!r} to {high!r}"
        )


def _rounded(value: float, low: float, high: float) -> float:
    return min(max(float(f"{value:.{DIGITS}g}"), low), high)
