"""Trains many heads at once on the cached activations of one frozen network.

Runs that differ in learning rate, weight decay, batch size and seed alone take their steps in one
vectorised call: a step over such small matrices costs its overhead, which they then share.
"""

import dataclasses
import math
import time
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from jaxtransfer.adapt.adapted import Adapted
from jaxtransfer.data.examples import RandomAccess
from jaxtransfer.data.stream import PADDING, Stream
from jaxtransfer.objectives.terms import Objective
from jaxtransfer.train.cache import ActivationCache
from jaxtransfer.train.compiled import Compiled, CompiledSteps, structure_of
from jaxtransfer.train.recipe import Recipe
from jaxtransfer.train.runner import SCAN_LENGTH, step_key
from jaxtransfer.train.state import Frozen, TrainState, init_state, variables_of
from jaxtransfer.train.step import (
    LABELED,
    compute_dtype,
    make_predict,
    make_steps,
    make_train_step,
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Member:
    """One of the runs, in what it may differ from the others.

    Attributes:
      adapted: where it starts; members of one seed share it.
      learning_rate: peak rate.
      weight_decay: decoupled.
      batch_size: examples of a step; smaller ones are padded to the largest, and masked.
      seed: of the order of the data.
    """

    adapted: Adapted
    learning_rate: float
    weight_decay: float
    batch_size: int
    seed: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Together:
    """What the members left, in their order.

    Attributes:
      logits: of the validation examples.
      diverged: of each member what went wrong, or an empty text.
      trainable: parameters that each trained.
      seconds: of training and prediction of all members, without compilation.
      flops: of one member's steps, by XLA's count.
    """

    logits: Float32[np.ndarray, "members n k"]
    diverged: tuple[str, ...]
    trainable: int
    seconds: float
    flops: float


def can_share_steps(adapted: Adapted, recipe: Recipe) -> bool:
    """Whether `train_together` takes it: the last stage alone trains, and to the last step."""
    boundary = adapted.frozen_prefix
    is_head = boundary > 0 and boundary >= len(adapted.model.stages) - 1
    return is_head and adapted.statistics == "frozen" and not recipe.patience


def train_together(
    members: Sequence[Member],
    examples: RandomAccess,
    validation: RandomAccess,
    objective: Objective,
    recipe: Recipe,
    *,
    cache: ActivationCache,
    compiled: CompiledSteps,
) -> Together | None:
    """Trains the members side by side and predicts the validation examples with each.

    A member ends where `loop.train` would end with its rates, batch size and seed, up to rounding.
    The number of members is padded to a power of two, so that few shapes compile.

    Args:
      members: at least one, of one structure (`can_share_steps`).
      examples: to train on.
      validation: to predict.
      objective: over the stream `labeled`.
      recipe: of all members; their own rates and batch size take the place of its.
      cache: of activations.
      compiled: executables to share.

    Returns:
      The outcome; None if the cache cannot hold the activations.
    """
    adapted = members[0].adapted
    start = adapted.frozen_prefix
    train, queries = (
        cache.examples(
            adapted,
            adapted.variables,
            part,
            start,
            precision=recipe.precision,
            batch_size=recipe.evaluation_batch_size,
            compiled=compiled,
        )
        for part in (examples, validation)
    )
    if train is None or queries is None:
        return None
    count = len(members)
    padded = [*members, *[members[-1]] * (2 ** math.ceil(math.log2(count)) - count)]
    optimizer = recipe.optimizer(adapted)
    state, frozen = _states(padded, optimizer, keep_reference=objective.needs_reference)
    data = {
        LABELED: {
            "inputs": _on_device(train.inputs(np.arange(len(train)))),
            "label": jnp.asarray(np.asarray(train.labels)),
        }
    }
    rates = tuple(
        jnp.asarray([getattr(member, name) for member in padded], jnp.float32)
        for name in ("learning_rate", "weight_decay")
    )
    length = min(SCAN_LENGTH, recipe.steps)
    # The reference of the pull towards the start is each member's own.
    axes: Any = (0, Frozen(variables=None, reference=0), None, 0, None, 0, 0)  # type: ignore[arg-type]

    def make():
        step = make_train_step(
            adapted, objective, optimizer, start=start, precision=recipe.precision
        )
        return jax.vmap(make_steps(step, length), in_axes=axes)

    key: Hashable = (
        *step_key(
            "together", adapted, objective, optimizer, start=start, precision=recipe.precision
        ),
        length,
    )
    tables = _rows(padded, train, recipe.steps)
    seconds, bad, function = 0.0, np.full(count, -1), None
    for step in range(0, recipe.steps, length):
        taken = min(length, recipe.steps - step)
        rows = {LABELED: jnp.asarray(_window(tables, step, length))}
        arguments = (state, frozen, data, rows, jnp.int32(taken), *rates)
        function = compiled.get(key, make, arguments, donate=(0,))
        began = time.perf_counter()
        state, metrics = function.call(*arguments)
        values = jax.device_get({name: metrics[name] for name in ("loss", "grad_norm")})
        seconds += time.perf_counter() - began
        bad = _first_bad(bad, values, step, taken, count)
    assert function is not None
    predicting = _predictor(adapted, start, recipe, (state, frozen, _inputs(queries)), compiled)
    began = time.perf_counter()
    logits = np.asarray(predicting.call(state, frozen, _inputs(queries)))[:count]
    seconds += time.perf_counter() - began
    leaves = [np.asarray(leaf)[:count] for leaf in jax.tree.leaves(state.trainable)]
    return Together(
        logits=logits,
        diverged=tuple(
            _what_went_wrong(member, recipe, int(at), [leaf[index] for leaf in leaves])
            for index, (member, at) in enumerate(zip(members, bad))
        ),
        trainable=sum(leaf[0].size for leaf in leaves),
        seconds=seconds,
        flops=function.flops / len(padded) * recipe.steps,
    )


def _states(
    members: Sequence[Member], optimizer: Any, *, keep_reference: bool
) -> tuple[TrainState, Frozen]:
    """The members' states, stacked; members of one seed start from the same."""
    seeds = list(dict.fromkeys(member.seed for member in members))
    starts = {member.seed: member.adapted for member in members}
    pairs = [
        init_state(
            starts[seed].variables,
            starts[seed].labels,
            optimizer,
            seed,
            keep_reference=keep_reference,
        )
        for seed in seeds
    ]
    index = jnp.asarray([seeds.index(member.seed) for member in members])

    def stack(*leaves):
        return jnp.stack(leaves)[index]

    state = jax.tree.map(stack, *(state for state, _ in pairs))
    frozen = pairs[0][1]
    if keep_reference:
        frozen = frozen.replace(reference=jax.tree.map(stack, *(f.reference for _, f in pairs)))
    return state, frozen


def _on_device(inputs: Any) -> Any:
    return jax.tree.map(jnp.asarray, dict(inputs))


def _inputs(examples: RandomAccess) -> Any:
    return _on_device(examples.inputs(np.arange(len(examples))))


def _rows(members: Sequence[Member], examples: RandomAccess, steps: int) -> np.ndarray:
    """Each member's examples of each step (members, steps, largest batch), padded."""
    width = max(member.batch_size for member in members)
    known: dict[tuple[int, int], np.ndarray] = {}
    for member in members:
        kind = (member.batch_size, member.seed)
        if kind not in known:
            stream = Stream(examples, *kind)
            known[kind] = np.full((steps, width), PADDING, np.int32)
            for step in range(steps):
                known[kind][step, : member.batch_size] = stream.indices(step)
    return np.stack([known[member.batch_size, member.seed] for member in members])


def _window(tables: np.ndarray, step: int, length: int) -> np.ndarray:
    part = tables[:, step : step + length]
    return np.pad(part, ((0, 0), (0, length - part.shape[1]), (0, 0)), constant_values=PADDING)


def _first_bad(
    bad: np.ndarray, values: dict[str, np.ndarray], step: int, taken: int, count: int
) -> np.ndarray:
    """Of each member the first step whose loss or gradient is no finite number; -1 for none."""
    finite = np.isfinite(values["loss"]) & np.isfinite(values["grad_norm"])
    finite = finite[:count, :taken]
    first = np.where(finite.all(axis=1), -1, step + finite.argmin(axis=1) + 1)
    return np.where(bad >= 0, bad, first)


def _what_went_wrong(
    member: Member, recipe: Recipe, step: int, leaves: Sequence[np.ndarray]
) -> str:
    if step < 0 and all(np.isfinite(leaf).all() for leaf in leaves):
        return ""
    what = "loss or gradient" if step >= 0 else "weights"
    at = recipe.steps if step < 0 else step
    return (
        f"{what} no finite number at step {at} of {recipe.steps} with learning rate"
        f" {member.learning_rate:g}"
    )


def _predictor(
    adapted: Adapted, start: int, recipe: Recipe, arguments: Any, compiled: CompiledSteps
) -> Compiled:
    def make():
        predict = make_predict(adapted, start=start, precision=recipe.precision)
        return jax.vmap(
            lambda state, frozen, inputs: predict(variables_of(state, frozen), inputs)["logits"],
            in_axes=(0, Frozen(variables=None, reference=0), None),  # type: ignore[arg-type]
        )

    key = ("together predict", structure_of(adapted), start, compute_dtype(recipe.precision))
    return compiled.get(key, make, arguments)
