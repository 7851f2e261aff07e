"""A network's variables as its module draws them: what it would be without pretraining."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxtransfer import trees
from jaxtransfer.errors import AdaptationError
from jaxtransfer.models.model import Model, Outputs


def initialiser(model: Model) -> Callable[[Array], dict[str, Any]]:
    """A function from a random key to fresh variables of a model, to be jitted.

    Every leaf is drawn by the module's own initialisers; the model's values are not used.

    Raises:
      AdaptationError: if the module does not draw leaves of the model's paths and shapes, naming some.
    """

    def forward(module: nn.Module) -> Outputs:
        inputs = {
            name: jnp.zeros(shape.shape, shape.dtype) for name, shape in model.example.items()
        }
        return model.call(module, inputs, train=False, start=0, stop=None)

    def draw(key: Array) -> dict[str, Any]:
        return dict(nn.init(forward, model.module)(key))

    drawn = jax.eval_shape(draw, jax.random.key(0))
    wanted, found = (
        {path: leaf.shape for path, leaf in trees.flatten_variables(tree).items()}
        for tree in (model.variables, drawn)
    )
    differing = sorted(path for path in {*wanted, *found} if wanted.get(path) != found.get(path))
    if differing:
        raise AdaptationError(
            f"model {model.name!r} cannot be drawn anew: its module initialises other leaves than it has, such as"
            f" {differing[:3]}"
        )
    return draw
