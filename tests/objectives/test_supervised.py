import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxtransfer.objectives import Context, cross_entropy

CONTEXT = Context(rng=jax.random.key(0), step=jnp.asarray(0), trainable={})
RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(RNG.normal(size=(5, 4)) * 3, jnp.float32)
LABEL = jnp.asarray([0, 1, 2, 3, 3], jnp.int32)


def loss(logits, label, mask, smoothing=0.0):
    batch = {"labeled": {"label": label, "mask": mask}}
    return cross_entropy(smoothing).function({"labeled": {"logits": logits}}, batch, CONTEXT)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_agrees_with_optax(smoothing):
    value, metrics = loss(LOGITS, LABEL, jnp.ones(5, bool), smoothing)
    target = optax.smooth_labels(jax.nn.one_hot(LABEL, 4), smoothing)
    np.testing.assert_allclose(value, optax.softmax_cross_entropy(LOGITS, target).mean(), rtol=1e-6)
    assert metrics["accuracy"] == (LOGITS.argmax(axis=1) == LABEL).mean()


def test_even_logits_cost_the_logarithm_of_the_number_of_classes():
    value, _ = loss(jnp.zeros((5, 4)), LABEL, jnp.ones(5, bool))
    np.testing.assert_allclose(value, np.log(4), rtol=1e-6)


@pytest.mark.parametrize("junk", [0.0, 7.0, np.inf, np.nan])
def test_padded_rows_change_neither_value_nor_gradient(junk):
    padded = jnp.concatenate([LOGITS, jnp.full((3, 4), junk)])
    label = jnp.concatenate([LABEL, jnp.full(3, -1, jnp.int32)])
    mask = jnp.arange(8) < 5
    function = jax.value_and_grad(lambda z, y, m: loss(z, y, m)[0])
    value, gradient = function(LOGITS, LABEL, jnp.ones(5, bool))
    padded_value, padded_gradient = function(padded, label, mask)
    np.testing.assert_array_equal(value, padded_value)
    np.testing.assert_array_equal(gradient, padded_gradient[:5])
    np.testing.assert_array_equal(padded_gradient[5:], 0)


def test_an_empty_batch_costs_nothing():
    value, gradient = jax.value_and_grad(lambda z: loss(z, LABEL, jnp.zeros(5, bool))[0])(LOGITS)
    assert value == 0
    assert not np.any(gradient)


def test_half_precision_logits_are_summed_in_float32():
    value, _ = loss(LOGITS.astype(jnp.bfloat16), LABEL, jnp.ones(5, bool))
    assert value.dtype == jnp.float32
