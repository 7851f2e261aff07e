"""Is one model better than another? Paired over examples and seeds, with both variances counted.

Unpaired intervals hide differences that pairs show; a single seed hides how much of one was luck.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.definition import Definition, check_bounds, describe
from jaxtransfer.evaluation.intervals import (
    bootstrap_weights,
    check_confidence,
    chunks,
    cut,
    influences,
    share_variance,
    t_quantile,
    t_tail,
    undefined_samples,
)
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.rows import Rows
from jaxtransfer.evaluation.statistic import Statistic, Undefined


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """The difference a - b of a metric, averaged over seeds.

    Attributes:
      metric: name of the metric.
      value: the mean difference; None where the metric is undefined.
      ci: t interval of the difference, cut where the metric's bounds allow no difference.
      standard_error: square root of the sum of both variances.
      p_value: two-sided, of no difference.
      p_margin: of `a` not improving on `b` by more than the margin: twice the one-sided tail, so
        that it is below alpha exactly where the (1 - alpha) interval lies beyond the margin.
      df: Satterthwaite's degrees of freedom of the standard error; None where nothing varies.
      example_df: degrees of freedom of the examples' variance.
      n: number of examples.
      seeds: number of pairs of tables.
      example_variance: part of the squared standard error that comes from the examples.
      seed_variance: part that comes from the seeds; 0 for a single seed.
      margin: the improvement that counts, in units of the metric.
      confidence: nominal coverage of the interval.
      maximise: whether a positive difference is an improvement.
      span: the largest difference that the metric's bounds allow; None where they allow any.
      definition: what exactly was compared.
      note: what the interval leaves out or assumes, or why there is none.
    """

    metric: str
    value: float | None
    ci: tuple[float, float] | None
    standard_error: float | None
    p_value: float | None
    p_margin: float | None
    df: float | None
    example_df: int | None
    n: int
    seeds: int
    example_variance: float | None
    seed_variance: float | None
    margin: float
    confidence: float
    maximise: bool
    span: float | None
    definition: str
    note: str | None = None

    @property
    def improvement(self) -> float | None:
        """The difference with the sign that makes larger better."""
        return self.value if self.value is None or self.maximise else -self.value

    @property
    def clears(self) -> bool:
        """Whether the whole interval lies beyond the margin, on the side of improvement."""
        if self.ci is None:
            return False
        return self.ci[0] > self.margin if self.maximise else self.ci[1] < -self.margin

    def interval(self, confidence: float) -> tuple[float, float] | None:
        """The interval at another confidence; None where there is none."""
        if self.value is None or self.standard_error is None:
            return None
        half = 0.0
        if self.standard_error:
            half = self.standard_error * t_quantile(*self._parts, 0.5 + confidence / 2)
        limit = math.inf if self.span is None else self.span
        return cut((self.value - half, self.value + half), (-limit, limit))

    def tail(self, improvement: float) -> float:
        """One-sided p-value of the true improvement being at most this.

        Raises:
          EvaluationError: if the difference has no standard error.
        """
        if self.improvement is None or not self.standard_error:
            raise EvaluationError(f"{self.metric}: no standard error to test with: {self.note}")
        return t_tail((self.improvement - improvement) / self.standard_error, *self._parts)

    @property
    def _parts(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The variances, and their degrees of freedom."""
        variances = self.example_variance or 0.0, self.seed_variance or 0.0
        return variances, (self.example_df or 1, max(1, self.seeds - 1))

    def __str__(self) -> str:
        size = f"n={self.n}, seeds={self.seeds}"
        if self.value is None or self.ci is None:
            shown = "undefined" if self.value is None else f"{self.value:+.3f}"
            return f"{self.metric} difference {shown}: {self.note} ({size})"
        return (
            f"{self.metric} difference {self.value:+.3f} [{self.ci[0]:+.3f}, {self.ci[1]:+.3f}]"
            f" p={self.p_value:.2g} ({size})"
        )

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        document = dataclasses.asdict(self)
        document["ci"] = None if self.ci is None else list(self.ci)
        return document


