"""Methods on networks under Linen's lifted transformations."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtransfer import trees
from jaxtransfer.adapt import LoRA, adapt, merge
from jaxtransfer.adapt.modules import module_index
from jaxtransfer.errors import AdaptationError
from jaxtransfer.models.model import from_module

X = jnp.linspace(-1, 1, 12).reshape(2, 6)


class Layer(nn.Module):
    @nn.compact
    def __call__(self, x, _=None):
        w = self.param("gate", nn.initializers.normal(), (6, 6))
        return jnp.tanh(nn.Dense(6, name="dense")(x) @ w), None


def scanned(axes):
    class Scanned(nn.Module):
        @nn.compact
        def __call__(self, x):
            layers = nn.scan(Layer, variable_axes=axes, split_rngs={"params": True}, length=3)
            return layers(name="layers")(x, None)[0]

    return Scanned()


class Rematerialised(nn.Module):
    @nn.compact
    def __call__(self, x):
        for i in range(3):
            x, _ = nn.remat(Layer)(name=f"layer_{i}")(x)
        return x


class RematerialisedDense(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.remat(nn.Dense)(6, name="dense")(x)


class Jitted(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.jit(Layer)(name="layer")(x)[0]


class Mapped(nn.Module):
    @nn.compact
    def __call__(self, x):
        heads = nn.vmap(
            Layer,
            variable_axes={"params": 0, "delta": 0},
            split_rngs={"params": True},
            in_axes=(None,),
            axis_size=4,
        )
        return heads(name="heads")(x)[0].mean(axis=0)


MODULES = {
    "scan": scanned({"params": 0, "delta": 0}),
    "remat": Rematerialised(),
    "remat_dense": RematerialisedDense(),
    "jit": Jitted(),
    "vmap": Mapped(),
}
EVERY = LoRA(rank=2, targets=(".*",), head=None)


def make(module):
    return from_module(module, module.init(jax.random.key(0), X), X, name="toy")


@pytest.mark.parametrize("name", MODULES)
def test_lora_acts_and_merges_under_a_lifted_transformation(name):
    model = make(MODULES[name])
    adapted = adapt(model, EVERY, rng=jax.random.key(0))
    flat = trees.flatten(adapted.variables["delta"])
    keys = jax.random.split(jax.random.key(1), len(flat))
    delta = trees.unflatten(
        {p: jax.random.normal(k, x.shape) * 0.3 for k, (p, x) in zip(keys, flat.items())}
    )
    variables = {**adapted.variables, "delta": delta}
    merged = merge(adapted, variables)

    @jax.jit
    def run(delta):
        return adapted.apply({**variables, "delta": delta}, {"inputs": X})[0]["logits"]

    reference = merged.apply(merged.variables, {"inputs": X})["logits"]
    base = model.apply(model.variables, {"inputs": X})["logits"]
    assert jnp.abs(reference - base).max() > 1e-2
    np.testing.assert_allclose(run(delta), reference, atol=1e-6)
    gradients = trees.flatten(jax.grad(lambda d: (run(d) ** 2).sum())(delta))
    assert all(jnp.abs(g).max() > 0 for g in gradients.values())


@pytest.mark.parametrize("name", ["scan", "vmap"])
def test_stacked_modules_get_stacked_leaves(name):
    model = make(MODULES[name])
    depth = {"scan": 3, "vmap": 4}[name]
    shapes = {p: x.shape for p, x in trees.flatten(EVERY.init(jax.random.key(0), model)).items()}
    path = {"scan": "layers", "vmap": "heads"}[name]
    assert shapes == {
        f"{path}/dense/lora_a": (depth, 6, 2),
        f"{path}/dense/lora_b": (depth, 2, 6),
        f"{path}/gate_lora_a": (depth, 6, 2),
        f"{path}/gate_lora_b": (depth, 2, 6),
    }


def test_a_scan_that_does_not_pass_the_delta_is_refused_and_the_leaves_named():
    model = make(scanned({"params": 0}))
    method = LoRA(rank=2, targets=(".*/dense",), head=None)
    with pytest.raises(
        AdaptationError, match=r"2 of 2.*'delta/layers/dense/lora_a'.*variable_axes"
    ):
        adapt(model, method, rng=jax.random.key(0))


def test_a_scan_that_shares_the_delta_is_refused():
    class Shared(nn.Module):
        @nn.compact
        def __call__(self, x):
            layers = nn.scan(
                Layer,
                variable_axes={"params": 0},
                variable_broadcast="delta",
                split_rngs={"params": True},
                length=3,
            )
            return layers(name="layers")(x, None)[0]

    method = LoRA(rank=2, targets=(".*/dense",), head=None)
    with pytest.raises(AdaptationError, match="'delta/layers/dense' arrives with shape"):
        adapt(make(Shared()), method, rng=jax.random.key(0))


def test_a_module_whose_output_is_not_used_is_refused():
    class Wasteful(nn.Module):
        @nn.compact
        def __call__(self, x):
            nn.Dense(3, name="unused")(x)
            return nn.Dense(3, name="used")(x)

    model = make(Wasteful())
    with pytest.raises(AdaptationError, match=r"2 of 4.*'delta/unused/lora_a'"):
        adapt(model, LoRA(rank=2, head=None), rng=jax.random.key(0))


def test_the_index_shows_shapes_as_modules_see_them():
    index = module_index(make(MODULES["scan"]))
    assert index["layers/dense"].type is nn.Dense
    assert index["layers/dense"].params == {"kernel": (6, 6), "bias": (6,)}
    assert index["layers/dense"].inputs == ((2, 6),)


def test_a_scan_that_stacks_along_another_axis_is_refused():
    model = make(scanned({"params": 1, "delta": 1}))
    method = LoRA(rank=2, targets=(".*/dense",), head=None)
    with pytest.raises(AdaptationError, match="only stacking along the first axis"):
        adapt(model, method, rng=jax.random.key(0))
