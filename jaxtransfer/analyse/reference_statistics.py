"""How far data lie from what a backbone was trained on, by the statistics its BatchNorm layers keep.

Running means and variances are the one trace of the source domain that a checkpoint carries; a
network without BatchNorm carries none, and the score then says so.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxtransfer.analyse.score import Score, undefined
from jaxtransfer.analyse.stage_features import staged_encoder
from jaxtransfer.data.examples import RandomAccess
from jaxtransfer.errors import EvaluationError
from jaxtransfer.models.model import Model

NAME = "distance from source statistics"
DEFINITION = (
    "mean over BatchNorm layers and their channels of ((m - M)^2 + (s - S)^2) / S^2, the squared"
    " Frechet distance between one-dimensional Gaussians in units of the source's variance: m and s"
    " are a channel's mean and standard deviation on these inputs, M and S the running ones"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerShift:
    """One BatchNorm layer.

    Attributes:
      path: of its statistics.
      channels: how many.
      location: mean over channels of (m - M)^2 / S^2.
      spread: mean over channels of (s - S)^2 / S^2.
    """

    path: str
    channels: int
    location: float
    spread: float

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return dataclasses.asdict(self)


def distance_from_source(
    model: Model, examples: RandomAccess, *, batch_size: int = 64, rows: int = 512
) -> tuple[Score, tuple[LayerShift, ...]]:
    """Compares the inputs of every BatchNorm layer with the statistics that it keeps.

    Layers normalise with their running statistics, as in inference. The first `rows` examples are
    read, in whole batches and one smaller last one.

    Args:
      model: with or without a head.
      examples: of the new domain; labels are not read.
      batch_size: rows at a time.
      rows: at most so many examples.

    Returns:
      The score, undefined for a network without BatchNorm, and what each layer adds, in the order
      in which they run.

    Raises:
      EvaluationError: if there is no example.
    """
    count = min(rows, len(examples))
    if not count:
        raise EvaluationError("no examples, so no statistics to compare")
    encoder = staged_encoder(model) if model.stages else model
    totals: dict[str, list[np.ndarray]] = {}
    run = jax.jit(lambda variables, inputs: _moments(encoder, variables, inputs))
    for start in range(0, count, batch_size):
        positions = np.arange(start, min(count, start + batch_size))
        found = run(encoder.variables, examples.inputs(positions))
        for path, sums in found.items():
            values = [np.asarray(value, np.float64) for value in sums]
            old = totals.get(path, [np.zeros_like(value) for value in values])
            totals[path] = [a + b for a, b in zip(old, values)]
    layers = tuple(_shift(encoder, path, *sums) for path, sums in totals.items())
    if not layers:
        reason = f"{model.name} has no BatchNorm layer, so no statistics of its source domain"
        return undefined(NAME, count, DEFINITION, reason), ()
    value = float(np.mean([layer.location + layer.spread for layer in layers]))
    return Score(name=NAME, value=value, n=count, definition=DEFINITION), layers


def _moments(
    model: Model, variables: Any, inputs: Any
) -> dict[str, tuple[Float[Array, ""], Float[Array, "c"], Float[Array, "c"]]]:
    """By layer: positions seen, sums and sums of squares of each channel less its running mean."""
    found: dict[str, Any] = {}

    def watch(run: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if isinstance(module, nn.BatchNorm) and context.method_name == "__call__":
            x = jnp.asarray(args[0], jnp.float32)
            axes = tuple(range(x.ndim - 1))
            # About the running mean, so that float32 sums keep their digits.
            mean: Array = module.get_variable("batch_stats", "mean")
            centred = x - mean.reshape((1,) * (x.ndim - 1) + mean.shape)
            size = jnp.float32(np.prod([x.shape[axis] for axis in axes]))
            sums = (size, centred.sum(axes), (centred**2).sum(axes))
            found["/".join(module.path)] = sums
        return run(*args, **kwargs)

    with nn.intercept_methods(watch):
        model.apply(variables, inputs)
    return found


def _shift(
    model: Model, path: str, size: np.ndarray, sums: np.ndarray, squares: np.ndarray
) -> LayerShift:
    node: Any = model.variables["batch_stats"]
    for name in path.split("/"):
        node = node[name]
    scale = np.sqrt(np.maximum(np.asarray(node["var"], np.float64), 1e-12))
    offset = sums / size
    deviation = np.sqrt(np.maximum(squares / size - offset**2, 0.0))
    return LayerShift(
        path=path,
        channels=len(sums),
        location=float(((offset / scale) ** 2).mean()),
        spread=float(((deviation / scale - 1) ** 2).mean()),
    )
