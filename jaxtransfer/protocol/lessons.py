"""What many decisions say together: which method won under which conditions, gains over the probe, recommendations.

Values of a metric are never averaged over tasks: decisions are counted, and paired differences, which each task has
against its own probe, are averaged within one metric.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from jaxtransfer.evaluation.intervals import t_quantile, wilson
from jaxtransfer.protocol.decision import REFERENCE
from jaxtransfer.protocol.entries import Decision

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """k of n, with Wilson's interval; n is at least 1."""

    k: int
    n: int
    ci: tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wins:
    """How often each method was chosen where it stood in the ladder, under one condition.

    Attributes:
      condition: such as `at most 10`.
      n: decisions under it.
      tasks: data sets among them.
      methods: method to its share of the decisions in which it stood, the most frequent winner first.
    """

    condition: str
    n: int
    tasks: int
    methods: Mapping[str, Share]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gain:
    """What a method gained over the linear probe on test splits, over decisions with the same metric.

    Attributes:
      mean: mean of the paired differences, positive where the method is better.
      ci: Student's t interval of it over decisions; None for one decision.
      better: in how many the difference is above 0.
      distinct: in how many it is distinguishable from 0, and above.
    """

    method: str
    metric: str
    n: int
    tasks: int
    mean: float
    ci: tuple[float, float] | None
    better: Share
    distinct: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recommendations:
    """How often the first recommended rung was chosen, against always naming the most frequent winner.

    Attributes:
      right: of the recommendations.
      base_method: the most frequent winner of these decisions, known only afterwards.
      base: how often that one was chosen.
      only_right: decisions in which the recommendation was right and the most frequent winner was not.
      only_base: the reverse.
    """

    right: Share
    base_method: str
    base: Share
    only_right: int
    only_base: int


def _banded(*bands: tuple[float, str], above: str) -> Callable[[float], str]:
    def name(value: float) -> str:
        return next((text for limit, text in bands if value <= limit), above)

    return name


_LABELS = _banded((10, "at most 10"), (50, "11 to 50"), (250, "51 to 250"), above="more than 250")
_CLASSES = _banded((2, "2"), (9, "3 to 9"), above="10 or more")
_IMBALANCE = _banded((1.5, "at most 1.5"), (5, "1.5 to 5"), above="more than 5")

CONDITIONS: Mapping[str, Callable[[Decision], str]] = {
    "Labels per class": lambda one: _LABELS(one.labels_per_class),
    "Input": lambda one: one.input,
    "Classes": lambda one: _CLASSES(one.classes),
    "Largest over smallest class": lambda one: _IMBALANCE(one.imbalance),
    "Model": lambda one: one.model,
}
"""What a decision is grouped by."""


def wins(decisions: Sequence[Decision]) -> dict[str, list[Wins]]:
    """Condition to the winners of each of its values, and those of all decisions under the key `All`."""
    found = {"All": [_wins("all decisions", decisions)] if decisions else []}
    for name, value_of in CONDITIONS.items():
        groups: dict[str, list[Decision]] = {}
        for one in decisions:
            groups.setdefault(value_of(one), []).append(one)
        order = sorted(groups, key=lambda value: _place(name, value, groups[value]))
        found[name] = [_wins(value, groups[value]) for value in order]
    return found


def gains(decisions: Iterable[Decision]) -> list[Gain]:
    """Each method's gain over the probe, by metric, methods of most decisions first."""
    values: dict[tuple[str, str], list[tuple[float, bool, str]]] = {}
    for one in decisions:
        for rung in one.rungs:
            if rung.gain is not None:
                found = (rung.gain, rung.is_distinct and rung.gain > 0, one.data_hash)
                values.setdefault((one.metric, rung.method), []).append(found)
    rows = []
    for (metric, method), each in values.items():
        differences = np.array([gain for gain, _, _ in each])
        rows.append(
            Gain(
                method=method,
                metric=metric,
                n=len(each),
                tasks=len({task for *_, task in each}),
                mean=float(differences.mean()),
                ci=_mean_interval(differences),
                better=share(int((differences > 0).sum()), len(each)),
                distinct=sum(distinct for _, distinct, _ in each),
            )
        )
    return sorted(rows, key=lambda row: (row.metric, -row.n, -row.mean))


def recommendations(decisions: Iterable[Decision]) -> Recommendations | None:
    """How good the recommendations were, over the decisions that have one; None if none has."""
    told = [one for one in decisions if one.recommended]
    if not told:
        return None
    base = Counter(one.chosen.method for one in told).most_common(1)[0][0]
    right = [(one.recommended or ("",))[0] in (one.chosen.name, one.chosen.method) for one in told]
    usual = [one.chosen.method == base for one in told]
    return Recommendations(
        right=share(sum(right), len(told)),
        base_method=base,
        base=share(sum(usual), len(told)),
        only_right=sum(a and not b for a, b in zip(right, usual)),
        only_base=sum(b and not a for a, b in zip(right, usual)),
    )


def share(k: int, n: int) -> Share:
    """k of n with its interval."""
    return Share(k=k, n=n, ci=wilson(k, n, CONFIDENCE))


def _wins(condition: str, decisions: Sequence[Decision]) -> Wins:
    won = Counter(one.chosen.method for one in decisions)
    stood = Counter(
        method
        for one in decisions
        for method in {rung.method for rung in one.rungs if rung.decision != REFERENCE}
    )
    ranked = sorted(won, key=lambda method: (-won[method], method))
    return Wins(
        condition=condition,
        n=len(decisions),
        tasks=len({one.data_hash for one in decisions}),
        methods={method: share(won[method], stood[method]) for method in ranked},
    )


def _place(name: str, value: str, decisions: Sequence[Decision]) -> tuple[float, str]:
    """Bands in the order of their numbers, other values by name."""
    numbers = {
        "Labels per class": lambda one: one.labels_per_class,
        "Classes": lambda one: float(one.classes),
        "Largest over smallest class": lambda one: one.imbalance,
    }
    number = numbers.get(name)
    return (0.0 if number is None else min(number(one) for one in decisions), value)


def _mean_interval(values: np.ndarray) -> tuple[float, float] | None:
    """Student's t interval of a mean; a single value has none."""
    n = len(values)
    if n < 2:
        return None
    variance = float(values.var(ddof=1)) / n
    half = 0.0
    if variance > 0:
        half = math.sqrt(variance) * t_quantile([variance], [n - 1], 0.5 + CONFIDENCE / 2)
    return float(values.mean()) - half, float(values.mean()) + half
