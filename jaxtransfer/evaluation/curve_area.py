"""A learning curve as one number: the mean of the metric over the logarithm of the labels used."""

import math

import numpy as np

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.definition import Measured
from jaxtransfer.evaluation.intervals import t_quantile
from jaxtransfer.evaluation.learning_curve import LearningCurve, check_pair


def area(curve: LearningCurve) -> Measured:
    """The mean of the metric over the logarithm of the labels used: area over width, trapezoids.

    The interval is Student's t, of both variances, as for `seeds.measure_seeds`.

    Raises:
      EvaluationError: if the curve has a single size.
    """
    weights = _area_weights(curve)
    return _weighed(curve, weights @ curve.values, weights @ curve.examples, curve.metric)


def area_difference(a: LearningCurve, b: LearningCurve) -> Measured:
    """The difference a - b of two areas, paired over examples and seeds.

    Raises:
      EvaluationError: if the curves cannot be paired, or use other numbers of labels.
    """
    check_pair(a, b)
    if not np.array_equal(a.total, b.total):
        raise EvaluationError(
            f"{a.method} and {b.method} use different numbers of labels, {a.total.tolist()} and"
            f" {b.total.tolist()}: their areas cover different ranges; see labels_saved"
        )
    weights = _area_weights(a)
    name = f"{a.metric} of {a.method} - {b.method}"
    return _weighed(a, weights @ (a.values - b.values), weights @ (a.examples - b.examples), name)


def _area_weights(curve: LearningCurve) -> np.ndarray:
    if len(curve.labels) < 2:
        raise EvaluationError(f"{curve.method}: one size spans no area; measure at two or more")
    steps = np.diff(np.log(curve.total))
    weights = np.zeros(len(curve.labels))
    weights[:-1] += steps / 2
    weights[1:] += steps / 2
    return weights / steps.sum()


def _weighed(curve: LearningCurve, values: np.ndarray, examples: np.ndarray, name: str) -> Measured:
    """A linear function of the means with its t interval; `values` by seed, `examples` (r,)."""
    size, n = len(values), curve.points[0].n
    parts = [float(examples.var(ddof=1)), float(values.var(ddof=1)) / size if size > 1 else 0.0]
    # Rounding of equal sums is no variance.
    parts = [0.0 if part < 1e-24 else part for part in parts]
    error = math.sqrt(sum(parts))
    mean = float(values.mean())
    text = f"mean over log(labels), {curve.total[0]:g} to {curve.total[-1]:g}: {curve.definition}"
    if not error:
        reason = "nothing varies among these examples and seeds"
        return Measured(
            name=f"area of {name}", value=mean, ci=None, n=n, definition=text, undefined=reason
        )
    freedoms = (max(1, n - 1), size - 1)
    half = t_quantile(parts, freedoms, 0.5 + curve.confidence / 2) * error
    return Measured(
        name=f"area of {name}", value=mean, ci=(mean - half, mean + half), n=n, definition=text
    )
