"""From logits to probabilities in float64, without the ties and infinities of saturation."""

import weakref
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from jaxtransfer.evaluation.table import Predictions

BLOCK = 1_000_000
"""Numbers done at once, so that temporaries stay small beside a large table."""

_OF_TABLE: weakref.WeakKeyDictionary[Predictions, np.ndarray] = weakref.WeakKeyDictionary()


def log_probabilities(table: Predictions) -> Float[np.ndarray, "n k"]:
    """Log probabilities of a table in float64, computed once as long as the table lives.

    Those of a normalised table are its logits as they are, so that equal probabilities stay equal.
    """
    found = _OF_TABLE.get(table)
    if found is None:
        if table.normalised:
            found = np.asarray(table.logits, np.float64)
        else:
            found = log_softmax(table.logits)
        found.flags.writeable = False
        _OF_TABLE[table] = found
    return found


def log_softmax(logits: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Log probabilities in float64; finite for finite logits.

    The normaliser is summed in sorted order, so that permuted rows have the same one to the bit.
    """
    logits = np.asarray(logits)
    out = np.empty(logits.shape, np.float64)
    for rows in blocks(logits):
        block = np.asarray(logits[rows], np.float64)
        shifted = block - block.max(axis=1, keepdims=True)
        sums = np.sort(np.exp(shifted), axis=1).sum(axis=1, keepdims=True)
        np.subtract(shifted, np.log(sums), out=out[rows])
    return out


def softmax(logits: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Probabilities in float64.

    >>> softmax(np.zeros((1, 2)))
    array([[0.5, 0.5]])
    """
    return np.exp(log_softmax(logits))


def log_odds(logits: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """log(p / (1 - p)) of each class in float64: ranks as p does, but does not saturate."""
    logits = np.asarray(logits)
    out = np.empty(logits.shape, np.float64)
    for rows in blocks(logits):
        block = np.asarray(logits[rows], np.float64)
        logp = log_softmax(block)
        odds = out[rows]
        minor = logp < np.log(0.5)
        odds[minor] = logp[minor] - np.log1p(-np.exp(logp[minor]))
        # 1 - p loses its digits where p is near 1: there the other classes' logits are summed instead.
        which, columns = np.nonzero(~minor)
        others = np.sort(
            np.where(np.arange(block.shape[1]) == columns[:, None], -np.inf, logp[which]), axis=1
        )
        top = others[:, -1:]
        rest = top[:, 0] + np.log(np.exp(others - top).sum(axis=1))
        odds[which, columns] = logp[which, columns] - rest
    return out


def blocks(array: np.ndarray) -> Iterator[slice]:
    """Slices of rows, of at most BLOCK numbers each."""
    size = max(1, BLOCK // max(1, array.shape[1]))
    for start in range(0, len(array), size):
        yield slice(start, start + size)
