"""H-score: the share of the features' variance that lies between classes, in units of its own.

Bao et al. (2019), and with a shrunk covariance Ibrahim et al. (2021), for few examples of many
features.
"""

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.analyse.labelled import Labelled, labelled
from jaxtransfer.analyse.score import Score, joined, undefined
from jaxtransfer.evaluation.shrinkage import ledoit_wolf

NAME = "H-score"
DEFINITION = (
    "trace of pinv(cov f) cov E[f | y], at most the number of classes less 1 (Bao et al. 2019,"
    " ICIP)"
)
SHRUNK_NAME = "shrunk H-score"
SHRUNK_DEFINITION = (
    "(1 - s) trace of inv(cov_s f) cov E[f | y], cov_s shrunk by the s of Ledoit and Wolf, both"
    " over n (Ibrahim et al. 2021, arXiv 2110.06893)"
)


def h_score(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    classes: int | None = None,
) -> Score:
    """The H-score; larger is better.

    Directions in which features vary by rounding alone do not count. Where the n examples have
    n - 1 linearly independent features, as most do if n <= d, the score is the number of classes
    less 1 whatever the labels; the note says so, and `shrunk_h_score` serves.

    Args:
      features: (n, d), finite.
      labels: (n,) in [0, classes).
      classes: how many there are; those without examples are left out.

    Raises:
      EvaluationError: if the arrays are malformed.
    """
    data = labelled(features, labels, classes)
    if data.nothing_to_tell:
        return undefined(NAME, data.n, DEFINITION, data.nothing_to_tell)
    # Whatever the columns' units, the score is the same; what counts as rounding is not.
    rows = _centred(data)
    scale = np.sqrt((rows**2).mean(axis=0))
    rows = rows[:, scale > 0] / scale[scale > 0]
    if not rows.size:
        return _constant(NAME, DEFINITION, data)
    left, singular, _ = np.linalg.svd(rows, full_matrices=False)
    rank = int((singular > singular[0] * max(rows.shape) * data.precision).sum())
    saturated = None
    if rank >= data.n - 1:
        saturated = (
            f"the {data.n} examples have linearly independent features: the score is"
            f" {len(data.counts) - 1} whatever the labels"
        )
    return Score(
        name=NAME,
        value=float(_between(data, left[:, :rank]).sum()),
        n=data.n,
        definition=DEFINITION,
        note=joined(data.absent, saturated),
    )


def shrunk_h_score(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    classes: int | None = None,
) -> Score:
    """The H-score with a shrunk covariance, which depends on the columns' units; larger is better.

    Both covariances are over n here. A public implementation takes the second over n - 1, and is
    larger by n / (n - 1).

    Args:
      features: (n, d), finite.
      labels: (n,) in [0, classes).
      classes: how many there are; those without examples are left out.

    Raises:
      EvaluationError: if the arrays are malformed.
    """
    data = labelled(features, labels, classes)
    if data.nothing_to_tell:
        return undefined(SHRUNK_NAME, data.n, SHRUNK_DEFINITION, data.nothing_to_tell)
    rows = _centred(data)
    if not rows.any():
        return _constant(SHRUNK_NAME, SHRUNK_DEFINITION, data)
    covariance, amount = ledoit_wolf(rows)
    mean = float(np.trace(covariance)) / len(covariance)
    left, singular, _ = np.linalg.svd(rows, full_matrices=False)
    # Class means lie in the rows' span, so the covariance's own axes do for the trace.
    variance = (1 - amount) * singular**2 / data.n
    shares = np.divide(
        variance,
        variance + amount * mean,
        out=np.zeros_like(variance),
        where=singular > singular[0] * max(rows.shape) * data.precision,
    )
    return Score(
        name=SHRUNK_NAME,
        value=float(_between(data, left) @ shares),
        n=data.n,
        definition=SHRUNK_DEFINITION,
        note=joined(data.absent, f"shrinkage {amount:.3g}"),
    )


def _centred(data: Labelled) -> Float[np.ndarray, "n d"]:
    """The features less their means; exactly 0 in a column of numbers equal up to rounding."""
    rows = data.features - data.features.mean(axis=0)
    largest = np.abs(data.features).max(axis=0)
    rows[:, np.ptp(data.features, axis=0) <= 4 * data.precision * largest] = 0.0
    return rows


def _between(data: Labelled, left: Float[np.ndarray, "n r"]) -> Float[np.ndarray, "r"]:
    """Of each direction of unit length, the part that lies between the classes' means."""
    sums = np.zeros((len(data.counts), left.shape[1]))
    np.add.at(sums, data.codes, left)
    return (sums**2 / data.counts[:, None]).sum(axis=0)


def _constant(name: str, definition: str, data: Labelled) -> Score:
    reason = "the features are the same for all examples: they have no variance to share out"
    return undefined(name, data.n, definition, reason)
