"""Relative gradient norms: those of a gradient taken by hand, compiled once, reasons where none."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stages
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from jaxtransfer.analyse.gradient_norms import ProbeHead, probe_head, relative_gradient_norms
from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.probabilities import softmax
from jaxtransfer.train.compiled import CompiledSteps

HEAD = ProbeHead(
    kernel=np.array([[1.0, -1.0], [0.5, 2.0]]),
    bias=np.array([0.3, -0.1]),
    classes=np.array([0, 1]),
)


def test_they_are_those_of_the_gradient_taken_by_hand():
    model, examples = stages.signs(), stages.sign_examples(20)
    found = relative_gradient_norms(model, examples, HEAD, batch_size=20, batches=3)
    x = np.asarray(examples.inputs(np.arange(20))["inputs"], np.float64)
    # The features are 2 raw_i product_i lost_i x_i.
    features = 2 * x
    shares = softmax(features @ HEAD.kernel + HEAD.bias)
    error = (shares - np.eye(2)[examples.labels]) / 20
    gradient = ((error @ HEAD.kernel.T) * features).sum(axis=0)
    norm = np.sqrt((gradient**2).sum())
    assert found["raw"].value == pytest.approx(norm / np.sqrt(2), rel=1e-5)
    assert found["product"].value == pytest.approx(norm / np.sqrt(3), rel=1e-5)
    assert found["lost"].value == pytest.approx(norm / np.sqrt(2), rel=1e-5)
    assert found["double"].undefined == "the stage has no parameters"
    assert found["raw"].n == 20


def test_they_are_means_over_full_batches():
    model, examples = stages.signs(), stages.sign_examples(23)
    found = relative_gradient_norms(model, examples, HEAD, batch_size=5, batches=99, seed=3)
    assert "mean over 4 batches of 5" in found["raw"].definition
    assert found["raw"].n == 20
    few = relative_gradient_norms(model, examples.take(range(3)), HEAD, batch_size=5)
    assert "mean over 1 batches of 3" in few["raw"].definition
    whole = relative_gradient_norms(model, examples.take(range(3)), HEAD, batch_size=3)
    assert few["raw"].value == pytest.approx(whole["raw"].value, rel=1e-6)


def test_one_function_compiles_whatever_the_weights():
    compiled, model, examples = CompiledSteps(), stages.signs(), stages.sign_examples(16)
    doubled = dataclasses.replace(
        model, variables=jax.tree.map(lambda leaf: 2 * leaf, model.variables)
    )
    other = dataclasses.replace(HEAD, kernel=2 * HEAD.kernel)
    values = [
        relative_gradient_norms(m, examples, head, batch_size=8, compiled=compiled)["raw"].value
        for m, head in ((model, HEAD), (doubled, HEAD), (model, other))
    ]
    assert compiled.traces == 1
    assert len(set(values)) == 3


def test_parameters_of_0_have_no_relative_gradient():
    model = stages.signs()
    params = {**model.variables["params"], "lost": {"scale": jnp.zeros(2)}}
    zeroed = dataclasses.replace(model, variables={"params": params})
    found = relative_gradient_norms(zeroed, stages.sign_examples(8), HEAD, batch_size=8)
    assert found["lost"].undefined == "the stage's parameters are all 0"
    assert found["raw"].value == 0


def test_the_head_is_the_probe_on_features_as_they_are():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 4)) * [1, 10, 0.1, 1] + 5
    labels = rng.integers(0, 3, 60) * 2
    head = probe_head(features, labels)
    assert head.classes.tolist() == [0, 2, 4]
    standard = StandardScaler().fit_transform(features)
    theirs = LogisticRegression(C=1.0, tol=1e-12, max_iter=5000).fit(standard, labels)
    np.testing.assert_allclose(
        softmax(features @ head.kernel + head.bias), theirs.predict_proba(standard), atol=1e-5
    )


def test_labels_that_the_head_has_not_are_refused():
    model, examples = stages.signs(), stages.sign_examples(8)
    with pytest.raises(EvaluationError, match=r"label 0 is not among the head's \[1, 2\]"):
        relative_gradient_norms(
            model, examples, dataclasses.replace(HEAD, classes=np.array([1, 2]))
        )
    with pytest.raises(EvaluationError, match="0 batches"):
        relative_gradient_norms(model, examples, HEAD, batches=0)
    with pytest.raises(EvaluationError, match="nothing to tell apart"):
        probe_head(np.ones((3, 2)), np.zeros(3, int))


def test_a_feature_that_is_constant_up_to_rounding_has_no_weight():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 4))
    labels = (features[:, 0] + features[:, 3] > 0).astype(np.int64)
    features[:, 2] = 1e-31 * rng.normal(size=40)
    features[:, 1] = np.float32(0.3) + np.float32(1e-8) * rng.normal(size=40)
    head = probe_head(features, labels)
    assert np.abs(head.kernel[[1, 2]]).max() < 1e-6
    assert np.abs(head.kernel[[0, 3]]).min() > 0.1
