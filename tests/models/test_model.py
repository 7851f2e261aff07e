import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtransfer.errors import AdaptationError
from jaxtransfer.models.model import from_module, with_head, without_head


class Unseen(nn.Module):
    """A user's network, with BatchNorm and dropout."""

    @nn.compact
    def __call__(self, x, deterministic=True):
        x = nn.Dense(6)(x)
        x = nn.BatchNorm(use_running_average=deterministic)(x)
        return nn.Dropout(0.5)(nn.relu(x), deterministic=deterministic)


def unseen(output="features"):
    module = Unseen()
    x = jnp.ones((2, 4))
    return from_module(module, module.init(jax.random.key(0), x), x, name="unseen", output=output)


def test_an_unseen_module_is_called_with_its_own_training_flag():
    model = unseen("logits")
    x = jax.random.normal(jax.random.key(1), (2, 4))
    expected = model.module.apply(model.variables, x)
    np.testing.assert_array_equal(model.apply(model.variables, {"inputs": x})["logits"], expected)
    out, state = model.apply(
        model.variables,
        {"inputs": x},
        train=True,
        rngs={"dropout": jax.random.key(2)},
        mutable=["batch_stats"],
    )
    assert (np.asarray(out["logits"]) == 0).any()
    assert not np.array_equal(state["batch_stats"]["BatchNorm_0"]["mean"], np.zeros(6))


def test_a_head_on_an_unstaged_encoder_makes_two_stages():
    model = with_head(unseen(), 3, rng=jax.random.key(3))
    x = {"inputs": jax.random.normal(jax.random.key(1), (2, 4))}
    whole = model.apply(model.variables, x)
    assert model.stages == ("encoder", "head")
    assert model.features == 6
    assert whole["logits"].shape == (2, 3)
    middle = model.apply(model.variables, x, stop=1)
    assert set(middle) == {"features"}
    rest = model.apply(model.variables, middle, start=1)
    np.testing.assert_array_equal(rest["logits"], whole["logits"])
    assert model.stage_of("encoder/Dense_0/kernel") == "encoder"
    assert model.stage_of("batch_stats/encoder/BatchNorm_0/mean") == "encoder"
    assert model.stage_of("delta/head/lora_a") == "head"
    assert model.stage_of("elsewhere/kernel") is None


def test_a_head_is_a_function_of_its_key():
    first, again = (with_head(unseen(), 3, rng=jax.random.key(5)) for _ in range(2))
    other = with_head(unseen(), 3, rng=jax.random.key(6))
    kernel = lambda model: np.asarray(model.variables["params"]["head"]["kernel"])  # noqa: E731
    np.testing.assert_array_equal(kernel(first), kernel(again))
    assert not np.array_equal(kernel(first), kernel(other))
    zeros = with_head(unseen(), 3, rng=jax.random.key(6), kernel_init="zeros")
    assert not kernel(zeros).any()


def test_a_second_head_replaces_the_first():
    model = with_head(with_head(unseen(), 3, rng=jax.random.key(0)), 5, rng=jax.random.key(0))
    assert model.variables["params"]["head"]["kernel"].shape == (6, 5)
    assert set(model.variables["params"]) == {"encoder", "head"}
    bare = without_head(model)
    assert bare.stages == ()
    assert set(bare.variables["params"]) == {"Dense_0", "BatchNorm_0"}


def test_a_head_on_abstract_variables_is_abstract():
    model = unseen()
    shapes = jax.eval_shape(lambda v: v, model.variables)
    head = with_head(
        from_module(model.module, shapes, jnp.ones((2, 4)), name="u", output="features"),
        3,
        rng=jax.random.key(0),
    ).variables["params"]["head"]
    assert isinstance(head["kernel"], jax.ShapeDtypeStruct)


def test_a_module_without_features_takes_no_head():
    with pytest.raises(AdaptationError, match="no 'features' to put a head on"):
        with_head(unseen("logits"), 3, rng=jax.random.key(0))


def test_an_unstaged_model_is_not_run_in_part():
    model = unseen()
    with pytest.raises(AdaptationError, match=r"cannot run stages 0 to 1.*whole"):
        model.apply(model.variables, {"inputs": jnp.ones((2, 4))}, stop=1)


def test_a_call_must_name_its_outputs():
    module = nn.Dense(3)
    x = jnp.ones((2, 4))
    with pytest.raises(AdaptationError, match=r"returns \['other'\]"):
        from_module(
            module,
            module.init(jax.random.key(0), x),
            x,
            name="odd",
            call=lambda m, inputs, **_: {"other": m(inputs["inputs"])},
        )
