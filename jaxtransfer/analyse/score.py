"""A score with what it was computed from, or why it is undefined.

Every number of an analysis is one of these, so that none is printed without its definition.
"""

import dataclasses
import math
from typing import Any

from jaxtransfer.errors import EvaluationError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """A number about features, labels or a network.

    Attributes:
      name: what it is called in tables.
      value: finite; None where it is undefined.
      n: number of examples that it was computed from; 0 for what needs none.
      definition: what exactly was computed, and its source.
      undefined: why there is no value; None where there is one.
      note: what the value leaves out, or where it stands for a limit.
      interval: 95 % confidence interval, where there is one.
    """

    name: str
    value: float | None
    n: int
    definition: str
    undefined: str | None = None
    note: str | None = None
    interval: tuple[float, float] | None = None

    def __post_init__(self):
        if (self.value is None) == (self.undefined is None):
            raise EvaluationError(f"score {self.name!r} needs a value, or why it has none")
        if self.value is not None and not math.isfinite(self.value):
            raise EvaluationError(f"score {self.name!r} is {self.value}, which is not finite")

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.name} undefined: {self.undefined} (n={self.n})"
        size = f" (n={self.n})" if self.n else ""
        text = f"{self.name} {self.value:.4g}{size}"
        return text if self.note is None else f"{text}; {self.note}"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        document = dataclasses.asdict(self)
        if self.interval is not None:
            document["interval"] = list(self.interval)
        return document


def undefined(name: str, n: int, definition: str, reason: str) -> Score:
    """A score that these examples do not define."""
    return Score(name=name, value=None, n=n, definition=definition, undefined=reason)


def joined(*notes: str | None) -> str | None:
    """The notes that there are, as one; None if there is none."""
    return "; ".join(note for note in notes if note) or None
