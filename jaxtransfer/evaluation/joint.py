"""Several statistics of the same examples, resampled together, and what is computed from them.

A ratio, a difference or a mean of metrics has the interval of the ratio, the difference or the mean,
because every metric sees the same resamples.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.intervals import (
    acceleration,
    bca,
    bootstrap_weights,
    chunks,
    cut,
    t_quantile,
)
from jaxtransfer.evaluation.statistic import Statistic, Undefined


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A number with its interval.

    Attributes:
      value: None where it is undefined.
      ci: None where there is none.
      undefined: why the value or the interval is None.
    """

    value: float | None
    ci: tuple[float, float] | None
    undefined: str | None = None

    def __str__(self) -> str:
        if self.value is None:
            return f"undefined: {self.undefined}"
        around = f"[{self.ci[0]:.3f}, {self.ci[1]:.3f}]" if self.ci else f"({self.undefined})"
        return f"{self.value:.3f} {around}"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values; `undefined` is there only where something is."""
        ci = None if self.ci is None else list(self.ci)
        document: dict[str, Any] = {"value": self.value, "ci": ci}
        return document if self.undefined is None else {**document, "undefined": self.undefined}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Quantity:
    """A number of the examples, for each of S seeds.

    Attributes:
      values: (S,) of all examples.
      replicates: (S, r) of bootstrap samples, the same ones for every quantity and seed.
      without: (S, n) without each example.
    """

    values: Float[np.ndarray, "s"]
    replicates: Float[np.ndarray, "s r"]
    without: Float[np.ndarray, "s n"]


def resampled(
    rows: Sequence[Sequence[Statistic] | Undefined], *, seed: int, replicates: int
) -> list[Quantity | Undefined]:
    """Quantities of statistics prepared on the same examples, each row one statistic a seed.

    One seed is resampled as it is; for several, the samples are rescaled so that the variance of a
    mean is unbiased in small strata (see `bootstrap_weights`).
    """
    defined = [row for row in rows if not isinstance(row, Undefined)]
    if not defined:
        return [row for row in rows if isinstance(row, Undefined)]
    strata = defined[0][0].labels
    rng = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[] for _ in defined]
    for count in chunks(replicates, len(strata)):
        weights = bootstrap_weights(strata, count, rng, rescaled=len(defined[0]) > 1)
        for part, row in zip(parts, defined):
            part.append(np.stack([statistic.weighted(weights) for statistic in row]))
    found = iter(
        Quantity(
            values=np.array([statistic.value for statistic in row]),
            replicates=np.concatenate(part, axis=1),
            without=np.stack([statistic.leave_one_out() for statistic in row]),
        )
        for part, row in zip(parts, defined)
    )
    return [row if isinstance(row, Undefined) else next(found) for row in rows]


def derived(
    function: Callable[..., np.ndarray], *quantities: Quantity | Undefined
) -> Quantity | Undefined:
    """A function of quantities, elementwise, seed by seed; undefined where one of them is."""
    known: list[Quantity] = []
    for quantity in quantities:
        if isinstance(quantity, Undefined):
            return quantity
        known.append(quantity)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Quantity(
            values=function(*(q.values for q in known)),
            replicates=function(*(q.replicates for q in known)),
            without=function(*(q.without for q in known)),
        )


def interval_of(
    quantity: Quantity | Undefined,
    strata: Int[np.ndarray, "n"],
    *,
    confidence: float,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Interval:
    """The mean over seeds with its interval: BCa for one seed, else Student's t over both variances.

    Args:
      quantity: of the examples.
      strata: (n,) that were resampled.
      confidence: nominal coverage.
      bounds: where the interval is cut.
    """
    if isinstance(quantity, Undefined):
        return Interval(value=None, ci=None, undefined=quantity.reason)
    value, seeds = float(quantity.values.mean()), len(quantity.values)
    if not np.isfinite(value):
        raise EvaluationError(f"a derived quantity is {value}: say where it is undefined")
    means = quantity.replicates.mean(axis=0)
    if not np.isfinite(means).all():
        share = 1 - np.isfinite(means).mean()
        reason = f"interval undefined: {share:.1%} of the resamples do not define the value"
        return Interval(value=value, ci=None, undefined=reason)
    if seeds == 1:
        accelerated = acceleration(quantity.without[0], strata)
        if not np.isfinite(accelerated):
            reason = "interval undefined: without one of the examples there is no value"
            return Interval(value=value, ci=None, undefined=reason)
        found = bca(value, means, accelerated, confidence)
        if isinstance(found, str):
            return Interval(value=value, ci=None, undefined=found)
        return Interval(value=value, ci=cut(found, bounds))
    freedom = len(strata) - len(np.unique(strata))
    if freedom < 1:
        reason = "interval undefined: one example a class has no variance"
        return Interval(value=value, ci=None, undefined=reason)
    variances = (float(means.var(ddof=1)), float(quantity.values.var(ddof=1)) / seeds)
    error = math.sqrt(sum(variances))
    if error <= 1e-12 * max(1.0, abs(value)):
        reason = "interval undefined: nothing varies among these examples and seeds"
        return Interval(value=value, ci=None, undefined=reason)
    half = t_quantile(variances, (freedom, seeds - 1), 0.5 + confidence / 2) * error
    return Interval(value=value, ci=cut((value - half, value + half), bounds))
