"""The acceptance rule: a rung replaces the incumbent only when its paired interval clears the margin.

Against one incumbent, all rungs above it form a family, corrected by Holm (1979); the cheapest one
that clears the margin becomes the incumbent, and the rungs above it are compared with it in turn.
The error rate, 1 - confidence, is that of each such family: when all rungs are in truth equal it
bounds the chance of any acceptance; after a true step, the rungs above have a rate of their own. If
the criterion's family is `all`, every pair of rungs is corrected together, and the rate is that of
the whole ladder. A rung that was planned and not run counts in its family with p = 1, so that
stopping early takes nothing from the correction.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer.errors import ConfigError
from jaxtransfer.evaluation.correction import holm
from jaxtransfer.evaluation.paired import PairedDifference, paired_difference
from jaxtransfer.evaluation.power import to_settle
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol.acceptance import AcceptanceSettings
from jaxtransfer.protocol.ensemble import average_seeds

BASELINE, ACCEPTED, REJECTED, REFERENCE = "baseline", "accepted", "rejected", "reference"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """A paired difference between two rungs, with its place in a family of comparisons.

    Attributes:
      first: the rung that is tried.
      second: the rung it is compared with.
      difference: metric of `first` minus metric of `second`, averaged over seeds.
      ci: interval at the level of Holm's step, so that it excludes the margin (no difference, if the
        family is two-sided) exactly where the comparison is significant; None where undefined.
      p_value: of `first` not improving on `second` by more than the margin, twice the one-sided
        tail; of no difference, if the family is two-sided; 1 where it is undefined.
      p_adjusted: the same, adjusted by Holm.
      is_significant: whether `p_adjusted` is at most 1 - confidence.
      level: confidence of `ci`; None where it was not kept.
    """

    first: str
    second: str
    difference: PairedDifference
    ci: tuple[float, float] | None
    p_value: float
    p_adjusted: float
    is_significant: bool
    level: float | None = None

    @property
    def settle(self) -> str | None:
        """What would settle a comparison whose interval holds the margin; None where nothing is open."""
        error = self.difference.standard_error
        if self.level is None or self.is_significant or not error:
            return None
        return str(to_settle(self.difference, confidence=self.level))

    def to_json(self) -> dict[str, Any]:
        """Plain values for the record."""
        return {
            "incumbent": self.second,
            "value": self.difference.value,
            "ci": None if self.ci is None else list(self.ci),
            "standard_error": self.difference.standard_error,
            "p_value": self.p_value,
            "p_adjusted": self.p_adjusted,
            "n": self.difference.n,
            "seeds": self.difference.seeds,
            "note": self.difference.note,
            "settle": self.settle,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was decided about one rung, and why."""

    rung: str
    decision: str
    reason: str
    comparison: Comparison | None


Tables = Mapping[str, Sequence[Predictions]]
"""Rung to one table per seed, in ladder order."""
Pair = tuple[str, str]


Veto = Callable[[str, str, Sequence[Predictions]], str | None]
"""Why a rung with such tables cannot replace an incumbent, whatever their difference; None if nothing forbids it."""


def climb(
    tables: Tables,
    rule: AcceptanceSettings,
    *,
    planned: Sequence[str] = (),
    ensemble: str | None = None,
    veto: Veto | None = None,
) -> tuple[dict[str, Verdict], str]:
    """Decides every rung in order, from predictions on the acceptance half alone.

    Args:
      tables: rung to its predictions, one table per seed on the same ids, in the ladder's order.
      rule: metric, margin, confidence and family.
      planned: the rungs that were to be climbed, those without tables included; they enlarge the
        families. The rungs with tables if left out.
      ensemble: name of a last rung that averages the incumbent's seeds; it needs no tables.
      veto: says which rungs cannot be accepted.

    Returns:
      A verdict for each rung, and the name of the chosen rung.

    Raises:
      ConfigError: if there are no rungs.
    """
    order = list(tables)
    if not order:
        raise ConfigError("a ladder needs at least one rung")
    plan = [*order, *(name for name in planned if name not in tables and name != ensemble)]
    size = len(plan) + (ensemble is not None)
    first = Verdict(
        rung=order[0],
        decision=BASELINE,
        reason="the first rung is the first incumbent",
        comparison=None,
    )
    verdicts, position = {order[0]: first}, 0
    families = _families(tables, rule, order, ensemble, size)
    while True:
        incumbent = order[position]
        found, family = families(incumbent)
        for comparison in family:
            name = comparison.first
            reason = veto(name, incumbent, found[name]) if veto is not None else None
            verdicts[name] = _verdict(comparison, rule, reason)
            if verdicts[name].decision == ACCEPTED:
                if name == ensemble:
                    return verdicts, name
                position = order.index(name)
                break
        else:
            return verdicts, incumbent


def _families(
    tables: Tables, rule: AcceptanceSettings, order: Sequence[str], ensemble: str | None, size: int
) -> Callable[[str], tuple[Tables, list[Comparison]]]:
    """Incumbent to the tables of the rungs above it, and their comparisons with it."""

    def above(incumbent: str) -> tuple[Tables, list[Pair], list[PairedDifference]]:
        found, names = dict(tables), list(order[order.index(incumbent) + 1 :])
        if ensemble is not None:
            found[ensemble] = average_seeds(tables[incumbent])
            names.append(ensemble)
        pairs = [(name, incumbent) for name in names]
        return found, pairs, _differences(found, pairs, rule, rule.margin)

    def alone(incumbent: str) -> tuple[Tables, list[Comparison]]:
        found, pairs, differences = above(incumbent)
        return found, _corrected(pairs, differences, rule, size - 1 - order.index(incumbent))

    if rule.family == "incumbent":
        return alone
    every = {name: above(name) for name in order}
    compared = _corrected(
        [pair for _, pairs, _ in every.values() for pair in pairs],
        [difference for _, _, differences in every.values() for difference in differences],
        rule,
        size * (size - 1) // 2,
    )
    return lambda name: (every[name][0], [item for item in compared if item.second == name])


