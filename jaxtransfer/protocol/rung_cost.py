"""What a rung will cost, before anything runs: trainable parameters, and operations of its steps from their shapes alone."""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np

from jaxtransfer import partition, trees
from jaxtransfer.adapt.adapted import Adapted, adapt
from jaxtransfer.protocol.problem import TRAIN, Problem
from jaxtransfer.protocol.sections import RungSettings
from jaxtransfer.protocol.settings import train_settings
from jaxtransfer.protocol.training import (
    BATCH,
    method_of,
    objective_of,
    rates_of,
    recipe_of,
    untrained,
)
from jaxtransfer.train.abstract_cost import AbstractCost, activations, predict_cost, step_cost
from jaxtransfer.train.recipe import Recipe


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


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Phase:
    """One phase of a rung's training.

    Attributes:
      adapted: the network under the phase's method.
      recipe: how it is trained.
      start: the stage that its steps run from, on cached activations; 0 without a cache.
      step: cost of a step.
    """

    adapted: Adapted
    recipe: Recipe
    start: int
    step: AbstractCost


def phases_of(problem: Problem, rung: RungSettings) -> list[Phase]:
    """The phases of a rung that trains; nothing is compiled or computed."""
    train = train_settings(problem.settings, rung)
    methods = method_of(rung).phases()
    found = []
    for index, method in enumerate(methods):
        is_last = index == len(methods) - 1
        recipe = recipe_of(train, method, rung, rates_of(rung)[0], is_last=is_last)
        adapted = adapt(
            problem.model(0), method, rng=jax.random.key(0), statistics=train.statistics
        )
        # Steps that see fewer examples than there are do not compute activations of them all.
        is_cached = len(problem.examples[TRAIN]) <= recipe.steps * recipe.batch_size
        start = adapted.frozen_prefix if is_cached else 0
        step = step_cost(
            adapted,
            objective_of(train, is_last=is_last),
            recipe,
            inputs_at(problem, adapted, start),
            start=start,
        )
        found.append(Phase(adapted=adapted, recipe=recipe, start=start, step=step))
    return found


def inputs_at(problem: Problem, adapted: Adapted, stage: int) -> Mapping[str, jax.ShapeDtypeStruct]:
    """Shapes of a batch of the problem's examples, as a run from a stage takes them."""
    one = problem.examples[TRAIN].inputs(np.zeros(1, np.int64))
    inputs = {
        name: jax.ShapeDtypeStruct((BATCH, *array.shape[1:]), array.dtype)
        for name, array in one.items()
    }
    return activations(adapted, inputs, stage) if stage else inputs


def prefix_flops(problem: Problem, adapted: Adapted) -> float:
    """Operations of the frozen stages for one example."""
    stop = adapted.frozen_prefix
    if not stop:
        return 0.0
    inputs = inputs_at(problem, adapted, 0)
    return predict_cost(adapted, inputs, batch_size=BATCH, stop=stop).flops / BATCH


def trainable_count(problem: Problem, rung: RungSettings) -> int:
    """Parameters that a rung trains; a baseline's are found without training."""
    return 0 if rung.is_baseline else count_trainable(untrained(problem, rung))


def count_trainable(adapted: Adapted) -> int:
    """Parameters that train."""
    leaves, _ = partition.split(adapted.variables, adapted.labels)
    return sum(int(np.prod(leaf.shape)) for leaf in trees.flatten_variables(leaves).values())


def estimate(problem: Problem, rung: RungSettings) -> RungCost:
    """Estimates a rung's cost; nothing is compiled or computed."""
    if rung.is_baseline:
        return RungCost(trainable=0, flops=0.0)
    phases = phases_of(problem, rung)
    examples = len(problem.examples[TRAIN])
    total = sum(
        phase.recipe.steps * phase.step.flops
        + (examples * prefix_flops(problem, phase.adapted) if phase.start else 0.0)
        for phase in phases
    )
    rates = rates_of(rung)
    runs = len(problem.settings.seeds) + (len(rates) if len(rates) > 1 else 0)
    return RungCost(trainable=count_trainable(phases[-1].adapted), flops=runs * total)
