"""What a rung will cost, before anything runs: trainable parameters, and operations of its steps from their shapes alone."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtransfer import partition, trees
from jaxtransfer.adapt.adapted import Adapted, adapt
from jaxtransfer.objectives import Objective
from jaxtransfer.protocol.problem import TRAIN, Problem
from jaxtransfer.protocol.sections import RungSettings
from jaxtransfer.protocol.settings import train_settings
from jaxtransfer.protocol.training import (
    method_of,
    objective_of,
    rates_of,
    recipe_of,
    untrained,
)
from jaxtransfer.train.recipe import Recipe
from jaxtransfer.train.state import init_state
from jaxtransfer.train.step import LABELED, make_predict, make_train_step


@dataclasses.dataclass(frozen=True, kw_only=True)
class RungCost:
    """An estimate.

    Attributes:
      trainable: parameters that the last phase trains.
      flops: of all trials and runs, by XLA's count of the lowered and not yet compiled step. Frozen
        stages below the first trained one count once an example, as they do where their activations
        are cached.
    """

    trainable: int
    flops: float


def trainable_count(problem: Problem, rung: RungSettings) -> int:
    """Parameters that a rung trains; a baseline's are found without training."""
    if rung.is_baseline:
        return 0
    adapted = untrained(problem, rung)
    leaves, _ = partition.split(adapted.variables, adapted.labels)
    return sum(int(np.prod(leaf.shape)) for leaf in trees.flatten_variables(leaves).values())


def estimate(problem: Problem, rung: RungSettings) -> RungCost:
    """Estimates a rung's cost; nothing is compiled or computed."""
    if rung.is_baseline:
        return RungCost(trainable=0, flops=0.0)
    train = train_settings(problem.settings, rung)
    phases = method_of(rung).phases()
    rates = rates_of(rung)
    total = 0.0
    for index, phase in enumerate(phases):
        is_last = index == len(phases) - 1
        recipe = recipe_of(train, phase, rung, rates[0], is_last=is_last)
        adapted = adapt(problem.model(0), phase, rng=jax.random.key(0), statistics=train.statistics)
        total += _phase_flops(problem, adapted, objective_of(train, is_last=is_last), recipe)
    runs = len(problem.settings.seeds) + (len(rates) if len(rates) > 1 else 0)
    return RungCost(trainable=trainable_count(problem, rung), flops=runs * total)


def _phase_flops(problem: Problem, adapted: Adapted, objective: Objective, recipe: Recipe) -> float:
    one = problem.examples[TRAIN].inputs(np.zeros(1, np.int64))
    inputs: Any = {
        name: jax.ShapeDtypeStruct((recipe.batch_size, *array.shape[1:]), array.dtype)
        for name, array in one.items()
    }
    variables = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), adapted.variables)
    start, below = adapted.frozen_prefix, 0.0
    if start:
        below_function = make_predict(adapted, stop=start, precision=recipe.precision)
        below = _flops(below_function, variables, inputs) / recipe.batch_size
        inputs = jax.eval_shape(below_function, variables, inputs)
    optimizer = recipe.optimizer(adapted)
    step = make_train_step(adapted, objective, optimizer, start=start, precision=recipe.precision)
    state, frozen = jax.eval_shape(
        lambda held: init_state(
            held, adapted.labels, optimizer, 0, keep_reference=objective.needs_reference
        ),
        variables,
    )
    rows = recipe.batch_size
    batch = {
        LABELED: {
            "inputs": inputs,
            "label": jax.ShapeDtypeStruct((rows,), jnp.int32),
            "mask": jax.ShapeDtypeStruct((rows,), jnp.bool_),
            "id": jax.ShapeDtypeStruct((rows,), jnp.int32),
        }
    }
    rate = jax.ShapeDtypeStruct((), jnp.float32)
    steps = recipe.steps * _flops(step, state, frozen, batch, rate, rate)
    return steps + below * len(problem.examples[TRAIN])


def _flops(function: Any, *arguments: Any) -> float:
    cost = jax.jit(function).lower(*arguments).cost_analysis() or {}
    return float(cost.get("flops", 0.0))
