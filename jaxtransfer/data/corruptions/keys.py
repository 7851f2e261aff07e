"""Where a corruption's chance comes from: a hash of (seed, kind, example id), and nothing else.

So it is the same in any batch, order and process. The severity is left out on purpose: where the
kind allows, a severer corruption is then the lesser one and more.
"""

import hashlib

import numpy as np
from jaxtyping import Float64, UInt32


def digest(seed: int, kind: str, example: str) -> bytes:
    """32 bytes that stand for one example under one kind of corruption.

    >>> digest(0, "fog", "a") == digest(0, "fog", "a")
    True
    """
    # Lengths keep ("a", "bc") apart from ("ab", "c").
    text = f"{int(seed)}:{len(kind)}:{kind}:{example}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def key_words(seed: int, kind: str, example: str) -> UInt32[np.ndarray, "2"]:
    """The two words of a Threefry key."""
    return np.frombuffer(digest(seed, kind, example)[:8], dtype="<u4").astype(np.uint32)


class Chance:
    """Uniform numbers of one text: a stream of Philox, whose bits NumPy keeps from version to version."""

    def __init__(self, seed: int, kind: str, example: str):
        words = np.frombuffer(digest(seed, kind, example)[:16], dtype="<u8")
        self._bits = np.random.Philox(key=words)

    def uniform(self, count: int) -> Float64[np.ndarray, "count"]:
        """The next numbers in [0, 1), of 53 bits each."""
        return (self._bits.random_raw(count) >> np.uint64(11)) * 2.0**-53
