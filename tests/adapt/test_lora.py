import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtransfer import trees
from jaxtransfer.adapt import LoRA, adapt, merge
from jaxtransfer.errors import AdaptationError
from jaxtransfer.models.model import from_module, with_head
from jaxtransfer.trees import Rule


class Mixed(nn.Module):
    """One layer of every kind that has a factored form, and two that have none."""

    @nn.compact
    def __call__(self, ids):
        x = nn.Embed(11, 8, name="embed")(ids)
        x = nn.Dense(8, name="dense")(x)
        h = nn.DenseGeneral((2, 4), name="split")(x)
        h = nn.DenseGeneral((3, 5), axis=(-2, 1), name="mixed_axes")(h)
        x = nn.Einsum((4, 15, 6), "b...e,hef->b...fh", name="einsum")(h.reshape(2, 4, 15))
        x = nn.Einsum((6, 4, 8), "bthf,htd->bhfd", use_bias=False, name="experts")(x)
        x = nn.Conv(6, (3, 2), strides=(2, 1), name="conv")(x)
        x = nn.Conv(6, (2, 2), feature_group_count=6, name="grouped")(x)
        x = nn.Conv(5, (3,), padding="CAUSAL", name="causal")(x.reshape(2, -1, 6))
        w = self.param("table", nn.initializers.normal(), (5, 7))
        return (x @ w).mean(axis=1)


IDS = jnp.array([[1, 2, 3], [4, 5, 10]])


def make(module, x, **options):
    variables = jax.jit(module.init)(jax.random.key(0), x)
    return from_module(module, variables, x, name="toy", **options)


def randomised(adapted, seed=1):
    """The adapted variables with every new leaf drawn at random, so that the delta does something."""
    flat = trees.flatten(adapted.variables["delta"])
    keys = jax.random.split(jax.random.key(seed), len(flat))
    new = {p: jax.random.normal(k, x.shape) * 0.3 for k, (p, x) in zip(keys, flat.items())}
    return {**adapted.variables, "delta": trees.unflatten(new)}


def logits(adapted, variables, x, *, train=False, rng=None):
    def run(variables, rng):
        return adapted.apply(variables, {"inputs": x}, train=train, rng=rng)[0]["logits"]

    return jax.jit(run)(variables, rng)


def plain(model, params, x):
    return jax.jit(lambda p: model.apply({"params": p}, {"inputs": x})["logits"])(params)


@pytest.fixture(scope="module")
def mixed():
    return make(Mixed(), IDS)


EVERY = LoRA(rank=2, targets=(".*",), head=None)


def test_every_kind_of_layer_has_the_handle_it_should(mixed):
    plan = {t.path: t.factored for t in EVERY.plan(mixed)}
    assert plan == {
        "embed/embedding": True,
        "dense/kernel": True,
        "split/kernel": True,
        "mixed_axes/kernel": True,
        "einsum/kernel": True,
        "experts/kernel": False,
        "conv/kernel": True,
        "grouped/kernel": False,
        "causal/kernel": True,
        "table": False,
    }


def test_handles_and_merge_agree_on_every_kind_of_layer(mixed):
    model = mixed
    adapted = adapt(model, EVERY, rng=jax.random.key(0))
    variables = randomised(adapted)
    factored = logits(adapted, variables, IDS)
    weights = EVERY.as_weights(variables["params"], variables["delta"], model)
    reference = plain(model, weights, IDS)
    merged = merge(adapted, variables)
    base = plain(model, model.variables["params"], IDS)
    scale = jnp.abs(reference).max()
    assert jnp.abs(reference - base).max() > 0.1 * scale
    np.testing.assert_allclose(factored / scale, reference / scale, atol=1e-6)
    np.testing.assert_array_equal(plain(merged, merged.variables["params"], IDS), reference)
    assert set(merged.variables) == {"params"}


def test_gradients_of_the_factored_form_are_those_of_the_weights(mixed):
    model = mixed
    adapted = adapt(model, EVERY, rng=jax.random.key(0))
    variables = randomised(adapted)

    def factored(delta):
        return (logits(adapted, {**variables, "delta": delta}, IDS) ** 2).sum()

    def reference(delta):
        weights = EVERY.as_weights(variables["params"], delta, model)
        return (plain(model, weights, IDS) ** 2).sum()

    ours = trees.flatten(jax.jit(jax.grad(factored))(variables["delta"]))
    theirs = trees.flatten(jax.jit(jax.grad(reference))(variables["delta"]))
    for path in ours:
        scale = jnp.abs(theirs[path]).max()
        assert scale > 0, path
        np.testing.assert_allclose(ours[path] / scale, theirs[path] / scale, atol=1e-5)


