"""Every metric in every group: by one column of groups, or by the intersection of several.

The worst of many groups looks worse than it is, so it stands beside what chance alone gives.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.definition import Definition, Measured
from jaxtransfer.evaluation.fairness import Gap, gaps
from jaxtransfer.evaluation.metrics import definition, measure, names_for
from jaxtransfer.evaluation.rates import ClassRates, class_rates, group_column
from jaxtransfer.evaluation.statistic import Statistic, Undefined
from jaxtransfer.evaluation.table import Predictions

CAVEAT = (
    "the worst of {groups} groups is chosen for its value, which therefore overstates how bad it is"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """One group and its metrics.

    Attributes:
      name: of the group, a value of the column.
      n: its number of examples.
      metrics: each with an interval bootstrapped within the group.
      rates: of each class against the rest, with Wilson intervals; none for tables that predict no
        class.
      note: what was not measured in a group that is too small, or None.
    """

    name: str
    n: int
    metrics: Mapping[str, Measured]
    rates: tuple[ClassRates, ...] = ()
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values; `note` is there only where there is one."""
        document = {
            "name": self.name,
            "n": self.n,
            "metrics": {name: found.to_json() for name, found in self.metrics.items()},
            "rates": [rates.to_json() for rates in self.rates],
        }
        return document if self.note is None else {**document, "note": self.note}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Worst:
    """The group in which a metric is worst.

    Attributes:
      metric: name of the metric.
      group: name of the group; None where fewer than two groups have a value.
      value: the metric there.
      ci: its interval, of this group by itself: not corrected for the choice.
      n: examples in it.
      expected: mean over permutations of the groups of the worst value: what the worst group has if
        no group differs; None without permutations.
      p_value: share of permutations whose worst value is as bad.
      groups: how many were compared.
      left_out: groups that were not, and why.
      caveat: what choosing the worst does to its value, in words.
    """

    metric: str
    group: str | None
    value: float | None
    ci: tuple[float, float] | None
    n: int
    expected: float | None
    p_value: float | None
    groups: int
    left_out: Mapping[str, str]
    caveat: str

    def __str__(self) -> str:
        if self.group is None:
            return f"worst {self.metric} undefined: {self.caveat}"
        ci = f" [{self.ci[0]:.3f}, {self.ci[1]:.3f}]" if self.ci else ""
        null = "" if self.expected is None else f", {self.expected:.3f} expected of equal groups"
        p_value = "" if self.p_value is None else f" (p={self.p_value:.3g})"
        text = f"worst {self.metric} {self.value:.3f}{ci} in {self.group} (n={self.n})"
        return f"{text}{null}{p_value}"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        document = dataclasses.asdict(self)
        return {**document, "ci": self.ci and list(self.ci), "left_out": dict(self.left_out)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupReport:
    """A column of groups: metrics and rates of each group, the worst, and the gaps.

    Attributes:
      column: name of the column.
      minimum: examples below which a group, or a rate, is too small to compare.
      groups: each group, in text order.
      worst: for each metric of which more or less is better.
      gaps: demographic parity and equalised odds; none for tables that predict no class.
    """

    column: str
    minimum: int
    groups: tuple[Group, ...]
    worst: tuple[Worst, ...]
    gaps: tuple[Gap, ...]

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "column": self.column,
            "minimum": self.minimum,
            "groups": [group.to_json() for group in self.groups],
            "worst": [worst.to_json() for worst in self.worst],
            "gaps": [gap.to_json() for gap in self.gaps],
        }


def intersect(table: Predictions, *columns: str) -> tuple[Predictions, str]:
    """Adds a column whose groups are the combinations that occur of several columns' groups.

    Returns:
      The table, and the column's name, such as `sex & age`; a group's is `female & young`.

    Raises:
      EvaluationError: if fewer than two different columns are given, one is unknown, or two
        combinations would have the same name.
    """
    if len(set(columns)) < 2 or len(set(columns)) != len(columns):
        raise EvaluationError(f"{list(columns)} do not intersect; give two different group columns")
    values = np.stack([group_column(table, column) for column in columns], axis=1)
    distinct, index = np.unique(values, axis=0, return_inverse=True)
    names = [" & ".join(row) for row in distinct.tolist()]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise EvaluationError(
            f"{table.source}: different groups of {list(columns)} are both named {twice!r}; rename"
            " those that have ' & ' in their name"
        )
    name = " & ".join(columns)
    joined = np.asarray(names)[index.ravel()]
    return dataclasses.replace(table, groups={**table.groups, name: joined}), name


