"""Near duplicates: texts that share most of their words, embeddings or pictures that almost agree.

Exact duplicates are the subject of `duplicates`; these are what a hash of the content misses.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, UInt64

from jaxtransfer.data.minhash import (
    Unit,
    banding,
    candidate_pairs,
    check_pairs,
    shingle_sets,
    signatures,
)
from jaxtransfer.errors import DataError

BLOCK = 16_000_000
"""Similarities held at once."""
SIDE, LOW = 32, 8
"""Side of the thumbnail that a perceptual hash sees, and of its low frequencies."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SimilarPairs:
    """Pairs of examples at or above a similarity.

    Attributes:
      pairs: (m, 2) positions, the smaller first, most similar pairs first.
      similarity: (m,) in [0, 1], each verified: none of them is an estimate.
      threshold: least similarity reported.
      recall: probability that a pair exactly at the threshold was found; 1 where all pairs are
        compared.
      without: positions of the examples that could not be compared, such as empty texts.
      method: what the similarity is.
    """

    pairs: Int64[np.ndarray, "m 2"]
    similarity: Float[np.ndarray, "m"]
    threshold: float
    recall: float
    without: Int64[np.ndarray, "w"]
    method: str

    def __len__(self) -> int:
        return len(self.pairs)


def similar_texts(
    texts: Sequence[str],
    *,
    threshold: float = 0.8,
    width: int = 3,
    unit: Unit = "words",
    permutations: int = 128,
    recall: float = 0.99,
    seed: int = 0,
) -> SimilarPairs:
    """Texts whose sets of shingles have a Jaccard index of at least the threshold.

    MinHash proposes pairs and the exact index decides, so there are no false ones; a pair at the
    threshold is missed with probability 1 - recall, and more similar ones more rarely.

    Args:
      texts: any texts; case, punctuation and white space do not count.
      threshold: least Jaccard index.
      width: words or characters in a shingle.
      unit: 'words', or 'characters' for scripts without spaces and for very short texts.
      permutations: hash functions.
      recall: least probability of finding a pair at the threshold.
      seed: of the hash functions.

    Raises:
      DataError: if an option is impossible, or too many pairs are similar.
    """
    bands, rows, found = banding(threshold, permutations, recall)
    sets = shingle_sets(texts, width, unit)
    filled = np.array([row for row, one in enumerate(sets) if len(one)], np.int64)
    pairs, values = np.zeros((0, 2), np.int64), np.zeros(0)
    if len(filled):
        signature = signatures([sets[row] for row in filled], permutations, seed)
        pairs = filled[candidate_pairs(signature, bands, rows)]
        values = np.array([_jaccard(sets[one], sets[other]) for one, other in pairs])
    without = np.setdiff1d(np.arange(len(texts)), filled)
    method = (
        f"Jaccard index of shingles of {width} {unit}, candidates by MinHash ({permutations}"
        f" functions, {bands} bands of {rows})"
    )
    return _sorted_pairs(pairs, values, threshold, found, without, method)


def similar_embeddings(
    embeddings: Float[np.ndarray, "n d"], *, threshold: float = 0.95
) -> SimilarPairs:
    """Rows whose cosine is at least the threshold; all pairs are compared, in blocks.

    Args:
      embeddings: (n, d), finite; a row of zeros has no direction and is left out.
      threshold: least cosine, above 0.

    Raises:
      DataError: if embeddings are not finite or (n, d), or too many pairs are similar.
    """
    rows = np.asarray(embeddings)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu" or not np.isfinite(rows).all():
        raise DataError(
            f"embeddings must be finite numbers (rows, width), not {rows.dtype} of shape"
            f" {rows.shape}"
        )
    if not 0 < threshold <= 1:
        raise DataError(f"threshold {threshold} of the cosine must be above 0 and at most 1")
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    filled = np.flatnonzero(norms > 0)
    unit = rows[filled] / norms[filled, None]
    # Rounding must not lose copies at a threshold of 1.
    least = threshold - 1e-9

    def similar(start: int, stop: int) -> np.ndarray:
        return unit[start:stop] @ unit[start:].T

    pairs, values = _blocked(len(unit), similar, least)
    without = np.flatnonzero(norms == 0)
    return _sorted_pairs(
        filled[pairs], np.minimum(values, 1.0), least, 1.0, without, "cosine of embeddings"
    )


