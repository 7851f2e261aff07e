"""MinHash: which pairs of many texts may share most of their shingles, without comparing all pairs.

Broder, On the resemblance and containment of documents (1997); banding after Indyk and Motwani
(1998).
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Int64, UInt32, UInt64

from jaxtransfer.errors import DataError

Unit = Literal["words", "characters"]

MOST_PAIRS = 20_000_000
"""Candidate pairs held at once; more say that the threshold separates nothing."""


def normalise_text(text: str) -> str:
    """A text without the differences that copying makes: Unicode form, case and white space.

    >>> normalise_text("  One\\u00a0 ﬁsh")
    'one fish'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def shingle_sets(
    texts: Sequence[str], width: int = 3, unit: Unit = "words"
) -> list[UInt64[np.ndarray, "s"]]:
    """The set of shingles of each text, sorted 64-bit hashes.

    Two different shingles share a hash once in 2^64; a text shorter than a shingle is one itself,
    and one without words or characters has none.

    Args:
      texts: any texts; normalised first, and without punctuation where the unit is words.
      width: consecutive words or characters in a shingle.
      unit: 'words', or 'characters' for scripts without spaces and for very short texts.

    Raises:
      DataError: if the width is below 1 or the unit unknown.
    """
    if width < 1 or unit not in ("words", "characters"):
        raise DataError(f"shingles of {width} {unit} are none; give 1 or more words or characters")
    hashes: dict[tuple[str, ...], int] = {}
    sets = []
    for text in texts:
        normal = normalise_text(text)
        parts: Sequence[str] = re.findall(r"\w+", normal) if unit == "words" else normal
        runs = [parts[start:] for start in range(width)]
        shingles = set(zip(*runs)) if len(parts) >= width else {tuple(parts)} - {()}
        for shingle in shingles:
            if shingle in hashes:
                continue
            digest = hashlib.blake2b("\0".join(shingle).encode(), digest_size=8).digest()
            hashes[shingle] = int.from_bytes(digest, "little")
        sets.append(np.array(sorted(hashes[shingle] for shingle in shingles), np.uint64))
    return sets


def signatures(
    sets: Sequence[UInt64[np.ndarray, "s"]], permutations: int, seed: int
) -> UInt32[np.ndarray, "n p"]:
    """The least of `permutations` hash functions over each set; sets must not be empty.

    Two sets agree in one function with the probability of their Jaccard index J, so the share of
    equal entries estimates it with standard error sqrt(J (1 - J) / permutations).
    """
    values = np.concatenate(sets)
    starts = np.cumsum([0, *(len(one) for one in sets[:-1])])
    keys = np.random.PCG64(np.random.SeedSequence(seed)).random_raw(permutations)
    found = np.empty((len(sets), permutations), np.uint32)
    for column, key in enumerate(keys):
        found[:, column] = np.minimum.reduceat(_mixed(values + key), starts)
    return found


def banding(threshold: float, permutations: int, recall: float) -> tuple[int, int, float]:
    """Bands and rows that find pairs at the threshold with the recall asked for.

    A pair of Jaccard index J is a candidate if all rows of a band agree, which has probability
    1 - (1 - J^rows)^bands. More rows make fewer false candidates.

    Returns:
      Bands, rows, and the probability at the threshold.

    Raises:
      DataError: if no banding reaches the recall.

    >>> banding(0.8, 128, 0.99)[:2]
    (21, 6)
    """
    if not (0 < threshold <= 1 and 0 < recall < 1):
        raise DataError(f"threshold {threshold} and recall {recall} must be between 0 and 1")
    for rows in range(permutations, 0, -1):
        bands = permutations // rows
        found = 1 - (1 - threshold**rows) ** bands
        if found >= recall:
            return bands, rows, found
    raise DataError(
        f"{permutations} hash functions do not find pairs of similarity {threshold} with recall"
        f" {recall}; raise permutations, or the threshold"
    )


def candidate_pairs(
    signature: UInt32[np.ndarray, "n p"], bands: int, rows: int
) -> Int64[np.ndarray, "m 2"]:
    """Pairs that agree in all rows of a band, each once, the smaller position first.

    Raises:
      DataError: if there are more than `MOST_PAIRS` in a band or in all.
    """
    n = len(signature)
    found = np.zeros(0, np.int64)
    for band in range(bands):
        part = np.ascontiguousarray(signature[:, band * rows : (band + 1) * rows])
        _, bucket, sizes = np.unique(part, axis=0, return_inverse=True, return_counts=True)
        check_pairs(int((sizes * (sizes - 1) // 2).sum()))
        order = np.argsort(bucket.ravel(), kind="stable")
        codes = [found]
        for members in np.split(order, np.cumsum(sizes)[:-1]):
            if len(members) > 1:
                one, other = np.triu_indices(len(members), 1)
                codes.append(members[one] * n + members[other])
        found = np.unique(np.concatenate(codes))
        check_pairs(len(found))
    return np.stack(np.divmod(found, max(1, n)), axis=1)


def check_pairs(count: int) -> None:
    """Refuses more pairs than can be held.

    Raises:
      DataError: with the way out.
    """
    if count > MOST_PAIRS:
        raise DataError(
            f"{count} pairs are similar, more than {MOST_PAIRS}: raise the threshold, or remove"
            " exact duplicates first (deduplicate)"
        )


def _mixed(values: UInt64[np.ndarray, "s"]) -> UInt32[np.ndarray, "s"]:
    """The upper half of a 64-bit mix in which every input bit moves every output bit (SplitMix64)."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(32)).astype(np.uint32)
