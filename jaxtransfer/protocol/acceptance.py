"""The criterion of a ladder as typed values: what a rung has to show, and what may be spent, fixed before anything runs."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from jaxtransfer.checking import Interval
from jaxtransfer.errors import ConfigError, nearest
from jaxtransfer.evaluation.definition import Definition
from jaxtransfer.evaluation.metrics import METRICS, definition
from jaxtransfer.protocol.sections import Rate, Weight

WORST_GROUP = "worst_group:"
LATENCY, MEMORY = "latency_p95_ms", "peak_mib"
Kind = Literal["metric", "worst_group", "latency", "memory"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AcceptanceSettings:
    """The rule, fixed beforehand, by which a rung replaces the incumbent, and what the chosen one has to reach.

    Attributes:
      metric: name of a metric of `jaxtransfer.evaluation`.
      margin: what the paired difference has to exceed, in units of the metric.
      confidence: level of the intervals; 1 minus it is the error rate of the family of rungs.
      target: value that the metric has to reach, or None where only the improvement counts.
      guards: bound by name: a metric (at most the bound where less is better, at least it otherwise),
        `worst_group:COLUMN` (the deciding metric in every group of a metadata column),
        `latency_p95_ms` and `peak_mib` (at most, of serving one example).
      family: which comparisons share the error rate: those with one `incumbent`, or `all` pairs.
      stop_when_met: whether climbing ends once the incumbent meets the criterion on the acceptance half.
    """

    metric: str = "macro_f1"
    margin: Weight = 0.0
    confidence: Annotated[float, Interval(0.5, 1, open_low=True, open_high=True)] = 0.95
    target: float | None = None
    guards: Mapping[str, float] = dataclasses.field(default_factory=dict)
    family: Literal["incumbent", "all"] = "incumbent"
    stop_when_met: bool = False

    @property
    def level(self) -> float:
        """Confidence of the interval of one part: Bonferroni over the guards and the target or improvement."""
        return 1 - (1 - self.confidence) / (len(self.guards) + 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BudgetSettings:
    """What a ladder may spend, and what a rung may cost; None is no limit.

    Attributes:
      seconds: of all runs together, those before a kill included.
      flops: of all training steps together, by XLA's count.
      trainable: parameters that a rung may train.
      latency_p95_ms: of serving one example by a rung.
    """

    seconds: Rate | None = None
    flops: Rate | None = None
    trainable: Weight | None = None
    latency_p95_ms: Rate | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guard:
    """A bound that a rung has to keep beside the improvement.

    Attributes:
      name: as the config has it.
      kind: what is bounded.
      subject: the metric's name, or the column of groups.
      bound: in the units of what is bounded.
      at_least: whether the value has to be at least the bound, and not at most.
    """

    name: str
    kind: Kind
    subject: str
    bound: float
    at_least: bool

    @property
    def wanted(self) -> str:
        """The guard in words."""
        return f"{self.name} at {'least' if self.at_least else 'most'} {self.bound:g}"


def guards_of(rule: AcceptanceSettings) -> tuple[Guard, ...]:
    """The guards of a criterion.

    Raises:
      ConfigError: if a name is none of a metric, a column of groups, latency or memory (naming the
        nearest), or of a metric that is simulated and has no interval; if a bound is none that the value
        can have.
      EvaluationError: if groups are to be bounded by a deciding metric that there is not.
    """
    return tuple(_guard(name, bound, rule) for name, bound in rule.guards.items())


def _guard(name: str, bound: float, rule: AcceptanceSettings) -> Guard:
    known = METRICS["classification"]
    place = f"config.acceptance.guards.{name}"
    if name in (LATENCY, MEMORY):
        if bound <= 0:
            raise ConfigError(f"{place} must be above 0, as what serving takes is, not {bound:g}")
        kind: Kind = "latency" if name == LATENCY else "memory"
        return Guard(name=name, kind=kind, subject="", bound=bound, at_least=False)
    if name.startswith(WORST_GROUP) and name != WORST_GROUP:
        deciding = definition(rule.metric)
        _check_reachable(place, bound, deciding)
        return Guard(
            name=name,
            kind="worst_group",
            subject=name.removeprefix(WORST_GROUP),
            bound=bound,
            at_least=deciding.maximise,
        )
    if name not in known:
        names = [*known, LATENCY, MEMORY, f"{WORST_GROUP}COLUMN"]
        raise ConfigError(f"{place} is no metric and no guard; nearest: {nearest(name, names)}")
    if known[name].interval == "simulation":
        raise ConfigError(f"{place}: {name!r} is simulated and has no interval; guard another")
    _check_reachable(place, bound, known[name])
    return Guard(name=name, kind="metric", subject=name, bound=bound, at_least=known[name].maximise)


def check_reachable(rule: AcceptanceSettings) -> None:
    """Refuses a target that the metric cannot have, and a margin that no two of its values differ by.

    Raises:
      ConfigError: naming the metric's range.
      EvaluationError: if there is no such metric, naming the nearest.
    """
    deciding = definition(rule.metric)
    low, high = deciding.bounds
    if rule.target is not None:
        _check_reachable("config.acceptance.target", rule.target, deciding)
    if rule.margin > high - low:
        raise ConfigError(
            f"config.acceptance.margin is {rule.margin:g}, and no two values of {rule.metric} differ by more than"
            f" {high - low:g}"
        )


def _check_reachable(place: str, bound: float, defined: Definition) -> None:
    low, high = defined.bounds
    if not low <= bound <= high:
        spanned = f"at least {low:g}" if math.isinf(high) else f"in [{low:g}, {high:g}]"
        raise ConfigError(f"{place} must be {spanned}, as {defined.name} is, not {bound:g}")


def frozen_document(acceptance: AcceptanceSettings, budget: BudgetSettings) -> dict[str, Any]:
    """The criterion as plain values: what is frozen before anything runs."""
    values = {
        "acceptance": dataclasses.asdict(acceptance),
        "budget": dataclasses.asdict(budget),
    }
    return json.loads(json.dumps(values, default=dict))


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of a frozen criterion."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