def compare_family(
    tables: Tables,
    pairs: Sequence[Pair],
    rule: AcceptanceSettings,
    *,
    two_sided: bool = False,
    left_out: int = 0,
) -> list[Comparison]:
    """Compares pairs of rungs as one family under Holm's correction, in the order given.

    Args:
      tables: rung to one table per seed.
      pairs: rung that is tried, and rung it is compared with.
      rule: metric, margin and confidence.
      two_sided: whether any difference counts, and not an improvement by more than the margin.
      left_out: pairs that were planned and have no tables; each counts in the family with p = 1.
    """
    differences = _differences(tables, pairs, rule, 0.0 if two_sided else rule.margin)
    return _corrected(pairs, differences, rule, len(pairs) + left_out, two_sided=two_sided)


def _differences(
    tables: Tables, pairs: Sequence[Pair], rule: AcceptanceSettings, margin: float
) -> list[PairedDifference]:
    return [
        paired_difference(
            tables[first], tables[second], rule.metric, confidence=rule.confidence, margin=margin
        )
        for first, second in pairs
    ]


def _corrected(
    pairs: Sequence[Pair],
    differences: Sequence[PairedDifference],
    rule: AcceptanceSettings,
    size: int,
    *,
    two_sided: bool = False,
) -> list[Comparison]:
    """Comparisons of a family; what it has beside these pairs counts as p = 1."""
    if not pairs:
        return []
    found = [d.p_value if two_sided else d.p_margin for d in differences]
    return corrected_family(pairs, differences, found, rule.confidence, size=size)


def corrected_family(
    pairs: Sequence[tuple[str, str]],
    differences: Sequence[PairedDifference],
    p_values: Sequence[float | None],
    confidence: float,
    *,
    size: int | None = None,
) -> list[Comparison]:
    """Corrects paired differences as one family (Holm), and gives each the interval of its step.

    Args:
      pairs: names of the two sides of each difference.
      differences: of the pairs, in the same order.
      p_values: of the differences; None where undefined, which counts as 1.
      confidence: 1 minus it is the error rate of the family.
      size: of the family; what it has beside these pairs counts as p = 1. The number of pairs if
        left out.
    """
    size = len(pairs) if size is None else size
    known = [1.0 if p is None else p for p in p_values]
    adjusted = holm(known, family=size)
    alpha = 1 - confidence
    # Holm steps down until the first comparison that is not significant; the rest stay at its step.
    order = sorted(range(len(pairs)), key=known.__getitem__)
    steps = sum(bool(p <= alpha) for p in adjusted)
    rank = {index: min(place, steps) for place, index in enumerate(order)}
    return [
        Comparison(
            first=first,
            second=second,
            difference=differences[index],
            ci=differences[index].interval(1 - alpha / max(1, size - rank[index])),
            level=1 - alpha / max(1, size - rank[index]),
            p_value=known[index],
            p_adjusted=float(adjusted[index]),
            is_significant=bool(adjusted[index] <= alpha),
        )
        for index, (first, second) in enumerate(pairs)
    ]


def may_exceed(comparison: Comparison, margin: float) -> bool:
    """Whether the interval holds an improvement by more than the margin."""
    if comparison.ci is None:
        return False
    low, high = comparison.ci
    return (high if comparison.difference.maximise else -low) > margin


def can_accept(labelled: Predictions, challengers: int, rule: AcceptanceSettings) -> bool:
    """Whether the deciding examples suffice for the clearest case: a flawless rung over the majority class.

    Args:
      labelled: the acceptance half; its logits are not read.
      challengers: rungs of the family, whose first step of Holm's correction the rung has to pass.
      rule: metric, margin and confidence.
    """
    counts = np.bincount(labelled.labels, minlength=len(labelled.classes))
    flawless = 20.0 * np.eye(len(counts))[labelled.labels]
    majority = np.tile(np.log(counts / counts.sum() + 1e-6), (len(labelled), 1))
    first, second = (
        dataclasses.replace(labelled, logits=logits.astype(np.float32))
        for logits in (flawless, majority)
    )
    found = paired_difference([first], [second], rule.metric, margin=rule.margin)
    return found.p_margin is not None and found.p_margin * challengers <= 1 - rule.confidence


def _verdict(comparison: Comparison, rule: AcceptanceSettings, vetoed: str | None) -> Verdict:
    difference = comparison.difference
    clears = comparison.is_significant
    if comparison.ci is None:
        reason = f"undefined against {comparison.second}: {difference.note}"
    else:
        low, high = comparison.ci
        best = high if difference.maximise else -low
        figures = (
            f"{rule.metric} {difference.value:+.3f} [{low:+.3f}, {high:+.3f}] against"
            f" {comparison.second}, adjusted p {comparison.p_adjusted:.2g}"
        )
        if clears:
            reason = f"clears the margin of {rule.margin:g}: {figures}"
        elif not difference.standard_error:
            reason = f"does not differ from {comparison.second} on these {difference.n} examples"
        elif best <= rule.margin:
            reason = (
                f"no better than {comparison.second} by the margin of {rule.margin:g}: {figures}"
            )
        else:
            reason = f"inconclusive, does not clear the margin of {rule.margin:g}: {figures}"
    if vetoed is not None:
        reason = f"{vetoed}; {reason}"
    return Verdict(
        rung=comparison.first,
        decision=ACCEPTED if clears and vetoed is None else REJECTED,
        reason=reason,
        comparison=comparison,
    )
