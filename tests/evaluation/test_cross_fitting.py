"""Cross-fitted probabilities are scikit-learn's at equal folds, and never of a model that saw the row."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.cross_fitting import (
    cross_fitted_probabilities,
    fit_probe,
    stratified_folds,
)

FEATURES, LABELS = load_iris(return_X_y=True)


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_agree_with_scikit_learn_at_equal_folds(classes, standardise):
    """Within 1e-5. Of two classes scikit-learn penalises the difference of the two kernels."""
    rows = classes > LABELS
    features, labels = FEATURES[rows], LABELS[rows]
    fold = stratified_folds(labels, 5, seed=1)
    ours = cross_fitted_probabilities(features, labels, classes, 5, 1, standardise=standardise)
    model = LogisticRegression(C=2.0 if classes == 2 else 1.0, tol=1e-10, max_iter=5000)
    peer = cross_val_predict(
        make_pipeline(StandardScaler(), model) if standardise else model,
        features,
        labels,
        cv=[(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(5)],
        method="predict_proba",
    )
    np.testing.assert_allclose(ours, peer, atol=1e-5)


def test_folds_are_even_in_size_and_in_classes_and_depend_on_the_seed():
    labels = np.repeat([0, 1, 2], [7, 30, 13])
    fold = stratified_folds(labels, 4, seed=0)
    assert np.ptp(np.bincount(fold)) <= 1
    for label in range(3):
        assert np.ptp(np.bincount(fold[labels == label], minlength=4)) <= 1
    assert (fold == stratified_folds(labels, 4, seed=0)).all()
    assert (fold != stratified_folds(labels, 4, seed=1)).any()


def test_an_examples_own_label_does_not_reach_its_probability():
    fold = stratified_folds(LABELS, 5, seed=0)
    before = cross_fitted_probabilities(FEATURES, LABELS, 3, fold)
    changed = LABELS.copy()
    changed[70] = 0
    after = cross_fitted_probabilities(FEATURES, changed, 3, fold)
    own = fold == fold[70]
    np.testing.assert_array_equal(before[own], after[own])
    assert (before[~own] != after[~own]).any()


def test_a_class_without_examples_has_probability_zero():
    wide = cross_fitted_probabilities(FEATURES, LABELS * 2, 6, 5)
    narrow = cross_fitted_probabilities(FEATURES, LABELS, 3, 5)
    np.testing.assert_allclose(wide[:, [0, 2, 4]], narrow, atol=1e-12)
    assert (wide[:, [1, 3, 5]] == 0).all()


def test_the_gradient_of_the_probe_vanishes_at_its_minimum():
    kernel, bias = fit_probe(FEATURES, LABELS, 3, l2=0.5)
    logits = FEATURES @ kernel + bias
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    error = weights / weights.sum(axis=1, keepdims=True) - np.eye(3)[LABELS]
    np.testing.assert_allclose(FEATURES.T @ error + 0.5 * kernel, 0, atol=1e-4)
    np.testing.assert_allclose(error.sum(axis=0), 0, atol=1e-4)


def test_what_cannot_be_cross_fitted_is_refused():
    lone = np.array([0, 0, 0, 1, 1, 2])
    with pytest.raises(EvaluationError, match="all 1 examples of class 2 are in one fold"):
        cross_fitted_probabilities(np.ones((6, 2)), lone, 3, 2)
    with pytest.raises(EvaluationError, match="feature 1 of row 0 is not finite"):
        cross_fitted_probabilities(np.array([[0, np.inf]]), np.array([0]), 2, 2)
    with pytest.raises(EvaluationError, match="9 folds of 6"):
        cross_fitted_probabilities(np.ones((6, 2)), lone, 3, 9)
    with pytest.raises(EvaluationError, match="outside the 2 classes"):
        cross_fitted_probabilities(np.ones((6, 2)), lone, 2, 2)
    with pytest.raises(EvaluationError, match="nothing to tell apart"):
        cross_fitted_probabilities(np.ones((4, 2)), np.zeros(4, int), 2, 2)
    with pytest.raises(EvaluationError, match="equally many rows"):
        cross_fitted_probabilities(np.ones((4, 2)), lone, 3, 2)
    with pytest.raises(EvaluationError, match=r"folds have shape \(2,\)"):
        cross_fitted_probabilities(np.ones((6, 2)), lone, 3, np.array([0, 1]))
    with pytest.raises(EvaluationError, match="l2 0"):
        fit_probe(FEATURES, LABELS, 3, l2=0)
    with pytest.raises(EvaluationError, match="did not converge in 2 iterations"):
        fit_probe(FEATURES, LABELS, 3, iterations=2)


def test_a_probe_of_labels_that_do_not_fit_is_refused():
    for labels, message in (
        (np.array([0, -1]), "outside the 2 classes"),
        (np.array([0, 2]), "outside the 2 classes"),
        (np.array([0, 1, 1]), "2 rows of features need as many integer labels"),
        (np.array([0.0, 1.0]), "not float64"),
    ):
        with pytest.raises(EvaluationError, match=message):
            fit_probe(np.eye(2), labels, 2)
