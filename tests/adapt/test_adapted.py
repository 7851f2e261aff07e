import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtransfer import partition, trees
from jaxtransfer.adapt import (
    LPFT,
    BitFit,
    Full,
    LinearProbe,
    LoRA,
    TopStages,
    adapt,
    merge,
)
from jaxtransfer.errors import AdaptationError, RuleError
from jaxtransfer.models.model import from_module, with_head

X = jnp.linspace(-1, 1, 40).reshape(5, 8)


class Staged(nn.Module):
    """Three blocks with dropout and BatchNorm, and a stage without parameters."""

    dropout: float = 0.0

    @nn.compact
    def __call__(self, inputs, *, train=False, start=0, stop=None):
        x = inputs["image"] if start == 0 else inputs["x"]
        for i in range(3):
            layer = Block(self.dropout, name=f"block_{i}")
            if start <= i and (stop is None or i < stop):
                x = layer(x, train)
        return {"features": x} if stop is None or stop == 4 else {"x": x}


class Block(nn.Module):
    dropout: float

    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.5, name="norm")(
            nn.Dense(8, name="dense")(x)
        )
        return nn.Dropout(self.dropout, deterministic=not train)(nn.relu(x))


def staged(dropout=0.0):
    module = Staged(dropout)
    variables = module.init(jax.random.key(0), {"image": X})
    stages = ("block_0", "block_1", "block_2", "pool")
    encoder = from_module(module, variables, {"image": X}, name="staged", stages=stages)
    return with_head(encoder, 3, rng=jax.random.key(1))


class Unseen(nn.Module):
    """A network in a style of its own: setup, a custom layer, a flag of its own for training."""

    def setup(self):
        self.first = nn.Dense(6)
        self.odd = Odd()
        self.norm = nn.BatchNorm()
        self.classifier = nn.Dense(3)

    def __call__(self, x, training=False):
        x = self.odd(nn.tanh(self.first(x)))
        return self.classifier(self.norm(x, not training))


class Odd(nn.Module):
    @nn.compact
    def __call__(self, x):
        w = self.param("mixing", nn.initializers.lecun_normal(), (6, 6))
        return x @ w + self.param("bias", nn.initializers.zeros, (6,))[None]


def unseen():
    variables = Unseen().init(jax.random.key(0), X)
    return from_module(Unseen(), variables, X, name="unseen")


HEAD = "classifier/.*"


@pytest.mark.parametrize(
    ("method", "trained"),
    [
        (LinearProbe(head=HEAD), {"classifier/kernel", "classifier/bias"}),
        (
            BitFit(head=HEAD),
            {"classifier/kernel", "classifier/bias", "first/bias", "norm/bias", "odd/bias"},
        ),
        (
            LoRA(rank=2, head=HEAD, targets=("first", "odd/mixing")),
            {
                "classifier/kernel",
                "classifier/bias",
                "delta/first/lora_a",
                "delta/first/lora_b",
                "delta/odd/mixing_lora_a",
                "delta/odd/mixing_lora_b",
            },
        ),
        (
            Full(head=HEAD),
            {
                *("classifier/kernel", "classifier/bias", "first/bias", "first/kernel"),
                *("norm/bias", "norm/scale", "odd/bias", "odd/mixing"),
            },
        ),
    ],
)
@pytest.mark.parametrize("statistics", ["frozen", "updated"])
def test_methods_train_a_network_never_seen_before(method, trained, statistics):
    model = unseen()
    adapted = adapt(model, method, rng=jax.random.key(0), statistics=statistics)
    labels = adapted.labels
    assert {p for p, v in labels.items() if partition.is_trainable(v)} == trained
    trainable, frozen = partition.split(adapted.variables, labels)

    @jax.jit
    def loss(trainable):
        variables = partition.join(trainable, frozen)
        outputs, updated = adapted.apply(variables, {"inputs": X}, train=True)
        return (outputs["logits"] ** 2).sum(), updated

    (before, updated), gradients = jax.value_and_grad(loss, has_aux=True)(trainable)
    after, _ = loss(jax.tree.map(lambda w, g: w - 1e-3 * g, trainable, gradients))
    assert after < before
    assert set(trees.flatten(updated)) == (
        {"batch_stats/norm/mean", "batch_stats/norm/var"} if statistics == "updated" else set()
    )


