import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtransfer.objectives import Context, coral
from jaxtransfer.objectives.alignment import masked_covariance

CONTEXT = Context(rng=jax.random.key(0), step=jnp.asarray(0), trainable={})


def whitened(rows, width, seed):
    """Rows with mean 0 and sample covariance exactly the identity."""
    x = np.random.default_rng(seed).normal(size=(rows, width))
    x -= x.mean(axis=0)
    return x @ np.linalg.inv(np.linalg.cholesky(x.T @ x / (rows - 1))).T


def value(source, target, source_mask=None, target_mask=None):
    streams = {"labeled": (source, source_mask), "target": (target, target_mask)}
    outputs = {name: {"features": jnp.asarray(x, jnp.float32)} for name, (x, _) in streams.items()}
    batch = {
        name: {"mask": jnp.ones(len(x), bool) if mask is None else mask}
        for name, (x, mask) in streams.items()
    }
    return coral().function(outputs, batch, CONTEXT)[0]


@pytest.mark.parametrize("scale", [1.0, 2.0, 0.5])
def test_scaled_features_are_apart_by_the_closed_form(scale):
    """C = I against scale^2 I: d (scale^2 - 1)^2 / (4 d^2)."""
    width = 4
    found = value(whitened(30, width, 0), scale * whitened(20, width, 1))
    np.testing.assert_allclose(found, (scale**2 - 1) ** 2 / (4 * width), rtol=1e-4, atol=1e-9)


def test_the_definition_is_the_papers():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(9, 3)), rng.normal(size=(7, 3)) @ rng.normal(size=(3, 3))
    difference = np.cov(source.T) - np.cov(target.T)
    expected = np.linalg.norm(difference, "fro") ** 2 / (4 * 3**2)
    np.testing.assert_allclose(value(source, target), expected, rtol=1e-5)


def test_a_shift_of_the_mean_does_not_count():
    x = whitened(30, 4, 0)
    np.testing.assert_allclose(value(x, x + 5), 0, atol=1e-9)


@pytest.mark.parametrize("junk", [3.0, np.nan])
def test_padded_rows_change_neither_value_nor_gradient(junk):
    source, target = whitened(8, 3, 0), 2 * whitened(6, 3, 1)
    padded = np.concatenate([source, np.full((2, 3), junk)])
    mask = jnp.arange(10) < 8
    function = jax.value_and_grad(value)
    plain, gradient = function(jnp.asarray(source, jnp.float32), target)
    found, padded_gradient = function(jnp.asarray(padded, jnp.float32), target, mask)
    np.testing.assert_allclose(found, plain, rtol=1e-6)
    np.testing.assert_allclose(padded_gradient[:8], gradient, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(padded_gradient[8:], 0)


def test_fewer_than_two_rows_have_no_covariance():
    found = masked_covariance(jnp.ones((3, 2)), jnp.array([True, False, False]))
    np.testing.assert_array_equal(found, 0)
