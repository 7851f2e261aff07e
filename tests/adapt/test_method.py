import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtransfer import trees
from jaxtransfer.adapt import (
    LPFT,
    BitFit,
    Bottleneck,
    Compose,
    Full,
    LinearProbe,
    LoRA,
    TopStages,
    adapt,
    from_description,
    merge,
    names,
)
from jaxtransfer.errors import AdaptationError
from jaxtransfer.models.model import from_module, with_head
from jaxtransfer.models.site import Site
from jaxtransfer.trees import Rule

X = jnp.linspace(-1, 1, 16).reshape(2, 8)

METHODS = [
    LinearProbe(),
    LinearProbe(head="classifier/.*"),
    TopStages(count=3, head=None),
    BitFit(),
    LoRA(),
    LoRA(rank=4, alpha=3.5, dropout=0.1, targets=(".*query", Rule(".*mlp.*", 2, True))),
    Full(),
    LPFT(),
    LPFT(then=LoRA(rank=2)),
    Bottleneck(width=4, sites=("mlp_branch",)),
    LoRA() | BitFit(),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_a_description_survives_json_and_means_the_same(method):
    again = from_description(json.loads(json.dumps(method.describe())))
    assert again == method
    assert hash(again) == hash(method)


def test_every_method_has_a_grid_and_a_name():
    assert set(names()) == {
        *("linear_probe", "top_stages", "bitfit", "lora", "full", "lp_ft", "bottleneck", "compose")
    }
    for method in METHODS:
        assert all(0 < rate < 0.1 for rate in method.suggested_learning_rates)
        assert len(method.suggested_learning_rates) >= 2


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"method": "lorra"}, "no method 'lorra'; nearest: 'lora'"),
        ({"rank": 2}, "no method None"),
        ({"method": "lora", "rnak": 2}, "'lora' has no field 'rnak'; nearest: 'rank'"),
        ({"method": "lora", "rank": 0}, "rank 0 does nothing"),
        ({"method": "lora", "rank": "8"}, r"lora\.rank must be an integer, not '8'"),
        ({"method": "lora", "alpha": "x"}, r"lora\.alpha must be a finite number, not 'x'"),
        ({"method": "lora", "dropout": None}, r"lora\.dropout must be"),
        ({"method": "lora", "targets": 3}, r"lora\.targets must be"),
        ({"method": "lora", "targets": (3,)}, r"lora\.targets must be"),
        ({"method": "bottleneck", "width": 1.5}, r"bottleneck\.width must be an integer"),
        ({"method": "top_stages", "count": "x"}, r"top_stages\.count must be an integer"),
        ({"method": "top_stages", "count": 0}, "top_stages of 0 stages trains nothing"),
        ({"method": "bitfit", "head": 3}, r"bitfit\.head must be"),
        ({"method": "lora", "alpha": 0.0}, "alpha=0.0 does nothing"),
        ({"method": "lora", "dropout": 1.0}, "dropout is in"),
        ({"method": "bottleneck", "activation": "gellu"}, "no activation 'gellu'"),
    ],
)
def test_a_wrong_description_is_refused(description, message):
    with pytest.raises(AdaptationError, match=message):
        from_description(description)


class Sited(nn.Module):
    @nn.compact
    def __call__(self, x):
        for i in range(2):
            x = x + Site(name=f"mlp_{i}")(nn.Dense(8, name=f"layer_{i}")(x))
            x = x + Block(name=f"block_{i}")(x)
        return x


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return Site(name="mlp_branch")(nn.tanh(nn.Dense(8, name="up")(x)))


def make(module=None):
    module = module or Sited()
    body = from_module(module, module.init(jax.random.key(0), X), X, name="toy", output="features")
    return with_head(body, 3, rng=jax.random.key(1))


def moved(adapted):
    flat = trees.flatten(adapted.variables["delta"])
    keys = jax.random.split(jax.random.key(5), len(flat))
    new = {p: 0.3 * jax.random.normal(k, x.shape) for k, (p, x) in zip(keys, flat.items())}
    return {**adapted.variables, "delta": trees.unflatten(new)}


def logits(adapted, variables):
    return adapted.apply(variables, {"inputs": X})[0]["logits"]


def test_composition_is_flat_and_takes_equal_methods_once():
    probe, lora, bias = LinearProbe(), LoRA(rank=2), BitFit()
    assert probe | probe == probe
    assert (probe | lora) | bias == probe | (lora | bias)
    assert (probe | lora | probe).methods == (probe, lora)
    assert isinstance(lora | bias, Compose)


