"""A metric of a method rather than of one run: the mean over seeds, and its interval.

The interval counts both variances, that of the examples and that of the seeds.
"""

import math
from collections.abc import Sequence

import numpy as np

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.definition import Definition, Measured, check_bounds, describe
from jaxtransfer.evaluation.intervals import (
    bootstrap_weights,
    check_confidence,
    chunks,
    cut,
    influences,
    share_variance,
    t_quantile,
    undefined_samples,
    wilson,
)
from jaxtransfer.evaluation.metrics import definition, measure, names_for
from jaxtransfer.evaluation.rows import Rows
from jaxtransfer.evaluation.statistic import Statistic, Undefined


def measure_seeds(
    tables: Sequence[Rows],
    names: Sequence[str | Definition] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = 1000,
) -> dict[str, Measured]:
    """Measures the mean over seeds of each metric.

    For one table, or tables with equal predictions (a method without a seed), this is
    `metrics.measure`. Otherwise the squared standard error is the variance over a bootstrap of the
    examples, stratified by label, of the mean over seeds, plus what the classes' random shares add
    to it (`intervals.share_variance`), plus s^2/S of the S values; the interval
    is Student's t with Cochran's quantile for two variances, cut at the metric's bounds; that of a
    proportion is at least as wide as Wilson's for its mean. A simulated
    metric is averaged, without an interval.

    Args:
      tables: one a seed, on the same examples; rows are matched by id.
      names: metrics by name or definition; None means all.
      confidence: nominal coverage.
      seed: of the bootstrap.
      replicates: bootstrap samples.

    Raises:
      EvaluationError: if there is no table, or ids, labels or classes differ.
    """
    check_confidence(confidence)
    if not tables:
        raise EvaluationError("there is no table to measure")
    aligned = [tables[0], *(table.align(tables[0]) for table in tables[1:])]
    kind = tables[0].kind
    chosen = [definition(name, kind) for name in (names_for(tables[0]) if names is None else names)]
    if all(_alike(table, aligned[0]) for table in aligned):
        return measure(aligned[0], chosen, confidence=confidence, seed=seed, replicates=replicates)
    return {
        defined.name: _measure(aligned, defined, confidence, seed, replicates) for defined in chosen
    }


def _alike(table: Rows, other: Rows) -> bool:
    """Whether two tables of the same rows predict the same."""
    return all(
        np.array_equal(getattr(table, name), getattr(other, name))
        for name in table.PAYLOAD
        if name not in table.TRUTH
    )


def _measure(
    tables: Sequence[Rows],
    defined: Definition,
    confidence: float,
    seed: int,
    replicates: int,
) -> Measured:
    n, size = len(tables[0]), len(tables)
    if defined.interval == "simulation":
        parts = [measure(t, [defined], seed=seed, replicates=replicates) for t in tables]
        simulated = [part[defined.name].value for part in parts]
        return Measured(
            name=defined.name,
            value=float(np.mean([v for v in simulated if v is not None])),
            ci=None,
            n=n,
            definition=f"{parts[0][defined.name].definition}; mean over {size} seeds",
            undefined="a mean of simulations has no interval",
        )
    statistics: list[Statistic] = []
    for table in tables:
        statistic = defined.statistic(table)
        if isinstance(statistic, Undefined):
            return Measured(
                name=defined.name,
                value=None,
                ci=None,
                n=n,
                definition=defined.text,
                undefined=statistic.reason,
            )
        check_bounds(defined, statistic.value)
        statistics.append(statistic)
    values = np.array([statistic.value for statistic in statistics])
    text = f"{describe(defined, statistics[0])}; mean over {size} seeds, t interval"
    labels = statistics[0].labels
    n = len(labels)
    freedom = n - len(np.unique(labels))
    if freedom < 1:
        return Measured(
            name=defined.name,
            value=float(values.mean()),
            ci=None,
            n=n,
            definition=text,
            undefined="one example a class has no variance",
        )
    examples = _example_variance(statistics, labels, replicates, seed)
    if isinstance(examples, str):
        return Measured(
            name=defined.name,
            value=float(values.mean()),
            ci=None,
            n=n,
            definition=text,
            undefined=examples,
        )
    variances = examples, float(values.var(ddof=1)) / size
    freedoms = freedom, size - 1
    error = math.sqrt(sum(variances))
    half = error * t_quantile(variances, freedoms, 0.5 + confidence / 2) if error else 0.0
    mean = float(values.mean())
    ci = cut((mean - half, mean + half), defined.bounds)
    if defined.interval == "wilson":
        # Near 0 and 1 the examples hardly vary, and only Wilson's interval knows what n is worth.
        alone = wilson(round(mean * n), n, confidence)
        ci = (min(ci[0], alone[0]), max(ci[1], alone[1]))
    elif not error:
        return Measured(
            name=defined.name,
            value=mean,
            ci=None,
            n=n,
            definition=text,
            undefined="nothing varies among these examples and seeds",
        )
    return Measured(name=defined.name, value=mean, ci=ci, n=n, definition=text)


def _example_variance(
    statistics: Sequence[Statistic], labels: np.ndarray, replicates: int, seed: int
) -> float | str:
    """The variance of the mean over seeds, or why the examples do not show it."""
    rng = np.random.default_rng(seed)
    means = []
    for count in chunks(replicates, len(labels)):
        weights = bootstrap_weights(labels, count, rng, rescaled=True)
        means.append(np.mean([statistic.weighted(weights) for statistic in statistics], axis=0))
    drawn = np.concatenate(means)
    if reason := undefined_samples(drawn):
        return reason
    without = np.mean([statistic.leave_one_out() for statistic in statistics], axis=0)
    shares = share_variance(influences(without, labels), labels)
    return float(drawn.var(ddof=1)) + shares
