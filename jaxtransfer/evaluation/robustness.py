"""What corruptions cost: a metric on corrupted inputs beside the clean ones, paired by example.

Tables of the same ids, one clean and one for each (kind, severity), are all that is needed; who
corrupted the inputs, and how, does not matter here.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.correction import holm
from jaxtransfer.evaluation.definition import Definition, check_bounds, describe
from jaxtransfer.evaluation.intervals import check_confidence
from jaxtransfer.evaluation.joint import Interval, Quantity, derived, interval_of, resampled
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.paired import PairedDifference, paired_difference
from jaxtransfer.evaluation.statistic import Statistic, Undefined
from jaxtransfer.evaluation.table import Predictions

Tables = Predictions | Sequence[Predictions]
"""One table, or one a seed."""
Corrupted = Mapping[tuple[str, int], Tables]
"""Tables by kind of corruption and severity."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flips:
    """How predictions moved, as shares of the examples, averaged over seeds.

    Attributes:
      changed: predicted another class.
      broken: right before and wrong after.
      mended: wrong before and right after; broken less mended is the loss of accuracy.
    """

    changed: float
    broken: float
    mended: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One kind of corruption at one severity.

    Attributes:
      kind: of the corruption.
      severity: 1 to 5.
      value: the metric on the corrupted inputs, mean over seeds; None where it is undefined.
      difference: corrupted minus clean, paired over examples and seeds.
      relative: the relative degradation.
      p_adjusted: of no difference, by Holm over all cells; None where the difference is undefined.
      degrades: whether the metric is worse than on the clean inputs, at the adjusted p-value.
      flips: how predictions moved; None for tables that have no predicted class.
    """

    kind: str
    severity: int
    value: float | None
    difference: PairedDifference
    relative: Interval
    p_adjusted: float | None
    degrades: bool
    flips: Flips | None

    def __str__(self) -> str:
        shown = "undefined" if self.value is None else f"{self.value:.3f}"
        claim = "degrades" if self.degrades else "not shown to degrade"
        return f"{self.kind} {self.severity}: {shown}, relative {self.relative}, {claim}"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "value": self.value,
            "difference": self.difference.to_json(),
            "relative": self.relative.to_json(),
            "p_adjusted": self.p_adjusted,
            "degrades": self.degrades,
            "flips": None if self.flips is None else dataclasses.asdict(self.flips),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Robustness:
    """A metric under corruptions.

    Attributes:
      metric: its name.
      definition: what exactly was computed.
      relative: what relative degradation means for it.
      clean: its value on the clean inputs, mean over seeds; None where it is undefined.
      n: number of examples.
      seeds: number of tables of each.
      confidence: nominal coverage of all intervals.
      cells: one for each kind and severity, in the order given.
      by_kind: mean relative degradation of each kind over its severities.
      by_severity: mean relative degradation of each severity over its kinds.
      overall: mean relative degradation over all cells.
      corruption_error: by kind, the error summed over severities over that of a reference model (CE
        of Hendrycks and Dietterich 2019); empty without a reference.
      mean_corruption_error: their mean, mCE; None without a reference.
    """

    metric: str
    definition: str
    relative: str
    clean: float | None
    n: int
    seeds: int
    confidence: float
    cells: tuple[Cell, ...]
    by_kind: Mapping[str, Interval]
    by_severity: Mapping[int, Interval]
    overall: Interval
    corruption_error: Mapping[str, Interval]
    mean_corruption_error: Interval | None

    def __str__(self) -> str:
        clean = "undefined" if self.clean is None else f"{self.clean:.3f}"
        head = f"{self.metric} {clean} clean, mean relative degradation {self.overall}"
        return "\n".join([f"{head} (n={self.n}, seeds={self.seeds})", *map(str, self.cells)])

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        mean = self.mean_corruption_error
        return {
            "metric": self.metric,
            "definition": self.definition,
            "relative_definition": self.relative,
            "clean": self.clean,
            "n": self.n,
            "seeds": self.seeds,
            "confidence": self.confidence,
            "cells": [cell.to_json() for cell in self.cells],
            "by_kind": {kind: found.to_json() for kind, found in self.by_kind.items()},
            "by_severity": {str(s): found.to_json() for s, found in self.by_severity.items()},
            "overall": self.overall.to_json(),
            "corruption_error": {k: found.to_json() for k, found in self.corruption_error.items()},
            "mean_corruption_error": None if mean is None else mean.to_json(),
        }


def robustness(
    clean: Tables,
    corrupted: Corrupted,
    metric: str | Definition = "accuracy",
    *,
    reference: Corrupted | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = 1000,
) -> Robustness:
    """Measures a metric under corruptions.

    The relative degradation is 1 - corrupted / clean where larger is better, and
    corrupted / clean - 1, the relative increase, where smaller is; positive is worse. It is
    averaged over seeds, and undefined where the clean value is not positive. Examples are
    resampled together in all tables, stratified by label. With one seed its interval is BCa; with
    several it is Student's t, with the variances of examples and seeds as in `paired_difference`.
    A mean over cells has an interval of its own, because cells share their examples.

    Args:
      clean: predictions on the clean inputs, one table or one a seed.
      corrupted: (kind, severity) to predictions on the corrupted ones, of the same ids, seed by
        seed.
      metric: name or definition.
      reference: predictions of another model for the same cells, for the corruption error.
      confidence: nominal coverage.
      seed: of the bootstrap.
      replicates: bootstrap samples.

    Raises:
      EvaluationError: if there is no cell, the numbers of tables differ, ids or labels do (naming
        the cell), or the reference lacks a cell or the metric has no error.
    """
    check_confidence(confidence)
    originals = _tables(clean)
    defined = definition(metric, originals[0].kind)
    if defined.interval == "simulation":
        raise EvaluationError(f"{defined.name} is simulated: it has no paired difference")
    if not corrupted:
        raise EvaluationError("no corrupted tables: give {(kind, severity): table}")
    if replicates < 2:
        raise EvaluationError(f"{replicates} replicates have no variance; give at least 2")
    aligned = [table.align(originals[0]) for table in originals]
    cells = {key: _paired(_tables(t), aligned, key, "corrupted") for key, t in corrupted.items()}
    others = _reference(reference, aligned, list(cells), defined)
    differences = {
        key: paired_difference(
            tables, aligned, defined, confidence=confidence, seed=seed, replicates=replicates
        )
        for key, tables in cells.items()
    }
    prepared = [_prepare(defined, t) for t in (aligned, *cells.values(), *others.values())]
    base, *rest = resampled(prepared, seed=seed, replicates=replicates)
    values = dict(zip(cells, rest))
    ratios = {key: _relative(defined, base, found) for key, found in values.items()}
    strata = _strata(prepared, len(aligned[0]))

    def mean(quantities: Sequence[Quantity | Undefined]) -> Interval:
        total = derived(lambda *arrays: np.mean(arrays, axis=0), *quantities)
        return interval_of(total, strata, confidence=confidence)

    tested = {key: d.p_value for key, d in differences.items() if d.p_value is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())).tolist()))
    errors = _corruption_errors(defined, values, dict(zip(others, rest[len(cells) :])))
    kinds, severities = dict.fromkeys(k for k, _ in cells), sorted({s for _, s in cells})
    first = prepared[0]
    return Robustness(
        metric=defined.name,
        definition=defined.text if isinstance(first, Undefined) else describe(defined, first[0]),
        relative="1 - corrupted / clean" if defined.maximise else "corrupted / clean - 1",
        clean=_value(base),
        n=len(aligned[0]),
        seeds=len(aligned),
        confidence=confidence,
        cells=tuple(
            Cell(
                kind=key[0],
                severity=key[1],
                value=_value(values[key]),
                difference=found,
                relative=mean([ratios[key]]),
                p_adjusted=adjusted.get(key),
                degrades=_degrades(found, adjusted.get(key), confidence),
                flips=_flips(cells[key], aligned),
            )
            for key, found in differences.items()
        ),
        by_kind={
            kind: mean([ratio for key, ratio in ratios.items() if key[0] == kind]) for kind in kinds
        },
        by_severity={
            severity: mean([ratio for key, ratio in ratios.items() if key[1] == severity])
            for severity in severities
        },
        overall=mean(list(ratios.values())),
        corruption_error={kind: mean([error]) for kind, error in errors.items()},
        mean_corruption_error=mean(list(errors.values())) if errors else None,
    )


def _tables(tables: Tables) -> tuple[Predictions, ...]:
    several = tuple(tables) if isinstance(tables, Sequence) else (tables,)
    if not several:
        raise EvaluationError("there is no table to measure")
    return several


def _paired(
    tables: Sequence[Predictions], clean: Sequence[Predictions], key: tuple[str, int], what: str
) -> list[Predictions]:
    """The tables in the row order of the clean ones, one for each of them."""
    place = f"{what} tables of {key[0]!r} at severity {key[1]}"
    if len(tables) != len(clean):
        raise EvaluationError(
            f"{place}: there are {len(tables)}, but {len(clean)} clean ones; give one a seed"
        )
    try:
        return [table.align(other) for table, other in zip(tables, clean)]
    except EvaluationError as error:
        raise EvaluationError(f"{place}: {error}") from None


def _reference(
    reference: Corrupted | None,
    clean: Sequence[Predictions],
    cells: Sequence[tuple[str, int]],
    defined: Definition,
) -> dict[tuple[str, int], list[Predictions]]:
    """The reference model's tables of the same cells, its only one repeated for every seed."""
    if reference is None:
        return {}
    if defined.maximise and not np.isfinite(defined.bounds[1]):
        raise EvaluationError(f"{defined.name} has no largest value, so it has no error")
    absent = [key for key in cells if key not in reference]
    if absent:
        raise EvaluationError(
            f"the reference has no tables of {len(absent)} cells, such as {absent[0]};"
            " corruption errors compare the same cells"
        )
    severities = {kind: sorted(s for k, s in cells if k == kind) for kind, _ in cells}
    if len({tuple(found) for found in severities.values()}) > 1:
        raise EvaluationError(
            f"corruption errors need the same severities of all kinds: {severities}"
        )
    found = {}
    for key in cells:
        tables = _tables(reference[key])
        tables = tables * len(clean) if len(tables) == 1 else tables
        found[key] = _paired(tables, clean, key, "reference")
    return found


