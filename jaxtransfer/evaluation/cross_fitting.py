"""Out-of-sample probabilities of every example: a linear probe fitted without each fold in turn."""

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.probabilities import softmax

ROUNDING = 1e-6
"""Standard deviation, relative to what it is measured by, below which a feature is constant."""


def stratified_folds(labels: Int[np.ndarray, "n"], folds: int, seed: int) -> Int[np.ndarray, "n"]:
    """The fold of each example: sizes, and numbers of each class, differ by one at most.

    Raises:
      EvaluationError: if there are fewer than two folds, or more than examples.
    """
    labels = np.asarray(labels)
    if not 2 <= folds <= len(labels):
        raise EvaluationError(f"{folds} folds of {len(labels)} examples cannot be made")
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % folds
    return fold


def fit_probe(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    classes: int,
    *,
    l2: float = 1.0,
    iterations: int = 2000,
) -> tuple[Float[np.ndarray, "d k"], Float[np.ndarray, "k"]]:
    """Kernel and bias of multinomial logistic regression, by L-BFGS.

    They minimise the summed cross-entropy plus l2 / 2 times the kernel's squared norm; the bias is
    free.

    Raises:
      EvaluationError: if a class has no example, l2 is not positive (the minimum may then be at
        infinity), or the iterations do not suffice.
    """
    n, width = features.shape
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise EvaluationError(
            f"{n} rows of features need as many integer labels, not {labels.dtype} of shape"
            f" {labels.shape}"
        )
    if n and not 0 <= labels.min() <= labels.max() < classes:
        raise EvaluationError(f"labels are outside the {classes} classes 0..{classes - 1}")
    empty = np.flatnonzero(np.bincount(labels, minlength=classes) == 0)
    if empty.size:
        raise EvaluationError(f"class {empty[0]} has no example to fit a probe on")
    if not l2 > 0:
        raise EvaluationError(f"l2 {l2} is not positive: separable classes would have no minimum")
    targets = np.eye(classes)[labels]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        kernel, bias = flat[: width * classes].reshape(width, classes), flat[width * classes :]
        logits = features @ kernel + bias
        shifted = logits - logits.max(axis=1, keepdims=True)
        weights = np.exp(shifted)
        total = weights.sum(axis=1, keepdims=True)
        value = float((np.log(total[:, 0]) - (shifted * targets).sum(axis=1)).sum())
        error = weights / total - targets
        gradient = np.concatenate([(features.T @ error + l2 * kernel).ravel(), error.sum(axis=0)])
        return (value + l2 / 2 * float((kernel**2).sum())) / n, gradient / n

    from scipy.optimize import minimize

    found = minimize(
        loss,
        np.zeros((width + 1) * classes),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": iterations, "maxfun": 2 * iterations, "gtol": 1e-9, "ftol": 1e-16},
    )
    steepest = float(np.abs(found.jac).max())
    if steepest > 1e-5:
        raise EvaluationError(
            f"the probe did not converge in {iterations} iterations (gradient {steepest:.2g}):"
            " standardise the features, or raise l2"
        )
    return found.x[: width * classes].reshape(width, classes), found.x[width * classes :]


def standardisation(
    features: Float[np.ndarray, "n d"],
) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "d"]]:
    """Mean and standard deviation of each feature; 1 for one that is constant.

    A feature that a float32 network computes to be constant, or that a normalisation has switched off,
    varies by rounding: that counts as constant too, since to scale it up to variance 1 would make
    features of noise. The measure is the feature's largest value, and the median feature's deviation.
    """
    mean, scale = features.mean(axis=0), features.std(axis=0)
    size = np.maximum(np.abs(features).max(axis=0), np.median(scale))
    constant = scale <= ROUNDING * size
    return mean, np.where(constant, 1.0, scale)


def cross_fitted_probabilities(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    classes: int,
    folds: int | Int[np.ndarray, "n"] = 5,
    seed: int = 0,
    *,
    l2: float = 1.0,
    standardise: bool = True,
) -> Float[np.ndarray, "n k"]:
    """Probabilities of each example by a probe fitted on the other folds.

    Remove near duplicates first: one in another fold gives the label away.

    Args:
      features: (n, d), finite.
      labels: (n,) in [0, classes).
      classes: number of classes; one without examples has probability 0.
      folds: how many, drawn stratified; or (n,) the fold of each example.
      seed: of the folds.
      l2: strength of the penalty; see `fit_probe`.
      standardise: features have mean 0 and variance 1 in the folds fitted on.

    Raises:
      EvaluationError: if shapes do not fit, features are not finite, or all examples of a class are
        in one fold, so that the probe that judges them knows no other.
    """
    features, labels = np.asarray(features, np.float64), np.asarray(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1] or labels.dtype.kind not in "iu":
        raise EvaluationError(
            f"features {features.shape} and integer labels {labels.shape} must have equally many"
            " rows, the features two axes"
        )
    broken = np.argwhere(~np.isfinite(features))
    if broken.size:
        raise EvaluationError(f"feature {broken[0][1]} of row {broken[0][0]} is not finite")
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise EvaluationError(f"labels are outside the {classes} classes 0..{classes - 1}")
    fold = stratified_folds(labels, folds, seed) if isinstance(folds, int) else np.asarray(folds)
    if fold.shape != labels.shape:
        raise EvaluationError(f"folds have shape {fold.shape} for {len(labels)} examples")
    present, codes = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        raise EvaluationError(f"{len(present)} class has examples: there is nothing to tell apart")
    for code, label in enumerate(present):
        own = np.unique(fold[codes == code])
        if len(own) < 2:
            raise EvaluationError(
                f"all {int((codes == code).sum())} examples of class {label} are in one fold: a"
                " class needs two examples, in two folds"
            )
    probabilities = np.zeros((len(labels), classes))
    for held_out in np.unique(fold):
        test = fold == held_out
        train = features[~test]
        mean, scale = np.zeros(train.shape[1]), np.ones(train.shape[1])
        if standardise:
            mean, scale = standardisation(train)
        kernel, bias = fit_probe((train - mean) / scale, codes[~test], len(present), l2=l2)
        logits = (features[test] - mean) / scale @ kernel + bias
        probabilities[np.ix_(test, present)] = softmax(logits)
    return probabilities
