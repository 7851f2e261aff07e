"""Bootstrap intervals of a paired difference: BCa over examples, or over seeds and examples at once.

They stand beside the t interval of `paired.paired_difference`, which assumes more and needs fewer
seeds.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.definition import Definition, check_bounds, describe
from jaxtransfer.evaluation.intervals import (
    acceleration,
    bca,
    bootstrap_weights,
    check_confidence,
    chunks,
    cut,
    undefined_samples,
)
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.statistic import Statistic, Undefined
from jaxtransfer.evaluation.table import Predictions

FEW_SEEDS = 10
"""Below so many seeds, percentiles over them are known to be too narrow, and the result says so."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BootstrapDifference:
    """The difference a - b of a metric, with a bootstrap interval.

    Attributes:
      metric: name of the metric.
      value: the difference, averaged over seeds; None where the metric is undefined.
      ci: the interval, cut where the metric's bounds allow no difference; None where there is none.
      standard_error: standard deviation of the replicates.
      n: number of examples.
      seeds: number of pairs of tables.
      replicates: bootstrap samples.
      method: `bca` over examples, or `hierarchical` over seeds and examples.
      confidence: nominal coverage.
      maximise: whether a positive difference is an improvement.
      definition: what exactly was compared.
      note: what the interval leaves out, or why there is none.
    """

    metric: str
    value: float | None
    ci: tuple[float, float] | None
    standard_error: float | None
    n: int
    seeds: int
    replicates: int
    method: str
    confidence: float
    maximise: bool
    definition: str
    note: str | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval shows a difference."""
        return self.ci is not None and not self.ci[0] <= 0 <= self.ci[1]

    def __str__(self) -> str:
        size = f"n={self.n}, seeds={self.seeds}, {self.method} bootstrap"
        if self.value is None or self.ci is None:
            shown = "undefined" if self.value is None else f"{self.value:+.3f}"
            return f"{self.metric} difference {shown}: {self.note} ({size})"
        low, high = self.ci
        return f"{self.metric} difference {self.value:+.3f} [{low:+.3f}, {high:+.3f}] ({size})"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        document = dataclasses.asdict(self)
        document["ci"] = None if self.ci is None else list(self.ci)
        return document


def bootstrap_difference(
    a: Predictions,
    b: Predictions,
    metric: str | Definition,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = 2000,
) -> BootstrapDifference:
    """Compares two trained models on the same examples by a paired BCa bootstrap (Efron 1987).

    Both models are measured on each sample of the examples, so what they share cancels. It speaks
    of these two models; the variance of training is not in it.

    Args:
      a: predictions of one model.
      b: those of the other on the same examples, matched by id.
      metric: name or definition.
      confidence: nominal coverage.
      seed: of the bootstrap.
      replicates: bootstrap samples, at least 2.

    Raises:
      EvaluationError: if ids, labels or classes differ, or the metric is a simulation.
    """
    defined, statistics = _prepare([a], [b], metric, confidence, replicates)
    fixed = _fixed(defined, len(a), 1, replicates, "bca", confidence)
    if isinstance(statistics, Undefined):
        return _undefined(fixed, defined.text, statistics.reason)
    one, other = statistics[0]
    value, text = one.value - other.value, describe(defined, one)
    rng, found = np.random.default_rng(seed), []
    for count in chunks(replicates, len(a)):
        weights = bootstrap_weights(one.strata, count, rng)
        found.append(one.weighted(weights) - other.weighted(weights))
    differences = np.concatenate(found)
    without = one.leave_one_out() - other.leave_one_out()
    ci = bca(value, differences, acceleration(without, one.strata), confidence)
    return BootstrapDifference(
        **fixed,
        value=value,
        ci=None if isinstance(ci, str) else _within(ci, defined),
        standard_error=None if undefined_samples(differences) else float(differences.std(ddof=1)),
        definition=text,
        note=ci
        if isinstance(ci, str)
        else "one seed: the variance of training is not in the interval",
    )


def hierarchical_difference(
    a: Sequence[Predictions],
    b: Sequence[Predictions],
    metric: str | Definition,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = 2000,
) -> BootstrapDifference:
    """Compares two methods by resampling seeds and, independently, the examples that they share.

    All seeds are measured on the same examples, so one sample of examples serves all seeds of a
    replicate (Owen 2007, the pigeonhole bootstrap); examples drawn anew for each seed would divide
    their variance by the number of seeds. One less is drawn of either than there are, so that the
    variance of a mean is unbiased (Rao and Wu 1988). Chance that belongs to a seed and an example
    together is counted three times, where `paired_difference` counts it twice, so that the
    standard error is at least that one's. The interval is the percentile interval, which with few
    seeds is too narrow all the same, as Student's t is not; the result then says so.

    Args:
      a: one table a seed.
      b: one table a seed, as many; rows are matched by id.
      metric: name or definition.
      confidence: nominal coverage.
      seed: of the bootstrap.
      replicates: bootstrap samples, at least 2.

    Raises:
      EvaluationError: if the numbers of tables differ, or ids, labels or classes do, or the metric
        is a simulation.
    """
    defined, statistics = _prepare(a, b, metric, confidence, replicates)
    fixed = _fixed(defined, len(a[0]), len(a), replicates, "hierarchical", confidence)
    if isinstance(statistics, Undefined):
        return _undefined(fixed, defined.text, statistics.reason)
    rng, found = np.random.default_rng(seed), []
    for count in chunks(replicates, len(a[0])):
        weights = bootstrap_weights(statistics[0][0].strata, count, rng, rescaled=True)
        each = np.stack([one.weighted(weights) - two.weighted(weights) for one, two in statistics])
        found.append((_seed_shares(len(a), count, rng) * each).sum(axis=0))
    differences = np.concatenate(found)
    value = float(np.mean([one.value - two.value for one, two in statistics]))
    text = describe(defined, statistics[0][0])
    if reason := undefined_samples(differences):
        return _undefined(fixed, text, reason, value)
    if np.ptp(differences) <= 1e-12 * max(1.0, abs(value)):
        return _undefined(fixed, text, "no resampling varies the difference", value)
    low, high = np.quantile(differences, [0.5 - confidence / 2, 0.5 + confidence / 2])
    note = None
    if len(a) == 1:
        note = "one seed: the variance of training is not in the interval"
    elif len(a) < FEW_SEEDS:
        note = (
            f"percentiles over {len(a)} seeds are narrower than {confidence:.0%}: prefer the t"
            " interval of paired_difference"
        )
    return BootstrapDifference(
        **fixed,
        value=value,
        ci=_within((float(low), float(high)), defined),
        standard_error=float(differences.std(ddof=1)),
        definition=text,
        note=note,
    )


def _prepare(
    a: Sequence[Predictions],
    b: Sequence[Predictions],
    metric: str | Definition,
    confidence: float,
    replicates: int,
) -> tuple[Definition, list[tuple[Statistic, Statistic]] | Undefined]:
    """The checked definition, and the statistics of each pair or why there are none."""
    check_confidence(confidence)
    if not a or len(a) != len(b):
        raise EvaluationError(f"{len(a)} tables cannot be paired with {len(b)}: give one a seed")
    defined = definition(metric, a[0].kind)
    if defined.interval == "simulation":
        raise EvaluationError(f"{defined.name} is simulated: it has no paired difference")
    if replicates < 2:
        raise EvaluationError(f"{replicates} replicates have no variance; give at least 2")
    pairs = []
    for tables in zip(a, b):
        pair = []
        for table in tables:
            statistic = defined.statistic(table.align(a[0]))
            if isinstance(statistic, Undefined):
                return defined, statistic
            check_bounds(defined, statistic.value)
            pair.append(statistic)
        pairs.append((pair[0], pair[1]))
    return defined, pairs


def _seed_shares(seeds: int, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """What each seed counts in the mean of a replicate, (seeds, replicates)."""
    if seeds == 1:
        return np.ones((1, replicates))
    drawn = rng.multinomial(seeds - 1, np.full(seeds, 1 / seeds), size=replicates)
    return drawn.T / (seeds - 1)


def _within(ci: tuple[float, float], defined: Definition) -> tuple[float, float]:
    reach = defined.bounds[1] - defined.bounds[0]
    return cut(ci, (-reach, reach))


def _fixed(
    defined: Definition, n: int, seeds: int, replicates: int, method: str, confidence: float
) -> dict[str, Any]:
    return {
        "metric": defined.name,
        "n": n,
        "seeds": seeds,
        "replicates": replicates,
        "method": method,
        "confidence": confidence,
        "maximise": defined.maximise,
    }


def _undefined(
    fixed: dict[str, Any], text: str, reason: str, value: float | None = None
) -> BootstrapDifference:
    return BootstrapDifference(
        **fixed, value=value, ci=None, standard_error=None, definition=text, note=reason
    )
