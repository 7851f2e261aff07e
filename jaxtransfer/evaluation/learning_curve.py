"""Learning curves: a metric at nested training sizes, over seeds that all sizes and methods share.

A curve keeps paired replicates, so that a law fitted to it and the labels that one method saves
against another have intervals that count both examples and seeds.
"""

import dataclasses
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.definition import Definition, Measured, describe
from jaxtransfer.evaluation.intervals import check_confidence, cut
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.nesting import check_nested
from jaxtransfer.evaluation.resampled_means import (
    example_replicates,
    examples_hash,
    prepared,
    seed_deviations,
    sorted_by_id,
)
from jaxtransfer.evaluation.seeds import measure_seeds
from jaxtransfer.evaluation.table import Predictions

NOTHING_VARIES = (
    "nothing varies among the examples and seeds given: intervals without width say nothing"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels:
    """How many labelled examples a point of a curve has used.

    Attributes:
      train: that it was trained on.
      validation: that chose its rate, its step or the like.
      calibration: that its temperature was fitted on.
    """

    train: int
    validation: int = 0
    calibration: int = 0

    @property
    def total(self) -> int:
        """All that had to be labelled, the test examples not counted."""
        return self.train + self.validation + self.calibration


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LearningCurve:
    """A metric of one method at s training sizes and k seeds.

    Attributes:
      method: name of the method.
      metric: name of the metric.
      definition: what exactly was measured; curves of different definition are not compared.
      maximise: whether larger is better.
      bounds: smallest and largest value of the metric.
      labels: by size, ascending in `train`.
      seeds: the seeds, by column of `values`.
      values: (s, k) the metric of each size and seed.
      points: by size, the mean over seeds with its interval (`seeds.measure_seeds`).
      examples: (s, r) bootstrap samples of the examples of the mean over seeds, paired over sizes.
      examples_hash: of the test examples; curves of different hash are not paired.
      seed: of the bootstrap.
      confidence: nominal coverage of the points' intervals.
    """

    method: str
    metric: str
    definition: str
    maximise: bool
    bounds: tuple[float, float]
    labels: tuple[Labels, ...]
    seeds: tuple[int, ...]
    values: Float[np.ndarray, "s k"]
    points: tuple[Measured, ...]
    examples: Float[np.ndarray, "s r"]
    examples_hash: str
    seed: int
    confidence: float

    @property
    def train(self) -> Float[np.ndarray, "s"]:
        """Numbers of training labels."""
        return np.array([labels.train for labels in self.labels], np.float64)

    @property
    def total(self) -> Float[np.ndarray, "s"]:
        """Numbers of all labels used."""
        return np.array([labels.total for labels in self.labels], np.float64)

    @property
    def means(self) -> Float[np.ndarray, "s"]:
        """Means over seeds."""
        return self.values.mean(axis=1)

    @property
    def variances(self) -> Float[np.ndarray, "s"]:
        """Squared standard errors of the means: from the examples, plus s^2/k of the k seeds."""
        size = self.values.shape[1]
        seeds = self.values.var(axis=1, ddof=1) / size if size > 1 else 0.0
        found = self.examples.var(axis=1, ddof=1) + seeds
        # Rounding of equal sums is no variance.
        return np.where(found < 1e-24 * np.maximum(1.0, self.means**2), 0.0, found)

    def replicates(self) -> Float[np.ndarray, "s r"]:
        """Draws of the means, examples and seeds varied, within the metric's bounds.

        They are paired with those of every curve that `check_pair` lets through.
        """
        deviations = seed_deviations(self.values, replicates=self.examples.shape[1], seed=self.seed)
        return np.clip(self.examples + deviations, *self.bounds)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values, without the replicates."""
        return {
            "method": self.method,
            "metric": self.metric,
            "definition": self.definition,
            "seeds": list(self.seeds),
            "points": [
                {
                    **dataclasses.asdict(labels),
                    "total": labels.total,
                    **{k: v for k, v in point.to_json().items() if k != "definition"},
                    "values": row.tolist(),
                }
                for labels, point, row in zip(self.labels, self.points, self.values)
            ],
        }

    def __str__(self) -> str:
        lines = [f"{self.method}, {self.metric} (seeds={len(self.seeds)})"]
        for labels, point in zip(self.labels, self.points):
            extra = f" ({labels.total} with validation and calibration)"
            lines.append(f"  {labels.train}{extra if labels.total > labels.train else ''}: {point}")
        return "\n".join(lines)


def learning_curve(
    tables: Mapping[int, Sequence[Predictions]],
    metric: str | Definition,
    *,
    method: str,
    seeds: Sequence[int] | None = None,
    validation: int | Mapping[int, int] = 0,
    calibration: int | Mapping[int, int] = 0,
    subsets: Mapping[int, Sequence[Collection[str]]] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = 1000,
) -> LearningCurve:
    """Measures a method's learning curve from predictions tables.

    Args:
      tables: number of training labels to tables of the same examples, one a seed; the seeds in
        the same order at each size.
      metric: name or definition.
      method: what the curve is called.
      seeds: the seeds; 0, 1, ... if left out.
      validation: labels used to choose; a number, or one by training size.
      calibration: labels used to calibrate, likewise.
      subsets: by training size, the ids that each seed was trained on: it is then checked that
        they are as many, that each seed's are nested, and that none is a test example.
      confidence: nominal coverage of the points' intervals.
      seed: of the bootstrap.
      replicates: bootstrap samples.

    Raises:
      EvaluationError: if sizes have different numbers of seeds, tables other examples, the metric
        is undefined, or the subsets are not nested.
    """
    if not tables:
        raise EvaluationError(f"{method}: there are no tables, so there is no curve")
    sizes = sorted(tables)
    names = _seeds(method, {size: len(tables[size]) for size in sizes}, seeds)
    flat = sorted_by_id([table for size in sizes for table in tables[size]])
    defined = definition(metric, flat[0].kind)
    if subsets is not None:
        check_nested(subsets, sizes, names, test=flat[0].ids.tolist())
    count = len(names)
    grouped = {size: flat[i * count : (i + 1) * count] for i, size in enumerate(sizes)}
    statistics = [
        prepared(group, defined, f"{method}, {size} labels") for size, group in grouped.items()
    ]
    return LearningCurve(
        method=method,
        metric=defined.name,
        definition=describe(defined, statistics[0][0]),
        maximise=defined.maximise,
        bounds=defined.bounds,
        labels=_labels(sizes, validation, calibration),
        seeds=names,
        values=np.array([[s.value for s in group] for group in statistics]),
        points=tuple(
            measure_seeds(
                group, [defined], confidence=confidence, seed=seed, replicates=replicates
            )[defined.name]
            for group in grouped.values()
        ),
        examples=example_replicates(statistics, replicates=replicates, seed=seed),
        examples_hash=examples_hash(flat[0]),
        seed=seed,
        confidence=confidence,
    )


def curve_from_values(
    values: Mapping[int, Sequence[float]],
    *,
    method: str,
    metric: str,
    n: int,
    maximise: bool = True,
    bounds: tuple[float, float] = (0.0, 1.0),
    seeds: Sequence[int] | None = None,
    validation: int | Mapping[int, int] = 0,
    calibration: int | Mapping[int, int] = 0,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = 1000,
) -> LearningCurve:
    """A learning curve of numbers whose predictions are gone: its intervals count the seeds alone.

    Args:
      values: number of training labels to the metric of each seed.
      method: what the curve is called.
      metric: what was measured; it is its own definition.
      n: number of test examples.
      maximise: whether larger is better.
      bounds: smallest and largest value.
      seeds: as for `learning_curve`, and so are the rest.
      validation: labels used to choose.
      calibration: labels used to calibrate.
      confidence: nominal coverage.
      seed: of the replicates.
      replicates: their number.

    Raises:
      EvaluationError: if sizes have different numbers of seeds, or a value is not finite or not
        within the bounds.
    """
    check_confidence(confidence)
    if not values:
        raise EvaluationError(f"{method}: there are no values, so there is no curve")
    if n < 1:
        raise EvaluationError(f"{method}: n = {n} test examples measure nothing; give at least 1")
    sizes = sorted(values)
    names = _seeds(method, {size: len(values[size]) for size in sizes}, seeds)
    rows = np.array([values[size] for size in sizes], np.float64)
    for size, row in zip(sizes, rows):
        for name, value in zip(names, row):
            if not bounds[0] <= value <= bounds[1]:
                raise EvaluationError(
                    f"{method}, {size} labels, seed {name}: {metric} is {value}, which is not within"
                    f" {bounds}; give the bounds= that it has"
                )
    text = f"{metric}, as given; intervals count the seeds and not the examples"
    return LearningCurve(
        method=method,
        metric=metric,
        definition=text,
        maximise=maximise,
        bounds=bounds,
        labels=_labels(sizes, validation, calibration),
        seeds=names,
        values=rows,
        points=tuple(_point(row, metric, n, text, bounds, confidence) for row in rows),
        examples=np.repeat(rows.mean(axis=1)[:, None], replicates, axis=1),
        examples_hash=f"{n} examples of unknown ids",
        seed=seed,
        confidence=confidence,
    )


def check_pair(a: LearningCurve, b: LearningCurve) -> None:
    """Raises an EvaluationError unless two curves can be compared, replicate by replicate."""
    names = f"{a.method} and {b.method}"
    if (a.metric, a.definition, a.bounds, a.maximise) != (
        b.metric,
        b.definition,
        b.bounds,
        b.maximise,
    ):
        raise EvaluationError(
            f"{names} were measured by different definitions: {a.definition!r} and {b.definition!r}"
        )
    if a.examples_hash != b.examples_hash:
        raise EvaluationError(f"{names} were measured on different test examples")
    if a.seeds != b.seeds:
        raise EvaluationError(
            f"{names} have different seeds, {list(a.seeds)} and {list(b.seeds)}: nothing pairs them"
        )
    if (a.seed, a.examples.shape[1]) != (b.seed, b.examples.shape[1]):
        raise EvaluationError(
            f"{names} were resampled differently: seeds {a.seed} and {b.seed},"
            f" {a.examples.shape[1]} and {b.examples.shape[1]} replicates; measure both alike"
        )


def _point(
    row: np.ndarray,
    metric: str,
    n: int,
    text: str,
    bounds: tuple[float, float],
    confidence: float,
) -> Measured:
    from scipy.special import stdtrit

    mean, size = float(row.mean()), len(row)
    if size == 1:
        reason = "one seed has no variance"
        return Measured(name=metric, value=mean, ci=None, n=n, definition=text, undefined=reason)
    half = float(stdtrit(size - 1, 0.5 + confidence / 2)) * row.std(ddof=1) / math.sqrt(size)
    return Measured(
        name=metric, value=mean, ci=cut((mean - half, mean + half), bounds), n=n, definition=text
    )


def _seeds(method: str, counts: Mapping[int, int], seeds: Sequence[int] | None) -> tuple[int, ...]:
    for size, count in counts.items():
        if size < 1:
            raise EvaluationError(f"{method}: {size} is not a number of training labels")
        expected = len(seeds) if seeds is not None else next(iter(counts.values()))
        if count != expected or not count:
            raise EvaluationError(
                f"{method}: {size} labels have {count} seeds, not {expected}: give each size every"
                " seed, in the same order"
            )
    names = tuple(range(expected)) if seeds is None else tuple(int(seed) for seed in seeds)
    if len(set(names)) != len(names):
        raise EvaluationError(f"{method}: seeds {list(names)} repeat")
    return names


def _labels(
    sizes: Sequence[int],
    validation: int | Mapping[int, int],
    calibration: int | Mapping[int, int],
) -> tuple[Labels, ...]:
    def at(counts: int | Mapping[int, int], size: int, name: str) -> int:
        if isinstance(counts, Mapping) and size not in counts:
            raise EvaluationError(f"{name} says nothing of {size} training labels")
        count = counts[size] if isinstance(counts, Mapping) else counts
        if count < 0:
            raise EvaluationError(f"{name} of {size} training labels is {count}, not a count")
        return int(count)

    found = tuple(
        Labels(
            train=int(size),
            validation=at(validation, size, "validation"),
            calibration=at(calibration, size, "calibration"),
        )
        for size in sizes
    )
    for smaller, larger in itertools.pairwise(found):
        if larger.total <= smaller.total:
            raise EvaluationError(
                f"{larger.train} training labels use {larger.total} in all, no more than"
                f" {smaller.train} do ({smaller.total}): a curve rises in both"
            )
    return found