def test_the_network_starts_unchanged(mixed):
    adapted = adapt(mixed, EVERY, rng=jax.random.key(0))
    base = plain(mixed, mixed.variables["params"], IDS)
    found = logits(adapted, adapted.variables, IDS)
    np.testing.assert_allclose(found, base, atol=1e-6)


def test_a_starts_as_in_peft_and_b_at_zero():
    model = make(nn.Dense(300), jnp.ones((2, 400)))
    delta = LoRA(rank=100, head=None).init(jax.random.key(0), model)
    bound = 1 / np.sqrt(400)
    assert np.abs(delta["lora_a"]).max() <= bound
    np.testing.assert_allclose(np.std(delta["lora_a"]), bound / np.sqrt(3), rtol=0.02)
    assert not np.any(delta["lora_b"])
    assert delta["lora_a"].shape == (400, 100)


def test_a_leaf_depends_on_the_key_and_its_path_alone(mixed):
    model = mixed
    one = LoRA(rank=2, targets=("dense",), head=None).init(jax.random.key(3), model)
    all_of_them = EVERY.init(jax.random.key(3), model)
    np.testing.assert_array_equal(one["dense"]["lora_a"], all_of_them["dense"]["lora_a"])


def test_tied_embeddings_go_through_the_weights():
    class Tied(nn.Module):
        @nn.compact
        def __call__(self, ids):
            embed = nn.Embed(11, 4, name="embed")
            return embed(ids).mean(axis=1) @ embed.embedding.T

    class Attending(nn.Module):
        @nn.compact
        def __call__(self, ids):
            embed = nn.Embed(11, 4, name="embed")
            return embed.attend(embed(ids).mean(axis=1))

    for module, is_factored in ((Tied(), False), (Attending(), True)):
        model = make(module, IDS)
        adapted = adapt(model, EVERY, rng=jax.random.key(0))
        (target,) = EVERY.plan(model)
        assert target.factored is is_factored
        variables = randomised(adapted)
        merged = merge(adapted, variables)
        np.testing.assert_allclose(
            logits(adapted, variables, IDS),
            plain(merged, merged.variables["params"], IDS),
            atol=1e-5,
        )


class Encoding(nn.Module):
    """A dense layer that decodes by its own kernel."""

    def setup(self):
        self.up = nn.Dense(5)

    def __call__(self, x):
        return self.up(x) @ self.up.variables["params"]["kernel"].T


class Back(nn.Module):
    """An einsum with two equations, one against the other."""

    @nn.compact
    def __call__(self, x):
        layer = nn.Einsum((8, 8), None, name="both")
        return layer(jnp.tanh(layer(x, "be,ef->bf")), "be,fe->bf")


class Normed(nn.Module):
    """A kernel that reaches its layer normalised."""

    @nn.compact
    def __call__(self, x):
        return nn.WeightNorm(nn.Dense(5, name="inner"))(x)


class Derived(nn.Dense):
    """A dense layer of another class."""


class Twice(nn.Module):
    """A layer that is called twice."""

    def setup(self):
        self.layer = nn.Dense(8)

    def __call__(self, x):
        return self.layer(jnp.tanh(self.layer(x)))


@pytest.mark.parametrize(
    ("module", "handles"),
    [
        (Encoding(), {"up/kernel": False}),
        (Back(), {"both/kernel": False}),
        (Normed(), {"inner/kernel": False}),
        (Derived(5), {"kernel": False}),
        (Twice(), {"layer/kernel": True}),
        (nn.RNN(nn.SimpleCell(4), variable_broadcast=("params", "delta")), None),
    ],
    ids=lambda x: type(x).__name__,
)
def test_merging_is_exact_however_a_network_uses_its_matrices(module, handles):
    x = jnp.broadcast_to(X[:, None], (2, 3, 8)) if isinstance(module, nn.RNN) else X
    model = make(module, x)
    method = LoRA(rank=2, head=None)
    found = {target.path: target.factored for target in method.plan(model)}
    assert handles is None or found == handles
    adapted = adapt(model, method, rng=jax.random.key(0))
    variables = randomised(adapted)
    merged = merge(adapted, variables)
    expected = plain(merged, merged.variables["params"], x)
    assert jnp.abs(expected - plain(model, model.variables["params"], x)).max() > 1e-2
    np.testing.assert_allclose(logits(adapted, variables, x), expected, atol=1e-5)


