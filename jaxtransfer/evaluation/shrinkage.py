"""How far a sample covariance is pulled towards a multiple of the identity.

Where the dimensions are many beside the rows, the sample covariance is singular or nearly so; the
pull of least expected squared error makes it invertible.
"""

import numpy as np
from jaxtyping import Float


def ledoit_wolf(
    residual: Float[np.ndarray, "n d"],
) -> tuple[Float[np.ndarray, "d d"], float]:
    """The covariance S of centred rows, over n, and the s in [0, 1] of Ledoit and Wolf (2004).

    The shrunk covariance is (1 - s) S + s mean(diag S) I; see `shrunk`.
    """
    n, width = residual.shape
    covariance = residual.T @ residual / n
    variance = float(np.trace(covariance)) / width
    squares = float((covariance**2).sum())
    distance = squares - width * variance**2
    # The sum of squared outer products of a row is the square of its squared norm.
    error = (float(((residual**2).sum(axis=1) ** 2).sum()) / n - squares) / n
    return covariance, 0.0 if distance <= 0 else min(1.0, max(0.0, error / distance))


def shrunk(covariance: Float[np.ndarray, "d d"], amount: float) -> Float[np.ndarray, "d d"]:
    """(1 - s) S + s mean(diag S) I.

    >>> shrunk(np.diag([1.0, 3.0]), 0.5).tolist()
    [[1.5, 0.0], [0.0, 2.5]]
    """
    width = len(covariance)
    variance = float(np.trace(covariance)) / width
    return (1 - amount) * covariance + amount * variance * np.eye(width)
