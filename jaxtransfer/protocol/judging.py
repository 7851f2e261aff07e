"""The criterion applied to a ladder: which rungs a guard or the budget forbids, whether it is met, and the verdict."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.evaluation.bound import Verdict as Outcome
from jaxtransfer.evaluation.paired import paired_difference
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol.acceptance import AcceptanceSettings, BudgetSettings
from jaxtransfer.protocol.criterion import (
    FAIL,
    INCONCLUSIVE,
    PASS,
    Part,
    failed_guards,
    improvement,
    parts_of,
    together,
)
from jaxtransfer.protocol.decision import Tables, Verdict, may_exceed
from jaxtransfer.protocol.serving_figures import Serving


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judge:
    """What the criterion is applied with.

    Attributes:
      rule: the criterion.
      budget: of which an ensemble has to fit too.
      serving: rung to what it costs to serve it; empty where nothing bounds that.
      trainable: rung to its trainable parameters.
      ensemble: name of the rung that averages the incumbent's seeds, if there is one.
      members: how many seeds that are.
    """

    rule: AcceptanceSettings
    budget: BudgetSettings
    serving: Mapping[str, Serving]
    trainable: Mapping[str, int]
    ensemble: str | None
    members: int

    def parts(self, rung: str, incumbent: str, tables: Sequence[Predictions]) -> list[Part]:
        """Target and guards of a rung; of an ensemble, as that of the incumbent's seeds."""
        return parts_of(tables, self.rule, self._serving(rung, incumbent))

    def veto(self, rung: str, incumbent: str, tables: Sequence[Predictions]) -> str | None:
        """Why a rung cannot be accepted, if a guard fails or an ensemble does not fit the budget."""
        return self._over_budget(rung, incumbent) or failed_guards(
            self.parts(rung, incumbent, tables)
        )

    def is_met(
        self, chosen: str, first: str, tables: Tables, verdicts: Mapping[str, Verdict]
    ) -> bool:
        """Whether the incumbent meets the criterion on the acceptance half; without a target, whether it improved."""
        comparison = verdicts[chosen].comparison
        own = tables[chosen]
        found = self.parts(chosen, chosen if comparison is None else comparison.second, own)
        if self.rule.target is None:
            return chosen != first and all(part.verdict == PASS for part in found)
        return together(found) == PASS

    def verdict(
        self,
        chosen: str,
        first: str,
        members_of: str,
        tables: Tables,
        verdicts: Mapping[str, Verdict],
    ) -> tuple[Outcome, list[Part]]:
        """The verdict of the ladder, on tables that took no part in the choice.

        Args:
          chosen: the rung that was chosen.
          first: the first rung, over which the improvement counts where there is no target.
          members_of: the rung whose seeds a chosen ensemble averages; else the chosen one.
          tables: rung to its tables of the split.
          verdicts: on the acceptance half, which alone says why nothing replaced the first rung.
        """
        found = self.parts(chosen, members_of, tables[chosen])
        if self.rule.target is None:
            found = [*self._improvement(chosen, first, tables, verdicts), *found]
        return together(found), found

    def _improvement(
        self, chosen: str, first: str, tables: Tables, verdicts: Mapping[str, Verdict]
    ) -> list[Part]:
        if chosen != first:
            difference = paired_difference(
                tables[chosen],
                tables[first],
                self.rule.metric,
                margin=self.rule.margin,
                confidence=self.rule.level,
            )
            return [improvement(difference, self.rule, first)]
        tried = [v.comparison for v in verdicts.values() if v.comparison is not None]
        if not tried:
            return []
        is_open = any(item.ci is None or may_exceed(item, self.rule.margin) for item in tried)
        return [
            Part(
                name="improvement",
                wanted=f"{self.rule.metric} better than {first} by more than {self.rule.margin:g}",
                verdict=INCONCLUSIVE if is_open else FAIL,
                value=None,
                ci=None,
                n=tried[0].difference.n,
                note=f"no rung replaced {first} on the acceptance half",
            )
        ]

    def _serving(self, rung: str, incumbent: str) -> Serving | None:
        if rung == self.ensemble and incumbent in self.serving:
            return self.serving[incumbent].times(self.members)
        return self.serving.get(rung)

    def _over_budget(self, rung: str, incumbent: str) -> str | None:
        if rung != self.ensemble:
            return None
        count, limit = self.members * self.trainable[incumbent], self.budget.trainable
        if limit is not None and count > limit:
            return (
                f"over the budget: {self.members} seeds train {count:,} parameters of {limit:,.0f}"
            )
        served, bound = self._serving(rung, incumbent), self.budget.latency_p95_ms
        if served is not None and bound is not None:
            value, (low, _) = served.latency_p95_ms(self.rule.confidence)
            if low is not None and low > bound:
                return f"over the budget: {self.members} networks take {value:.3g} ms of {bound:g}"
        return None


def sentence(outcome: Outcome, parts: Sequence[Part], split: str) -> str:
    """The verdict of a ladder in words."""
    if not parts:
        return (
            "Criterion: it asks for no target and no guard, and one rung has nothing to improve on."
        )
    return f"Criterion on the {split} split: {outcome}. {'; '.join(map(str, parts))}."


def to_json(outcome: Outcome, parts: Sequence[Part], split: str) -> dict[str, Any]:
    """The verdict of a ladder as plain values."""
    return {"verdict": outcome, "split": split, "parts": [part.to_json() for part in parts]}
