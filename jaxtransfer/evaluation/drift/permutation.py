"""Permutation p-values of two-sample statistics, many relabellings at once.

The p-value of a permutation test is uniform whatever the pooled rows are, which is what makes the
p-values of successive looks independent (see `sequential`).
"""

import numpy as np
from jaxtyping import Float


def subsets(
    rows: int, size: int, count: int, rng: np.random.Generator
) -> Float[np.ndarray, "count+1 rows"]:
    """Indicators of the first `size` rows, and of `count` random subsets of that size.

    >>> subsets(4, 2, 3, np.random.default_rng(0)).sum(axis=1)
    array([2., 2., 2., 2.])
    """
    keys = rng.random((count, rows))
    # Keys of 53 bits are distinct but for a chance of about rows^2 / 2^54.
    limits = np.partition(keys, size - 1, axis=1)[:, size - 1 : size]
    indicators = np.zeros((count + 1, rows))
    indicators[0, :size] = 1
    indicators[1:] = keys <= limits
    return indicators


def p_value(statistics: Float[np.ndarray, "count+1"]) -> float:
    """The share of statistics at least as large as the first, the observed one, itself included.

    P(p <= u) <= u under exchangeability (Phipson and Smyth 2010). Values that differ by rounding
    are ties.

    >>> p_value(np.array([3.0, 1.0, 5.0, 3.0]))
    0.75
    """
    observed = statistics[0]
    slack = 1e-9 * np.abs(statistics).max(initial=1e-300)
    return float((statistics >= observed - slack).mean())


def mean_differences(
    values: Float[np.ndarray, "n d"], indicators: Float[np.ndarray, "r n"]
) -> Float[np.ndarray, "r d"]:
    """Mean within each subset minus mean outside it."""
    size = indicators[0].sum()
    inside = indicators @ values
    return inside / size - (values.sum(axis=0) - inside) / (len(values) - size)


def block_sums(
    matrix: Float[np.ndarray, "n n"], indicators: Float[np.ndarray, "r n"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of a symmetric matrix within each subset, within its complement, and between the two."""
    within = ((indicators @ matrix) * indicators).sum(axis=1)
    rows = indicators @ matrix.sum(axis=1)
    return within, matrix.sum() - 2 * rows + within, rows - within
