"""Binary logistic regression with an L2 penalty, by Newton's method or L-BFGS.

What the classifier two-sample test learns with; the intercept is not penalised.
"""

import numpy as np
from jaxtyping import Float

from jaxtransfer.errors import EvaluationError

NEWTON_WIDTH = 256
"""Above this many columns the Hessian costs more than L-BFGS's steps."""


def fit_logistic(
    rows: Float[np.ndarray, "n d"],
    targets: Float[np.ndarray, "n"],
    *,
    penalty: float,
    weights: Float[np.ndarray, "n"],
    tolerance: float = 1e-8,
) -> tuple[Float[np.ndarray, "d"], float]:
    """Coefficients and intercept that minimise the weighted log loss + penalty |w|^2 / 2.

    Args:
      rows: the examples.
      targets: 0 or 1.
      penalty: of the coefficients, positive; scikit-learn's 1 / C.
      weights: of the examples.
      tolerance: on the largest entry of the gradient, relative to the sum of the weights.

    Raises:
      EvaluationError: if the minimum was not reached.
    """
    from scipy.linalg import cho_factor, cho_solve
    from scipy.optimize import minimize
    from scipy.special import expit

    n, d = rows.shape
    design = np.concatenate([rows, np.ones((n, 1))], axis=1)
    ridge = np.full(d + 1, penalty)
    ridge[-1] = 0.0
    signs = 2 * targets - 1
    limit = tolerance * weights.sum()

    def loss_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
        margin = design @ x
        loss = (weights * np.logaddexp(0, -signs * margin)).sum() + (ridge * x * x).sum() / 2
        return float(loss), design.T @ (weights * (expit(margin) - targets)) + ridge * x

    x = np.zeros(d + 1)
    loss, gradient = loss_and_gradient(x)
    for _ in range(100 if d <= NEWTON_WIDTH else 0):
        if np.abs(gradient).max() <= limit:
            break
        share = expit(design @ x)
        hessian = design.T @ (design * (weights * share * (1 - share))[:, None]) + np.diag(ridge)
        hessian[-1, -1] += 1e-12 * weights.sum()
        step = cho_solve(cho_factor(hessian), gradient)
        length = 1.0
        while True:
            trial, trial_gradient = loss_and_gradient(x - length * step)
            if trial <= loss - 1e-4 * length * (gradient @ step) or length < 1e-8:
                break
            length /= 2
        x, loss, gradient = x - length * step, trial, trial_gradient
    else:
        result = minimize(
            loss_and_gradient,
            x,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 5000, "ftol": 1e-15, "gtol": limit},
        )
        x, gradient = result.x, result.jac
    if not np.abs(gradient).max() <= 1e3 * limit:
        raise EvaluationError(
            f"logistic regression on {n} rows of {d} columns did not converge (gradient"
            f" {np.abs(gradient).max():.3g}); are the columns on very different scales?"
        )
    return x[:-1], float(x[-1])