def test_composed_methods_act_together():
    model = make()
    lora, other = LoRA(rank=2, targets=(".*layer_.",)), LoRA(alpha=2.0, targets=(".*up",))
    bottleneck = Bottleneck(width=3, sites=("mlp_branch",))
    method = BitFit() | lora | other | bottleneck
    adapted = adapt(model, method, rng=jax.random.key(0))
    groups = {label for label in adapted.labels.values() if label != "frozen"}
    assert groups == {"head", "bias", "delta"}
    variables = moved(adapted)
    without = {
        path: leaf
        for path, leaf in trees.flatten(variables["delta"]).items()
        if "bottleneck" not in path
    }
    # The adapter's part is taken off by zeroing its up projection; what is left must merge.
    silent = {
        path: leaf * 0 if "bottleneck_up" in path else leaf
        for path, leaf in trees.flatten(variables["delta"]).items()
    }
    both = adapt(model, lora | other, rng=jax.random.key(0))
    merged = merge(both, {**model.variables, "delta": trees.unflatten(without)})
    np.testing.assert_allclose(
        logits(adapted, {**variables, "delta": trees.unflatten(silent)}),
        merged.apply(merged.variables, {"inputs": X})["logits"],
        atol=1e-5,
    )
    assert jnp.abs(logits(adapted, variables) - logits(both, moved(both))).max() > 1e-3


class Embedded(nn.Module):
    """An embedding and a custom matrix that act through the weights, and two dense layers."""

    @nn.compact
    def __call__(self, x):
        for name in ("first", "second"):
            w = self.param(name, nn.initializers.lecun_normal(), (8, 8))
            x = jnp.tanh(nn.Dense(8, name=f"{name}_dense")(x) @ w)
        return x


def test_methods_that_act_through_either_handle_merge_together_in_any_order():
    parts = (
        LoRA(rank=2, alpha=3.0, targets=(".*/first",)),
        LoRA(rank=3, targets=(".*/second", ".*/first_dense")),
        BitFit(),
        LoRA(rank=1, alpha=2.0, targets=(".*/second_dense",)),
    )
    model = make(Embedded())
    outputs = []
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)):
        method = parts[order[0]] | parts[order[1]] | parts[order[2]] | parts[order[3]]
        adapted = adapt(model, method, rng=jax.random.key(0))
        variables = moved(adapted)
        merged = merge(adapted, variables)
        outputs.append(logits(adapted, variables))
        assert "delta" not in merged.variables
        np.testing.assert_allclose(
            outputs[-1], merged.apply(merged.variables, {"inputs": X})["logits"], atol=1e-5
        )
    assert jnp.abs(outputs[0] - model.apply(model.variables, {"inputs": X})["logits"]).max() > 1e-2


def test_a_method_composes_with_methods_alone():
    with pytest.raises(TypeError, match="unsupported operand"):
        LoRA() | "bitfit"


def test_clashing_new_leaves_are_refused():
    method = LoRA(rank=2) | LoRA(rank=2, alpha=1.0)
    with pytest.raises(AdaptationError, match=r"clash on model 'toy'.*lora_a"):
        adapt(make(), method, rng=jax.random.key(0))


def test_a_method_of_several_phases_does_not_compose():
    with pytest.raises(AdaptationError, match="'lp_ft' has 2 phases and cannot act beside"):
        LPFT() | LoRA()


def test_bottlenecks_start_as_the_identity_and_compute_their_definition():
    model = make()
    method = Bottleneck(width=3, sites=("mlp_branch",), activation="relu")
    adapted = adapt(model, method, rng=jax.random.key(0))
    base = model.apply(model.variables, {"inputs": X})["logits"]
    np.testing.assert_array_equal(logits(adapted, adapted.variables), base)
    variables = moved(adapted)
    delta = variables["delta"]["encoder"]
    assert set(delta) == {"block_0", "block_1"}
    params = model.variables["params"]

    def dense(p, x):
        return x @ p["kernel"] + p["bias"][None]

    x = X
    for i in range(2):
        x = x + dense(params["encoder"][f"layer_{i}"], x)
        branch = jnp.tanh(dense(params["encoder"][f"block_{i}"]["up"], x))
        d = {k[11:]: v for k, v in delta[f"block_{i}"]["mlp_branch"].items()}
        hidden = jax.nn.relu(branch @ d["down_kernel"] + d["down_bias"][None])
        x = x + branch + hidden @ d["up_kernel"] + d["up_bias"][None]
    np.testing.assert_allclose(logits(adapted, variables), dense(params["head"], x), atol=1e-5)


def test_bottlenecks_say_why_they_cannot_act_or_merge():
    class Plain(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(8, name="up")(x)

    with pytest.raises(AdaptationError, match="'bottleneck' acts at sites, and model 'toy' has no"):
        adapt(make(Plain()), Bottleneck(), rng=jax.random.key(0))
    with pytest.raises(AdaptationError, match="no site 'attention_branch'; nearest: "):
        adapt(make(), Bottleneck(), rng=jax.random.key(0))
    adapted = adapt(make(), Bottleneck(sites=("mlp_branch",)), rng=jax.random.key(0))
    with pytest.raises(AdaptationError, match=r"cannot be merged.*not linear"):
        merge(adapted)
