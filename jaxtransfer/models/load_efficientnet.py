"""Builds an EfficientNet-Lite of a checkpoint in `efficientnet_lite_pytorch`'s names."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import ShapeDtypeStruct

from jaxtransfer import trees
from jaxtransfer.errors import ConfigError, PretrainedError
from jaxtransfer.models.efficientnet import FAMILY, EfficientNetLite, blocks
from jaxtransfer.models.efficientnet_names import CLASSIFIER_RULES, RULES
from jaxtransfer.models.model import ENCODER, HEAD, Model, with_head
from jaxtransfer.pretrained.merge import merge
from jaxtransfer.pretrained.names import rename

# Of TensorFlow's efficientnet_lite_builder: (pixel - 127) / 128, here on pixels scaled to [0, 1].
MEAN = (127 / 255,) * 3
STD = (128 / 255,) * 3


def load(
    weights: Mapping[str, np.ndarray],
    architecture: str,
    source: str,
    name: str,
    *,
    image_size: int | None,
    classifier: bool,
    dropout: float,
    dtype: Any,
) -> Model:
    """Builds the model; see `zoo.load`.

    Raises:
      PretrainedError: if the weights do not fit the architecture.
      ConfigError: if the image size is not positive.
    """
    from jaxtransfer.data.images import ImagePreprocess

    size = FAMILY[architecture].image_size if image_size is None else image_size
    if size < 1:
        raise ConfigError(f"image_size {image_size} is not a number of pixels")
    module = EfficientNetLite(blocks(architecture), dropout=dropout, dtype=dtype)
    example = {"image": ShapeDtypeStruct((2, size, size, 3), jnp.float32)}
    model = Model(
        name=name,
        module=module,
        variables=jax.eval_shape(module.init, jax.random.key(0), example),
        example=example,
        stages=module.stages,
        features=module.top,
        preprocess=ImagePreprocess(size, MEAN, STD),
        source=source,
    )
    arrays = rename(weights, CLASSIFIER_RULES if classifier else RULES, source=source)
    if classifier:
        classes = len(arrays[f"{HEAD}/bias"]) if f"{HEAD}/bias" in arrays else 1000
        model = with_head(model, classes, rng=jax.random.key(0))
        arrays = {_under_encoder(path): array for path, array in arrays.items()}
    variables = merge(model.variables, arrays, name=architecture, source=source)
    return dataclasses.replace(model, variables=jax.tree.map(jnp.array, variables))


def _under_encoder(path: str) -> str:
    if path.startswith(f"{HEAD}/"):
        return path
    collection = "batch_stats/"
    if path.startswith(collection):
        return f"{collection}{ENCODER}/{path.removeprefix(collection)}"
    return f"{ENCODER}/{path}"


def recognise(weights: Mapping[str, np.ndarray], source: str) -> str:
    """The member of the family whose leaves a checkpoint has, by their shapes.

    Raises:
      PretrainedError: if none has them.
    """
    arrays = rename(weights, RULES, source=source)
    shapes = {path: tuple(array.shape) for path, array in arrays.items()}
    example = {"image": ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)}
    for architecture in FAMILY:
        module = EfficientNetLite(blocks(architecture))
        template = jax.eval_shape(module.init, jax.random.key(0), example)
        flat = trees.flatten_variables(template)
        if shapes == {path: tuple(leaf.shape) for path, leaf in flat.items()}:
            return architecture
    raise PretrainedError(
        f"{source}: fits none of {', '.join(FAMILY)}; give architecture= to see what differs"
    )
