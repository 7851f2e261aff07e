"""Baselines agree with independent implementations, and their probabilities mean something."""

import numpy as np
import pytest
from sklearn.neighbors import NearestCentroid

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.baselines import majority_class, nearest_class_mean, nearest_mean_head
from jaxtransfer.evaluation.probabilities import log_softmax


def blobs(n, width, seed, spread=1.0, repeat=1):
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(99).normal(size=(3, width))
    labels = rng.permutation(np.arange(n) % 3)
    return np.repeat(means[labels] + spread * rng.normal(size=(n, width)), repeat, axis=1), labels


def nll(logits, labels):
    return -log_softmax(logits)[np.arange(len(labels)), labels].mean()


def test_majority_class_predicts_the_commonest_label():
    logits = majority_class(np.array([0, 2, 2, 1, 2]), classes=4, queries=3)
    np.testing.assert_allclose(np.exp(logits), np.tile([2 / 9, 2 / 9, 4 / 9, 1 / 9], (3, 1)))


def test_nearest_class_mean_agrees_with_scikit_learn():
    features, labels = blobs(30, 4, seed=0)
    queries, _ = blobs(60, 4, seed=1)
    expected = NearestCentroid().fit(features, labels).predict(queries)
    logits = nearest_class_mean(features, labels, queries, classes=3)
    np.testing.assert_array_equal(logits.argmax(axis=1), expected)
    assert logits.dtype == np.float64


def test_its_likelihood_on_new_data_is_near_the_best_any_scale_reaches():
    # Repeated features are perfectly correlated: the pooled variance alone would be overconfident.
    features, labels = blobs(30, 4, seed=0, repeat=20)
    queries, truth = blobs(600, 4, seed=1, repeat=20)
    logits = nearest_class_mean(features, labels, queries, classes=3)
    best = min(nll(s * logits, truth) for s in np.geomspace(0.1, 10, 60))
    assert nll(logits, truth) < best + 0.03


def test_few_separable_examples_are_no_more_sure_than_the_rule_of_succession():
    """Four examples, each right when left out, vouch for 5/6 of the next ones and not for all."""
    features = np.array([[0.0, 0.1], [0.1, 0.0], [9.0, 9.1], [9.1, 9.0]])
    labels = np.array([0, 0, 1, 1])
    logits = nearest_class_mean(features, labels, features, classes=2)
    # Left out of its mean an example is twice as far from it: 4 x .005; from the other 162.005.
    scale = np.log(5) / (162.005 - 0.02)
    squares = [((features - mean) ** 2).sum(axis=1) for mean in ((0.05, 0.05), (9.05, 9.05))]
    np.testing.assert_allclose(logits, -scale * np.stack(squares, axis=1), rtol=1e-9)


def test_eighteen_separable_examples_with_correlated_features_stay_likely_elsewhere():
    """Isotropic variance would promise certainty, and new data from between the classes refute it."""
    features, labels = blobs(18, 4, seed=0, spread=0.6, repeat=300)
    queries, truth = blobs(600, 4, seed=1, spread=1.5, repeat=300)
    assert nll(nearest_class_mean(features, labels, queries, classes=3), truth) < np.log(3)


def test_many_examples_that_are_always_right_keep_the_gaussian_scale():
    features = np.repeat([-2.5, -0.5, 0.5, 2.5], 10)[:, None]
    labels = np.repeat([0, 1], 20)
    logits = nearest_class_mean(features, labels, features, classes=2)
    # Every residual is 1, over 40 - 2 degrees of freedom; smaller variances would be more likely.
    distances = (features - np.array([[-1.5, 1.5]])) ** 2
    np.testing.assert_allclose(logits, -distances / (2 * 40 / 38), rtol=1e-9)


def test_one_example_a_class_gives_finite_logits():
    logits = nearest_class_mean(np.eye(3), np.arange(3), np.eye(3), classes=3)
    np.testing.assert_array_equal(logits.argmax(axis=1), np.arange(3))
    assert np.isfinite(logits).all()


def test_scaling_the_features_changes_no_probability():
    features, labels = blobs(30, 4, seed=0)
    a = nearest_class_mean(features, labels, features, classes=3)
    b = nearest_class_mean(1000 * features, labels, 1000 * features, classes=3)
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_an_empty_class_and_misfits_are_refused():
    with pytest.raises(EvaluationError, match="class 1 has no training example"):
        nearest_class_mean(np.eye(2), np.array([0, 2]), np.eye(2), classes=3)
    with pytest.raises(EvaluationError, match="label 3 is outside the 3 classes"):
        majority_class(np.array([0, 3]), classes=3, queries=1)
    with pytest.raises(EvaluationError, match="the same width"):
        nearest_class_mean(np.eye(2), np.array([0, 1]), np.eye(3), classes=2)
    with pytest.raises(EvaluationError, match="2 rows of features have 3 labels"):
        nearest_class_mean(np.eye(2), np.array([0, 1, 1]), np.eye(2), classes=2)


def test_a_head_of_nearest_means_is_never_nan():
    labels = np.array([0, 1])
    for features, classes, message in (
        (np.eye(2), 3, "class 2 has no training example"),
        (np.array([[1.0, 2], [np.nan, 1]]), 2, "feature 0 of row 1 is nan"),
        (np.ones(2), 2, r"features \(2,\) must be"),
        (np.ones((3, 2)), 2, "3 rows of features have 2 labels"),
    ):
        with pytest.raises(EvaluationError, match=message):
            nearest_mean_head(features, labels, classes=classes)
    with pytest.raises(EvaluationError, match="1 class leaves nothing to tell apart"):
        nearest_mean_head(np.eye(2), np.array([0, 0]), classes=1)


def test_the_nearest_mean_as_a_head_gives_the_same_probabilities():
    rng = np.random.default_rng(5)
    labels = np.arange(30) % 3
    means = rng.normal(size=(3, 4), scale=2.0)
    features, queries = means[labels] + rng.normal(size=(30, 4)), rng.normal(size=(9, 4))
    kernel, bias = nearest_mean_head(features, labels, classes=3)
    expected = log_softmax(nearest_class_mean(features, labels, queries, classes=3))
    assert np.ptp(expected) > 1.0  # overlapping classes would have a scale, and so a head, near 0
    np.testing.assert_allclose(log_softmax(queries @ kernel + bias), expected, atol=1e-10)
