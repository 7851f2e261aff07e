import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtransfer import trees
from jaxtransfer.errors import AdaptationError, DataError
from jaxtransfer.models.bert import Bert, attend, gelu, pool
from jaxtransfer.models.model import Model, with_head
from jaxtransfer.models.site import Site


def tiny(**changes):
    values = {
        "vocabulary": 20,
        "width": 16,
        "layers": 2,
        "heads": 4,
        "hidden": 24,
        "positions": 9,
        **changes,
    }
    return Bert(**values)


def text(seed=0, batch=3, length=7):
    generator = np.random.default_rng(seed)
    mask = np.arange(length)[None] < np.array([length, 4, 2])[:batch, None]
    return {
        "input_ids": jnp.asarray(generator.integers(1, 20, (batch, length)) * mask, jnp.int32),
        "attention_mask": jnp.asarray(mask, jnp.int32),
    }


@functools.cache
def model(**changes):
    module = tiny(**changes)
    inputs = text()
    variables = jax.jit(module.init)(jax.random.key(0), inputs)
    # Biases and norms start trivial; noise makes every leaf matter.
    leaves, structure = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    leaves = [x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys)]
    return Model(
        name="tiny",
        module=module,
        variables=jax.tree.unflatten(structure, leaves),
        example={k: jax.ShapeDtypeStruct(v.shape, v.dtype) for k, v in inputs.items()},
        stages=module.stages,
    )


def test_paths_and_shapes_of_the_tree():
    flat = trees.flatten_variables(model().variables)
    shapes = {path: leaf.shape for path, leaf in flat.items()}
    assert shapes["embeddings/word/embedding"] == (20, 16)
    assert shapes["embeddings/position/embedding"] == (9, 16)
    assert shapes["embeddings/token_type/embedding"] == (2, 16)
    assert shapes["embeddings/norm/scale"] == (16,)
    layer = {p.removeprefix("layer_1/"): s for p, s in shapes.items() if p.startswith("layer_1/")}
    square = {"kernel": (16, 16), "bias": (16,)}
    expected = {
        **{f"attention/{n}": square for n in ("query", "key", "value", "output")},
        "attention/norm": {"scale": (16,), "bias": (16,)},
        "mlp/up": {"kernel": (16, 24), "bias": (24,)},
        "mlp/down": {"kernel": (24, 16), "bias": (16,)},
        "mlp/norm": {"scale": (16,), "bias": (16,)},
    }
    assert layer == {f"{m}/{n}": shape for m, own in expected.items() for n, shape in own.items()}
    assert len(shapes) == 5 + 2 * 16
    assert all(leaf.dtype == jnp.float32 for leaf in flat.values())


@pytest.mark.parametrize("boundary", range(6))
def test_running_in_two_parts_gives_the_same_bits(boundary):
    """Operation by operation; compiled, where XLA fuses across the cut, within 1e-6."""
    network = with_head(model(), 3, rng=jax.random.key(2))
    assert network.stages == ("embeddings", "layer_0", "layer_1", "pool", "head")
    for wrap, tolerance in ((lambda f: f, 0.0), (jax.jit, 1e-6)):

        def run(inputs, start, stop, wrap=wrap):
            part = wrap(lambda v, x: network.apply(v, x, start=start, stop=stop))
            return part(network.variables, inputs)

        whole = run(text(), 0, None)
        parts = run(run(text(), 0, boundary), boundary, None)
        for name in ("features", "logits") if boundary < 5 else ("logits",):
            np.testing.assert_allclose(parts[name], whole[name], atol=tolerance, rtol=0)


def test_padding_changes_nothing():
    network = model()
    short = {name: x[1:2, :4] for name, x in text().items()}
    long = {name: x[1:2] for name, x in text().items()}
    long["input_ids"] = long["input_ids"].at[0, 5].set(3)
    a, b = (network.apply(network.variables, x) for x in (short, long))
    np.testing.assert_allclose(a["features"], b["features"], atol=1e-6)
    np.testing.assert_allclose(a["hidden"], b["hidden"][:, :4], atol=1e-6)


def test_an_all_padding_example_gives_finite_features_and_gradients():
    network = model()
    inputs = {name: jnp.zeros_like(x) for name, x in text().items()}

    def loss(variables):
        return network.apply(variables, inputs)["features"].sum()

    value, gradient = jax.value_and_grad(loss)(network.variables)
    assert jnp.isfinite(value)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_pooling_is_over_the_mask():
    hidden = jnp.arange(24.0).reshape(2, 4, 3)
    mask = jnp.array([[1, 1, 0, 0], [1, 1, 1, 1]])
    np.testing.assert_allclose(pool(hidden, mask, "mean")[0], hidden[0, :2].mean(axis=0))
    np.testing.assert_allclose(pool(hidden, mask, "max")[0], hidden[0, 1])
    np.testing.assert_allclose(pool(hidden, mask, "cls"), hidden[:, 0])
    with pytest.raises(AdaptationError, match="'sum' is unknown"):
        pool(hidden, mask, "sum")


def test_longer_sequences_than_positions_are_refused_when_traced():
    network = model()
    with pytest.raises(DataError, match="10 tokens do not fit a model with 9 positions"):
        jax.eval_shape(lambda x: network.apply(network.variables, x), text(batch=1, length=10))


def test_token_types_default_to_the_first_segment():
    network = model()
    inputs = text()
    zeros = {**inputs, "token_type_ids": jnp.zeros_like(inputs["input_ids"])}
    ones = {**inputs, "token_type_ids": jnp.ones_like(inputs["input_ids"])}
    plain, same, other = (
        np.asarray(network.apply(network.variables, x)["features"]) for x in (inputs, zeros, ones)
    )
    np.testing.assert_array_equal(plain, same)
    assert np.abs(plain - other).max() > 1e-3


