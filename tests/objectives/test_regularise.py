import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtransfer.errors import ConfigError
from jaxtransfer.objectives import Context, l2_sp

BEFORE = {"params": {"up": {"kernel": jnp.ones((2, 3))}, "head": {"bias": jnp.zeros(4)}}}
NOW = {
    "params": {"up": {"kernel": jnp.full((2, 3), 3.0)}, "head": {"bias": jnp.full(4, 2.0)}},
    "delta": {"up": {"lora_a": jnp.ones((2, 1))}},
}


def penalty(trainable, reference=BEFORE, **options):
    context = Context(
        rng=jax.random.key(0), step=jnp.asarray(0), trainable=trainable, reference=reference
    )
    return l2_sp(**options).function({}, {}, context)


def test_the_penalty_is_half_the_sum_of_squares_and_decays_the_head_towards_zero():
    value, metrics = penalty(NOW, head_ratio=0.5)
    assert value == 0.5 * (6 * 2.0**2 + 0.5 * 4 * 2.0**2)
    np.testing.assert_allclose(metrics["distance"], np.sqrt(24.0), rtol=1e-6)


def test_the_gradient_is_the_displacement_and_new_leaves_have_none():
    gradient = jax.grad(lambda t: penalty(t, head_ratio=0.5)[0])(NOW)
    np.testing.assert_array_equal(gradient["params"]["up"]["kernel"], jnp.full((2, 3), 2.0))
    np.testing.assert_array_equal(gradient["params"]["head"]["bias"], jnp.full(4, 1.0))
    np.testing.assert_array_equal(gradient["delta"]["up"]["lora_a"], 0)


def test_the_gradient_at_the_starting_point_is_zero_not_nan():
    gradient = jax.grad(lambda t: sum(map(jnp.sum, (penalty(t)[0], penalty(t)[1]["distance"]))))(
        BEFORE
    )
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_nothing_to_hold_in_place_is_an_error():
    with pytest.raises(ConfigError, match=r"none of them trains.*head/bias"):
        penalty({"params": {"head": BEFORE["params"]["head"]}, "delta": NOW["delta"]})
    with pytest.raises(ConfigError, match=r"'hed/\.\*'.*matched no parameter.*'head/bias'"):
        penalty(NOW, head="hed/.*")
    with pytest.raises(ConfigError, match=r"no reference for \['up/kernel'\]"):
        penalty(NOW, reference={"params": {"head": BEFORE["params"]["head"]}})


def test_without_a_head_all_parameters_are_held():
    value, _ = penalty(NOW, head=None)
    assert value == 0.5 * (6 * 2.0**2 + 4 * 2.0**2)
