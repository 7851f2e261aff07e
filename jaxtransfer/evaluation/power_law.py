"""The power law error(n) = a + b n^-c of a learning curve, fitted with intervals for all it says.

Cortes et al. (1993), Learning Curves: Asymptotic Values and Rate of Convergence; Hestness et al.
(2017), Deep Learning Scaling is Predictable, Empirically.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.intervals import check_confidence
from jaxtransfer.evaluation.learning_curve import NOTHING_VARIES, LearningCurve
from jaxtransfer.evaluation.resampled_means import extended

EXPONENTS = (0.01, 5.0)
"""Range of the exponent c: below it the law is a logarithm, above it a step."""
SIZES = 4
"""Distinct sizes that a fit needs: one more than the law has parameters."""
GRID = 128


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its interval; an end of the interval is infinite where nothing bounds it."""

    value: float
    ci: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """Plain values; None is no bound."""
        return {"value": extended(self.value), "ci": [extended(end) for end in self.ci]}

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.ci[0]:.4g}, {self.ci[1]:.4g}]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a fitted law says of one size.

    Attributes:
      train: number of training labels.
      error: the predicted error.
      metric: the same as a value of the metric.
      extrapolated: whether the size lies outside those that were measured; the interval then holds
        only if the law does.
    """

    train: float
    error: Estimate
    metric: Estimate
    extrapolated: bool

    def __str__(self) -> str:
        return f"{self.metric} at {self.train:g}{' (extrapolated)' if self.extrapolated else ''}"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "train": self.train,
            "error": self.error.to_json(),
            "metric": self.metric.to_json(),
            "extrapolated": self.extrapolated,
        }


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PowerLaw:
    """error(n) = asymptote + scale n^-exponent, of a curve's means over seeds.

    Attributes:
      curve: what it was fitted to.
      asymptote: the error with unlimited labels, a >= 0.
      scale: b >= 0, the error above the asymptote that one label would leave.
      exponent: c, within `EXPONENTS`.
      draws: (r, 3) the parameters of each replicate of the curve.
      residual: largest absolute difference between law and means, in units of the metric.
      notes: what the data do not identify, and what else to know.
      confidence: nominal coverage of the intervals.
    """

    curve: LearningCurve
    asymptote: Estimate
    scale: Estimate
    exponent: Estimate
    draws: Float[np.ndarray, "r 3"]
    residual: float
    notes: tuple[str, ...]
    confidence: float

    @property
    def parameters(self) -> tuple[float, float, float]:
        """a, b and c."""
        return self.asymptote.value, self.scale.value, self.exponent.value

    def predict(self, train: float) -> Predicted:
        """The error and the metric at a number of training labels.

        Raises:
          EvaluationError: if the number is not positive.
        """
        if not 0 < train < math.inf:
            raise EvaluationError(f"{train} is not a number of training labels")
        a, b, c = self.parameters
        value = a + b * train**-c
        draws = self.draws[:, 0] + self.draws[:, 1] * train ** -self.draws[:, 2]
        error = _estimate(value, draws, self.confidence)
        ends = [metric_of(self.curve, end) for end in error.ci]
        sizes = self.curve.train
        return Predicted(
            train=train,
            error=error,
            metric=Estimate(value=metric_of(self.curve, value), ci=(min(ends), max(ends))),
            extrapolated=not sizes[0] <= train <= sizes[-1],
        )

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values, without the draws."""
        return {
            "method": self.curve.method,
            "metric": self.curve.metric,
            "law": "error(n) = asymptote + scale * n^-exponent, n training labels",
            "error": _error_text(self.curve),
            "asymptote": self.asymptote.to_json(),
            "scale": self.scale.to_json(),
            "exponent": self.exponent.to_json(),
            "confidence": self.confidence,
            "sizes": [labels.train for labels in self.curve.labels],
            "residual": self.residual,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        text = (
            f"{self.curve.method}: {_error_text(self.curve)} = {self.asymptote} +"
            f" {self.scale} n^-{self.exponent}"
        )
        return "; ".join([text, *self.notes])


def fit_power_law(curve: LearningCurve, *, confidence: float = 0.95) -> PowerLaw:
    """Fits the law to a curve's means by weighted least squares.

    The weights are one over the squared standard errors of the means, smoothed over sizes by a
    straight line in logarithms: those of single sizes, from few seeds, would weigh by luck and make
    the intervals too narrow. They are equal where a standard error is 0. For a given exponent the law is linear in a and b, which are at least 0, and is solved
    exactly; the exponent is searched over all of its range (variable projection, Golub and Pereyra
    1973), so that no start value matters. The intervals are percentiles of the fits to the curve's
    replicates, hence cover the correlation of sizes that share examples and seeds. An interval that
    reaches the edge of what is allowed means that the data do not bound the parameter on that
    side; `notes` says so, and names sizes that the law misses: those at which the interval of the
    residual, with Bonferroni's correction over sizes, excludes 0. In simulation nominal 95 %
    intervals of five seeds cover 93 to 95 % (`experiments/studies/power_law_coverage.py`).

    Raises:
      EvaluationError: if the curve has fewer than `SIZES` sizes, or a metric without a best value.
    """
    check_confidence(confidence)
    if len(curve.labels) < SIZES:
        raise EvaluationError(
            f"{curve.method}: a power law has 3 parameters and needs {SIZES} sizes; the curve has"
            f" {len(curve.labels)} ({curve.train.tolist()})"
        )
    means, variances = error_of(curve, curve.means), curve.variances
    notes = []
    if (variances > 0).all():
        logs = np.log(curve.train)
        weights = 1 / np.exp(np.polyval(np.polyfit(logs, np.log(variances), 1), logs))
    else:
        weights = np.ones(len(means))
        notes.append("sizes weigh the same: at some of them nothing varies")
    if not variances.any():
        notes.append(NOTHING_VARIES)
    if len(curve.seeds) == 1:
        notes.append("one seed: the variance of training is not in the intervals")
    point = fit_many(curve.train, means[None], weights)[0]
    errors = error_of(curve, curve.replicates()).T
    draws = fit_many(curve.train, errors, weights)
    a, b, c = (_estimate(point[i], draws[:, i], confidence) for i in range(3))
    notes += _unidentified(a, b, c)
    fitted = point[0] + point[1] * curve.train ** -point[2]
    notes += _misfit(curve, errors - _law(curve.train, draws), means - fitted, confidence)
    return PowerLaw(
        curve=curve,
        asymptote=a,
        scale=b,
        exponent=c,
        draws=draws,
        residual=float(np.abs(fitted - means).max()),
        notes=tuple(notes),
        confidence=confidence,
    )


def fit_many(
    train: Float[np.ndarray, "s"] | Sequence[float],
    errors: Float[np.ndarray, "r s"],
    weights: Float[np.ndarray, "s"] | Sequence[float],
) -> Float[np.ndarray, "r 3"]:
    """The weighted least-squares a, b, c of several curves at once, a and b at least 0.

    Args:
      train: s distinct sizes.
      errors: (r, s) at least 0.
      weights: of the sizes.

    >>> sizes = np.array([10.0, 20.0, 50.0, 100.0, 500.0])
    >>> fit_many(sizes, (0.05 + 2 * sizes**-0.7)[None], np.ones(5)).round(6)
    array([[0.05, 2.  , 0.7 ]])
    """
    sizes, errors = np.asarray(train, np.float64), np.asarray(errors, np.float64)
    share = np.asarray(weights, np.float64) / np.sum(weights)
    # Sizes about 1 keep powers of them in range, whatever the exponent.
    unit = np.exp(share @ np.log(sizes))
    logs = np.log(sizes / unit)

    def solve(log_c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Loss, a and b of every curve at its exponent, each (r,)."""
        basis = np.exp(-np.exp(log_c)[:, None] * logs)
        centre, level = basis @ share, errors @ share
        spread = basis - centre[:, None]
        slope = ((errors - level[:, None]) * spread) @ share / ((spread**2) @ share)
        slope = np.maximum(slope, 0.0)
        offset = level - slope * centre
        through_zero = ((errors * basis) @ share) / ((basis**2) @ share)
        slope = np.where(offset < 0, through_zero, slope)
        offset = np.maximum(offset, 0.0)
        rest = errors - offset[:, None] - slope[:, None] * basis
        return (rest**2) @ share, offset, slope

    low, high = np.log(EXPONENTS)
    grid = np.linspace(low, high, GRID)
    losses = np.stack([solve(np.full(len(errors), log_c))[0] for log_c in grid], axis=1)
    best = losses.argmin(axis=1)
    left = grid[np.maximum(best - 1, 0)]
    right = grid[np.minimum(best + 1, GRID - 1)]
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(60):
        width = golden * (right - left)
        shrink = solve(right - width)[0] <= solve(left + width)[0]
        left, right = np.where(shrink, left, right - width), np.where(shrink, left + width, right)
    log_c = (left + right) / 2
    _, a, b = solve(log_c)
    c = np.exp(log_c)
    return np.stack([a, b * unit**c, c], axis=1)


def error_of(curve: LearningCurve, values: np.ndarray) -> np.ndarray:
    """The distance of a metric's values from the best there is.

    Raises:
      EvaluationError: if the metric has no best value.
    """
    best = curve.bounds[1] if curve.maximise else curve.bounds[0]
    if not math.isfinite(best):
        raise EvaluationError(
            f"{curve.metric} has no best value to measure an error from (bounds {curve.bounds});"
            " fit the law to a metric that has one"
        )
    return np.maximum(best - values if curve.maximise else values - best, 0.0)


def metric_of(curve: LearningCurve, error: float) -> float:
    """The metric's value at a distance from its best."""
    return curve.bounds[1] - error if curve.maximise else curve.bounds[0] + error


def _error_text(curve: LearningCurve) -> str:
    best = curve.bounds[1] if curve.maximise else curve.bounds[0]
    if curve.maximise:
        return f"{best:g} - {curve.metric}"
    return curve.metric if best == 0 else f"{curve.metric} - {best:g}"


def _estimate(value: float, draws: np.ndarray, confidence: float) -> Estimate:
    tail = 0.5 - confidence / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    # Means that do not vary have draws that differ from the value by the search's last step.
    return Estimate(value=float(value), ci=(min(float(low), value), max(float(high), value)))


def _law(train: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Errors (r, s) of parameters (r, 3)."""
    a, b, c = (column[:, None] for column in parameters.T)
    return a + b * train**-c


def _misfit(
    curve: LearningCurve, draws: np.ndarray, residuals: np.ndarray, confidence: float
) -> list[str]:
    """The sizes at which the curve departs from the law by more than examples and seeds explain."""
    tail = (0.5 - confidence / 2) / len(residuals)
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    missed = [
        f"{labels.train} (by {residual:+.3g})"
        for labels, residual, a, b in zip(curve.labels, residuals, low, high)
        if (a > 0 or b < 0) and abs(residual) > 1e-9
    ]
    if not missed:
        return []
    return [
        f"the law misses the mean error at {', '.join(missed)} training labels: nothing supports an"
        " extrapolation by it"
    ]


def _unidentified(a: Estimate, b: Estimate, c: Estimate) -> list[str]:
    """Which parameters the data leave open, in words."""
    notes = []
    tiny = 1e-9 * max(1.0, b.value)
    if b.ci[0] <= tiny:
        notes.append(
            "a decrease of the error is not established: the interval of the scale reaches 0, and"
            " where it is 0 the exponent means nothing"
        )
    if a.ci[0] <= 1e-9:
        notes.append(
            "the asymptote is not identified: its interval reaches 0, so larger sizes are needed to"
            " tell it from a slow decrease to 0"
        )
    low, high = c.ci[0] <= EXPONENTS[0] * 1.01, c.ci[1] >= EXPONENTS[1] / 1.01
    if low or high:
        ends = " and ".join(
            f"{side} end {end:g}"
            for side, end, reached in (
                ("lower", EXPONENTS[0], low),
                ("upper", EXPONENTS[1], high),
            )
            if reached
        )
        notes.append(
            f"the exponent is not identified: its interval reaches the {ends} of its range"
        )
    return notes