def test_bfloat16_computes_near_float32_with_float32_parameters():
    exact, network = model(), model(dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(network.variables)} == {jnp.dtype("float32")}
    a = exact.apply(exact.variables, text())
    b = network.apply(network.variables, text())
    assert b["hidden"].dtype == jnp.bfloat16
    assert b["features"].dtype == jnp.float32
    np.testing.assert_allclose(a["features"], b["features"], atol=0.1)


def test_dropout_needs_a_key_only_when_training():
    network = model(dropout=0.3)
    calm = network.apply(network.variables, text())["features"]
    key = {"dropout": jax.random.key(4)}
    noisy = network.apply(network.variables, text(), train=True, rngs=key)["features"]
    again = network.apply(network.variables, text(), train=True, rngs=key)["features"]
    np.testing.assert_array_equal(noisy, again)
    assert np.abs(np.asarray(noisy - calm)).max() > 1e-3


def test_sites_are_placed_and_shaped_as_documented():
    network = model()
    seen = {}

    def note(next_fun, args, kwargs, context):
        if isinstance(context.module, Site):
            seen["/".join(context.module.path)] = args[0].shape
        return next_fun(*args, **kwargs)

    with nn.intercept_methods(note):
        network.apply(network.variables, text())
    first = {p.removeprefix("layer_0/"): s for p, s in seen.items() if p.startswith("layer_0/")}
    assert first == {
        "block_input": (3, 7, 16),
        "attention/keys": (3, 7, 4, 4),
        "attention/values": (3, 7, 4, 4),
        "attention/attention_branch": (3, 7, 16),
        "mlp/mlp_branch": (3, 7, 16),
    }
    assert len(seen) == 10


def test_keys_and_values_may_be_lengthened_in_front():
    """A prefix whose keys repel every query leaves the outputs as they are; another changes
    them."""
    network = model()

    def outputs(key):
        def lengthen(next_fun, args, kwargs, context):
            x = next_fun(*args, **kwargs)
            if not isinstance(context.module, Site) or context.module.name not in {
                "keys",
                "values",
            }:
                return x
            fill = key if context.module.name == "keys" else 1.0
            extra = jnp.full((x.shape[0], 2, *x.shape[2:]), fill, x.dtype)
            return jnp.concatenate([extra, x], axis=1)

        with nn.intercept_methods(lengthen):
            return np.asarray(network.apply(network.variables, text())["features"])

    plain = np.asarray(network.apply(network.variables, text())["features"])
    assert np.abs(outputs(0.0) - plain).max() > 1e-3
    assert np.isfinite(outputs(1e4)).all()


def test_gelu_and_its_derivative_are_those_of_jax():
    """Against the exact form of `jax.nn.gelu`."""
    x = jnp.linspace(-8.0, 8.0, 401)

    def reference(v):
        return jax.nn.gelu(v, approximate=False)

    np.testing.assert_allclose(gelu(x), reference(x), atol=1e-6)
    np.testing.assert_allclose(
        jax.vmap(jax.grad(gelu))(x), jax.vmap(jax.grad(reference))(x), atol=2e-6
    )


def test_attention_and_its_gradients_are_those_of_jax_nn():
    keys = jax.random.split(jax.random.key(3), 3)
    query, key, value = (2 * jax.random.normal(k, (3, 5, 4, 8)) for k in keys)
    key, value = (jnp.concatenate([x, -x[:, :2]], axis=1) for x in (key, value))  # S = T + 2
    bias = jnp.where(
        jnp.arange(7)[None] < jnp.array([7, 4, 0])[:, None], 0.0, jnp.finfo("float32").min
    )
    bias = bias[:, None, None, :]

    def ours(query, key, value):
        return attend(query, key, value, bias, drop=lambda weights: weights)

    def theirs(query, key, value):
        return jax.nn.dot_product_attention(query, key, value, bias=bias)

    def with_gradients(function):
        outputs, pull = jax.vjp(function, query, key, value)
        return outputs, pull(jnp.cos(outputs))

    for a, b in zip(jax.tree.leaves(with_gradients(ours)), jax.tree.leaves(with_gradients(theirs))):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_attention_survives_scores_that_overflow_exp():
    query = jnp.full((1, 2, 1, 4), 40.0).at[0, 1].set(-40.0)
    value = jnp.array([1.0, 3.0])[None, :, None, None] * jnp.ones((1, 2, 1, 4))
    bias = jnp.zeros((1, 1, 1, 2))
    out = attend(query, query, value, bias, drop=lambda weights: weights)
    np.testing.assert_allclose(out[0, :, 0, 0], [1.0, 3.0], atol=1e-6)


def test_attention_drops_normalised_weights():
    query, key, value = jax.random.normal(jax.random.key(4), (3, 2, 5, 1, 4))
    kept = jax.random.bernoulli(jax.random.key(5), 0.5, (2, 1, 5, 5))
    bias = jnp.zeros((2, 1, 1, 5))
    weights = jax.nn.softmax(jnp.einsum("bthk,bshk->bhts", query, key) / 2)
    expected = jnp.einsum("bhts,bshk->bthk", jnp.where(kept, weights / 0.5, 0), value)
    out = attend(query, key, value, bias, drop=lambda w: jnp.where(kept, w / 0.5, 0))
    np.testing.assert_allclose(out, expected, atol=1e-6)
