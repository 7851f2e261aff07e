"""Systems compared: every pair with its difference, corrected interval, tests beside it, and what would settle it."""

import dataclasses
from typing import Any

from jaxtransfer.evaluation.definition import Measured
from jaxtransfer.evaluation.noninferiority import NonInferiority
from jaxtransfer.evaluation.permutation import ExchangeTest
from jaxtransfer.evaluation.power import SampleSize
from jaxtransfer.evaluation.wins import Wins
from jaxtransfer.protocol import compared_words
from jaxtransfer.protocol.decision import Comparison


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """Two systems compared.

    Attributes:
      comparison: the difference `first` minus `second`, with corrected interval and p-value.
      exchange: a test without distribution, beside it: swaps of examples for one table each, sign
        flips of seeds for several; None where the metric allows none.
      exchange_adjusted: its p-value, corrected by Holm for all pairs; None where undefined.
      wins: examples that one does better on, a pair of tables each.
      noninferiority: of the first to the second, at the margin; None if it was not asked for.
      needed: what would settle the pair; None where it is settled.
      seeds: which tables were paired.
    """

    comparison: Comparison
    exchange: ExchangeTest | None
    exchange_adjusted: float | None
    wins: tuple[Wins, ...]
    noninferiority: NonInferiority | None
    needed: SampleSize | None
    seeds: str

    @property
    def is_settled(self) -> bool:
        """Whether the question that was asked has an answer."""
        if self.noninferiority is not None:
            return self.noninferiority.verdict != "inconclusive"
        return self.comparison.is_significant

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        found = self.comparison.to_json()
        found.pop("incumbent")
        return {
            "a": self.comparison.first,
            "b": self.comparison.second,
            **found,
            "distinguishable": self.comparison.is_significant,
            "exchange": None if self.exchange is None else self.exchange.to_json(),
            "exchange_adjusted": self.exchange_adjusted,
            "wins": [one.to_json() for one in self.wins],
            "noninferiority": None
            if self.noninferiority is None
            else self.noninferiority.to_json(),
            "needed": None if self.needed is None else self.needed.to_json(),
            "pairing": self.seeds,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compared:
    """Systems, each measured and compared with every other.

    Attributes:
      metric: name of the metric.
      kind: of the tables.
      split: whose rows were compared; None for all of them.
      margin: the difference that counts, in units of the metric.
      confidence: of the intervals; 1 minus it is the error rate of the family of pairs.
      asks_noninferiority: whether non-inferiority at the margin was asked.
      measured: system to its value, by its own interval, not corrected.
      seeds: system to its number of tables.
      pairs: every pair, in the order given.
      notes: what the numbers leave out.
    """

    metric: str
    kind: str
    split: str | None
    margin: float
    confidence: float
    asks_noninferiority: bool
    measured: dict[str, Measured]
    seeds: dict[str, int]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]

    @property
    def correction(self) -> str:
        """How p-values and intervals are corrected."""
        if len(self.pairs) == 1:
            return "one pair, nothing to correct for"
        return (
            f"{'Bonferroni' if self.asks_noninferiority else 'Holm'} over {len(self.pairs)} pairs"
        )

    @property
    def conclusion(self) -> str:
        """One sentence: what was measured, on what, the differences, and what they do not show."""
        return compared_words.conclusion(self)

    def __str__(self) -> str:
        return compared_words.text(self)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "metric": self.metric,
            "kind": self.kind,
            "split": self.split,
            "margin": self.margin,
            "confidence": self.confidence,
            "correction": self.correction,
            "noninferiority": self.asks_noninferiority,
            "systems": {
                name: {**value.to_json(), "seeds": self.seeds[name]}
                for name, value in self.measured.items()
            },
            "pairs": [pair.to_json() for pair in self.pairs],
            "notes": list(self.notes),
            "conclusion": self.conclusion,
        }
