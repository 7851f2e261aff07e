"""Temperature and vector scaling (Guo et al. 2017): a factor for all logits, or one a class."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.probabilities import blocks, log_softmax, softmax
from jaxtransfer.evaluation.scaling import FittedOn, Scaling
from jaxtransfer.evaluation.table import Predictions

LOWEST, HIGHEST = 1e-3, 1e3
"""Temperatures between which the likelihood is maximised."""
PENALTY = 1.0
"""Vector scaling's precision of each weight and bias around temperature scaling, over n."""
TOLERANCE = 1e-6
"""Largest gradient of the mean loss at which vector scaling has converged."""
SMALLEST = -1e300
"""Logits, less the row's largest, are kept above this, so that none becomes infinite."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Temperature(Scaling):
    """Divides all logits by one temperature, which changes no prediction, among ties either.

    Attributes:
      temperature: above 1 makes predictions less confident.
    """

    temperature: float

    name = "temperature"

    def transform(self, logits):
        """See Scaling; each row's largest logit becomes 0."""
        logits = np.asarray(logits, np.float64)
        with np.errstate(over="ignore"):
            shifted = (logits - logits.max(axis=1, keepdims=True)) / self.temperature
        scaled = np.maximum(shifted, SMALLEST)
        # Division may round a difference in the last bit away, and the first of a tie would win.
        predicted = logits.argmax(axis=1)
        moved = np.flatnonzero(scaled.argmax(axis=1) != predicted)
        scaled[moved, predicted[moved]] = np.nextafter(0.0, 1.0)
        return scaled


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class VectorScaling(Scaling):
    """Multiplies each class's logit by a weight and adds a bias; predictions may change.

    Each row's mean is taken off first: a number added to all logits of a row changes no probability,
    and so changes no result, and a table of log probabilities is scaled as one of logits is.

    Attributes:
      weights: (k,).
      biases: (k,).
    """

    weights: Float[np.ndarray, "k"]
    biases: Float[np.ndarray, "k"]

    name = "vector"

    def transform(self, logits):
        """See Scaling."""
        return _centred(logits) * self.weights + self.biases


def _centred(logits: np.ndarray) -> np.ndarray:
    logits = np.asarray(logits, np.float64)
    return logits - logits.mean(axis=1, keepdims=True)


def fit_temperature(table: Predictions) -> Temperature:
    """Fits the temperature of largest likelihood on a calibration table.

    The mean negative log-likelihood is convex in 1/temperature, and its derivative's root is found
    to about 1e-14. Where every prediction is right, likelihood would send the temperature to 0;
    then it is the one at which the label's mean probability is (n + 1)/(n + 2), the rule of
    succession. It stays in [LOWEST, HIGHEST] always, and a note says if it is not the optimum.

    Raises:
      EvaluationError: naming the table, if its labels are all of one class, or all logits of each
        row are equal, so that every temperature is as good.
    """
    from scipy.optimize import brentq

    fitted_on = FittedOn.of(table)
    n = len(table)
    logits = table.logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    if not logits.any():
        raise EvaluationError(
            f"{table.source}: the logits of each of the {len(table)} rows are all equal, so no"
            " temperature is better than another"
        )
    of_label = logits[np.arange(n), table.labels]

    def slope(log_inverse: float) -> float:
        expected = np.empty(n)
        for rows in blocks(logits):
            p = softmax(logits[rows] * np.exp(log_inverse))
            expected[rows] = (p * logits[rows]).sum(axis=1)
        return float((expected - of_label).mean())

    def shortfall(log_inverse: float) -> float:
        p = np.empty(n)
        for rows in blocks(logits):
            inside = softmax(logits[rows] * np.exp(log_inverse))
            p[rows] = np.take_along_axis(inside, table.labels[rows, None], axis=1)[:, 0]
        return float((n + 1) / (n + 2) - p.mean())

    ends = -float(np.log(HIGHEST)), -float(np.log(LOWEST))
    root: Callable[[Callable[[float], float]], float] = lambda f: brentq(f, *ends, xtol=1e-14)  # noqa: E731
    note = None
    if not of_label.any():
        target = f"(n + 1)/(n + 2) with n={n}"
        if shortfall(ends[0]) < 0 or shortfall(ends[1]) > 0:
            log_inverse = ends[0] if shortfall(ends[0]) < 0 else ends[1]
            note = (
                f"every calibration example is right and no temperature gives mean confidence"
                f" {target}: held at the bound {np.exp(-log_inverse):g}"
            )
        else:
            log_inverse = root(shortfall)
            note = (
                "every calibration example is right, so likelihood has no largest value: mean"
                f" confidence set to {target}"
            )
    elif slope(ends[0]) >= 0:
        log_inverse = ends[0]
        note = (
            f"the likelihood still rises at temperature {HIGHEST:g}, where it is held: on these"
            f" {n} examples the logits are no better than chance"
        )
    elif slope(ends[1]) <= 0:
        log_inverse = ends[1]
        note = f"the likelihood still rises at temperature {LOWEST:g}, where it is held"
    else:
        log_inverse = root(slope)
    return Temperature(fitted_on=fitted_on, temperature=float(np.exp(-log_inverse)), note=note)


def fit_vector(table: Predictions, penalty: float = PENALTY) -> VectorScaling:
    """Fits vector scaling on a calibration table, shrunk towards temperature scaling.

    Minimises the mean negative log-likelihood plus penalty / (2 n) times the squared distance of
    (weights, biases) from (1 / temperature, 0), which is strictly convex, so the optimum is finite
    and unique even where classes are separable or absent. Guo et al. do not penalise.

    Args:
      table: the calibration examples.
      penalty: precision of a Gaussian prior, above 0.

    Raises:
      EvaluationError: as `fit_temperature`; if the penalty is not positive; if the optimiser stops
        before the gradient is below TOLERANCE.
    """
    from scipy.optimize import minimize

    if not 0 < penalty < np.inf:
        raise EvaluationError(f"penalty {penalty} must be above 0, or there may be no optimum")
    start = fit_temperature(table)
    n, k = table.logits.shape
    logits = _centred(table.logits)
    centre = np.concatenate([np.full(k, 1 / start.temperature), np.zeros(k)])
    rows = np.arange(n)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logp = log_softmax(logits * parameters[:k] + parameters[k:])
        away = parameters - centre
        residual = np.exp(logp)
        residual[rows, table.labels] -= 1
        gradient = np.concatenate([(residual * logits).sum(axis=0), residual.sum(axis=0)])
        value = -logp[rows, table.labels].mean() + penalty / (2 * n) * (away @ away)
        return float(value), gradient / n + penalty / n * away

    found = minimize(
        loss,
        centre,
        jac=True,
        method="L-BFGS-B",
        options={
            "maxiter": 5000,
            "maxfun": 20000,
            "ftol": 0.0,
            "gtol": TOLERANCE / 10,
            "maxcor": 30,
        },
    )
    steepest = float(np.abs(loss(found.x)[1]).max())
    if not steepest < TOLERANCE:
        raise EvaluationError(
            f"{table.source}: vector scaling did not converge in {found.nit} steps (largest gradient"
            f" {steepest:.1g}); scale the logits, or use temperature scaling"
        )
    return VectorScaling(
        fitted_on=start.fitted_on, weights=found.x[:k], biases=found.x[k:], note=start.note
    )
