"""What a network says about examples: every one exactly once, in their order."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float32

from jaxtransfer.adapt.adapted import Adapted
from jaxtransfer.data.examples import RandomAccess
from jaxtransfer.data.stream import eval_batches
from jaxtransfer.errors import EvaluationError
from jaxtransfer.train import sharding
from jaxtransfer.train.cache import ActivationCache
from jaxtransfer.train.compiled import SHARED, CompiledSteps, structure_of
from jaxtransfer.train.step import Precision, compute_dtype, make_predict

ROWS = ("logits", "features")


def predict(
    adapted: Adapted,
    variables: Mapping[str, Any],
    examples: RandomAccess,
    *,
    batch_size: int = 64,
    mesh: Mesh | None = None,
    cache: ActivationCache | None = None,
    precision: Precision = "auto",
    compiled: CompiledSteps | None = None,
) -> Float32[np.ndarray, "n k"]:
    """Logits of every example, in the examples' order.

    The last batch is padded and the padding dropped, so one shape compiles and none is lost.

    Args:
      adapted: model and method.
      variables: trained ones.
      examples: n of them.
      batch_size: rows at a time, over all devices.
      mesh: where to run; see `sharding.default_mesh`.
      cache: activations to start from, if the method leaves leading stages alone.
      precision: see `step.compute_dtype`; logits are float32 in any case.
      compiled: executables to share.
    """
    return run(
        adapted,
        variables,
        examples,
        batch_size=batch_size,
        mesh=mesh,
        cache=cache,
        precision=precision,
        compiled=compiled,
    )["logits"]


def extract_features(
    adapted: Adapted, variables: Mapping[str, Any], examples: RandomAccess, **options: Any
) -> Float32[np.ndarray, "n d"]:
    """Features of every example, in the examples' order; options as for `predict`.

    Raises:
      EvaluationError: if the network gives none.
    """
    outputs = run(adapted, variables, examples, **options)
    if "features" not in outputs:
        raise EvaluationError(
            f"model {adapted.model.name!r} gives {sorted(outputs)} and no 'features'"
        )
    return outputs["features"]


def run(
    adapted: Adapted,
    variables: Mapping[str, Any],
    examples: RandomAccess,
    *,
    batch_size: int = 64,
    mesh: Mesh | None = None,
    cache: ActivationCache | None = None,
    precision: Precision = "auto",
    compiled: CompiledSteps | None = None,
) -> dict[str, np.ndarray]:
    """Logits and features, as far as there are any, in float32; arguments as for `predict`."""
    mesh = sharding.default_mesh() if mesh is None else mesh
    compiled = SHARED if compiled is None else compiled
    start = 0
    if cache is not None and adapted.frozen_prefix:
        found = cache.examples(
            adapted,
            variables,
            examples,
            adapted.frozen_prefix,
            precision=precision,
            batch_size=batch_size,
            compiled=compiled,
        )
        if found is not None:
            examples, start = found, adapted.frozen_prefix
    return by_example(
        ("predict", structure_of(adapted), start, compute_dtype(precision)),
        lambda: _kept(make_predict(adapted, start=start, precision=precision)),
        variables,
        examples,
        batch_size=batch_size,
        mesh=mesh,
        compiled=compiled,
    )


def by_example(
    key: Hashable,
    make: Callable[[], Callable[..., Mapping[str, Any]]],
    variables: Mapping[str, Any],
    examples: RandomAccess,
    *,
    batch_size: int = 64,
    mesh: Mesh | None = None,
    compiled: CompiledSteps | None = None,
) -> dict[str, np.ndarray]:
    """What a function gives of every example, in the examples' order; compiled once.

    Args:
      key: what the function computes; see `CompiledSteps.get`.
      make: makes it: from variables and inputs (b, ...) to arrays (b, ...) by name, which are
        neither `id` nor `mask`.
      variables: its first argument, placed whole on every device.
      examples: n of them.
      batch_size: rows at a time, over all devices.
      mesh: where to run; see `sharding.default_mesh`.
      compiled: executables to share.
    """
    mesh = sharding.default_mesh() if mesh is None else mesh
    compiled = SHARED if compiled is None else compiled
    placed = place_whole(variables, mesh)
    rows: dict[str, np.ndarray] = {}
    for batch in eval_batches(
        examples,
        batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    ):
        arguments = (placed, sharding.place_batch(batch, mesh, batch_size))
        function = compiled.get(
            key, lambda: _by_row(make()), arguments, out_shardings=sharding.replicated(mesh)
        )
        outputs = {name: np.asarray(array) for name, array in function.call(*arguments).items()}
        real = outputs.pop("mask")
        positions = outputs.pop("id")[real]
        for name, array in outputs.items():
            if name not in rows:
                rows[name] = np.empty((len(examples), *array.shape[1:]), array.dtype)
            rows[name][positions] = array[real]
    return rows


def _kept(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def predict_batch(variables, inputs):
        outputs = function(variables, inputs)
        return {name: outputs[name] for name in ROWS if name in outputs}

    return predict_batch


def _by_row(function: Callable[..., Mapping[str, Any]]) -> Callable[..., dict[str, Any]]:
    def of_batch(variables, batch):
        outputs = function(variables, batch["inputs"])
        return {**outputs, "id": batch["id"], "mask": batch["mask"]}

    return of_batch


def place_whole(variables: Mapping[str, Any], mesh: Mesh) -> Any:
    """Puts variables whole on every device of a mesh; those that are on it stay where they are."""

    def is_placed(leaf):
        return isinstance(leaf, jax.Array) and getattr(leaf.sharding, "mesh", None) == mesh

    whole = sharding.replicated(mesh)
    return jax.tree.map(
        lambda leaf: leaf if is_placed(leaf) else sharding.place(leaf, whole), dict(variables)
    )
