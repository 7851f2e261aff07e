"""Counts of a classifier's predictions accumulated under jit: masked, sharded, and exact.

Everything is whole numbers, so that no order of batches and no number of devices changes a digit; the
arithmetic at the end is NumPy's in float64. Counts are held in two limbs, because JAX's default
integers end at 2^31.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.classification import rates_of_counts

LIMB = 30
"""Bits of the lower limb."""


class Counts(NamedTuple):
    """What has been counted, each number as its lower and higher limb.

    Attributes:
      confusion: (2, k, k) examples by label and prediction.
      refused: (2,) examples that were not masked and could not be counted: a label outside of the
        classes, or a logit that is not a number.
    """

    confusion: Int[Array, "2 k k"]
    refused: Int[Array, "2"]


def start(classes: int) -> Counts:
    """Counts of nothing.

    Raises:
      EvaluationError: if there are fewer than two classes.
    """
    import jax.numpy as jnp

    if classes < 2:
        raise EvaluationError(f"{classes} classes: predictions are counted of two or more")
    return Counts(jnp.zeros((2, classes, classes), jnp.int32), jnp.zeros(2, jnp.int32))


def update(
    counts: Counts,
    logits: Float[Array, "b k"],
    labels: Int[Array, "b"],
    mask: Bool[Array, "b"] | None = None,
) -> Counts:
    """Counts one batch; pure, to be called under `jit`, with inputs sharded over `b` or not.

    Args:
      counts: so far.
      logits: of any float type; the prediction is the argmax, the first among ties.
      labels: in [0, k); what lies outside, as padding often does, must be masked, or
        `confusion_matrix` raises.
      mask: False for rows that are padding.

    Raises:
      EvaluationError: when traced, if shapes do not fit one another.
    """
    import jax.numpy as jnp

    classes = counts.confusion.shape[-1]
    rows = labels.shape
    if logits.shape != (*rows, classes) or len(rows) != 1:
        raise EvaluationError(
            f"logits of shape {logits.shape} and labels of shape {rows} are not (batch, {classes})"
            " and (batch,)"
        )
    if mask is not None and mask.shape != rows:
        raise EvaluationError(f"a mask of shape {mask.shape} is not one entry a row, {rows}")
    kept = jnp.ones(rows, bool) if mask is None else mask.astype(bool)
    every = jnp.arange(classes)[None, :]
    known = (labels >= 0) & (labels < classes) & ~jnp.isnan(logits).any(axis=-1)
    one = (labels[:, None] == every) & (kept & known)[:, None]
    other = jnp.argmax(logits, axis=-1)[:, None] == every
    # A product of zeros and ones sums exactly in integers, on any number of devices.
    batch = jnp.einsum("bi,bj->ij", one.astype(jnp.int32), other.astype(jnp.int32))
    refused = (kept & ~known).sum(dtype=jnp.int32)
    return Counts(_add(counts.confusion, batch), _add(counts.refused, refused))


def _add(limbs: Int[Array, "2 ..."], number: Int[Array, "..."]) -> Int[Array, "2 ..."]:
    import jax.numpy as jnp

    low = limbs[0] + number
    carry = low >> LIMB
    return jnp.stack([low - (carry << LIMB), limbs[1] + carry])


def confusion_matrix(counts: Counts) -> Int[np.ndarray, "k k"]:
    """Counts by label (row) and prediction (column), int64.

    Raises:
      EvaluationError: if an example could not be counted, and was not masked.
    """
    low, high = np.asarray(counts.refused, np.int64)
    refused = int(low + (high << LIMB))
    if refused:
        classes = counts.confusion.shape[-1]
        raise EvaluationError(
            f"{refused} examples have a label outside of 0..{classes - 1}, or logits that are not a"
            " number: mask what is padding, and mend the rest"
        )
    low, high = np.asarray(counts.confusion, np.int64)
    return low + (high << LIMB)


def finish(counts: Counts) -> dict[str, float | None]:
    """accuracy, balanced accuracy, macro and weighted F1, Matthews' correlation and Cohen's kappa.

    They are those of `METRICS["classification"]`, to the bit; None where these counts do not define
    one, as a single class does not define the last two.

    Raises:
      EvaluationError: if nothing has been counted.
    """
    matrix = confusion_matrix(counts)
    if matrix.sum() == 0:
        raise EvaluationError(
            "no example has been counted: every row was masked, or there was none"
        )
    correct, predicted, labelled = (
        part.astype(np.float64)[None]
        for part in (np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1))
    )
    found = {n: float(r(correct, predicted, labelled)[0]) for n, r in rates_of_counts().items()}
    return {name: None if np.isnan(value) else value for name, value in found.items()}


class RankCounts(NamedTuple):
    """At each example, of the scores of its own class: (n,) int32 each, 0 where masked.

    Attributes:
      above: negatives that score higher.
      tied: negatives that score the same.
      positives: positives that score at least as high, itself among them.
    """

    above: Int[Array, "n"]
    tied: Int[Array, "n"]
    positives: Int[Array, "n"]


def rank_counts(
    scores: Float[Array, "n k"], labels: Int[Array, "n"], mask: Bool[Array, "n"] | None = None
) -> RankCounts:
    """Exact ranks of all scores, under `jit`: a sort a class, and no bins.

    Args:
      scores: of all examples, n below 2^31; for ranks across examples give log odds, or
        `jax.nn.log_softmax(logits)`, rather than logits.
      labels: in [0, k).
      mask: False for rows that are padding.

    Raises:
      EvaluationError: when traced, if shapes do not fit one another.
    """
    import jax
    import jax.numpy as jnp

    scores, labels = jnp.asarray(scores), jnp.asarray(labels)
    n, classes = scores.shape
    if labels.shape != (n,) or (mask is not None and mask.shape != (n,)):
        shapes = labels.shape, None if mask is None else mask.shape
        raise EvaluationError(f"labels and mask of shapes {shapes} are not one entry a row, ({n},)")
    kept = jnp.ones(n, bool) if mask is None else jnp.asarray(mask, bool)

    def of_class(index: Any) -> tuple[Array, Array, Array]:
        own = scores[:, index]
        positive = kept & (labels == index)
        negative = kept & (labels != index)
        # What does not count is sorted to the end, behind every score, and never reached.
        at_least = {}
        for name, rows in (("positive", positive), ("negative", negative)):
            ranks = jnp.sort(jnp.where(rows, -own, jnp.inf))
            total = rows.sum()
            for side in ("left", "right"):
                found = jnp.searchsorted(ranks, -own, side=side)
                at_least[name, side] = jnp.minimum(found, total)
        higher, least = at_least["negative", "left"], at_least["negative", "right"]
        parts = (higher, least - higher, at_least["positive", "right"])
        return tuple(jnp.where(positive, part, 0) for part in parts)  # type: ignore[return-value]

    parts = jax.lax.map(of_class, jnp.arange(classes))
    return RankCounts(*(part.sum(axis=0, dtype=jnp.int32) for part in parts))


def areas(
    counts: RankCounts,
    labels: Int[np.ndarray, "n"],
    classes: int,
    mask: Bool[np.ndarray, "n"] | None = None,
) -> dict[str, float]:
    """auroc_ovr_macro and average_precision_macro from exact ranks, in float64.

    Raises:
      EvaluationError: if a class has no example, or every example: there is no area then.
    """
    labels = np.asarray(labels)
    kept = np.ones(labels.shape, bool) if mask is None else np.asarray(mask, bool)
    above, tied, positives = (np.asarray(part, np.int64) for part in counts)
    roc, precision = [], []
    for index in range(classes):
        rows = kept & (labels == index)
        count, rest = int(rows.sum()), int(kept.sum() - rows.sum())
        if count == 0 or rest == 0:
            state = "no example" if count == 0 else "every example"
            raise EvaluationError(f"class {index} has {state} of n={int(kept.sum())}: no area")
        lost = int((2 * above[rows] + tied[rows]).sum())
        roc.append(1 - lost / (2 * count * rest))
        depth = positives[rows] + above[rows] + tied[rows]
        precision.append(float((positives[rows] / depth).mean()))
    return {
        "auroc_ovr_macro": float(np.mean(roc)),
        "average_precision_macro": float(np.mean(precision)),
    }