def test_spectral_norm_sees_no_delta():
    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.SpectralNorm(nn.Dense(5))(x, update_stats=False)

    variables = Network().init(jax.random.key(0), X)
    model = from_module(Network(), variables, X, name="spectral")
    adapted = adapt(model, LoRA(rank=2, head=None), rng=jax.random.key(0))
    moved = randomised(adapted)
    merged = merge(adapted, moved)
    np.testing.assert_array_equal(
        adapted.apply(moved, {"inputs": X})[0]["logits"],
        merged.apply(merged.variables, {"inputs": X})["logits"],
    )


def test_each_rank_scales_its_own_delta():
    """`W + alpha / r A B` by hand, with a rank of its own for each of two layers."""
    model = make(Body(), X)
    method = LoRA(rank=4, alpha=6.0, targets=(Rule("layer_0", 1), ".*"), head=None)
    adapted = adapt(model, method, rng=jax.random.key(0))
    variables = randomised(adapted)
    x = X
    for name, rank in (("layer_0", 1), ("layer_1", 4)):
        own, new = variables["params"][name], variables["delta"][name]
        assert new["lora_a"].shape[-1] == rank
        kernel = own["kernel"] + 6.0 / rank * new["lora_a"] @ new["lora_b"]
        x = jax.nn.relu(x @ kernel + own["bias"][None])
    np.testing.assert_allclose(logits(adapted, variables, X), x, atol=1e-5)


def test_an_embedding_starts_as_in_peft():
    model = make(nn.Embed(300, 40), IDS)
    delta = LoRA(rank=30, targets=(".*",), head=None).init(jax.random.key(0), model)
    assert not np.any(delta["lora_a"])
    np.testing.assert_allclose(np.std(delta["lora_b"]), 1.0, rtol=0.05)


class Body(nn.Module):
    @nn.compact
    def __call__(self, x):
        for i in range(2):
            x = nn.relu(nn.Dense(6, name=f"layer_{i}")(x))
        return x


X = jnp.linspace(-1, 1, 16).reshape(2, 8)


@pytest.fixture
def headed():
    body = make(Body(), X, output="features")
    return with_head(body, 3, rng=jax.random.key(2))


def test_by_default_all_linear_layers_but_the_head_are_adapted(headed):
    method = LoRA(rank=3)
    adapted = adapt(headed, method, rng=jax.random.key(0))
    labels = adapted.labels
    assert {p for p, label in labels.items() if label == "head"} == {"head/kernel", "head/bias"}
    assert {p for p, label in labels.items() if label == "delta"} == {
        f"delta/encoder/layer_{i}/lora_{x}" for i in range(2) for x in "ab"
    }


def test_rules_give_ranks_by_path(headed):
    targets = (Rule("encoder/layer_0", 1), Rule(".*/layer_1/kernel", True))
    method = LoRA(rank=4, targets=targets)
    assert [t.rank for t in method.plan(headed)] == [1, 4]
    without = LoRA(rank=4, targets=(Rule(".*layer_0", False), ".*"))
    assert [t.path for t in without.plan(headed)] == ["encoder/layer_1/kernel"]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ((".*layer_0", "encoder/layer_1/quer"), "'encoder/layer_1/quer'.*matched no matrix; near"),
        ((".*layer_0", "encoder/layer_0"), "'encoder/layer_0'.*nothing that earlier targets leave"),
        (("head",), "'head'.*the head alone.*head=None"),
        ((Rule(".*", "high"),), "has value 'high'"),
        ((Rule(".*", 100),), "rank 100 is more than"),
        ((), r"targets \[\] leave nothing of model 'toy'"),
        ((Rule(".*", False),), r"targets \['\.\*'\] leave nothing"),
    ],
)
def test_a_target_that_does_nothing_is_refused(headed, targets, message):
    with pytest.raises(AdaptationError, match=message):
        LoRA(targets=targets, rank=2).plan(headed)


