"""How many labels a method needs for a level of performance, and how many it saves against another.

All labels count, those for validation and calibration too, and a level that was not reached within
the sizes measured gives a bound and never a guess.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.intervals import check_confidence
from jaxtransfer.evaluation.learning_curve import NOTHING_VARIES, LearningCurve, check_pair
from jaxtransfer.evaluation.power_law import PowerLaw, error_of
from jaxtransfer.evaluation.resampled_means import extended

How = Literal["interpolation", "law"]
Range = tuple[np.ndarray, np.ndarray]
"""The least and the most that a number may be, by replicate; the same where it is known."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bounded:
    """A number that may be known by a bound alone.

    Attributes:
      low: the least it may be.
      high: the most; equal to `low` where the number is known.
      ci: interval of it over replicates, infinite where these do not bound it.
      extrapolated: whether the number comes from a law, outside of the sizes measured.
    """

    low: float
    high: float
    ci: tuple[float, float]
    extrapolated: bool = False

    @property
    def value(self) -> float | None:
        """The number, or None where there are bounds alone."""
        return self.low if self.low == self.high and math.isfinite(self.low) else None

    def __str__(self) -> str:
        if self.value is not None:
            shown = f"{self.value:.3g}"
        elif self.low == math.inf:
            shown = "never reached"
        elif math.isinf(self.low) or math.isinf(self.high):
            ends = (
                (f"> {self.low:.3g}", math.isfinite(self.low)),
                (
                    f"< {self.high:.3g}",
                    math.isfinite(self.high),
                ),
            )
            shown = " ".join(text for text, is_bound in ends if is_bound) or "unknown"
        else:
            shown = f"{self.low:.3g} to {self.high:.3g}"
        low, high = (f"{end:.3g}" for end in self.ci)
        return f"{shown} [{low}, {high}]{' (extrapolated)' if self.extrapolated else ''}"

    def to_json(self) -> dict[str, Any]:
        """Plain values; None is no bound."""
        return {
            "value": self.value,
            "bounds": [extended(self.low), extended(self.high)],
            "ci": [extended(end) for end in self.ci],
            "extrapolated": self.extrapolated,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelsNeeded:
    """All labels that a method needs to reach a level.

    Attributes:
      method: name.
      metric: name.
      level: value of the metric that is to be reached.
      labels: their number, validation and calibration included.
      note: where the level was not reached, or was reached from the first.
    """

    method: str
    metric: str
    level: float
    labels: Bounded
    note: str | None

    def __str__(self) -> str:
        text = f"{self.method} needs {self.labels} labels for {self.metric} {self.level:g}"
        return text if self.note is None else f"{text}: {self.note}"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "method": self.method,
            "metric": self.metric,
            "level": self.level,
            "labels": self.labels.to_json(),
            "note": self.note,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelsSaved:
    """The labels that a method saves against a baseline at one level.

    Attributes:
      level: value of the metric that both are to reach.
      needed: by the method.
      baseline: needed by the baseline.
      difference: baseline - method: labels saved.
      ratio: baseline / method: how many times as many the baseline needs.
      censored: share of the replicates in which one of both is known by a bound alone.
      how: `interpolation` between the sizes measured, or `law`, from the fitted power laws.
      confidence: nominal coverage of the intervals.
    """

    level: float
    needed: LabelsNeeded
    baseline: LabelsNeeded
    difference: Bounded
    ratio: Bounded
    censored: float
    how: How
    confidence: float

    def __str__(self) -> str:
        notes = "; ".join(
            f"{side.method}: {side.note}" for side in (self.needed, self.baseline) if side.note
        )
        text = (
            f"{self.needed.metric} {self.level:g}: {self.needed.method} {self.needed.labels},"
            f" {self.baseline.method} {self.baseline.labels}; saved {self.difference},"
            f" ratio {self.ratio}"
        )
        return f"{text} ({notes})" if notes else text

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values; None is no bound."""
        return {
            "level": self.level,
            "needed": self.needed.to_json(),
            "baseline": self.baseline.to_json(),
            "difference": self.difference.to_json(),
            "ratio": self.ratio.to_json(),
            "censored": self.censored,
            "how": self.how,
            "confidence": self.confidence,
        }


def labels_needed(
    curve: LearningCurve | PowerLaw, level: float, *, confidence: float = 0.95
) -> LabelsNeeded:
    """The labels a method needs for a level; of a curve by interpolation, of a law by the law.

    Interpolation first makes the means over seeds monotone in the number of labels (isotonic
    regression, equal weights), then goes straight in log(training labels) to where they first
    reach the level. Beyond the largest size measured it says `> total`, below the smallest
    `< total`. A law is solved for n, and marked where n lies outside the sizes measured. The
    validation and calibration labels that go with n training labels are interpolated between the
    sizes, and are those of the nearest size outside of them.

    Raises:
      EvaluationError: if the level is not within the metric's bounds.
    """
    check_confidence(confidence)
    measured, point, draws = _needed(curve, level)
    return _say(curve, measured, level, point, draws, confidence)


def labels_saved(
    method: LearningCurve | PowerLaw,
    baseline: LearningCurve | PowerLaw,
    levels: Sequence[float],
    *,
    confidence: float = 0.95,
) -> tuple[LabelsSaved, ...]:
    """Compares the labels that two methods need, level by level, paired over examples and seeds.

    Both are curves (interpolation) or both laws. The intervals are percentiles of the paired
    replicates; a replicate in which a number is known by a bound alone enters the lower end of the
    interval with the least it may be and the upper end with the most, so that an end without a
    bound is infinite.

    Args:
      method: what is to save labels.
      baseline: what it is compared with, such as the probe or training from scratch.
      levels: values of the metric, fixed beforehand.
      confidence: nominal coverage.

    Raises:
      EvaluationError: if the curves cannot be paired, or a level is not within the bounds.
    """
    check_confidence(confidence)
    if isinstance(method, PowerLaw) != isinstance(baseline, PowerLaw):
        raise EvaluationError("compare a curve with a curve, or a law with a law")
    check_pair(_curve(method), _curve(baseline))
    how: How = "law" if isinstance(method, PowerLaw) else "interpolation"
    saved = []
    for level in levels:
        (curve_a, point_a, draws_a) = _needed(method, level)
        (curve_b, point_b, draws_b) = _needed(baseline, level)
        needed = _say(method, curve_a, level, point_a, draws_a, confidence)
        other = _say(baseline, curve_b, level, point_b, draws_b, confidence)
        guessed = needed.labels.extrapolated or other.labels.extrapolated
        open_ended = (draws_a[0] != draws_a[1]) | (draws_b[0] != draws_b[1])
        unreached = np.isinf(draws_a[0]) | np.isinf(draws_b[0])
        saved.append(
            LabelsSaved(
                level=level,
                needed=needed,
                baseline=other,
                difference=_bounded(
                    _difference(point_a, point_b),
                    _difference(draws_a, draws_b),
                    confidence,
                    guessed,
                ),
                ratio=_bounded(
                    _ratio(point_a, point_b), _ratio(draws_a, draws_b), confidence, guessed
                ),
                censored=float((open_ended | unreached).mean()),
                how=how,
                confidence=confidence,
            )
        )
    return tuple(saved)


def increasing(values: Float[np.ndarray, "r s"]) -> Float[np.ndarray, "r s"]:
    """Isotonic regression of each row, with equal weights, by the max-min formula.

    Robertson, Wright and Dykstra, Order Restricted Statistical Inference (1988), section 1.4.

    >>> increasing(np.array([[1.0, 3.0, 2.0, 5.0]]))
    array([[1. , 2.5, 2.5, 5. ]])
    """
    size = values.shape[1]
    sums = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    found = np.full(values.shape, -np.inf)
    for start in range(size):
        means = (sums[:, start + 1 :] - sums[:, start : start + 1]) / np.arange(1, size - start + 1)
        least = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
        found[:, start:] = np.maximum(found[:, start:], least)
    return found


def _needed(source: LearningCurve | PowerLaw, level: float) -> tuple[LearningCurve, Range, Range]:
    """The curve, and the labels needed at its means (1,) and at its replicates (r,)."""
    curve = _curve(source)
    if not curve.bounds[0] <= level <= curve.bounds[1]:
        raise EvaluationError(
            f"level {level} of {curve.metric} is not within its bounds {curve.bounds}"
        )
    if isinstance(source, PowerLaw):
        point = np.array([source.parameters])
        return curve, _by_law(source, point, level), _by_law(source, source.draws, level)
    sign = 1 if curve.maximise else -1
    means, draws = sign * curve.means[None], sign * curve.replicates().T
    return curve, _by_curve(curve, means, sign * level), _by_curve(curve, draws, sign * level)


def _by_curve(curve: LearningCurve, means: np.ndarray, level: float) -> Range:
    rising = increasing(means)
    # A mean that equals the level but for the order of a sum has reached it.
    reached = rising >= level - 1e-12 * max(1.0, abs(level))
    at = np.where(reached.any(axis=1), reached.argmax(axis=1), -1)
    after = np.maximum(at, 1) if len(curve.labels) > 1 else np.zeros(len(at), int)
    rows, before = np.arange(len(rising)), np.maximum(after - 1, 0)
    rise = rising[rows, after] - rising[rows, before]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(rise > 0, (level - rising[rows, before]) / rise, 1.0)
    logs = np.log(curve.train)
    train = np.exp(logs[before] + np.clip(share, 0, 1) * (logs[after] - logs[before]))
    total = _total(curve, train)
    first = curve.labels[0]
    at_first = (at == 0) & (rising[:, 0] - level <= 1e-12 * max(1.0, abs(level)))
    earlier = (at == 0) & ~at_first
    low = np.where(earlier, first.total - first.train, np.where(at_first, first.total, total))
    high = np.where(at == 0, first.total, total)
    never = at < 0
    return np.where(never, curve.total[-1], low), np.where(never, np.inf, high)


def _by_law(law: PowerLaw, parameters: np.ndarray, level: float) -> Range:
    a, b, c = parameters.T
    excess = float(error_of(law.curve, np.array(level))) - a
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        train = np.where(excess > 0, (b / np.maximum(excess, 1e-300)) ** (1 / c), np.inf)
    total = _total(law.curve, train)
    return total, total


def _total(curve: LearningCurve, train: np.ndarray) -> np.ndarray:
    return train + np.interp(train, curve.train, curve.total - curve.train)


def _difference(a: Range, b: Range) -> Range:
    with np.errstate(invalid="ignore"):
        low, high = b[0] - a[1], b[1] - a[0]
    return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


def _ratio(a: Range, b: Range) -> Range:
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = b[0] / a[1], b[1] / a[0]
    return np.where(np.isnan(low), 0.0, low), np.where(np.isnan(high), np.inf, high)


def _bounded(point: Range, draws: Range, confidence: float, extrapolated: bool) -> Bounded:
    tail = 0.5 - confidence / 2
    # An order statistic each: between a number and infinity there is nothing to interpolate.
    low = float(np.quantile(draws[0], tail, method="lower"))
    high = float(np.quantile(draws[1], 1 - tail, method="higher"))
    return Bounded(
        low=float(point[0][0]),
        high=float(point[1][0]),
        ci=(low, high),
        extrapolated=extrapolated,
    )


def _say(
    source: LearningCurve | PowerLaw,
    curve: LearningCurve,
    level: float,
    point: Range,
    draws: Range,
    confidence: float,
) -> LabelsNeeded:
    low, high = float(point[0][0]), float(point[1][0])
    note, outside = None, False
    if isinstance(source, PowerLaw):
        outside = not curve.total[0] <= low <= curve.total[-1]
        if math.isinf(low):
            note = "the law's asymptote does not reach the level"
        elif outside:
            sizes = f"{curve.train[0]:g} to {curve.train[-1]:g}"
            note = f"extrapolated: beyond the {sizes} training labels measured"
    elif math.isinf(high):
        note = f"not reached within the sizes measured (up to {curve.total[-1]:g} labels)"
    elif low != high:
        note = f"reached at the smallest size measured ({curve.total[0]:g} labels)"
    if not curve.variances.any():
        note = "; ".join(filter(None, [note, NOTHING_VARIES]))
    return LabelsNeeded(
        method=curve.method,
        metric=curve.metric,
        level=level,
        labels=_bounded(point, draws, confidence, outside),
        note=note,
    )


def _curve(source: LearningCurve | PowerLaw) -> LearningCurve:
    return source.curve if isinstance(source, PowerLaw) else source
