"""Replicates of means over seeds: examples by a paired bootstrap, seeds by Student's t.

Whatever is resampled with the same seed over the same examples is paired, replicate by replicate,
so that functions of several means (a fitted law, a ratio of label counts, a front) have intervals.
"""

import hashlib
import json
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.definition import Definition, check_bounds
from jaxtransfer.evaluation.intervals import (
    bootstrap_weights,
    chunks,
    undefined_samples,
)
from jaxtransfer.evaluation.statistic import Statistic, Undefined
from jaxtransfer.evaluation.table import Predictions


def sorted_by_id(tables: Sequence[Predictions]) -> list[Predictions]:
    """The tables with the rows of all in the order of their ids, whatever order they came in.

    Raises:
      EvaluationError: if ids, labels or classes differ.
    """
    first = tables[0].take(np.argsort(tables[0].ids))
    return [first, *(table.align(first) for table in tables[1:])]


def examples_hash(table: Predictions) -> str:
    """sha256 of ids and labels in the order of the ids: what says that two tables can be paired."""
    order = np.argsort(table.ids)
    content = json.dumps([table.ids[order].tolist(), np.asarray(table.labels)[order].tolist()])
    return hashlib.sha256(content.encode()).hexdigest()


def prepared(tables: Sequence[Predictions], defined: Definition, where: str) -> list[Statistic]:
    """The statistic of each table.

    Raises:
      EvaluationError: naming the place, if the metric is simulated or a table leaves it undefined.
    """
    if defined.interval == "simulation":
        raise EvaluationError(
            f"{defined.name} is simulated: its replicates cannot be paired; choose another metric"
        )
    found = []
    for index, table in enumerate(tables):
        statistic = defined.statistic(table)
        if isinstance(statistic, Undefined):
            raise EvaluationError(
                f"{where}, seed {index} ({table.source}): {defined.name} is undefined:"
                f" {statistic.reason} (n={len(table)})"
            )
        check_bounds(defined, statistic.value)
        found.append(statistic)
    return found


def example_replicates(
    groups: Sequence[Sequence[Statistic]], *, replicates: int, seed: int
) -> Float[np.ndarray, "m r"]:
    """Bootstrap samples of each group's mean statistic, all groups from the same drawn examples.

    Strata are resampled to one less than their size and scaled up (Rao and Wu 1988), so that the
    variance over replicates is unbiased in small classes too.

    Args:
      groups: m sequences of statistics, prepared on tables of the same rows.
      replicates: number r of bootstrap samples, at least 2.
      seed: groups that are given in other calls are paired with these if seed, strata and number
        of replicates are the same.

    Raises:
      EvaluationError: if there are fewer than 2 replicates, or some do not define a statistic.
    """
    if replicates < 2:
        raise EvaluationError(f"{replicates} replicates have no variance; give at least 2")
    strata = groups[0][0].labels
    rng = np.random.default_rng(seed)
    parts = []
    # What is drawn must not depend on how much is held at once.
    for count in chunks(replicates, len(strata)):
        weights = bootstrap_weights(strata, count, rng, rescaled=True)
        parts.append(
            np.array([np.mean([s.weighted(weights) for s in group], axis=0) for group in groups])
        )
    drawn = np.concatenate(parts, axis=1)
    if reason := undefined_samples(drawn.mean(axis=0)):
        raise EvaluationError(f"{reason}: give more examples, or choose another metric")
    return drawn


def seed_deviations(
    values: Float[np.ndarray, "m s"], *, replicates: int, seed: int
) -> Float[np.ndarray, "m r"]:
    """Draws of how far m means over s seeds lie from the truth, as the spread of the seeds says.

    The deviations from each mean are weighted by one standard normal a seed, over sqrt(s (s - 1)),
    and divided by sqrt(chi^2_(s-1) / (s - 1)): any linear function of the means is then spread as
    Student's t with s - 1 degrees of freedom times its standard error, so that its percentile
    interval is the t interval. Resampling few seeds instead covers too little, because it takes
    their variance for the truth. Covariances between the means are those of the seeds.

    Args:
      values: the seeds' values, the same seed in the same column; zeros result for one seed.
      replicates: number r of draws.
      seed: of the draws; equal seeds and numbers give the same draws, hence pairs.

    >>> seed_deviations(np.array([[0.5]]), replicates=3, seed=0)
    array([[0., 0., 0.]])
    """
    means, size = np.shape(values)
    if size == 1:
        return np.zeros((means, replicates))
    rng = np.random.default_rng([seed, 1])  # other draws than those of the examples
    normal = rng.standard_normal((size, replicates))
    scale = np.sqrt((size - 1) / rng.chisquare(size - 1, replicates))
    centred = values - np.mean(values, axis=1, keepdims=True)
    return centred @ normal * (scale / np.sqrt(size * (size - 1)))


def extended(number: float) -> float | None:
    """A bound for JSON: None where there is none (infinite).

    >>> extended(float("inf")), extended(2)
    (None, 2.0)
    """
    return float(number) if np.isfinite(number) else None
