"""Metrics by name: each a value with interval, n and definition, or the reason it is undefined."""

import functools
from collections.abc import Sequence

import numpy as np

from jaxtransfer.errors import EvaluationError, nearest
from jaxtransfer.evaluation.calibration import CALIBRATION
from jaxtransfer.evaluation.classification import CLASSIFICATION
from jaxtransfer.evaluation.definition import Definition, Measured, check_bounds, describe
from jaxtransfer.evaluation.intervals import (
    acceleration,
    bca,
    check_confidence,
    cut,
    logit_t,
    wilson,
)
from jaxtransfer.evaluation.statistic import Undefined
from jaxtransfer.evaluation.table import Predictions

METRICS: dict[str, dict[str, Definition]] = {
    "classification": {d.name: d for d in (*CLASSIFICATION, *CALIBRATION)},
}
"""Definitions by the kind of table, then by name."""


def measure(
    table: Predictions,
    names: Sequence[str | Definition] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = 1000,
) -> dict[str, Measured]:
    """Measures a table.

    Args:
      table: the predictions.
      names: metrics by name or definition; None means all of the table's kind.
      confidence: nominal coverage of the intervals.
      seed: of the bootstrap; a metric's interval does not depend on which others are measured.
      replicates: bootstrap samples (and simulations); 0 gives no bootstrap interval.

    Raises:
      EvaluationError: if a name is unknown.
    """
    check_confidence(confidence)
    chosen = [
        definition(name, table.kind) for name in (METRICS[table.kind] if names is None else names)
    ]
    return {d.name: _measure(table, d, confidence, seed, replicates) for d in chosen}


def definition(name: str | Definition, kind: str = "classification") -> Definition:
    """Looks up a metric of one kind of table.

    Raises:
      EvaluationError: with the nearest names, if it is unknown, or of another kind.
    """
    if isinstance(name, Definition):
        if name.kind != kind:
            raise EvaluationError(f"metric {name.name!r} measures {name.kind}, not {kind}")
        return name
    known = METRICS[kind]
    if name not in known:
        raise EvaluationError(f"unknown metric {name!r} of {kind}; nearest: {nearest(name, known)}")
    return known[name]


def value(table: Predictions, name: str | Definition) -> float | None:
    """The metric alone, for selection inside a loop; None where it is undefined."""
    defined = definition(name, table.kind)
    if defined.interval == "simulation":
        return _measure(table, defined, 0.95, 0, 1000).value
    statistic = defined.prepare(table)
    return None if isinstance(statistic, Undefined) else statistic.value


def _measure(
    table: Predictions, defined: Definition, confidence: float, seed: int, replicates: int
) -> Measured:
    n = len(table)
    statistic = defined.prepare(table)
    if isinstance(statistic, Undefined):
        return Measured(
            name=defined.name,
            value=None,
            ci=None,
            n=n,
            definition=defined.text,
            undefined=statistic.reason,
        )
    measured = functools.partial(
        Measured, name=defined.name, n=n, definition=describe(defined, statistic)
    )
    rng = np.random.default_rng(seed)
    if defined.interval == "simulation":
        simulated = statistic.resample(rng, max(1, replicates))
        low, high = np.quantile(simulated, [0.5 - confidence / 2, 0.5 + confidence / 2])
        return measured(value=float(simulated.mean()), ci=(float(low), float(high)))
    check_bounds(defined, statistic.value)
    if defined.interval == "wilson":
        share = statistic.value
        return measured(value=share, ci=wilson(round(share * n), n, confidence))
    if replicates < 1:
        return measured(value=statistic.value, ci=None, undefined="interval not asked for")
    if defined.interval == "logit":
        without = statistic.leave_one_out()
        ci = logit_t(statistic.value, without, statistic.labels, confidence)
    else:
        ci = bca(
            statistic.value,
            statistic.resample(rng, replicates),
            acceleration(statistic.leave_one_out(), statistic.strata),
            confidence,
        )
    if isinstance(ci, str):
        return measured(value=statistic.value, ci=None, undefined=ci)
    return measured(value=statistic.value, ci=cut(ci, defined.bounds))
