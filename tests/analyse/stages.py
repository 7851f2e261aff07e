"""A network whose stages are generic, of the task and of the source by construction."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxtransfer.data.examples import ArrayExamples
from jaxtransfer.models.model import from_module


class Scale(nn.Module):
    """Multiplies by a parameter of 1 a column."""

    @nn.compact
    def __call__(self, x):
        return x * self.param("scale", nn.initializers.ones, (x.shape[-1],))[None]


class Signs(nn.Module):
    """Inputs (b, 2); the sign of their product becomes linear in the second stage, and is lost."""

    @nn.compact
    def __call__(self, inputs, *, train=False, start=0, stop=None):
        stop = 4 if stop is None else stop
        x = inputs["inputs"] if start == 0 else inputs["x"]
        for index in range(start, stop):
            if index == 0:
                x = Scale(name="raw")(x)
            elif index == 1:
                x = Scale(name="product")(jnp.concatenate([x, x[:, :1] * x[:, 1:2]], axis=1))
            elif index == 2:
                x = 2.0 * x
            else:
                x = Scale(name="lost")(x[:, :2])
        return {"features": x} if stop == 4 else {"x": x}


STAGES = ("raw", "product", "double", "lost")


def signs():
    x = np.zeros((2, 2), np.float32)
    variables = jax.jit(Signs().init)(jax.random.key(0), {"inputs": x})
    return from_module(Signs(), variables, {"inputs": x}, name="signs", stages=STAGES)


def sign_examples(count=120, seed=0):
    x = np.random.default_rng(seed).uniform(-1, 1, size=(count, 2)).astype(np.float32)
    labels = (x[:, 0] * x[:, 1] > 0).astype(np.int32)
    return ArrayExamples(np.arange(count).astype(str), labels, {"inputs": x})