def test_frozen_statistics_normalise_with_themselves_in_training_too():
    for model, inputs in ((unseen(), {"inputs": X}), (staged(), {"image": X})):
        head = HEAD if model.name == "unseen" else "head/.*"
        adapted = adapt(model, Full(head=head), rng=jax.random.key(0))
        outputs, statistics = adapted.apply(adapted.variables, inputs, train=True)
        assert statistics == {}
        evaluated, _ = adapted.apply(adapted.variables, inputs)
        np.testing.assert_array_equal(outputs["logits"], evaluated["logits"])
        flat = trees.flatten_variables(adapted.variables)
        doubled = {p: x * 2 if p.startswith("batch_stats") else x for p, x in flat.items()}
        other, _ = adapted.apply(
            trees.unflatten_variables(doubled, adapted.variables), inputs, train=True
        )
        assert jnp.abs(other["logits"] - outputs["logits"]).max() > 1e-3


def test_updated_statistics_follow_the_batch():
    model = staged()
    adapted = adapt(model, LinearProbe(), rng=jax.random.key(0), statistics="updated")
    labels = adapted.labels
    assert {p for p, v in labels.items() if v == "statistic"} == {
        f"batch_stats/encoder/block_{i}/norm/{s}" for i in range(3) for s in ("mean", "var")
    }
    _, updated = adapted.apply(adapted.variables, {"image": X}, train=True)
    dense = model.variables["params"]["encoder"]["block_0"]["dense"]
    mean = (X @ dense["kernel"] + dense["bias"][None]).mean(axis=0)
    np.testing.assert_allclose(
        updated["batch_stats"]["encoder"]["block_0"]["norm"]["mean"], 0.5 * mean, atol=1e-6
    )
    _, none = adapted.apply(adapted.variables, {"image": X})
    assert none == {}


def test_statistics_must_exist_to_be_updated():
    model = from_module(nn.Dense(3), nn.Dense(3).init(jax.random.key(0), X), X, name="plain")
    with pytest.raises(AdaptationError, match="'plain' has no batch statistics to update"):
        adapt(model, Full(head=None), rng=jax.random.key(0), statistics="updated")
    with pytest.raises(AdaptationError, match="'frozen' or 'updated', not 'thawed'"):
        adapt(model, Full(head=None), rng=jax.random.key(0), statistics="thawed")


@pytest.mark.parametrize(
    ("method", "statistics", "prefix"),
    [
        (LinearProbe(), "frozen", 4),
        (LinearProbe(), "updated", 0),
        (TopStages(count=1), "frozen", 2),
        (TopStages(count=2), "frozen", 1),
        (Full(), "frozen", 0),
        (BitFit(), "frozen", 0),
        (LoRA(rank=2, targets=(".*block_2.*",)), "frozen", 2),
        (LinearProbe() | LoRA(rank=2, targets=(".*block_1.*",)), "frozen", 1),
    ],
)
def test_the_frozen_prefix_ends_where_something_moves(method, statistics, prefix):
    adapted = adapt(staged(), method, rng=jax.random.key(0), statistics=statistics)
    assert adapted.frozen_prefix == prefix


def test_a_network_without_stages_has_no_frozen_prefix():
    assert adapt(unseen(), LinearProbe(head=HEAD), rng=jax.random.key(0)).frozen_prefix == 0


def test_training_from_cached_activations_is_training_through_the_frozen_prefix():
    """Dropout of the prefix is off in training, and that of the rest draws the same bits."""
    adapted = adapt(staged(dropout=0.5), TopStages(count=1), rng=jax.random.key(0))
    prefix, rng = adapted.frozen_prefix, jax.random.key(3)
    whole, _ = adapted.apply(adapted.variables, {"image": X}, train=True, rng=rng)
    cached, _ = adapted.apply(adapted.variables, {"image": X}, stop=prefix)
    inside, _ = adapted.apply(adapted.variables, {"image": X}, train=True, rng=rng, stop=prefix)
    rest, _ = adapted.apply(adapted.variables, cached, train=True, rng=rng, start=prefix)
    np.testing.assert_array_equal(cached["x"], inside["x"])
    np.testing.assert_array_equal(whole["logits"], rest["logits"])
    evaluated, _ = adapted.apply(adapted.variables, {"image": X})
    assert jnp.abs(whole["logits"] - evaluated["logits"]).max() > 1e-3


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (TopStages(), "'top_stages' needs stages, and model 'unseen' has none"),
        (LinearProbe(), r"no parameter of model 'unseen' matches 'head/\.\*'.*with_head"),
        (LPFT(head=HEAD, then=Full(head=HEAD)), "has 2 phases"),
    ],
)
def test_a_method_that_cannot_act_is_refused_by_name(method, message):
    with pytest.raises(AdaptationError, match=message):
        adapt(unseen(), method, rng=jax.random.key(0))


