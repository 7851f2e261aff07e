"""Outlier scores are those of independent implementations, and each metric names its positive class."""

import json

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from sklearn.covariance import EmpiricalCovariance, LedoitWolf
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from sklearn.neighbors import NearestNeighbors

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.features import Features
from jaxtransfer.evaluation.outlier_metrics import compare_detectors, outlier_metrics
from jaxtransfer.evaluation.outliers import (
    DETECTORS,
    energy,
    fit_detectors,
    fit_mahalanobis,
    fit_neighbours,
    fit_vim,
    max_logit,
    max_softmax,
)

WIDTH, CLASSES = 6, 3
KERNEL = np.random.default_rng(9).normal(size=(WIDTH, CLASSES))
BIAS = np.array([0.5, -1.0, 0.2])


def draw(n, seed, shift=0.0, name="reference"):
    """Three Gaussian classes of correlated features, with the logits of a linear head."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    mix = np.random.default_rng(8).normal(size=(WIDTH, WIDTH))
    features = rng.normal(size=(n, WIDTH)) @ mix + 2 * np.eye(CLASSES, WIDTH)[labels] + shift
    return Features(
        ids=[f"{name}-{row}" for row in range(n)],
        features=features,
        logits=features @ KERNEL + BIAS,
        labels=labels,
        source=name,
    )


REFERENCE, TEST = draw(200, 0), draw(80, 1, name="test")
FAR = draw(60, 2, shift=6.0, name="far")


def test_logit_scores_are_their_formulas():
    logits = TEST.logits
    probabilities = softmax(logits, axis=1).max(axis=1)
    np.testing.assert_allclose(max_softmax(logits), -np.log(probabilities), atol=1e-12)
    np.testing.assert_allclose(energy(logits), -logsumexp(logits, axis=1), atol=1e-12)
    np.testing.assert_allclose(energy(logits, 3.0), -3 * logsumexp(logits / 3, axis=1), atol=1e-12)
    assert np.array_equal(max_logit(logits), -logits.max(axis=1))
    assert energy(np.array([[1e5, 0.0]]))[0] == -1e5


def test_saturated_probabilities_still_rank():
    sure, surer = max_softmax(np.array([[50.0, 0.0], [60.0, 0.0]]).astype(np.float32))
    assert surer <= sure
    sure, surer = max_softmax(np.array([[20.0, 0.0], [30.0, 0.0]]))
    assert 0 <= surer < sure


@pytest.mark.parametrize("shrinkage", [0.0, "ledoit_wolf"])
def test_mahalanobis_is_that_of_scikit_learn(shrinkage):
    fitted = fit_mahalanobis(REFERENCE, shrinkage=shrinkage)
    means = np.stack([REFERENCE.features[REFERENCE.labels == c].mean(axis=0) for c in range(3)])
    kind = EmpiricalCovariance if shrinkage == 0 else LedoitWolf
    peer = kind(assume_centered=True).fit(REFERENCE.features - means[REFERENCE.labels])
    expected = np.min([peer.mahalanobis(TEST.features - mean) for mean in means], axis=0)
    np.testing.assert_allclose(fitted.score(TEST), expected, rtol=1e-10)
    assert fitted.shrinkage == (0 if shrinkage == 0 else pytest.approx(peer.shrinkage_, rel=1e-10))
    assert f"shrinkage {fitted.shrinkage:.3g}" in fitted.definition


def test_more_dimensions_than_examples_need_shrinkage():
    few = REFERENCE.take(np.arange(6))
    with pytest.raises(
        EvaluationError, match="6 features within 3 classes from 6 examples is sing"
    ):
        fit_mahalanobis(few, shrinkage=0.0)
    fitted = fit_mahalanobis(few)
    assert 0 < fitted.shrinkage <= 1
    assert np.isfinite(fitted.score(TEST)).all()
    # All weight on the identity leaves Euclidean distances, over the mean variance.
    round_ = fit_mahalanobis(few, shrinkage=1.0)
    squares = ((TEST.features[:, None] - round_.means) ** 2).sum(axis=2).min(axis=1)
    assert np.ptp(round_.score(TEST) / squares) < 1e-12


@pytest.mark.parametrize("k", [1, 7, 200])
def test_neighbours_are_those_of_scikit_learn(k):
    def unit(rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    peer = NearestNeighbors(n_neighbors=k, algorithm="kd_tree").fit(unit(REFERENCE.features))
    expected = peer.kneighbors(unit(TEST.features))[0][:, -1]
    fitted = fit_neighbours(REFERENCE, k=k)
    np.testing.assert_allclose(fitted.score(TEST), expected, rtol=1e-10)
    if k == 1:
        assert (fitted.score(REFERENCE) == 0).all()


def test_neighbours_do_not_depend_on_lengths_and_are_many_enough():
    stretched = Features(ids=TEST.ids, features=3 * TEST.features)
    fitted = fit_neighbours(REFERENCE, k=5)
    np.testing.assert_allclose(fitted.score(stretched), fitted.score(TEST), rtol=1e-12)
    zeros = Features(ids=["z"], features=np.zeros((1, WIDTH)))
    assert fitted.score(zeros) == pytest.approx(1.0)
    with pytest.raises(EvaluationError, match="reference: 200 examples have no 201-th neighbour"):
        fit_neighbours(REFERENCE, k=201)


def test_vim_is_residual_of_pca_less_energy():
    origin = -BIAS @ np.linalg.pinv(KERNEL)
    # PCA of the rows and their mirror images has mean 0: principal directions about the origin.
    centred = REFERENCE.features - origin
    peer = PCA(n_components=2).fit(np.concatenate([centred, -centred]))

    def norms(rows):
        return np.linalg.norm(rows - peer.inverse_transform(peer.transform(rows)), axis=1)

    alpha = REFERENCE.logits.max(axis=1).mean() / norms(centred).mean()
    expected = alpha * norms(TEST.features - origin) - logsumexp(TEST.logits, axis=1)
    fitted = fit_vim(REFERENCE, head=(KERNEL, BIAS), principal=2)
    np.testing.assert_allclose(fitted.score(TEST), expected, rtol=1e-9, atol=1e-9)
    assert fitted.alpha == pytest.approx(alpha, rel=1e-10)
    unknown = fit_vim(REFERENCE, principal=2)
    np.testing.assert_allclose(unknown.score(TEST), expected, rtol=1e-8, atol=1e-8)
    assert fit_vim(REFERENCE).complement.shape == (6, 3)


def test_vim_of_fewer_examples_than_dimensions_keeps_half_of_what_they_span():
    rng = np.random.default_rng(3)
    few = Features(
        ids=np.arange(12).astype(str),
        features=rng.normal(size=(12, 40)),
        logits=rng.normal(size=(12, 3)),
    )
    fitted = fit_vim(few, head=(rng.normal(size=(40, 3)), np.zeros(3)))
    assert fitted.complement.shape == (40, 34)
    assert np.isfinite(fitted.score(few)).all()


def test_vim_needs_a_linear_head_and_a_residual():
    bent = Features(ids=REFERENCE.ids, features=REFERENCE.features, logits=REFERENCE.logits**2)
    with pytest.raises(EvaluationError, match=r"cannot be read as a linear layer.*give head="):
        fit_vim(bent)
    with pytest.raises(EvaluationError, match="6 principal dimensions of 6 leave no residual"):
        fit_vim(REFERENCE, principal=6)
    flat = REFERENCE.features * np.array([1, 1, 1, 0, 0, 0])
    table = Features(ids=REFERENCE.ids, features=flat, logits=flat @ KERNEL)
    with pytest.raises(EvaluationError, match="lie within 3 dimensions"):
        fit_vim(table, head=(KERNEL, np.zeros(3)), principal=3)
    with pytest.raises(EvaluationError, match="does not take 6 features to 3 logits"):
        fit_vim(REFERENCE, head=(KERNEL.T, BIAS))


def test_detectors_say_what_they_lack():
    assert tuple(fit_detectors(REFERENCE)) == DETECTORS
    bare = Features(ids=REFERENCE.ids, features=REFERENCE.features)
    assert list(fit_detectors(bare, ["knn"], k=3)) == ["knn"]
    for name, column in (("energy", "logits"), ("mahalanobis", "label"), ("vim", "logits")):
        with pytest.raises(EvaluationError, match=f"no column '{column}'"):
            fit_detectors(bare, [name])
    with pytest.raises(EvaluationError, match="unknown detector 'mahalanobi'; nearest: 'mahalan"):
        fit_detectors(bare, ["mahalanobi"])
    narrow = Features(ids=["a"], features=np.zeros((1, 2)))
    with pytest.raises(
        EvaluationError, match="2 features cannot be scored by a detector fitted on 6"
    ):
        fit_neighbours(REFERENCE).score(narrow)


def expected_metrics(inside, outside):
    scores = np.concatenate([inside, outside])
    out = np.repeat([0, 1], [len(inside), len(outside)])

    def fpr95(labels, values):
        rates, recalls, _ = roc_curve(labels, values, drop_intermediate=False)
        return rates[np.argmax(recalls >= 0.95)]

    return {
        "auroc": roc_auc_score(out, scores),
        "aupr_out": average_precision_score(out, scores),
        "aupr_in": average_precision_score(1 - out, -scores),
        "fpr95_out": fpr95(out, scores),
        "fpr95_in": fpr95(1 - out, -scores),
    }


@pytest.mark.parametrize("decimals", [0, 1, 12])
@pytest.mark.parametrize("sizes", [(1, 1), (40, 60), (7, 200)])
def test_metrics_are_those_of_scikit_learn_with_ties(sizes, decimals):
    rng = np.random.default_rng(sum(sizes))
    inside, outside = rng.normal(size=sizes[0]), rng.normal(0.7, 1, sizes[1])
    inside, outside = inside.round(decimals), outside.round(decimals)
    found = outlier_metrics(inside, outside, replicates=0)
    for name, value in expected_metrics(inside, outside).items():
        assert found[name].value == pytest.approx(value, abs=1e-12), name
        assert found[name].undefined == "interval not asked for"


def test_which_class_is_positive_matters_and_is_said():
    inside, outside = np.arange(100.0), np.concatenate([np.zeros(10), np.full(90, 200.0)])
    found = outlier_metrics(inside, outside)
    # Ten outliers score as the lowest inlier: keeping 95 % of the inliers lets them in, and finding
    # 95 % of the outliers flags all.
    assert found["fpr95_in"].value == pytest.approx(0.1)
    assert found["fpr95_out"].value == 1
    assert found["fpr95_in"].definition.startswith("inlier positive")
    assert found["fpr95_out"].definition.startswith("outlier positive")
    assert found["auroc"].value == pytest.approx(0.9 + 0.1 * 0.01 / 2)


def test_separated_scores_have_their_extremes():
    found = outlier_metrics(np.arange(30.0), np.arange(30.0) + 100)
    assert [found[n].value for n in ("auroc", "aupr_out", "aupr_in")] == pytest.approx([1, 1, 1])
    assert (found["fpr95_in"].value, found["fpr95_out"].value) == (0, 0)
    assert found["auroc"].ci is None
    assert "every bootstrap replicate equals the value" in found["auroc"].undefined
    equal = outlier_metrics(np.zeros(30), np.zeros(20), replicates=0)
    assert equal["auroc"].value == 0.5
    assert equal["aupr_out"].value == pytest.approx(0.4)
    assert equal["fpr95_in"].value == 1


def test_the_jackknife_leaves_one_out():
    from jaxtransfer.evaluation.outlier_metrics import _Counts

    rng = np.random.default_rng(0)
    inside, outside = rng.normal(size=9).round(1), rng.normal(0.5, 1, 7).round(1)
    without = _Counts(inside, outside).auroc_without()
    for row in range(9):
        rest = np.delete(inside, row)
        assert without[row] == pytest.approx(expected_metrics(rest, outside)["auroc"], abs=1e-12)
    for row in range(7):
        rest = np.delete(outside, row)
        assert without[9 + row] == pytest.approx(expected_metrics(inside, rest)["auroc"], abs=1e-12)


def test_the_interval_covers_the_area():
    # Normal scores a unit apart: the area is Phi(1 / sqrt 2).
    rng = np.random.default_rng(0)
    inside, outside = (rng.normal(size=(200, n)) for n in (80, 60))
    hits = 0
    for i, o in zip(inside, outside):
        low, high = outlier_metrics(i, o + 1, replicates=300)["auroc"].ci
        hits += low <= 0.7602499 <= high
    assert 180 <= hits <= 199


def test_intervals_are_deterministic():
    first, again = (outlier_metrics(TEST.features[:, 0], FAR.features[:, 0]) for _ in range(2))
    assert first == again
    other = outlier_metrics(TEST.features[:, 0], FAR.features[:, 0], seed=1)
    assert other["auroc"].ci != first["auroc"].ci


@pytest.mark.parametrize(
    ("inside", "outside", "message"),
    [
        ([], [1.0], r"inlier scores must be numbers of shape \(n,\), at least one"),
        ([1.0], [[1.0]], "outlier scores must be numbers"),
        ([1.0], [1.0, np.inf], "outlier score 1 is inf"),
    ],
)
def test_bad_scores_are_named(inside, outside, message):
    with pytest.raises(EvaluationError, match=message):
        outlier_metrics(np.array(inside), np.array(outside))


def test_detectors_are_compared_near_and_far():
    near = draw(60, 3, shift=0.5, name="near")
    detectors = fit_detectors(REFERENCE)
    sets = {"shifted": ("far", FAR), "close": ("near", near)}
    results = compare_detectors(detectors, TEST, sets, reference=REFERENCE, replicates=100)
    assert [(r.detector, r.distance) for r in results[:6]] == [(d, "far") for d in DETECTORS]
    areas = {(r.detector, r.outliers): r.metrics["auroc"].value for r in results}
    assert areas["mahalanobis", "shifted"] > 0.95
    assert areas["mahalanobis", "close"] < areas["mahalanobis", "shifted"]
    document = json.loads(json.dumps([r.to_json() for r in results]))
    assert document[0]["metrics"]["fpr95_in"]["definition"].startswith("inlier positive")
    assert (document[0]["n_inliers"], document[0]["n_outliers"]) == (80, 60)
    assert document[0]["outliers"] == "shifted"
    assert "knn against shifted (far): auroc" in str(results[4])
    with pytest.raises(EvaluationError, match="outliers 'x' are 'close'; say 'near' or 'far'"):
        compare_detectors(detectors, TEST, {"x": ("close", near)})
    with pytest.raises(EvaluationError, match="test shares 80 ids with the reference test"):
        compare_detectors(detectors, TEST, sets, reference=TEST)
