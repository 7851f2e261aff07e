"""What a labelled data set is like before anything is trained: balance, label noise, diversity.

Pure functions of labels and frozen features; duplicates and leakage are `data`'s.
"""

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.analyse.labelled import checked_labels, finite, labelled, learnable, left_out
from jaxtransfer.analyse.score import Score, undefined
from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.cross_fitting import cross_fitted_probabilities
from jaxtransfer.evaluation.drift.two_sample import squared_distances
from jaxtransfer.evaluation.intervals import wilson
from jaxtransfer.evaluation.label_errors import confident_joint

EFFECTIVE_CLASSES = "effective number of classes"
IMBALANCE = "imbalance ratio"
NOISE = "estimated label noise"
SPREAD = "mean pairwise distance"
VENDI = "Vendi score"

EFFECTIVE_DEFINITION = "exponential of the entropy of the class shares: k for k classes of one size (Hill 1973, order 1)"
IMBALANCE_DEFINITION = "examples of the largest class over those of the smallest"
NOISE_DEFINITION = (
    "share of examples off the diagonal of the confident joint (Northcutt et al. 2021), by a linear"
    " probe's probabilities, fitted on the other of {folds} stratified folds"
)
SPREAD_DEFINITION = "mean Euclidean distance between two different examples' features"
VENDI_DEFINITION = (
    "exponential of the entropy of the eigenvalues of the Gram matrix over n, features scaled to"
    " length 1: the effective number of dissimilar examples, 1 to n (Friedman and Dieng 2023,"
    " arXiv 2210.02410)"
)


def effective_classes(labels: Int[np.ndarray, "n"], classes: int | None = None) -> Score:
    """The effective number of classes, from 1 to their number.

    >>> round(effective_classes(np.array([0, 0, 1, 1])).value, 9)
    2.0

    Raises:
      EvaluationError: if the labels are malformed.
    """
    codes, counts, known = checked_labels(labels, classes)
    shares = counts / counts.sum()
    return Score(
        name=EFFECTIVE_CLASSES,
        value=float(np.exp(-(shares * np.log(shares)).sum())),
        n=len(codes),
        definition=EFFECTIVE_DEFINITION,
        note=left_out(known - len(counts), known),
    )


def imbalance_ratio(labels: Int[np.ndarray, "n"], classes: int | None = None) -> Score:
    """How many times larger the largest class is than the smallest; 1 if all are equal.

    Raises:
      EvaluationError: if the labels are malformed.
    """
    codes, counts, known = checked_labels(labels, classes)
    absent = known - len(counts)
    if absent:
        reason = f"{absent} of {known} classes without an example make the ratio infinite"
        return undefined(IMBALANCE, len(codes), IMBALANCE_DEFINITION, reason)
    return Score(
        name=IMBALANCE,
        value=float(counts.max() / counts.min()),
        n=len(codes),
        definition=IMBALANCE_DEFINITION,
    )


def label_noise(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    classes: int | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
) -> Score:
    """The share of labels that a cross-fitted linear probe's confident joint holds for wrong.

    It is an estimate by this probe on these features: weak features make clean labels look wrong. It is undefined where
    the probe is not shown to agree with the labels more often than by chance.

    Args:
      features: (n, d), finite.
      labels: (n,) in [0, classes).
      classes: how many there are.
      folds: of the probe; fewer if there are fewer examples.
      seed: of the folds.

    Raises:
      EvaluationError: if the arrays are malformed.
    """
    data = labelled(features, labels, classes)
    definition = NOISE_DEFINITION.format(folds=folds)
    known = learnable(data)
    if known.undefined is not None:
        return undefined(NOISE, data.n, definition, known.undefined)
    try:
        probabilities = cross_fitted_probabilities(
            data.features[known.rows],
            known.codes,
            known.classes,
            min(folds, len(known.codes)),
            seed,
        )
    except EvaluationError as error:
        return undefined(NOISE, data.n, definition, str(error))
    chance = _not_above_chance(known.codes, probabilities)
    if chance is not None:
        return undefined(NOISE, len(known.codes), definition, chance)
    joint = confident_joint(known.codes, probabilities)
    return Score(
        name=NOISE,
        value=float((joint.sum() - np.trace(joint)) / joint.sum()),
        n=len(known.codes),
        definition=definition,
        note=known.note,
    )


def _not_above_chance(
    labels: Int[np.ndarray, "n"], probabilities: Float[np.ndarray, "n k"]
) -> str | None:
    """Why a probe says nothing of the labels: its agreement may be that of guesses of the same shares."""
    guessed, n = probabilities.argmax(axis=1), len(labels)
    right, classes = int((guessed == labels).sum()), probabilities.shape[1]
    shares = [np.bincount(codes, minlength=classes) / n for codes in (guessed, labels)]
    expected = float(shares[0] @ shares[1])
    low, high = wilson(right, n)
    if low > expected:
        return None
    return (
        f"the probe is not shown to be better than chance: accuracy {right / n:.3f} [{low:.3f}, {high:.3f}], and"
        f" {expected:.3f} by chance"
    )


def mean_pairwise_distance(
    features: Float[np.ndarray, "n d"], *, rows: int = 2000, seed: int = 0
) -> Score:
    """How far apart examples lie on average, in the features' own units.

    Args:
      features: (n, d), finite.
      rows: at most so many examples, drawn at random.
      seed: of the draw.

    Raises:
      EvaluationError: if the features are malformed.
    """
    drawn, note = _drawn(features, rows, seed)
    n = len(drawn)
    if n < 2:
        return undefined(SPREAD, n, SPREAD_DEFINITION, "one example has no distance to another")
    total = np.sqrt(squared_distances(drawn)).sum()
    return Score(
        name=SPREAD,
        value=float(total / (n * (n - 1))),
        n=n,
        definition=SPREAD_DEFINITION,
        note=note,
    )


def vendi_score(features: Float[np.ndarray, "n d"], *, rows: int = 2000, seed: int = 0) -> Score:
    """The effective number of dissimilar examples, by their cosine similarity.

    It grows with n as long as there is something new to see: compare at equal n, or divide by it.

    Args:
      features: (n, d), finite; not centred here.
      rows: at most so many examples, drawn at random.
      seed: of the draw.

    Raises:
      EvaluationError: if the features are malformed.
    """
    drawn, note = _drawn(features, rows, seed)
    lengths = np.linalg.norm(drawn, axis=1)
    empty = np.flatnonzero(lengths == 0)
    if empty.size:
        reason = f"{empty.size} of {len(drawn)} examples have features all 0, and so no direction"
        return undefined(VENDI, len(drawn), VENDI_DEFINITION, reason)
    # The eigenvalues of the Gram matrix are the squared singular values.
    shares = np.linalg.svd(drawn / lengths[:, None], compute_uv=False) ** 2 / len(drawn)
    shares = shares[shares > 0]
    return Score(
        name=VENDI,
        value=float(np.exp(-(shares * np.log(shares)).sum())),
        n=len(drawn),
        definition=VENDI_DEFINITION,
        note=note,
    )


def _drawn(
    features: np.ndarray, rows: int, seed: int
) -> tuple[Float[np.ndarray, "m d"], str | None]:
    features = np.asarray(features)
    if features.ndim != 2 or not features.size:
        raise EvaluationError(f"features must be (rows, width), not of shape {features.shape}")
    if len(features) <= rows:
        return finite(features), None
    chosen = np.random.default_rng(seed).choice(len(features), rows, replace=False)
    return finite(features[chosen]), f"of {rows} examples drawn from {len(features)}"
