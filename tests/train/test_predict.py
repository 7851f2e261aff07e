"""Prediction: every example once, in order, whatever the batch, the mesh and the cache."""

import jax
import numpy as np
import pytest
import toys

from jaxtransfer.adapt.freezing import Full, LinearProbe
from jaxtransfer.data import Examples, from_arrays
from jaxtransfer.data.corruptions import corrupt, corrupted
from jaxtransfer.train.cache import ActivationCache
from jaxtransfer.train.compiled import CompiledSteps
from jaxtransfer.train.predict import extract_features, predict
from jaxtransfer.train.sharding import make_mesh


def expected(adapted, examples):
    return adapted.model.apply(adapted.variables, examples.inputs(np.arange(len(examples))))


@pytest.mark.parametrize("batch_size", [1, 4, 11, 64])
def test_every_example_occurs_once_and_in_order(batch_size):
    adapted, examples = toys.make_adapted(), toys.make_examples(11)
    logits = predict(adapted, adapted.variables, examples, batch_size=batch_size)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected(adapted, examples)["logits"], atol=1e-6)


def test_a_batch_size_compiles_once_whatever_the_number_of_examples():
    compiled, adapted = CompiledSteps(), toys.make_adapted()
    for count in (3, 8, 21):
        predict(
            adapted,
            adapted.variables,
            toys.make_examples(count),
            batch_size=8,
            compiled=compiled,
        )
    assert compiled.traces == 1


def test_eight_devices_and_the_cache_give_the_same_logits():
    adapted, examples = toys.make_adapted(LinearProbe()), toys.make_examples(11)
    plain = expected(adapted, examples)["logits"]
    mesh = make_mesh(devices=jax.devices()[:8])
    cut = predict(adapted, adapted.variables, examples, batch_size=6, mesh=mesh)
    np.testing.assert_allclose(cut, plain, atol=1e-6)
    cache = ActivationCache()
    cached = predict(adapted, adapted.variables, examples, cache=cache)
    assert cache.builds == 1
    np.testing.assert_allclose(cached, plain, atol=1e-6)


def test_dropout_is_off():
    adapted, examples = toys.make_adapted(Full(), dropout=0.9), toys.make_examples(5)
    a, b = (predict(adapted, adapted.variables, examples) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_features_are_those_of_the_encoder():
    adapted, examples = toys.make_adapted(LinearProbe()), toys.make_examples(5)
    features = extract_features(adapted, adapted.variables, examples, cache=ActivationCache())
    np.testing.assert_allclose(features, expected(adapted, examples)["features"], atol=1e-6)


class Rows:
    """Images (2, 3) as the rows that the toy network takes."""

    fingerprint = "rows"

    def __call__(self, raw):
        return {"inputs": np.stack(raw).reshape(len(raw), -1).astype(np.float32)}


def test_a_corrupted_table_is_predicted_like_any_other():
    adapted = toys.make_adapted()
    images = np.random.default_rng(0).random((11, 2, 3), np.float32)
    table = from_arrays(images, np.arange(11) % 3)
    noisy = Examples(corrupted(table, kind="gaussian_noise", severity=3, seed=0), Rows())
    logits = predict(adapted, adapted.variables, noisy, batch_size=4)
    by_hand = corrupt(images, table.ids, kind="gaussian_noise", severity=3, seed=0)
    plain = adapted.model.apply(adapted.variables, Rows()(by_hand))["logits"]
    np.testing.assert_allclose(logits, plain, atol=1e-6)
