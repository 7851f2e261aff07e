"""Each part of the criterion judged by its interval: target, guards, and the improvement where there is no target.

A part passes, fails, or is inconclusive with what would settle it. On the acceptance half the parts say which rungs may
be accepted; on the test split, which took no part in the choice, they give the verdict of the ladder.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer.errors import ConfigError, nearest
from jaxtransfer.evaluation.bound import Judged, Verdict, judge
from jaxtransfer.evaluation.definition import Measured
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.paired import PairedDifference
from jaxtransfer.evaluation.power import to_settle
from jaxtransfer.evaluation.seeds import measure_seeds
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol.acceptance import AcceptanceSettings, Guard, guards_of
from jaxtransfer.protocol.serving_figures import Serving

PASS: Verdict = "pass"
FAIL: Verdict = "fail"
INCONCLUSIVE: Verdict = "inconclusive"
FEWEST_IN_GROUP = 10
"""Examples below which a group is too small to be judged, as in `evaluation.groups`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the criterion, judged for one rung.

    Attributes:
      name: `target`, `improvement`, or the guard's name.
      wanted: in words, with the bound.
      verdict: `pass`, `fail` or `inconclusive`.
      value: what was measured, or None.
      ci: its interval at the level of a part, or None.
      n: examples measured on, or calls timed.
      settle: what would settle it, where it is inconclusive and something would.
      note: what the verdict leaves out, or why there is none.
    """

    name: str
    wanted: str
    verdict: Verdict
    value: float | None
    ci: tuple[float | None, float | None] | None
    n: int
    settle: str | None = None
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values for the record."""
        return {**dataclasses.asdict(self), "ci": None if self.ci is None else list(self.ci)}

    def __str__(self) -> str:
        found = "undefined" if self.value is None else f"{self.value:.3g}"
        if self.ci is not None:
            ends = ("?" if end is None else f"{end:.3g}" for end in self.ci)
            found += f" [{', '.join(ends)}]"
        more = "; ".join(text for text in (self.settle, self.note) if text)
        return f"{self.wanted}: {self.verdict} ({found}{'; ' + more if more else ''})"


def parts_of(
    tables: Sequence[Predictions], rule: AcceptanceSettings, serving: Serving | None
) -> list[Part]:
    """Target and guards of one rung.

    Args:
      tables: its predictions of one split, one table per seed, with the groups that guards name.
      rule: the criterion.
      serving: what it costs to serve the rung, needed if a guard bounds that.
    """
    found = []
    if rule.target is not None:
        at_least = definition(rule.metric).maximise
        found.append(
            _of_judged(
                "target",
                f"{rule.metric} at {'least' if at_least else 'most'} {rule.target:g}",
                _judge_metric(tables, rule.metric, rule.target, at_least, rule.level),
            )
        )
    for guard in guards_of(rule):
        if guard.kind == "metric":
            judged = _judge_metric(tables, guard.subject, guard.bound, guard.at_least, rule.level)
            found.append(_of_judged(guard.name, guard.wanted, judged))
        elif guard.kind == "worst_group":
            found.append(_worst_group(tables, rule, guard))
        else:
            assert serving is not None, "serving is measured where a guard bounds it"
            found.append(_of_serving(serving, guard, rule.level))
    return found


def improvement(difference: PairedDifference, rule: AcceptanceSettings, over: str) -> Part:
    """The improvement over a rung by more than the margin, at the level of a part."""
    wanted = f"{rule.metric} better than {over} by more than {rule.margin:g}"
    ci = difference.interval(rule.level)
    if ci is None or difference.value is None:
        return Part(
            name="improvement",
            wanted=wanted,
            verdict=INCONCLUSIVE,
            value=difference.value,
            ci=None,
            n=difference.n,
            note=difference.note,
        )
    low, high = ci if difference.maximise else (-ci[1], -ci[0])
    verdict: Verdict = PASS if low > rule.margin else FAIL if high <= rule.margin else INCONCLUSIVE
    settle = str(to_settle(difference, confidence=rule.level)) if verdict == INCONCLUSIVE else None
    return Part(
        name="improvement",
        wanted=wanted,
        verdict=verdict,
        value=difference.value,
        ci=ci,
        n=difference.n,
        settle=settle,
        note=difference.note,
    )


def together(parts: Sequence[Part]) -> Verdict:
    """Fail if a part fails, pass if all of them pass, else inconclusive."""
    found = [part.verdict for part in parts]
    if FAIL in found:
        return FAIL
    return PASS if found and all(verdict == PASS for verdict in found) else INCONCLUSIVE


