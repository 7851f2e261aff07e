"""Accuracy of the two cheapest classifiers on frozen features, out of sample by cross-fitting.

They are what a transferability score stands for, and cost little more than one.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxtransfer.analyse.labelled import labelled, learnable
from jaxtransfer.analyse.score import Score, undefined
from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.baselines import nearest_class_mean
from jaxtransfer.evaluation.cross_fitting import cross_fitted_probabilities, stratified_folds
from jaxtransfer.evaluation.intervals import wilson

NEAREST_MEAN = "nearest-mean accuracy"
LINEAR_PROBE = "linear-probe accuracy"
FOLDS = 5

Predict = Callable[[np.ndarray, np.ndarray, int, np.ndarray], np.ndarray]
"""From features (n, d), classes (n,), their number k and folds (n,) to predictions (n,)."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Probed:
    """A classifier's accuracy, and the examples behind it.

    Attributes:
      score: the accuracy, with its Wilson interval.
      correct: (m,) whether each example was classified right; empty where undefined.
      rows: (m,) which rows of the features they are.
    """

    score: Score
    correct: Bool[np.ndarray, "m"]
    rows: Int[np.ndarray, "m"]


def nearest_mean(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    classes: int | None = None,
    *,
    folds: int = FOLDS,
    seed: int = 0,
) -> Probed:
    """Accuracy of the nearest class mean; arguments as for `linear_probe`."""

    def predict(rows, codes, known, fold):
        predicted = np.empty(len(codes), np.int64)
        for held_out in np.unique(fold):
            test = fold == held_out
            logits = nearest_class_mean(rows[~test], codes[~test], rows[test], classes=known)
            predicted[test] = logits.argmax(axis=1)
        return predicted

    return _probed(
        NEAREST_MEAN, "nearest class mean", predict, features, labels, classes, folds, seed
    )


def linear_probe(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    classes: int | None = None,
    *,
    folds: int = FOLDS,
    seed: int = 0,
    l2: float = 1.0,
) -> Probed:
    """Accuracy of multinomial logistic regression on standardised features.

    Args:
      features: (n, d), finite.
      labels: (n,) in [0, classes).
      classes: how many there are; those without examples are left out, and so are examples that
        are alone in their class, for no fold could be learnt from.
      folds: how many, stratified; fewer if there are fewer examples.
      seed: of the folds; the same seed and labels give the same folds for any features.
      l2: strength of the penalty; see `cross_fitting.fit_probe`.

    Raises:
      EvaluationError: if the arrays are malformed, or there are fewer than two folds.
    """

    def predict(rows, codes, known, fold):
        return cross_fitted_probabilities(rows, codes, known, fold, l2=l2).argmax(axis=1)

    what = f"logistic regression, l2 {l2:g}, on standardised features"
    return _probed(LINEAR_PROBE, what, predict, features, labels, classes, folds, seed)


def _probed(
    name: str,
    what: str,
    predict: Predict,
    features: np.ndarray,
    labels: np.ndarray,
    classes: int | None,
    folds: int,
    seed: int,
) -> Probed:
    if folds < 2:
        raise EvaluationError(f"{folds} folds leave nothing to fit on; give two or more")
    data = labelled(features, labels, classes)
    definition = (
        f"share of examples classified right by {what}, fitted on the other of {folds} stratified"
        " folds; Wilson interval, of the examples alone"
    )
    known = learnable(data)
    if known.undefined is not None:
        return _nothing(undefined(name, data.n, definition, known.undefined))
    fold = stratified_folds(known.codes, min(folds, len(known.codes)), seed)
    try:
        predicted = predict(data.features[known.rows], known.codes, known.classes, fold)
    except EvaluationError as error:
        return _nothing(undefined(name, data.n, definition, str(error)))
    correct = predicted == known.codes
    score = Score(
        name=name,
        value=float(correct.mean()),
        n=len(correct),
        definition=definition,
        note=known.note,
        interval=wilson(int(correct.sum()), len(correct)),
    )
    return Probed(score=score, correct=correct, rows=known.rows)


def _nothing(score: Score) -> Probed:
    return Probed(score=score, correct=np.empty(0, bool), rows=np.empty(0, np.int64))
