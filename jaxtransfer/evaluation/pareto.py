"""The Pareto front of a metric and costs, with the probability that each candidate is on it.

A point estimate's front changes with the examples drawn; the probability says by how much to trust
it.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.definition import Definition, describe
from jaxtransfer.evaluation.intervals import check_confidence
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.resampled_means import (
    example_replicates,
    prepared,
    seed_deviations,
    sorted_by_id,
)
from jaxtransfer.evaluation.table import Predictions


@dataclasses.dataclass(frozen=True, kw_only=True)
class CostSamples:
    """A cost that was measured several times; its value is the median.

    Replicates are medians of bootstrap samples of the measurements.
    """

    samples: Sequence[float]

    @property
    def value(self) -> float:
        """The median."""
        return float(np.median(self.samples))


@dataclasses.dataclass(frozen=True, kw_only=True)
class CostInterval:
    """A cost with an interval.

    Replicates are of a split normal distribution whose halves have the interval's two widths.
    """

    value: float
    ci: tuple[float, float]
    confidence: float = 0.95


Cost = float | CostSamples | CostInterval
"""A number is taken as exact."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model to choose.

    Attributes:
      name: what it is called.
      tables: its predictions, one table a seed.
      costs: name to cost, smaller is better; the same names for every candidate.
    """

    name: str
    tables: Sequence[Predictions]
    costs: Mapping[str, Cost]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """Where one candidate stands.

    Attributes:
      name: of the candidate.
      value: its metric, averaged over seeds.
      ci: percentile interval of the value over the replicates.
      costs: name to cost.
      on_front: whether no other dominates it, by these values.
      dominated_by: who does.
      probability: share of the replicates in which none does.
      monte_carlo_error: standard error of that share from the finite number of replicates.
    """

    name: str
    value: float
    ci: tuple[float, float]
    costs: Mapping[str, float]
    on_front: bool
    dominated_by: tuple[str, ...]
    probability: float
    monte_carlo_error: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParetoFront:
    """Candidates by metric and costs.

    Attributes:
      metric: name.
      definition: what exactly was measured.
      maximise: whether larger is better.
      standings: of the candidates, in the order given.
      n: number of examples.
      replicates: number of them.
      confidence: nominal coverage of the intervals.
      notes: what the probabilities leave out.
    """

    metric: str
    definition: str
    maximise: bool
    standings: tuple[Standing, ...]
    n: int
    replicates: int
    confidence: float
    notes: tuple[str, ...]

    @property
    def front(self) -> tuple[str, ...]:
        """Names of the candidates on the front."""
        return tuple(standing.name for standing in self.standings if standing.on_front)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "metric": self.metric,
            "definition": self.definition,
            "maximise": self.maximise,
            "n": self.n,
            "replicates": self.replicates,
            "confidence": self.confidence,
            "front": list(self.front),
            "candidates": [
                {
                    **dataclasses.asdict(standing),
                    "ci": list(standing.ci),
                    "costs": dict(standing.costs),
                    "dominated_by": list(standing.dominated_by),
                }
                for standing in self.standings
            ],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        lines = []
        for one in self.standings:
            costs = ", ".join(f"{name} {cost:.4g}" for name, cost in one.costs.items())
            place = "front" if one.on_front else f"dominated by {', '.join(one.dominated_by)}"
            lines.append(
                f"{one.name}: {self.metric} {one.value:.3f} [{one.ci[0]:.3f}, {one.ci[1]:.3f}],"
                f" {costs}; {place}; on the front with probability {one.probability:.2f}"
            )
        return "\n".join(lines)


def pareto(
    candidates: Sequence[Candidate],
    metric: str | Definition,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = 2000,
) -> ParetoFront:
    """Finds the front of a metric and costs, and how sure it is.

    A candidate is on the front if no other is at least as good in metric and every cost, and
    better in one of them; candidates that are equal in all stay together. The probability is the
    share of paired replicates in which that holds: examples by a bootstrap stratified by label,
    the same draws for all candidates; seeds by draws of Student's t (see
    `resampled_means.seed_deviations`), the same draws for candidates with equally many seeds;
    costs by their own samples or intervals, independently. It says how firm the front is, and is
    no posterior probability: a candidate far behind at equal cost has about 0, one far ahead or
    the cheapest 1, and one that does as well as a cheaper one about a half.

    Args:
      candidates: at least one, on the same examples; rows are paired by id.
      metric: name or definition.
      confidence: nominal coverage of the intervals of the values.
      seed: of all draws.
      replicates: their number.

    Raises:
      EvaluationError: if names repeat, a cost is missing or not finite, the tables have different
        examples, or the metric is undefined.
    """
    check_confidence(confidence)
    names = _check(candidates)
    sizes = [len(candidate.tables) for candidate in candidates]
    tables = sorted_by_id([table for candidate in candidates for table in candidate.tables])
    defined = definition(metric, tables[0].kind)
    ends = np.cumsum(sizes)
    groups = [
        prepared(tables[end - size : end], defined, candidate.name)
        for candidate, size, end in zip(candidates, sizes, ends)
    ]
    values = [np.array([s.value for s in group]) for group in groups]
    draws = example_replicates(groups, replicates=replicates, seed=seed)
    for size in set(sizes):
        alike = [index for index, count in enumerate(sizes) if count == size]
        spread = np.stack([values[index] for index in alike])
        draws[alike] += seed_deviations(spread, replicates=replicates, seed=seed)
    # Equal counts summed in another order are a tie.
    draws = np.round(np.clip(draws, *defined.bounds), 12)
    means = np.round([row.mean() for row in values], 12)
    rng = np.random.default_rng([seed, 2])  # other draws than those of examples and seeds
    fixed = np.array([[_value(c.costs[name]) for name in names] for c in candidates])
    costs = np.stack(
        [
            np.stack([_draws(c.costs[name], replicates, rng) for name in names], axis=-1)
            for c in candidates
        ],
        axis=1,
    )
    sign = 1 if defined.maximise else -1
    above = dominates(sign * means, fixed)
    shares = on_front(sign * draws.T, costs).mean(axis=0)
    tail = 0.5 - confidence / 2
    intervals = np.quantile(draws, [tail, 1 - tail], axis=1).T
    return ParetoFront(
        metric=defined.name,
        definition=describe(defined, groups[0][0]),
        maximise=defined.maximise,
        standings=tuple(
            Standing(
                name=candidate.name,
                value=float(means[i]),
                ci=(float(intervals[i, 0]), float(intervals[i, 1])),
                costs={name: float(cost) for name, cost in zip(names, fixed[i])},
                on_front=not above[:, i].any(),
                dominated_by=tuple(
                    candidates[j].name for j in np.flatnonzero(above[:, i]).tolist()
                ),
                probability=float(shares[i]),
                monte_carlo_error=math.sqrt(shares[i] * (1 - shares[i]) / replicates),
            )
            for i, candidate in enumerate(candidates)
        ),
        n=len(tables[0]),
        replicates=replicates,
        confidence=confidence,
        notes=_notes(candidates),
    )


def dominates(
    values: Float[np.ndarray, "*r m"], costs: Float[np.ndarray, "*r m c"]
) -> Bool[np.ndarray, "*r m m"]:
    """Whether candidate i dominates candidate j, at [..., i, j]; comparisons are exact.

    Args:
      values: (..., m) larger is better.
      costs: (..., m, c) smaller is better.

    >>> dominates(np.array([0.9, 0.8, 0.9]), np.array([[2.0], [2.0], [2.0]])).astype(int)
    array([[0, 1, 0],
           [0, 0, 0],
           [0, 1, 0]])
    """
    one, other = values[..., :, None], values[..., None, :]
    cost, other_cost = costs[..., :, None, :], costs[..., None, :, :]
    no_worse = (one >= other) & (cost <= other_cost).all(axis=-1)
    return no_worse & ((one > other) | (cost < other_cost).any(axis=-1))


def on_front(
    values: Float[np.ndarray, "*r m"], costs: Float[np.ndarray, "*r m c"]
) -> Bool[np.ndarray, "*r m"]:
    """Whether no candidate dominates each; arguments as for `dominates`.

    >>> on_front(np.array([0.9, 0.8, 0.7]), np.array([[2.0], [1.0], [1.5]]))
    array([ True,  True, False])
    """
    return np.logical_not(dominates(values, costs).any(axis=-2))


def _check(candidates: Sequence[Candidate]) -> list[str]:
    """The names of the costs, once everything is there."""
    if not candidates:
        raise EvaluationError("there is no candidate for a front")
    seen = [candidate.name for candidate in candidates]
    if len(set(seen)) != len(seen):
        raise EvaluationError(f"candidates {seen} must have different names")
    names = list(candidates[0].costs)
    if not names:
        raise EvaluationError(f"candidate {seen[0]!r} has no cost: a front needs one at least")
    for candidate in candidates:
        if set(candidate.costs) != set(names):
            raise EvaluationError(
                f"candidate {candidate.name!r} has costs {sorted(candidate.costs)}, and"
                f" {seen[0]!r} {sorted(names)}: compare the same ones"
            )
        if not candidate.tables:
            raise EvaluationError(f"candidate {candidate.name!r} has no predictions")
        for name, cost in candidate.costs.items():
            _check_cost(candidate.name, name, cost)
    return names


def _check_cost(candidate: str, name: str, cost: Cost) -> None:
    where = f"candidate {candidate!r}, cost {name!r}"
    if isinstance(cost, CostSamples):
        if len(cost.samples) < 2 or not np.isfinite(cost.samples).all():
            raise EvaluationError(
                f"{where}: {len(cost.samples)} samples; give two or more finite ones, or a number"
            )
    elif not np.isfinite(_value(cost)):
        raise EvaluationError(f"{where} is {_value(cost)}: leave out what was not measured")
    if isinstance(cost, CostInterval):
        check_confidence(cost.confidence)
        if not -math.inf < cost.ci[0] <= cost.value <= cost.ci[1] < math.inf:
            raise EvaluationError(f"{where}: {cost.value} does not lie in its interval {cost.ci}")


def _value(cost: Cost) -> float:
    return cost.value if isinstance(cost, (CostSamples, CostInterval)) else float(cost)


def _draws(cost: Cost, replicates: int, rng: np.random.Generator) -> np.ndarray:
    if isinstance(cost, CostSamples):
        samples = np.asarray(cost.samples, np.float64)
        return np.median(rng.choice(samples, (replicates, len(samples))), axis=1)
    if isinstance(cost, CostInterval):
        from scipy.special import ndtri

        reach = float(ndtri(0.5 + cost.confidence / 2))
        normal = rng.standard_normal(replicates) / reach
        below, above = cost.value - cost.ci[0], cost.ci[1] - cost.value
        return cost.value + np.where(normal < 0, below, above) * normal
    return np.full(replicates, float(cost))


def _notes(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    single = [c.name for c in candidates if len(c.tables) == 1]
    numbers = {len(c.tables) for c in candidates if len(c.tables) > 1}
    exact = {
        name
        for c in candidates
        for name, cost in c.costs.items()
        if not isinstance(cost, (CostSamples, CostInterval))
    }
    notes = []
    if single:
        notes.append(f"one seed of {', '.join(single)}: its variance of training is left out")
    if len(numbers) > 1:
        notes.append("candidates with different numbers of seeds: their seeds are not paired")
    if exact:
        notes.append(f"taken as exact: {', '.join(sorted(exact))}")
    return tuple(notes)