def failed_guards(parts: Sequence[Part]) -> str | None:
    """Why a rung with such parts is not accepted; None if no guard fails. The target is no guard."""
    failed = [str(part) for part in parts if part.verdict == FAIL and part.name != "target"]
    return f"breaks a guard: {'; '.join(failed)}" if failed else None


def check_groups(rule: AcceptanceSettings, metadata: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The columns of groups that guards name.

    Raises:
      ConfigError: with the nearest names, if the data have no such column.
    """
    columns = [guard.subject for guard in guards_of(rule) if guard.kind == "worst_group"]
    for column in columns:
        if column not in metadata:
            raise ConfigError(
                f"config.acceptance.guards names the groups of {column!r}, which is no column of metadata; nearest:"
                f" {nearest(column, metadata)} (name it in config.data.metadata)"
            )
    return tuple(columns)


def _judge_metric(
    tables: Sequence[Predictions], metric: str, bound: float, at_least: bool, confidence: float
) -> Judged:
    measured = measure_seeds(tables, [metric], confidence=confidence)[metric]
    return judge(measured, bound, at_least=at_least, confidence=confidence)


def _of_judged(name: str, wanted: str, judged: Judged, note: str | None = None) -> Part:
    settle = None
    if judged.needed is not None:
        settle = f"about {judged.needed:,} examples would settle it, {judged.note}"
    reason = judged.note if judged.needed is None else None
    return Part(
        name=name,
        wanted=wanted,
        verdict=judged.verdict,
        value=judged.value,
        ci=judged.ci,
        n=judged.n,
        settle=settle,
        note="; ".join(text for text in (reason, note) if text) or None,
    )


def _worst_group(tables: Sequence[Predictions], rule: AcceptanceSettings, guard: Guard) -> Part:
    """Every group keeps the bound: intervals are corrected for their number, and the worst one is shown."""
    members = tables[0].groups[guard.subject]
    aligned = [table.align(tables[0]) for table in tables]
    names, sizes = np.unique(members, return_counts=True)
    large = [str(name) for name, size in zip(names, sizes) if size >= FEWEST_IN_GROUP]
    small = [str(name) for name, size in zip(names, sizes) if size < FEWEST_IN_GROUP]
    level = 1 - (1 - rule.level) / max(1, len(large))
    judged: dict[str, Judged] = {}
    for name in large:
        part = [table.take(members == name) for table in aligned]
        judged[name] = _judge_metric(part, rule.metric, guard.bound, guard.at_least, level)
    sign = 1.0 if guard.at_least else -1.0
    known = {name: found for name, found in judged.items() if found.value is not None}
    left_out = [
        *(f"{name} has fewer than {FEWEST_IN_GROUP} examples" for name in small),
        *(f"{name}: {found.note}" for name, found in judged.items() if found.value is None),
    ]
    note = f"left out: {', '.join(left_out)}" if left_out else None
    if not known:
        nothing = Measured(
            name=rule.metric, value=None, ci=None, n=0, definition="", undefined="no group is left"
        )
        empty = judge(nothing, guard.bound, at_least=guard.at_least, confidence=level)
        return _of_judged(guard.name, guard.wanted, empty, note)
    verdicts = {found.verdict for found in known.values()}
    verdict: Verdict = FAIL if FAIL in verdicts else PASS if verdicts == {PASS} else INCONCLUSIVE
    deciding = [name for name, found in known.items() if found.verdict == verdict]
    worst = min(deciding, key=lambda name: sign * float(known[name].value or 0.0))
    which = f"{worst}, the worst of {len(known)} groups" + (f" ({note})" if note else "")
    return _of_judged(guard.name, guard.wanted, known[worst], which)


def _of_serving(serving: Serving, guard: Guard, confidence: float) -> Part:
    if guard.kind == "memory":
        return Part(
            name=guard.name,
            wanted=guard.wanted,
            verdict=PASS if serving.peak_mib <= guard.bound else FAIL,
            value=serving.peak_mib,
            ci=None,
            n=1,
            note=serving.note,
        )
    value, (low, high) = serving.latency_p95_ms(confidence)
    verdict: Verdict = INCONCLUSIVE
    if high is not None and high <= guard.bound:
        verdict = PASS
    elif low is not None and low > guard.bound:
        verdict = FAIL
    return Part(
        name=guard.name,
        wanted=guard.wanted,
        verdict=verdict,
        value=value,
        ci=(low, high),
        n=serving.calls,
        settle="more timed calls on a quieter machine" if verdict == INCONCLUSIVE else None,
        note=serving.note,
    )