def test_more_stages_than_there_are_is_refused():
    with pytest.raises(AdaptationError, match=r"4 stages.*3 with parameters \(block_0, block_1"):
        adapt(staged(), TopStages(count=4), rng=jax.random.key(0))


def test_bitfit_of_a_network_without_biases_is_refused():
    module = nn.Dense(3, use_bias=False)
    model = from_module(module, module.init(jax.random.key(0), X), X, name="bare")
    with pytest.raises(AdaptationError, match="'bare' has none outside the head; use lora"):
        adapt(model, BitFit(head=None), rng=jax.random.key(0))


def test_a_rule_that_trains_nothing_is_an_error():
    with pytest.raises(RuleError, match="wins no parameter"):
        adapt(staged(), Full() | BitFit(), rng=jax.random.key(0))


def test_a_base_that_holds_a_delta_is_refused():
    adapted = adapt(staged(), LoRA(rank=2), rng=jax.random.key(0))
    model = adapted.model
    with pytest.raises(AdaptationError, match="already has a collection 'delta'"):
        adapt(
            dataclasses.replace(model, variables=adapted.variables), LoRA(), rng=jax.random.key(0)
        )


def test_the_base_stays_as_it_is_bit_for_bit():
    model = staged()
    adapted = adapt(model, LoRA(rank=2), rng=jax.random.key(0))
    for path, leaf in trees.flatten_variables(model.variables).items():
        assert trees.flatten_variables(adapted.variables)[path] is leaf


def test_merging_keeps_trained_parameters_and_statistics():
    adapted = adapt(staged(), Full(), rng=jax.random.key(0), statistics="updated")
    moved = jax.tree.map(lambda x: x + 1, adapted.variables)
    merged = merge(adapted, moved)
    assert jax.tree.all(jax.tree.map(lambda a, b: jnp.array_equal(a, b), merged.variables, moved))


def test_lpft_trains_the_head_and_then_everything():
    first, second = LPFT().phases()
    assert first == LinearProbe()
    assert second == Full()
    assert LPFT(then=LoRA(rank=2)).phases() == (LinearProbe(), LoRA(rank=2))


def test_an_adapted_model_can_be_made_of_shapes():
    model = staged()
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), model.variables)
    abstract = dataclasses.replace(model, variables=shapes)
    assert (
        adapt(abstract, LoRA(rank=2), rng=jax.random.key(0)).labels
        == adapt(model, LoRA(rank=2), rng=jax.random.key(0)).labels
    )


class Flagged(nn.BatchNorm):
    """A BatchNorm with a flag of its own."""

    def __call__(self, x, train):
        return super().__call__(x, use_running_average=not train)


class OwnNorm(nn.Module):
    """A running mean kept without BatchNorm."""

    @nn.compact
    def __call__(self, x, train=False):
        mean = self.variable("batch_stats", "mean", jnp.zeros, x.shape[-1:])
        if train:
            mean.value = 0.5 * mean.value + 0.5 * x.mean(axis=0)
        return nn.Dense(3)(x - mean.value[None])