def by_group(
    table: Predictions,
    column: str,
    names: Sequence[str | Definition] | None = None,
    *,
    positive: str | None = None,
    minimum: int = 10,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = 1000,
    permutations: int = 200,
) -> GroupReport:
    """Measures each group of a column, finds the worst, and compares groups.

    A group below the minimum is reported with its proportions alone, whose Wilson intervals hold
    for one example too; it is neither the worst nor part of a gap, and says so.

    Args:
      table: the predictions.
      column: name of the group column; see `intersect` for several.
      names: metrics by name or definition; None means all of the table's kind.
      positive: name of the positive class; None means each in turn.
      minimum: examples below which a group, or a rate's denominator, is too small.
      confidence: nominal coverage of the intervals.
      seed: of bootstrap and permutations.
      replicates: of the bootstrap, and of the gaps' simulations.
      permutations: of the groups, for each metric's worst; 0 for none.

    Raises:
      EvaluationError: if the column, a metric or the positive class is unknown.
    """
    members = group_column(table, column)
    chosen = [
        definition(name, table.kind) for name in (names_for(table) if names is None else names)
    ]
    proportions = [defined for defined in chosen if defined.interval == "wilson"]
    classifies = table.kind == "classification"
    groups = []
    for name in np.unique(members):
        part = table.take(members == name)
        small = len(part) < minimum
        groups.append(
            Group(
                name=str(name),
                n=len(part),
                metrics=measure(
                    part,
                    proportions if small else chosen,
                    confidence=confidence,
                    seed=seed,
                    replicates=replicates,
                ),
                rates=class_rates(part, positive=positive, confidence=confidence)
                if classifies
                else (),
                note=f"too small: n={len(part)}, fewer than {minimum}; proportions alone, with"
                " Wilson intervals"
                if small
                else None,
            )
        )
    worst = [
        _worst(table, members, groups, defined, minimum, seed, permutations)
        for defined in chosen
        if defined.interval != "simulation"
    ]
    options: dict[str, Any] = {"minimum": minimum, "confidence": confidence}
    return GroupReport(
        column=column,
        minimum=minimum,
        groups=tuple(groups),
        worst=tuple(worst),
        gaps=gaps(table, column, positive=positive, seed=seed, replicates=replicates, **options)
        if classifies
        else (),
    )


def _worst(
    table: Predictions,
    members: np.ndarray,
    groups: Sequence[Group],
    defined: Definition,
    minimum: int,
    seed: int,
    permutations: int,
) -> Worst:
    left_out, values = {}, {}
    for group in groups:
        measured = group.metrics.get(defined.name)
        if group.n < minimum:
            left_out[group.name] = f"{group.n} examples, fewer than {minimum}"
        elif measured is None or measured.value is None:
            left_out[group.name] = str(measured and measured.undefined)
        else:
            values[group.name] = measured
    if len(values) < 2:
        return Worst(
            metric=defined.name,
            group=None,
            value=None,
            ci=None,
            n=0,
            expected=None,
            p_value=None,
            groups=len(values),
            left_out=left_out,
            caveat=f"{len(values)} of {len(groups)} groups can be compared",
        )
    sign = 1.0 if defined.maximise else -1.0
    name = min(values, key=lambda group: sign * (values[group].value or 0.0))
    found = values[name]
    expected = p_value = None
    statistic = defined.statistic(table)
    if permutations and not isinstance(statistic, Undefined):
        simulated = _permuted_worst(statistic, members, list(values), sign, seed, permutations)
        if len(simulated):
            as_bad = sign * simulated <= sign * float(found.value or 0.0) + 1e-12
            expected = float(simulated.mean())
            p_value = float((1 + as_bad.sum()) / (1 + len(simulated)))
    return Worst(
        metric=defined.name,
        group=name,
        value=found.value,
        ci=found.ci,
        n=found.n,
        expected=expected,
        p_value=p_value,
        groups=len(values),
        left_out=left_out,
        caveat=CAVEAT.format(groups=len(values)),
    )


def _permuted_worst(
    statistic: Statistic,
    members: np.ndarray,
    names: Sequence[str],
    sign: float,
    seed: int,
    permutations: int,
) -> Float[np.ndarray, "p"]:
    """The worst group's value when the groups are permuted over the examples."""
    rng = np.random.default_rng(seed)
    index = np.stack([members == name for name in names]).astype(np.float64)
    worst = []
    for _ in range(permutations):
        # A metric that a small group does not define after a permutation is not its worst.
        with np.errstate(invalid="ignore", divide="ignore"):
            values = sign * statistic.weighted(index[:, rng.permutation(len(members))])
        values = values[np.isfinite(values)]
        if len(values):
            worst.append(sign * values.min())
    return np.asarray(worst)
