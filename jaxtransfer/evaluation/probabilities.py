"""From logits to probabilities in float64, without the ties and infinities of saturation."""

import numpy as np
from jaxtyping import Float


def log_softmax(logits: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Log probabilities in float64; finite for finite logits.

    The normaliser is summed in sorted order, so that permuted rows have the same one to the bit.
    """
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.sort(np.exp(shifted), axis=1).sum(axis=1, keepdims=True))


def softmax(logits: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Probabilities in float64.

    >>> softmax(np.zeros((1, 2)))
    array([[0.5, 0.5]])
    """
    return np.exp(log_softmax(logits))


def log_odds(logits: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """log(p / (1 - p)) of each class in float64: ranks as p does, but does not saturate."""
    logp = log_softmax(logits)
    odds = np.empty_like(logp)
    minor = logp < np.log(0.5)
    odds[minor] = logp[minor] - np.log1p(-np.exp(logp[minor]))
    # 1 - p loses its digits where p is near 1: there the other classes' logits are summed instead.
    rows, columns = np.nonzero(~minor)
    others = np.sort(
        np.where(np.arange(logp.shape[1]) == columns[:, None], -np.inf, logp[rows]), axis=1
    )
    top = others[:, -1:]
    odds[rows, columns] = logp[rows, columns] - top[:, 0] - np.log(np.exp(others - top).sum(axis=1))
    return odds
