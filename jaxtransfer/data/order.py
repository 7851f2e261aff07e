"""Reproducible random orders: functions of a key, on every platform and NumPy version.

NumPy guarantees the raw stream of a bit generator for a given seed, but not what
`Generator.permutation` makes of it.
"""

import hashlib

import numpy as np
from jaxtyping import Int64


def permutation(count: int, *key: int) -> Int64[np.ndarray, "count"]:
    """A permutation of `range(count)` that depends on the key alone.

    The key is of non-negative integers, such as seed and epoch. The order is that of `count` raw
    64-bit draws of PCG64, ties by position.

    >>> permutation(5, 0).tolist()
    [3, 2, 1, 0, 4]
    """
    draws = np.random.PCG64(np.random.SeedSequence(key)).random_raw(count)
    return np.argsort(draws, kind="stable").astype(np.int64)


def text_key(text: str) -> int:
    """A 64-bit integer that stands for a text in a key: the first eight bytes of its sha256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