def test_dropout_acts_in_training_alone_and_needs_a_key(headed):
    adapted = adapt(headed, LoRA(rank=2, dropout=0.5), rng=jax.random.key(0))
    variables = randomised(adapted)
    evaluated = logits(adapted, variables, X)
    one = logits(adapted, variables, X, train=True, rng=jax.random.key(1))
    same = logits(adapted, variables, X, train=True, rng=jax.random.key(1))
    other = logits(adapted, variables, X, train=True, rng=jax.random.key(2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3
    assert np.abs(one - evaluated).max() > 1e-3
    with pytest.raises(AdaptationError, match="needs a key"):
        logits(adapted, variables, X, train=True)


def test_dropout_keeps_the_branch_unbiased():
    x = jnp.ones((1, 64))
    model = make(nn.Dense(4), x)
    method = LoRA(rank=2, dropout=0.25, head=None)
    adapted = adapt(model, method, rng=jax.random.key(0))
    variables = randomised(adapted)
    keys = jax.random.split(jax.random.key(5), 4000)
    draws = jax.jit(jax.vmap(lambda key: logits(adapted, variables, x, train=True, rng=key)[0]))(
        keys
    )
    error = draws.std(axis=0) / np.sqrt(len(keys))
    np.testing.assert_array_less(
        jnp.abs(draws.mean(axis=0) - logits(adapted, variables, x)[0]), 4 * error
    )


def test_dropout_on_weights_is_refused(mixed):
    with pytest.raises(AdaptationError, match="'grouped/kernel'"):
        LoRA(rank=2, dropout=0.1, targets=("grouped",), head=None).plan(mixed)


def test_a_network_without_linear_layers_asks_for_targets():
    model = make(nn.Conv(4, (3, 3)), jnp.ones((2, 5, 5, 3)))
    with pytest.raises(AdaptationError, match="no linear layers and no 1x1 convolutions outside"):
        LoRA(head=None).plan(model)


def test_bfloat16_weights_merge_in_float32_and_say_what_rounding_cost(headed):
    low = jax.tree.map(lambda x: x.astype(jnp.bfloat16), headed.variables)
    model = dataclasses.replace(headed, variables=low)
    method = LoRA(rank=2)
    adapted = adapt(model, method, rng=jax.random.key(0))
    variables = randomised(adapted)
    kernel = merge(adapted, variables).variables["params"]["encoder"]["layer_0"]["kernel"]
    delta = variables["delta"]["encoder"]["layer_0"]
    base = low["params"]["encoder"]["layer_0"]["kernel"].astype(jnp.float32)
    exact = base + delta["lora_a"] @ (delta["lora_b"] * 8.0)
    np.testing.assert_array_equal(kernel, exact.astype(jnp.bfloat16))
    errors = method.merge_error(variables, model)
    assert set(errors) == {f"encoder/layer_{i}/kernel" for i in range(2)}
    assert all(0 < error < 2**-7 for error in errors.values())
    full = {**variables, **headed.variables}
    assert method.merge_error(full, headed) == {}


def test_the_factored_form_computes_no_gradient_of_a_kernel():
    """Only the two small products of each branch and the input's gradient come on top."""
    x = jnp.ones((512, 256))

    class Deep(nn.Module):
        @nn.compact
        def __call__(self, x):
            for _ in range(3):
                x = nn.tanh(nn.Dense(256)(x))
            return x

    model = make(Deep(), x)
    adapted = adapt(model, LoRA(rank=4, head=None), rng=jax.random.key(0))

    def flops(function, *args):
        return jax.jit(function).lower(*args).compile().cost_analysis()["flops"]

    def loss(delta):
        return logits(adapted, {**adapted.variables, "delta": delta}, x).sum()

    def dense(delta):
        weights = adapted.method.as_weights(adapted.variables["params"], delta, model)
        return plain(model, weights, x).sum()

    delta = adapted.variables["delta"]
    product = 2 * 512 * 256 * 256
    branch = 2 * 512 * 256 * 4
    # Forward of 3 layers, input gradient of 2; six small products a layer, no input's in the first.
    expected = 5 * product + 3 * 6 * branch
    assert flops(jax.grad(loss), delta) <= 1.05 * expected
    assert flops(jax.grad(dense), delta) > 1.4 * expected


def test_a_network_of_convolutions_alone_is_adapted_in_its_pointwise_ones():
    layers = [nn.Conv(4, (3, 3)), nn.Conv(6, (1, 1)), nn.Conv(6, (1, 1), feature_group_count=2)]
    model = make(nn.Sequential(layers), jnp.ones((2, 5, 5, 4)))
    assert [target.module for target in LoRA(rank=2).plan(model)] == ["layers_1"]
