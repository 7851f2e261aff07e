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


def test_a_heads_dropout_drops_features_in_training_alone():
    model = with_head(unseen(), 3, rng=jax.random.key(3), dropout=0.5)
    features = {"features": jnp.ones((1, 6))}
    calm = model.apply(model.variables, features, start=1)["logits"]
    kernel = np.asarray(model.variables["params"]["head"]["kernel"])
    np.testing.assert_allclose(calm[0], kernel.sum(axis=0), rtol=1e-5)
    key = {"dropout": jax.random.key(1)}
    noisy = model.apply(model.variables, features, start=1, train=True, rngs=key)["logits"]
    kept, *_ = np.linalg.lstsq(kernel.T, np.asarray(noisy[0]), rcond=None)
    assert np.abs(noisy - calm).max() > 1e-3
    np.testing.assert_allclose(kernel.T @ kept, noisy[0], atol=1e-5)


@pytest.mark.parametrize(
    ("variables", "example", "message"),
    [
        (lambda v: v["params"], jnp.ones((2, 4)), r"collections \['.*and no 'params'"),
        (lambda v: v, jnp.ones((2, 5)), "'unseen' does not run on its example: .*Dense_0"),
        (lambda v: v, [[1.0, 2.0]], r"example \['inputs'\] must be arrays"),
        (lambda v: v, {"image": jnp.ones((2, 4))}, "its example has no 'inputs'"),
    ],
)
def test_a_network_that_does_not_run_is_refused_by_name(variables, example, message):
    module = unseen().module
    with pytest.raises(AdaptationError, match=message):
        from_module(module, variables(unseen().variables), example, name="unseen")


def test_a_head_takes_one_vector_an_example_and_predicts_something():
    layer, x = nn.Conv(4, (3, 3)), jnp.ones((2, 5, 5, 3))
    model = from_module(layer, layer.init(jax.random.key(0), x), x, name="c", output="features")
    with pytest.raises(AdaptationError, match=r"features of shape \(2, 5, 5, 4\).*pool them first"):
        with_head(model, 3, rng=jax.random.key(0))
    with pytest.raises(AdaptationError, match="a head of 0 classes"):
        with_head(unseen(), 0, rng=jax.random.key(0))
