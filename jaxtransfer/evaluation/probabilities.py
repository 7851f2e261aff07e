"""From logits to probabilities in float64, without the ties and infinities of saturation."""

import weakref
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.evaluation.table import Predictions

BLOCK = 1_000_000
"""Numbers done at once, so that temporaries stay small beside a large table."""

_OF_TABLE: weakref.WeakKeyDictionary[Predictions, tuple[np.ndarray, np.ndarray]] = (
    weakref.WeakKeyDictionary()
)


def normaliser(table: Predictions) -> tuple[Float[np.ndarray, "n 1"], Float[np.ndarray, "n 1"]]:
    """Each row's largest logit, and the logarithm of the sum of all exp(logit - largest).

    A logit less the one and then the other is what `log_softmax` makes of it, to the bit, so any
    part of the log probabilities is had without the rest. Computed once as long as the table lives.
    """
    found = _OF_TABLE.get(table)
    if found is None:
        parts = [_normaliser(_float64(table.logits[rows])) for rows in blocks(table.logits)]
        largest, sums = (np.concatenate(part) for part in zip(*parts))
        largest.flags.writeable = sums.flags.writeable = False
        found = _OF_TABLE[table] = largest, sums
    return found


def log_softmax_at(table: Predictions, columns: Int[np.ndarray, "n"] | int) -> np.ndarray:
    """Each row's log probability of its own one of the columns, or of the one named: (n,)."""
    largest, sums = normaliser(table)
    own = _float64(table.logits[np.arange(len(table)), columns])
    return own - largest[:, 0] - sums[:, 0]


def log_softmax_rows(table: Predictions, rows: slice) -> Float[np.ndarray, "m k"]:
    """Log probabilities of some rows."""
    largest, sums = normaliser(table)
    return _float64(table.logits[rows]) - largest[rows] - sums[rows]


def softmax_of(table: Predictions) -> Float[np.ndarray, "n k"]:
    """Probabilities of a table, without a temporary of their size."""
    out = np.empty(table.logits.shape, np.float64)
    for rows in blocks(out):
        np.exp(log_softmax_rows(table, rows), out=out[rows])
    return out


def log_softmax(logits: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Log probabilities in float64; finite for finite logits.

    The normaliser is summed in sorted order, so that permuted rows have the same one to the bit.
    """
    logits = np.asarray(logits)
    out = np.empty(logits.shape, np.float64)
    for rows in blocks(logits):
        block = _float64(logits[rows])
        largest, sums = _normaliser(block)
        np.subtract(block - largest, sums, out=out[rows])
    return out


def softmax(logits: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Probabilities in float64.

    >>> softmax(np.zeros((1, 2)))
    array([[0.5, 0.5]])
    """
    out = log_softmax(logits)
    return np.exp(out, out=out)


def mean_log_probabilities(
    logits: Sequence[Float[np.ndarray, "n k"]],
) -> Float[np.ndarray, "n k"]:
    """Logarithm of the mean of several models' probabilities, without leaving the logarithms."""
    logs = np.stack([log_softmax(one) for one in logits])
    return np.logaddexp.reduce(logs, axis=0) - np.log(len(logs))


def log_odds(logits: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """log(p / (1 - p)) of each class in float64: ranks as p does, but does not saturate."""
    logits = np.asarray(logits)
    out = np.empty(logits.shape, np.float64)
    for rows in blocks(logits):
        block = _float64(logits[rows])
        logp = log_softmax(block)
        odds = out[rows]
        minor = logp < np.log(0.5)
        odds[minor] = logp[minor] - np.log1p(-np.exp(logp[minor]))
        # 1 - p loses its digits where p is near 1: there the other classes' logits are summed instead.
        which, columns = np.nonzero(~minor)
        others = np.sort(
            np.where(np.arange(block.shape[1]) == columns[:, None], -np.inf, logp[which]), axis=1
        )
        # Where no other class has any mass left, the odds are infinite, and tie with one another.
        top = np.where(np.isneginf(others[:, -1:]), 0.0, others[:, -1:])
        with np.errstate(divide="ignore"):
            rest = top[:, 0] + np.log(np.exp(others - top).sum(axis=1))
        odds[which, columns] = logp[which, columns] - rest
    return out


def blocks(array: np.ndarray) -> Iterator[slice]:
    """Slices of rows, of at most BLOCK numbers each."""
    size = max(1, BLOCK // max(1, array.shape[1]))
    for start in range(0, len(array), size):
        yield slice(start, start + size)


def _float64(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, np.float64)


def _normaliser(block: Float[np.ndarray, "m k"]) -> tuple[np.ndarray, np.ndarray]:
    """See `normaliser`; the sum is over sorted numbers."""
    largest = block.max(axis=1, keepdims=True)
    terms = np.sort(np.exp(block - largest), axis=1)
    return largest, np.log(terms.sum(axis=1, keepdims=True))
