"""Transferability scores agree with public code, and say why where that has no number."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxtransfer.analyse.h_score import h_score, shrunk_h_score
from jaxtransfer.analyse.logme import LEAST_NOISE, logme
from jaxtransfer.analyse.probes import linear_probe, nearest_mean
from jaxtransfer.analyse.score import Score
from jaxtransfer.analyse.source_classes import leep, nce
from jaxtransfer.analyse.transferability import log_parameters, transferability
from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.cross_fitting import stratified_folds

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
PUBLIC = json.loads((FIXTURES / "transferability.json").read_text())


def script():
    spec = importlib.util.spec_from_file_location(
        "make_transferability", FIXTURES / "make_transferability.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = script()


def drawn(case):
    return MAKE.draw(case["seed"], *MAKE.CASES[case["seed"]])


def simple(n=60, d=5, k=3, seed=0, skill=1.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    labels[:k] = np.arange(k)
    return skill * rng.normal(size=(k, d))[labels] + rng.normal(size=(n, d)), labels


@pytest.mark.parametrize("case", PUBLIC["cases"], ids=lambda case: f"seed{case['seed']}")
def test_scores_are_those_of_public_code(case):
    features, labels, probabilities = drawn(case)
    n = len(labels)
    assert h_score(features, labels).value == pytest.approx(case["h_score"], abs=1e-9)
    # Theirs has one covariance over n and the other over n - 1.
    shrunk = case["shrunk_h_score"] * (n - 1) / n
    assert shrunk_h_score(features, labels).value == pytest.approx(shrunk, abs=1e-9)
    assert leep(probabilities, labels).value == pytest.approx(case["leep"], abs=1e-12)
    source = probabilities.argmax(axis=1)
    assert nce(source, labels).value == pytest.approx(case["nce"], abs=1e-12)


@pytest.mark.parametrize("case", PUBLIC["cases"], ids=lambda case: f"seed{case['seed']}")
def test_logme_is_the_public_iterations_or_what_it_had_not_reached(case):
    features, labels, _ = drawn(case)
    ours = logme(features, labels).value
    # Both stop after 11 steps or a change of 1 %; the authors' own adds 1e-5 to what it divides by.
    tolerance = 2e-5 if len(labels) > 2 * features.shape[1] else 2e-3
    for name in ("logme", "logme_authors"):
        assert -1e-9 <= ours - case[name] < max(tolerance, 1e-4)


def fixed_point(features, y):
    """Log evidence per example where equations 5 and 6 of the paper, iterated, stay."""
    n, d = features.shape
    gram = features.T @ features
    eigenvalues = np.linalg.eigvalsh(gram)
    alpha = beta = 1.0
    for _ in range(3000):
        precision = alpha * np.eye(d) + beta * gram
        mean = beta * np.linalg.solve(precision, features.T @ y)
        error, length = ((y - features @ mean) ** 2).sum(), mean @ mean
        gamma = (beta * eigenvalues / (alpha + beta * eigenvalues)).sum()
        alpha, beta = gamma / length, (n - gamma) / error
    evidence = n / 2 * np.log(beta / (2 * np.pi)) + d / 2 * np.log(alpha)
    evidence -= np.linalg.slogdet(precision)[1] / 2 + beta / 2 * error + alpha / 2 * length
    return evidence / n


@pytest.mark.parametrize(("n", "d"), [(50, 7), (20, 30)])
def test_logme_is_where_the_published_fixed_point_stays(n, d):
    features, labels = simple(n, d, 3)
    expected = [fixed_point(features, (labels == k).astype(float)) for k in range(3)]
    assert logme(features, labels).value == pytest.approx(np.mean(expected), abs=1e-7)


def test_logme_is_rotation_invariant_and_prefers_informative_features():
    features, labels = simple(80, 6, 3, skill=2.0)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    value = logme(features, labels).value
    assert logme(features @ rotation, labels).value == pytest.approx(value, abs=1e-9)
    shuffled = features[np.random.default_rng(2).permutation(80)]
    assert logme(shuffled, labels).value < value


def test_public_code_has_no_number_where_ours_gives_a_reason():
    assert PUBLIC["broken"]["leep_source_class_without_mass"] == "nan"
    assert PUBLIC["broken"]["logme_perfect_features"] in ("nan", "ZeroDivisionError")
    assert PUBLIC["broken"]["logme_missing_class"] in ("nan", "ZeroDivisionError")


def test_leep_leaves_out_a_source_class_without_mass():
    _, labels, probabilities = MAKE.draw(9, *MAKE.CASES[0])
    padded = np.concatenate([probabilities, np.zeros((len(labels), 1))], axis=1)
    found = leep(padded, labels)
    assert found.value == pytest.approx(leep(probabilities, labels).value, abs=1e-15)
    assert found.note == "1 of 5 source classes has no mass and is left out"


def test_logme_of_perfectly_predictive_features_is_finite_and_says_so():
    _, labels = simple(60, 5, 3)
    found = logme(np.eye(3)[labels], labels)
    assert "predict 3 of 3 classes exactly" in found.note
    assert "grows without bound" in found.note
    # At noise v = LEAST_NOISE mean(y^2) the leading term is -(1 - r / n) log(v) / 2.
    assert 0.5 * (1 - 3 / 60) * -np.log(LEAST_NOISE) - 3 < found.value < 0.5 * -np.log(LEAST_NOISE)
    # Fewer dimensions that do the same are better; noise beside them does not make it infinite.
    wide = np.concatenate([np.eye(3)[labels], simple(60, 20)[0]], axis=1)
    assert logme(wide, labels).value < found.value


@pytest.mark.parametrize("score", [logme, h_score, shrunk_h_score])
def test_a_missing_class_is_left_out_and_named(score):
    features, labels = simple()
    gap = np.where(labels == 1, 3, labels)
    found = score(features, gap, 5)
    assert found.value == pytest.approx(score(features, labels).value, abs=1e-12)
    assert found.note.startswith("2 of 5 classes have no example and are left out")


@pytest.mark.parametrize("score", [logme, h_score, shrunk_h_score])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_features_give_a_number_or_a_reason(score, dtype):
    _, labels = simple()
    found = score(np.full((60, 4), 0.1, dtype), labels)
    if score is logme:
        # They are one direction that predicts each class's share: the residual is its variance.
        assert found.value < 0
        assert logme(np.zeros((60, 4), dtype), labels).note == "the features are all 0"
    else:
        assert found.undefined.startswith("the features are the same for all examples")


@pytest.mark.parametrize("score", [logme, h_score, shrunk_h_score])
def test_one_class_is_nothing_to_tell_apart(score):
    features, _ = simple()
    found = score(features, np.full(60, 2))
    assert found.value is None
    assert found.undefined == "1 class has examples: there is nothing to tell apart"


@pytest.mark.parametrize("labels", [[0], [0, 1], [0, 0, 1]])
def test_a_few_examples_of_many_features_have_finite_scores(labels):
    labels = np.array(labels)
    features = np.random.default_rng(0).normal(size=(len(labels), 30)).astype(np.float32)
    probabilities = np.full((len(labels), 4), 0.25)
    for found in transferability(
        features, labels, parameters=10, source_probabilities=probabilities
    ):
        assert (found.value is None) == (found.undefined is not None)


def test_h_score_with_more_features_than_examples_says_that_it_is_saturated():
    features, labels = simple(20, 40, 3)
    found = h_score(features, np.random.default_rng(3).permutation(labels))
    assert found.value == pytest.approx(2, abs=1e-9)
    assert "is 2 whatever the labels" in found.note
    assert shrunk_h_score(features, labels).value < 2


def test_h_score_does_not_depend_on_an_invertible_map_or_on_copied_columns():
    features, labels = simple(80, 5, 3)
    value = h_score(features, labels).value
    mapped = features @ np.random.default_rng(1).normal(size=(5, 5)) * 1e3 - 7
    assert h_score(mapped, labels).value == pytest.approx(value, abs=1e-9)
    copied = np.concatenate([features, features[:, :2], np.ones((80, 1))], axis=1)
    assert h_score(copied.astype(np.float32), labels).value == pytest.approx(value, abs=1e-5)


def test_nce_is_0_where_source_tells_target_and_minus_its_entropy_where_not():
    labels = np.array([0, 0, 1, 1])
    assert nce(labels + 3, labels, 9).value == 0
    assert (
        nce(labels + 3, labels, 9).note == "7 of 9 source classes have no example and are left out"
    )
    assert nce(np.zeros(4, int), labels).value == pytest.approx(-np.log(2))
    assert leep(np.eye(2)[labels], labels).value == 0
    assert leep(np.full((4, 3), 1 / 3), labels).value == pytest.approx(-np.log(2))


def test_the_linear_probe_is_scikit_learns_on_the_same_folds():
    features, labels = simple(90, 6, 3, skill=0.7)
    fold = stratified_folds(labels, 5, 4)
    splits = [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(5)]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, tol=1e-10, max_iter=5000))
    expected = cross_val_predict(model, features, labels, cv=splits) == labels
    found = linear_probe(features, labels, seed=4)
    np.testing.assert_array_equal(found.correct, expected)
    assert found.score.value == expected.mean()
    assert found.score.interval[0] < found.score.value < found.score.interval[1]


@pytest.mark.parametrize("probe", [linear_probe, nearest_mean])
def test_a_probe_leaves_out_examples_that_are_alone_in_their_class(probe):
    features, labels = simple(40, 4, 3, skill=3.0)
    lonely = np.concatenate([labels, [3]])
    found = probe(np.concatenate([features, [[9.0] * 4]]), lonely, 6)
    assert found.score.value == probe(features, labels).score.value
    assert found.score.n == len(found.rows) == 40
    assert found.score.note == (
        "2 of 6 classes have no example and are left out; 1 class has one example, and is left out"
    )


@pytest.mark.parametrize("probe", [linear_probe, nearest_mean])
def test_a_probe_without_two_classes_to_learn_is_undefined(probe):
    found = probe(np.eye(3), np.array([0, 0, 1])).score
    assert found.undefined == "1 class has two examples or more"
    assert probe(np.eye(3), np.array([0, 0, 0])).score.undefined.endswith("nothing to tell apart")


def test_shuffled_labels_leave_probes_at_chance():
    features, labels = simple(300, 5, 2, skill=0.0)
    for probe in (linear_probe, nearest_mean):
        low, high = probe(features, labels).score.interval
        assert low < 0.55
        assert high > 0.45


def test_all_scores_stand_beside_the_size_of_the_network():
    features, labels = simple()
    found = transferability(features, labels, parameters=1000)
    assert [score.name for score in found] == [
        "log parameters",
        "nearest-mean accuracy",
        "linear-probe accuracy",
        "LogME",
        "H-score",
        "shrunk H-score",
        "LEEP",
        "NCE",
    ]
    assert found[-1].undefined == "the backbone has no classifier of source classes"
    assert json.dumps([score.to_json() for score in found])
    with pytest.raises(EvaluationError, match="0 parameters have no logarithm"):
        log_parameters(0)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones((3, 2)), np.array([0, 1]), "3 rows of features have 2 labels"),
        (np.ones((2, 2)), np.array([0, -1]), "label -1 is outside"),
        (np.ones((2, 2)), np.array([0, 5]), "label 5 is outside the 2 classes"),
        (np.ones((2, 2)), np.array([0.0, 1.0]), "labels must be integers"),
        (np.array([[1.0], [np.nan]]), np.array([0, 1]), "feature 0 of row 1 is not finite"),
        (np.ones(2), np.array([0, 1]), "features must be"),
    ],
)
def test_malformed_arrays_are_named(features, labels, message):
    with pytest.raises(EvaluationError, match=message):
        logme(features, labels, 2)


def test_source_probabilities_are_probabilities():
    with pytest.raises(EvaluationError, match="of row 1 sum to 3"):
        leep(np.array([[0.5, 0.5], [1.0, 2.0]]), np.array([0, 1]))


def test_a_score_has_a_finite_value_or_a_reason():
    with pytest.raises(EvaluationError, match="needs a value, or why"):
        Score(name="x", value=None, n=1, definition="")
    with pytest.raises(EvaluationError, match="which is not finite"):
        Score(name="x", value=float("nan"), n=1, definition="")
    reason = Score(name="x", value=None, n=1, definition="", undefined="why")
    assert str(reason) == "x undefined: why (n=1)"
