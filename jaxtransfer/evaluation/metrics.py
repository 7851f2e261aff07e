"""Metrics by name: each a value with interval, n and definition, or the reason it is undefined."""

import functools
from collections.abc import Sequence

import numpy as np

from jaxtransfer.errors import EvaluationError, nearest
from jaxtransfer.evaluation.calibration import CALIBRATION
from jaxtransfer.evaluation.classification import BINARY, CLASSIFICATION, MANY
from jaxtransfer.evaluation.definition import Definition, Measured, check_bounds, describe
from jaxtransfer.evaluation.intervals import (
    acceleration,
    bca,
    bootstrap_weights,
    check_confidence,
    chunks,
    cut,
    logit_t,
    wilson,
)
from jaxtransfer.evaluation.multilabel import MULTILABEL
from jaxtransfer.evaluation.ranking import RANKING
from jaxtransfer.evaluation.regression import REGRESSION
from jaxtransfer.evaluation.rows import Rows
from jaxtransfer.evaluation.statistic import Statistic, Undefined
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.evaluation.token_losses import TOKENS

METRICS: dict[str, dict[str, Definition]] = {
    kind: {defined.name: defined for defined in definitions}
    for kind, definitions in (
        ("classification", (*CLASSIFICATION, *CALIBRATION, *BINARY, *MANY)),
        ("multilabel", MULTILABEL),
        ("regression", REGRESSION),
        ("ranking", RANKING),
        ("tokens", TOKENS),
    )
}
"""Definitions by the kind of table, then by name."""


def names_for(table: Rows) -> list[str]:
    """The metrics that a table of its kind and number of classes can have."""
    left_out: tuple[Definition, ...] = ()
    if isinstance(table, Predictions):
        left_out = () if len(table.classes) == 2 else BINARY
        left_out += () if len(table.classes) > 5 else MANY
    return [name for name, found in METRICS[table.kind].items() if found not in left_out]


def measure(
    table: Rows,
    names: Sequence[str | Definition] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = 1000,
) -> dict[str, Measured]:
    """Measures a table.

    Args:
      table: the predictions.
      names: metrics by name or definition; None means all that a table of its kind can have.
      confidence: nominal coverage of the intervals.
      seed: of the bootstrap; a metric's interval does not depend on which others are measured.
      replicates: bootstrap samples (and simulations); 0 gives no bootstrap interval.

    Raises:
      EvaluationError: if a name is unknown.
    """
    check_confidence(confidence)
    chosen = [
        definition(name, table.kind) for name in (names_for(table) if names is None else names)
    ]
    prepared = {defined.name: defined.statistic(table) for defined in chosen}
    resampled = _resample_together(
        [
            statistic
            for defined in chosen
            if defined.interval == "bca"
            and replicates > 0
            and isinstance(statistic := prepared[defined.name], Statistic)
        ],
        seed,
        replicates,
    )
    return {
        defined.name: _measure(
            defined, prepared[defined.name], resampled, len(table), confidence, seed, replicates
        )
        for defined in chosen
    }


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
    if not isinstance(name, str) or name not in known:
        close = nearest(str(name), known)
        raise EvaluationError(f"unknown metric {name!r} of {kind}; nearest: {close}")
    return known[name]


def value(table: Rows, name: str | Definition) -> float | None:
    """The metric alone, for selection inside a loop; None where it is undefined."""
    defined = definition(name, table.kind)
    if defined.interval == "simulation":
        return measure(table, [defined])[defined.name].value
    statistic = defined.statistic(table)
    return None if isinstance(statistic, Undefined) else statistic.value


def _resample_together(
    statistics: Sequence[Statistic], seed: int, replicates: int
) -> dict[int, np.ndarray]:
    """Bootstrap replicates by the identity of a statistic.

    Statistics of the same strata share each draw of weights, which is the one that each would
    have drawn alone.
    """
    found = {}
    shared: list[Statistic] = []
    for statistic in statistics:
        if type(statistic).resample is Statistic.resample:
            shared.append(statistic)
        else:
            found[id(statistic)] = statistic.resample(np.random.default_rng(seed), replicates)
    while shared:
        strata = shared[0].strata
        alike = [s for s in shared if np.array_equal(s.strata, strata)]
        shared = [s for s in shared if s not in alike]
        rng = np.random.default_rng(seed)
        parts: list[list[np.ndarray]] = [[] for _ in alike]
        for count in chunks(replicates, len(strata)):
            weights = bootstrap_weights(strata, count, rng)
            for part, statistic in zip(parts, alike):
                part.append(statistic.weighted(weights))
        for part, statistic in zip(parts, alike):
            found[id(statistic)] = np.concatenate(part) if part else np.empty(0)
    return found


def _measure(
    defined: Definition,
    statistic: Statistic | Undefined,
    resampled: dict[int, np.ndarray],
    rows: int,
    confidence: float,
    seed: int,
    replicates: int,
) -> Measured:
    if isinstance(statistic, Undefined):
        return Measured(
            name=defined.name,
            value=None,
            ci=None,
            n=rows,
            definition=defined.text,
            undefined=statistic.reason,
        )
    n = len(statistic.labels)
    measured = functools.partial(
        Measured, name=defined.name, n=n, definition=describe(defined, statistic)
    )
    if defined.interval == "simulation":
        simulated = statistic.resample(np.random.default_rng(seed), max(1, replicates))
        low, high = np.quantile(simulated, [0.5 - confidence / 2, 0.5 + confidence / 2])
        return measured(value=float(simulated.mean()), ci=(float(low), float(high)))
    found = statistic.value
    check_bounds(defined, found)
    if defined.interval == "wilson":
        return measured(value=found, ci=wilson(round(found * n), n, confidence))
    if replicates < 1:
        return measured(value=found, ci=None, undefined="interval not asked for")
    without = statistic.leave_one_out()
    if defined.interval == "logit":
        ci = logit_t(found, without, statistic.labels, confidence)
    else:
        ci = bca(
            found, resampled[id(statistic)], acceleration(without, statistic.strata), confidence
        )
    if isinstance(ci, str):
        return measured(value=found, ci=None, undefined=ci)
    return measured(value=found, ci=cut(ci, defined.bounds))
