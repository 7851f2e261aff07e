"""The one training step, pure: gradients of the trainable leaves alone, and an update of them.

Learning rate and weight decay are arguments and the seed is in the state, so one compilation serves
a sweep over all three.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxtransfer import partition
from jaxtransfer.adapt.adapted import Adapted
from jaxtransfer.errors import ConfigError, nearest
from jaxtransfer.objectives.terms import Context, Objective
from jaxtransfer.optim import Optimizer
from jaxtransfer.partition import DELTA
from jaxtransfer.train.state import Frozen, TrainState
from jaxtransfer.trees import PARAMS

LABELED = "labeled"
Precision = Literal["auto", "float32", "bfloat16"]
Batch = Mapping[str, Mapping[str, Any]]
"""By stream: `inputs`, `label` (b,), `mask` (b,)."""
Step = Callable[..., tuple[TrainState, dict[str, Array]]]


def compute_dtype(precision: Precision) -> jnp.dtype:
    """The dtype that forward and backward run in; 'auto' is bfloat16 on GPU and TPU.

    Raises:
      ConfigError: if the precision is unknown.
    """
    known = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
    if precision == "auto":
        precision = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    if precision not in known:
        raise ConfigError(
            f"unknown precision {precision!r}; nearest: {nearest(precision, [*known, 'auto'])}"
        )
    return jnp.dtype(known[precision])


def cast(tree: Any, dtype: Any) -> Any:
    """Casts the floating leaves of a tree; integers, masks and keys stay."""

    def convert(leaf):
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(convert, tree)


def cast_variables(variables: Mapping[str, Any], dtype: Any) -> dict[str, Any]:
    """Casts parameters and deltas; running statistics stay as they are, lest their sums stall."""
    return {
        name: cast(tree, dtype) if name in (PARAMS, DELTA) else tree
        for name, tree in variables.items()
    }


def make_train_step(
    adapted: Adapted,
    objective: Objective,
    optimizer: Optimizer,
    *,
    start: int = 0,
    precision: Precision = "auto",
) -> Step:
    """Makes `step(state, frozen, batch, learning_rate, weight_decay) -> (state, metrics)`.

    Each stream of the batch has a forward pass of its own, in the order of `objective.streams`;
    statistics that are updated go from one to the next. Stages of the frozen prefix run as in
    evaluation. Parameters are float32, forward and backward run in the compute dtype, outputs and
    loss are float32.

    Args:
      adapted: model, method and labels; its variables are not used.
      objective: sum of terms.
      optimizer: over the same labels.
      start: stage that the inputs are activations for; 0 for the network's own inputs.
      precision: see `compute_dtype`.

    Returns:
      The step, to be jitted. Metrics are float32 scalars: `loss`, `grad_norm` (over the trainable
      leaves, before the clip) and what the terms report.
    """
    dtype = compute_dtype(precision)
    # The closure must not keep the weights of the run that happened to be compiled first.
    adapted = dataclasses.replace(adapted, variables={})

    def forward(variables, inputs, rng):
        return adapted.apply(variables, cast(dict(inputs), dtype), train=True, rng=rng, start=start)

    def loss(trainable, state, frozen, batch, rng):
        outputs, statistics = {}, state.statistics
        for index, stream in enumerate(objective.streams):
            variables = partition.join(trainable, statistics, frozen.variables)
            found, updated = forward(
                cast_variables(variables, dtype),
                batch[stream]["inputs"],
                jax.random.fold_in(rng, index),
            )
            outputs[stream] = cast(found, jnp.float32)
            statistics = cast(updated, jnp.float32) or statistics
        context = Context(
            rng=jax.random.fold_in(rng, len(objective.streams)),
            step=state.step,
            trainable=trainable,
            reference=frozen.reference,
        )
        value, metrics = objective(outputs, batch, context)
        return value, (metrics, statistics)

    def step(
        state: TrainState,
        frozen: Frozen,
        batch: Batch,
        learning_rate: Float[Array, ""],
        weight_decay: Float[Array, ""],
    ) -> tuple[TrainState, dict[str, Array]]:
        rng = jax.random.fold_in(state.key, state.step)
        (value, (metrics, statistics)), grads = jax.value_and_grad(loss, has_aux=True)(
            state.trainable, state, frozen, batch, rng
        )
        mask = batch[_weighing_stream(objective)]["mask"]
        updates, optimizer_state = optimizer.update(
            grads,
            state.optimizer,
            state.trainable,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            weight=jnp.sum(mask, dtype=jnp.float32),
        )
        state = state.replace(
            step=state.step + 1,
            trainable=optax.apply_updates(state.trainable, updates),
            statistics=statistics,
            optimizer=optimizer_state,
        )
        metrics = {**metrics, "loss": value, "grad_norm": optax.tree.norm(grads)}
        return state, {name: jnp.asarray(v, jnp.float32) for name, v in metrics.items()}

    return step


def make_steps(step: Step, length: int) -> Callable[..., tuple[TrainState, dict[str, Array]]]:
    """Makes one call of up to `length` steps over examples that are in device memory.

    The result is `steps(state, frozen, data, rows, count, learning_rate, weight_decay)`: `data` by
    stream holds `inputs` (n, ...) and `label` (n,); `rows` by stream (length, b) int32 gives each
    step's examples, -1 where padded. It takes `count` steps and gives metrics (length,), of which
    the first `count` count. The number of steps is an argument: whatever an interruption leaves to
    do runs the same code, and ends with the same bits.
    """

    def gather(data, rows):
        kept = jnp.maximum(rows, 0)
        return {
            "inputs": jax.tree.map(lambda x: x[kept], data["inputs"]),
            "label": data["label"][kept],
            "mask": rows >= 0,
            "id": rows,
        }

    def steps(state, frozen, data, rows, count, learning_rate, weight_decay):
        def one(state, index):
            batch = {name: gather(data[name], rows[name][index]) for name in rows}
            return step(state, frozen, batch, learning_rate, weight_decay)

        shapes = jax.eval_shape(one, state, jnp.zeros((), jnp.int32))[1]
        history = {name: jnp.zeros((length,), s.dtype) for name, s in shapes.items()}

        def body(index, carry):
            state, history = carry
            state, metrics = one(state, index)
            return state, {name: history[name].at[index].set(metrics[name]) for name in history}

        return jax.lax.fori_loop(0, count, body, (state, history))

    return steps


def make_predict(
    adapted: Adapted, *, start: int = 0, stop: int | None = None, precision: Precision = "auto"
) -> Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Array]]:
    """Makes `predict(variables, inputs) -> outputs`, as in evaluation.

    With `stop` the outputs are activations, in the compute dtype; else they are float32.
    """
    dtype = compute_dtype(precision)
    adapted = dataclasses.replace(adapted, variables={})

    def predict(variables, inputs):
        outputs, _ = adapted.apply(
            cast_variables(variables, dtype),
            cast(dict(inputs), dtype),
            train=False,
            start=start,
            stop=stop,
        )
        return dict(outputs) if stop is not None else cast(dict(outputs), jnp.float32)

    return predict


def _weighing_stream(objective: Objective) -> str:
    return LABELED if LABELED in objective.streams else objective.streams[0]