def similar_images(
    images: Sequence[Any] | np.ndarray, *, distance: int = 6, threshold: float = 0.95
) -> SimilarPairs:
    """Pictures that are almost equal but for their scale, brightness and contrast.

    Perceptual hashes propose pairs, all of them compared, and the correlation of the grey thumbnails
    decides: the hash alone takes two digits of one shape for one another. Both survive scaling,
    recompression and a little noise; not cropping, rotation or mirroring. Look at pairs before removing
    one.

    Args:
      images: n arrays (height, width) or (height, width, channels), of any size.
      distance: most of 64 bits in which the hashes of a pair may differ, 0 to 63.
      threshold: least correlation of their 32 x 32 thumbnails, above 0.

    Raises:
      DataError: if an image is no array of that shape, or too many pairs are proposed.
    """
    if not 0 <= distance < 64:
        raise DataError(f"distance {distance} must be from 0 to 63 of 64 bits")
    if not 0 < threshold <= 1:
        raise DataError(f"threshold {threshold} of the correlation must be above 0 and at most 1")
    hashes, blank = perceptual_hashes(images)
    filled = np.flatnonzero(~blank)
    chosen = hashes[filled]

    def similar(start: int, stop: int) -> np.ndarray:
        return 1 - np.bitwise_count(chosen[start:stop, None] ^ chosen[None, start:]) / 64

    proposed, _ = _blocked(len(chosen), similar, 1 - distance / 64)
    pairs = filled[proposed]
    thumbnails = {row: _standardised(images[row], row) for row in np.unique(pairs).tolist()}
    values = np.array([thumbnails[a] @ thumbnails[b] for a, b in pairs.tolist()], np.float64)
    # Rounding must not lose copies at a threshold of 1.
    values = np.where(values > 1 - 1e-9, 1.0, values)
    method = (
        f"correlation of {SIDE} x {SIDE} grey thumbnails, candidates by perceptual hash (at most"
        f" {distance} of 64 bits differ)"
    )
    return _sorted_pairs(pairs, values, threshold, 1.0, np.flatnonzero(blank), method)


def perceptual_hashes(
    images: Sequence[Any] | np.ndarray,
) -> tuple[UInt64[np.ndarray, "n"], np.ndarray]:
    """64 bits of each picture, and which pictures are blank and have none.

    The picture in grey, 32 x 32, has 64 low frequencies of its cosine transform; a bit says whether
    one exceeds their median without the mean's (Zauner 2010).

    Raises:
      DataError: naming the row of an image that is no finite array of two or three axes.
    """
    from scipy.fft import dctn

    hashes, blank = np.zeros(len(images), np.uint64), np.zeros(len(images), bool)
    for row in range(len(images)):
        pixels = _thumbnail(images[row], row)
        if np.ptp(pixels) <= 1e-6 * max(1.0, np.abs(pixels).max()):
            blank[row] = True
            continue
        low = dctn(pixels)[:LOW, :LOW].ravel()
        bits = low > np.median(low[1:])
        hashes[row] = np.packbits(bits).view(np.uint64)[0]
    return hashes, blank


def _thumbnail(image: Any, row: int) -> Float[np.ndarray, "32 32"]:
    from PIL import Image

    grey = np.asarray(image, np.float32)
    if grey.ndim == 3:
        grey = grey.mean(axis=2)
    if grey.ndim != 2 or grey.size == 0 or not np.isfinite(grey).all():
        raise DataError(
            f"image {row} has shape {grey.shape}; give finite arrays (height, width) or"
            " (height, width, channels)"
        )
    small = Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float64)


def _standardised(image: Any, row: int) -> Float[np.ndarray, "pixels"]:
    """A thumbnail without its mean and of length 1, so that products are correlations."""
    pixels = _thumbnail(image, row).ravel()
    pixels = pixels - pixels.mean()
    return pixels / np.linalg.norm(pixels)


def _jaccard(one: np.ndarray, other: np.ndarray) -> float:
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def _blocked(n: int, similar: Any, least: float) -> tuple[np.ndarray, np.ndarray]:
    """All pairs whose similarity is large enough, computed a block of rows at a time."""
    pairs, values, total = [np.zeros((0, 2), np.int64)], [np.zeros(0)], 0
    size = max(1, BLOCK // max(1, n))
    for start in range(0, n, size):
        block = similar(start, min(n, start + size))
        rows, columns = np.nonzero(block >= least)
        kept = columns > rows
        rows, columns = rows[kept], columns[kept]
        total += len(rows)
        check_pairs(total)
        pairs.append(np.stack([rows, columns], axis=1) + start)
        values.append(block[rows, columns].astype(np.float64))
    return np.concatenate(pairs), np.concatenate(values)


def _sorted_pairs(
    pairs: np.ndarray,
    values: np.ndarray,
    threshold: float,
    recall: float,
    without: np.ndarray,
    method: str,
) -> SimilarPairs:
    kept = values >= threshold
    pairs, values = pairs[kept], values[kept]
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -values))
    return SimilarPairs(
        pairs=pairs[order],
        similarity=values[order],
        threshold=threshold,
        recall=recall,
        without=without,
        method=method,
    )