def test_a_class_that_derives_from_batch_norm_is_frozen_and_updated_as_it_is():
    class Network(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            return nn.Dense(3)(Flagged(momentum=0.5, name="norm")(x, train))

    model = from_module(Network(), Network().init(jax.random.key(0), X), X, name="flagged")
    frozen = adapt(model, Full(head=None), rng=jax.random.key(0))
    calm, _ = frozen.apply(frozen.variables, {"inputs": X})
    same, none = frozen.apply(frozen.variables, {"inputs": X}, train=True)
    np.testing.assert_array_equal(calm["logits"], same["logits"])
    assert none == {}
    updated = adapt(model, Full(head=None), rng=jax.random.key(0), statistics="updated")
    _, state = updated.apply(updated.variables, {"inputs": X}, train=True)
    np.testing.assert_allclose(
        state["batch_stats"]["norm"]["mean"], 0.5 * X.mean(axis=0), atol=1e-6
    )


def test_statistics_that_cannot_be_frozen_are_refused_by_name():
    model = from_module(OwnNorm(), OwnNorm().init(jax.random.key(0), X), X, name="own")
    frozen = adapt(model, Full(head=None), rng=jax.random.key(0))
    with pytest.raises(AdaptationError, match=r"'own' changes.*\"mean\".*statistics='updated'"):
        frozen.apply(frozen.variables, {"inputs": X}, train=True)
    updated = adapt(model, Full(head=None), rng=jax.random.key(0), statistics="updated")
    _, state = updated.apply(updated.variables, {"inputs": X}, train=True)
    assert jnp.any(state["batch_stats"]["mean"] != model.variables["batch_stats"]["mean"])


def test_a_trained_leaf_outside_every_stage_leaves_no_frozen_prefix():
    class Scaled(Staged):
        @nn.compact
        def __call__(self, inputs, *, train=False, start=0, stop=None):
            scale = self.param("scale", nn.initializers.ones, (8,))[None]
            x = inputs["image"] * scale if start == 0 else inputs["x"]
            for i in range(3):
                layer = Block(0.0, name=f"block_{i}")
                if start <= i and (stop is None or i < stop):
                    x = layer(x, train)
            return {"features": x} if stop is None else {"x": x}

    variables = Scaled().init(jax.random.key(0), {"image": X})
    stages = ("block_0", "block_1", "block_2")
    model = from_module(Scaled(), variables, {"image": X}, name="scaled", stages=stages)
    model = with_head(model, 3, rng=jax.random.key(0))
    scale = LinearProbe(head="(head/.*|encoder/scale)")
    assert adapt(model, LinearProbe(), rng=jax.random.key(0)).frozen_prefix == 3
    assert adapt(model, scale, rng=jax.random.key(0)).frozen_prefix == 0


def test_bitfit_of_a_network_with_a_bias_in_the_head_alone_is_refused():
    module = nn.Dense(4, use_bias=False)
    body = from_module(module, module.init(jax.random.key(0), X), X, name="bare", output="features")
    with pytest.raises(AdaptationError, match="'bare' has none outside the head"):
        adapt(with_head(body, 3, rng=jax.random.key(0)), BitFit(), rng=jax.random.key(0))


@pytest.mark.parametrize(
    "method",
    [
        LinearProbe(),
        TopStages(count=2),
        BitFit(),
        Full(),
        LoRA(rank=2),
        LoRA(rank=2) | BitFit(),
        Full() | LoRA(rank=2, targets=(".*block_1.*",)),
    ],
    ids=lambda m: "|".join(p.name for p in getattr(m, "methods", (m,))),
)
def test_gradients_of_what_trains_are_those_of_the_whole_restricted_to_it(method):
    model = staged()
    adapted = adapt(model, method, rng=jax.random.key(0))
    flat = trees.flatten_variables(adapted.variables)
    keys = jax.random.split(jax.random.key(9), len(flat))
    moved = {p: x + 0.1 * jax.random.uniform(k, x.shape) for k, (p, x) in zip(keys, flat.items())}
    variables = trees.unflatten_variables(moved, adapted.variables)
    trainable, frozen = partition.split(variables, adapted.labels)

    def loss(*parts):
        outputs, _ = adapted.apply(partition.join(*parts), {"image": X}, train=True)
        return (outputs["logits"] ** 2).sum()

    found = trees.flatten_variables(jax.jit(jax.grad(loss))(trainable, frozen))
    whole = trees.flatten_variables(jax.jit(jax.grad(loss))(variables))
    assert set(found) == {p for p, v in adapted.labels.items() if partition.is_trainable(v)}
    for path, leaf in found.items():
        scale = jnp.abs(whole[path]).max()
        np.testing.assert_allclose(leaf, whole[path], atol=1e-5 * float(scale), err_msg=path)


def test_what_is_no_method_is_refused():
    with pytest.raises(
        AdaptationError, match="method must be one such as LoRA\\(rank=8\\), not 'lora'"
    ):
        adapt(staged(), "lora", rng=jax.random.key(0))
