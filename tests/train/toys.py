"""Small networks and data for tests of training."""

import functools
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from jaxtransfer.adapt import adapt
from jaxtransfer.adapt.freezing import Full
from jaxtransfer.data.examples import ArrayExamples
from jaxtransfer.models.model import from_module, with_head
from jaxtransfer.objectives import Objective, cross_entropy
from jaxtransfer.train.recipe import Recipe


class Block(nn.Module):
    width: int
    norm: bool
    dropout: float

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(self.width, name="dense")(x)
        if self.norm:
            x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        return nn.Dropout(self.dropout)(nn.tanh(x), deterministic=not train)


class Staged(nn.Module):
    """An encoder of `depth` blocks, runnable from stage to stage."""

    width: int = 8
    depth: int = 3
    norm: bool = False
    dropout: float = 0.0

    @nn.compact
    def __call__(self, inputs, *, train=False, start=0, stop=None):
        stop = self.depth if stop is None else stop
        x = inputs["inputs"] if start == 0 else inputs["hidden"]
        for index in range(start, stop):
            x = Block(self.width, self.norm, self.dropout, name=f"block_{index}")(x, train)
        return {"features": x} if stop == self.depth else {"hidden": x}


@functools.lru_cache(maxsize=16)
def make_model(*, inputs: int = 6, classes: int = 3, seed: int = 0, **settings: Any):
    module = Staged(**settings)
    x = np.zeros((2, inputs), np.float32)
    variables = jax.jit(module.init)(jax.random.key(seed), {"inputs": x})
    stages = tuple(f"block_{i}" for i in range(module.depth))
    encoder = from_module(module, variables, {"inputs": x}, name="toy", stages=stages)
    return with_head(encoder, classes, rng=jax.random.key(seed + 1))


@functools.lru_cache(maxsize=32)
def make_adapted(method=None, *, statistics="frozen", **settings: Any):
    method = Full() if method is None else method
    return adapt(make_model(**settings), method, rng=jax.random.key(7), statistics=statistics)


def make_examples(
    count: int = 22, *, inputs: int = 6, classes: int = 3, seed: int = 0, name: str = "e"
):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count).astype(np.int32)
    centres = np.random.default_rng(99).normal(size=(classes, inputs))
    x = (centres[labels] + 0.5 * rng.normal(size=(count, inputs))).astype(np.float32)
    ids = np.array([f"{name}{i}" for i in range(count)])
    return ArrayExamples(ids=ids, labels=labels, arrays={"inputs": x})


def supervised() -> Objective:
    return Objective((cross_entropy(),))


def make_recipe(**settings: Any) -> Recipe:
    return Recipe(**{"steps": 12, "batch_size": 8, "learning_rate": 0.01, **settings})