def paired_difference(
    a: Sequence[Rows],
    b: Sequence[Rows],
    metric: str | Definition,
    *,
    confidence: float = 0.95,
    margin: float = 0.0,
    seed: int = 0,
    replicates: int = 2000,
) -> PairedDifference:
    """Compares two models on the same examples, seed by seed.

    The variance of the mean difference is the sum of two parts: from examples, the variance over a
    paired bootstrap, stratified by label, of the difference averaged over seeds, and what the
    classes' random shares add to it (`intervals.share_variance`); from seeds, s^2/S
    of the S differences. Chance that belongs to a seed and an example together is in both, which
    errs towards the wider interval. The interval is Student's t with Cochran's quantile for two
    variances (`intervals.t_quantile`), of n minus classes present and S - 1 degrees of freedom: few
    seeds that vary cost width, so run five. With two seeds that vary much it may still err in 6 %
    of cases at 5 %.

    Args:
      a: one table a seed.
      b: one table a seed, as many; repeat the table of a model that has no seed. Rows are paired by
        id, whatever their order.
      metric: name or definition.
      confidence: nominal coverage.
      margin: improvement that counts, at least 0, in units of the metric.
      seed: of the bootstrap.
      replicates: bootstrap samples.

    Raises:
      EvaluationError: if the numbers of tables differ, or their ids, labels or classes do.
    """
    check_confidence(confidence)
    if not a or len(a) != len(b):
        raise EvaluationError(
            f"{len(a)} tables cannot be paired with {len(b)}: give one a seed on both sides,"
            " and repeat the table of a model that has no seed"
        )
    defined = definition(metric, a[0].kind)
    if not 0 <= margin < math.inf:
        raise EvaluationError(f"margin {margin} is not an improvement; give 0 or more")
    if defined.interval == "simulation":
        raise EvaluationError(f"{defined.name} is simulated: it has no paired difference")
    if replicates < 2:
        raise EvaluationError(f"{replicates} replicates have no variance; give at least 2")
    reference = a[0]
    left = [defined.statistic(table.align(reference)) for table in a]
    right = [defined.statistic(table.align(reference)) for table in b]
    reach = defined.bounds[1] - defined.bounds[0]
    span = None if math.isinf(reach) else reach
    fixed: dict[str, Any] = {
        "metric": defined.name,
        "n": len(left[0].labels) if isinstance(left[0], Statistic) else len(reference),
        "seeds": len(a),
        "margin": margin,
        "confidence": confidence,
        "maximise": defined.maximise,
        "span": span,
    }
    statistics: list[tuple[Statistic, Statistic]] = []
    for one, other in zip(left, right):
        for side in (one, other):
            if isinstance(side, Undefined):
                return _without_interval(fixed, defined.text, side.reason)
            check_bounds(defined, side.value)
        statistics.append((one, other))  # type: ignore[arg-type]
    text = describe(defined, statistics[0][0])
    differences = np.array([one.value - other.value for one, other in statistics])
    value = float(differences.mean())
    strata = statistics[0][0].labels
    variances = _example_variances(statistics, strata, replicates, seed)
    if isinstance(variances, str):
        return _without_interval(fixed, text, variances, value)
    examples, shares = variances
    seeds = float(differences.var(ddof=1)) / len(a) if len(a) > 1 else 0.0
    # Rounding of equal sums is no variance.
    examples, shares, seeds = (
        0.0 if v < 1e-24 * max(1.0, value**2) else v for v in (examples, shares, seeds)
    )
    notes = ["one seed: the variance of training is not in the interval"] if len(a) == 1 else []
    if examples == shares == seeds == value == 0:
        return PairedDifference(
            **fixed,
            value=0.0,
            ci=(0.0, 0.0),
            standard_error=0.0,
            p_value=1.0,
            p_margin=1.0,
            df=None,
            example_df=None,
            example_variance=0.0,
            seed_variance=0.0,
            definition=text,
            note="; ".join([*notes, "the two do not differ on these examples"]),
        )
    counts = np.bincount(strata)
    freedom = len(strata) - int((counts > 0).sum())
    if freedom < 1:
        reason = "one example in each class labelled: the variance of examples is unknown"
        return _without_interval(fixed, text, reason, value)
    if examples == seeds == 0:
        smallest = int(counts[counts > 0].min())
        if span is None:
            reason = "nothing varies among these examples and seeds, so there is no standard error"
            return _without_interval(fixed, text, reason, value)
        examples = (span / smallest) ** 2
        notes.append(
            "no resampling varies the difference: its standard error is taken as the metric's range"
            f" over the smallest class, {smallest}"
        )
    examples += shares
    error = math.sqrt(examples + seeds)
    df = _satterthwaite((examples, freedom), (seeds, len(a) - 1))
    improvement = value if defined.maximise else -value
    parts = (examples, seeds), (freedom, max(1, len(a) - 1))
    found = PairedDifference(
        **fixed,
        value=value,
        ci=None,
        standard_error=error,
        p_value=2 * t_tail(abs(value) / error, *parts),
        p_margin=min(1.0, 2 * t_tail((improvement - margin) / error, *parts)),
        df=df,
        example_df=freedom,
        example_variance=examples,
        seed_variance=seeds,
        definition=text,
        note="; ".join(notes) or None,
    )
    return dataclasses.replace(found, ci=found.interval(confidence))


def _example_variances(
    statistics: Sequence[tuple[Statistic, Statistic]],
    strata: np.ndarray,
    replicates: int,
    seed: int,
) -> tuple[float, float] | str:
    """Variances of the difference averaged over seeds: given the classes' shares, and from them.

    A text says why there are none.
    """
    rng = np.random.default_rng(seed)
    means = []
    for count in chunks(replicates, len(strata)):
        # Unbiased also where a class has few examples, which plain resampling is not.
        weights = bootstrap_weights(strata, count, rng, rescaled=True)
        pairs = [one.weighted(weights) - other.weighted(weights) for one, other in statistics]
        means.append(np.mean(pairs, axis=0))
    without = np.mean(
        [one.leave_one_out() - two.leave_one_out() for one, two in statistics], axis=0
    )
    drawn = np.concatenate(means)
    if reason := undefined_samples(drawn):
        return reason
    return float(drawn.var(ddof=1)), share_variance(influences(without, strata), strata)


def _satterthwaite(*parts: tuple[float, int]) -> float:
    """Degrees of freedom of a sum of variances, each with its own (Satterthwaite 1946)."""
    total = sum(variance for variance, _ in parts)
    return total**2 / sum(variance**2 / freedom for variance, freedom in parts if variance > 0)


def _without_interval(
    fixed: dict[str, Any], text: str, reason: str, value: float | None = None
) -> PairedDifference:
    return PairedDifference(
        **fixed,
        value=value,
        ci=None,
        standard_error=None,
        p_value=None,
        p_margin=None,
        df=None,
        example_df=None,
        example_variance=None,
        seed_variance=None,
        definition=text,
        note=reason,
    )