def _prepare(defined: Definition, tables: Sequence[Predictions]) -> list[Statistic] | Undefined:
    statistics = []
    for table in tables:
        statistic = defined.statistic(table)
        if isinstance(statistic, Undefined):
            return statistic
        check_bounds(defined, statistic.value)
        statistics.append(statistic)
    return statistics


def _strata(prepared: Sequence[list[Statistic] | Undefined], rows: int) -> np.ndarray:
    for found in prepared:
        if not isinstance(found, Undefined):
            return found[0].labels
    return np.zeros(rows, np.int64)


def _value(quantity: Quantity | Undefined) -> float | None:
    return None if isinstance(quantity, Undefined) else float(quantity.values.mean())


def _relative(
    defined: Definition, clean: Quantity | Undefined, corrupted: Quantity | Undefined
) -> Quantity | Undefined:
    if not isinstance(clean, Undefined) and not (clean.values > 0).all():
        least = float(clean.values.min())
        return Undefined(f"the clean {defined.name} is {least:g}, and nothing is relative to that")
    sign = 1.0 if defined.maximise else -1.0

    def degradation(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return np.where(before > 0, sign * (1 - after / before), np.nan)

    return derived(degradation, clean, corrupted)


def _corruption_errors(
    defined: Definition,
    values: Mapping[tuple[str, int], Quantity | Undefined],
    reference: Mapping[tuple[str, int], Quantity | Undefined],
) -> dict[str, Quantity | Undefined]:
    """By kind, the sum over severities of the errors over that of the reference."""

    def error(quantity: Quantity | Undefined) -> Quantity | Undefined:
        return derived(lambda v: defined.bounds[1] - v if defined.maximise else v, quantity)

    errors: dict[str, Quantity | Undefined] = {}
    for kind in dict.fromkeys(kind for kind, _ in reference):
        keys = [key for key in reference if key[0] == kind]
        own = derived(lambda *e: np.sum(e, axis=0), *(error(values[key]) for key in keys))
        its = derived(lambda *e: np.sum(e, axis=0), *(error(reference[key]) for key in keys))
        if not isinstance(its, Undefined) and not (its.values > 0).all():
            its = Undefined(f"the reference makes no error under {kind!r}")
        errors[kind] = derived(lambda mine, other: mine / other, own, its)
    return errors


def _degrades(found: PairedDifference, p_adjusted: float | None, confidence: float) -> bool:
    if found.improvement is None or p_adjusted is None:
        return False
    # A confidence of 0.95 leaves 1 - 0.95 a little above 0.05.
    return found.improvement < 0 and p_adjusted < round(1 - confidence, 12)


def _flips(corrupted: Sequence[Predictions], clean: Sequence[Predictions]) -> Flips | None:
    if clean[0].kind != "classification":
        return None
    shares = []
    for after, before in zip(corrupted, clean):
        was, now = before.predicted == before.labels, after.predicted == after.labels
        moved = after.predicted != before.predicted
        shares.append([moved.mean(), (was & ~now).mean(), (~was & now).mean()])
    changed, broken, mended = np.mean(shares, axis=0).tolist()
    return Flips(changed=changed, broken=broken, mended=mended)
