"""One feature vector an example after each stage of a network.

Tokens are averaged over their mask and maps over their positions, so that stages of any shape can
be probed and compared.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Float32

from jaxtransfer.data.examples import RandomAccess
from jaxtransfer.errors import AdaptationError
from jaxtransfer.models.bert import pool
from jaxtransfer.models.model import Model, Predictor, without_head
from jaxtransfer.train.compiled import CompiledSteps, hashable
from jaxtransfer.train.predict import by_example
from jaxtransfer.train.step import Precision, cast, cast_variables, compute_dtype


def stage_features(
    model: Model,
    examples: RandomAccess,
    *,
    batch_size: int = 64,
    mesh: Mesh | None = None,
    precision: Precision = "auto",
    compiled: CompiledSteps | None = None,
) -> dict[str, Float32[np.ndarray, "n d"]]:
    """Pooled features of every example after each stage, by stage in depth order.

    All stages are one compiled function; every example is computed once.

    Args:
      model: with stages; a linear head is left out.
      examples: n of them.
      batch_size: rows at a time.
      mesh: where to run; see `sharding.default_mesh`.
      precision: of the computation; see `step.compute_dtype`.
      compiled: executables to share.

    Raises:
      AdaptationError: if the model has no stages, or a stage gives nothing to pool.
    """
    encoder = staged_encoder(model)
    dtype = compute_dtype(precision)
    stages = encoder.stages
    # The closure must not keep the weights of the model that happened to be compiled first.
    bare = dataclasses.replace(encoder, variables={})

    def make():
        def run(variables, inputs):
            variables = cast_variables(variables, dtype)
            activations: Mapping[str, Any] = cast(dict(inputs), dtype)
            found = {}
            for index, stage in enumerate(stages):
                stop = None if index + 1 == len(stages) else index + 1
                activations = bare.apply(variables, activations, start=index, stop=stop)
                found[str(index)] = pooled(activations, stage=stage, model=bare.name)
            return found

        return run

    found = by_example(
        (
            "stage features",
            hashable(encoder.module),
            hashable(encoder.call),
            stages,
            dtype,
        ),
        make,
        encoder.variables,
        examples,
        batch_size=batch_size,
        mesh=mesh,
        compiled=compiled,
    )
    return {stage: found[str(index)] for index, stage in enumerate(stages)}


def staged_encoder(model: Model) -> Model:
    """The model without its linear head, if it can be run from stage to stage.

    Raises:
      AdaptationError: if it cannot.
    """
    encoder = without_head(model) if isinstance(model.module, Predictor) else model
    if not encoder.stages:
        raise AdaptationError(
            f"model {model.name!r} has no stages to analyse; make it with from_module(...,"
            " stages=...) and a module that takes start and stop"
        )
    return encoder


def pooled(activations: Mapping[str, Array], *, stage: str, model: str) -> Float[Array, "b d"]:
    """One float32 vector an example from what a stage gives.

    That is its `features`, else its `hidden`, else the only floating array there is. Tokens
    (b, t, d) are averaged over `attention_mask` where there is one, maps (b, h, w, d) over their
    positions.

    Args:
      activations: arrays (b, ...) by name.
      stage: for the message.
      model: for the message.

    Raises:
      AdaptationError: if no array is found, or it has another shape.
    """
    floating = [name for name, x in activations.items() if jnp.issubdtype(x.dtype, jnp.floating)]
    known = [name for name in ("features", "hidden") if name in activations]
    if not known and len(floating) != 1:
        raise AdaptationError(
            f"stage {stage!r} of model {model!r} gives {sorted(activations)}; to be analysed it must"
            " give 'features' or 'hidden', or one floating array alone"
        )
    array = activations[known[0] if known else floating[0]]
    if array.ndim == 2:
        return array.astype(jnp.float32)
    if array.ndim == 3:
        mask = activations.get("attention_mask", jnp.ones(array.shape[:2], jnp.int32))
        return pool(array, mask, "mean")
    if array.ndim == 4:
        return array.astype(jnp.float32).mean(axis=(1, 2))
    raise AdaptationError(
        f"stage {stage!r} of model {model!r} gives an array of shape {array.shape}; vectors"
        " (b, d), tokens (b, t, d) and maps (b, h, w, d) can be pooled"
    )
