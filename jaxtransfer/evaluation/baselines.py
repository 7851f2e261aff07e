"""What costs nothing: the majority class, and the nearest class mean of frozen features.

Both are pure functions that return logits whose softmax is meant as a probability.
"""

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError


def majority_class(
    labels: Int[np.ndarray, "n"], *, classes: int, queries: int
) -> Float[np.ndarray, "queries k"]:
    """Log of the smoothed class shares of the training labels, the same row for every query.

    The share of class c is (n_c + 1) / (n + k) (Laplace), so that an unseen class keeps a finite
    logit.

    >>> np.exp(majority_class(np.array([1, 1]), classes=2, queries=1))
    array([[0.25, 0.75]])
    """
    counts = _counts(labels, classes)
    logits = np.log((counts + 1) / (counts.sum() + classes))
    return np.tile(logits, (queries, 1))


def nearest_class_mean(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    queries: Float[np.ndarray, "m d"],
    *,
    classes: int,
) -> Float[np.ndarray, "m k"]:
    """Minus the squared distances of the queries to the class means, times a scale: float64 logits.

    Under one isotropic Gaussian a class and equal priors the posterior has scale 1 / (2 v), v the
    pooled within-class variance of one dimension. Real features are correlated, so that scale is
    overconfident: it serves as the upper bound, and below it the scale minimises the cross-entropy
    of the training examples, each left out of its own class mean. Its targets are smoothed by
    Laplace's rule of succession, as Platt (1999) did: few examples that are all classified right
    would otherwise allow any confidence. Classes with a single example are left out of that fit;
    if all have one, no variance within classes is known and the scale is 1 over the mean squared
    distance between class means.

    Args:
      features: (n, d) training features.
      labels: (n,) their classes.
      queries: (m, d) features to classify.
      classes: number of classes k, each of which must have an example.

    Raises:
      EvaluationError: if a class has no training example, or shapes do not fit.
    """
    features, queries = np.asarray(features, np.float64), np.asarray(queries, np.float64)
    if features.ndim != 2 or queries.ndim != 2 or features.shape[1] != queries.shape[1]:
        raise EvaluationError(
            f"features {features.shape} and queries {queries.shape} must be (rows, the same width)"
        )
    means, counts = _class_means(features, labels, classes)
    return -_scale(features, labels, means, counts) * _squared_distances(queries, means)


def nearest_mean_head(
    features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, "n"], *, classes: int
) -> tuple[Float[np.ndarray, "d k"], Float[np.ndarray, "k"]]:
    """Kernel and bias of the linear head that gives the probabilities of `nearest_class_mean`.

    Minus s times a squared distance is linear in the features up to -s |x|^2, which is the same for
    every class: the kernel is 2 s times the means, the bias -s times their squared norms.

    Raises:
      EvaluationError: if a class has no training example, or shapes do not fit.
    """
    features = np.asarray(features, np.float64)
    means, counts = _class_means(features, labels, classes)
    scale = _scale(features, labels, means, counts)
    return 2 * scale * means.T, -scale * (means**2).sum(axis=1)


def _class_means(
    features: np.ndarray, labels: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and number of each class's rows."""
    counts = _counts(labels, classes)
    if classes < 2:
        raise EvaluationError(f"{classes} class leaves nothing to tell apart; give at least two")
    empty = np.flatnonzero(counts == 0)
    if empty.size:
        raise EvaluationError(f"class {empty[0]} has no training example: it has no mean")
    if features.ndim != 2:
        raise EvaluationError(f"features {features.shape} must be (rows, width)")
    if len(features) != len(labels):
        raise EvaluationError(f"{len(features)} rows of features have {len(labels)} labels")
    if not np.isfinite(features).all():
        row, place = np.argwhere(~np.isfinite(features))[0]
        raise EvaluationError(f"feature {place} of row {row} is {features[row, place]}, not finite")
    sums = np.zeros((classes, features.shape[1]))
    np.add.at(sums, labels, features)
    return sums / counts[:, None], counts


def _scale(
    features: np.ndarray, labels: np.ndarray, means: np.ndarray, counts: np.ndarray
) -> float:
    classes, width = means.shape
    residual = ((features - means[labels]) ** 2).sum(axis=1)
    freedom = (len(features) - classes) * width
    variance = residual.sum() / freedom if freedom else 0.0
    if variance == 0:
        between = _squared_distances(means, means).sum() / (classes * (classes - 1))
        return 1.0 / between if between > 0 else 1.0
    rows = counts[labels] > 1
    distances = _squared_distances(features, means)
    # Without x, the mean of its n examples moves away from x by 1 / (n - 1) of the distance.
    own = counts[labels][rows]
    distances[rows, labels[rows]] = residual[rows] * (own / (own - 1)) ** 2
    return _most_likely_scale(distances[rows], labels[rows], upper=1 / (2 * variance))


def _most_likely_scale(distances: np.ndarray, labels: np.ndarray, upper: float) -> float:
    """The s in (0, upper] of least cross-entropy between targets and softmax(-s distances): convex.

    A label's target is (n + 1) / (n + 2), and the other classes share the rest: what n examples
    classified right say about the next one.
    """
    n, classes = distances.shape
    targets = np.full((n, classes), 1 / ((n + 2) * (classes - 1)))
    targets[np.arange(n), labels] = (n + 1) / (n + 2)

    def slope(scale: float) -> float:
        logits = -scale * distances
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        return float(((targets - weights) * distances).sum())

    # A scale of nearly 0 says that the means tell nothing; it stays positive to keep their ranking.
    low, high = np.log(upper) - 20, np.log(upper)
    if slope(float(np.exp(high))) <= 0:
        return upper
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(float(np.exp(middle))) > 0 else (middle, high)
    return float(np.exp(high))


def _squared_distances(rows: np.ndarray, means: np.ndarray) -> np.ndarray:
    return np.stack([((rows - mean) ** 2).sum(axis=1) for mean in means], axis=1)


def _counts(labels: np.ndarray, classes: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or len(labels) == 0:
        raise EvaluationError(
            f"labels must be integers of shape (n,), not {labels.dtype} of shape {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        outside = labels[(labels < 0) | (labels >= classes)][0]
        raise EvaluationError(f"label {outside} is outside the {classes} classes")
    return np.bincount(labels, minlength=classes)
