"""What the cells of a rung cost, from shapes alone: nothing is trained, and no array is made."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax

from jaxtransfer import partition
from jaxtransfer.adapt.adapted import Adapted, adapt
from jaxtransfer.adapt.method import from_description
from jaxtransfer.errors import JaxTransferError
from jaxtransfer.models.model import Model
from jaxtransfer.objectives import Objective
from jaxtransfer.protocol import cells
from jaxtransfer.protocol.problem import TRAIN, TUNE, Problem
from jaxtransfer.protocol.settings import RungSettings, train_settings
from jaxtransfer.protocol.training import objective_of, recipe_of, statistics_of
from jaxtransfer.train.abstract_cost import (
    activations,
    predict_cost,
    state_shapes,
    step_cost,
)
from jaxtransfer.train.recipe import Recipe


def check_rungs(problem: Problem, rungs: Iterable[RungSettings]) -> None:
    """Finds which of the rungs cannot act on the model, before any of them trains; errors as of `check`."""
    costs = AbstractCosts(problem)
    for rung in rungs:
        if not rung.is_baseline and not rung.is_ensemble:
            costs.check(rung)


class AbstractCosts:
    """Costs of a problem's rungs; what several rungs share is counted once."""

    def __init__(self, problem: Problem):
        self.problem = problem
        model = problem.model(0)
        self.model: Model = dataclasses.replace(
            model,
            variables=jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), model.variables
            ),
        )
        self._prefixes: set[int] = set()

    def of_rung(
        self, rung: RungSettings, *, trials: int, runs: int
    ) -> tuple[float, Mapping[str, Any]]:
        """Operations of so many cells, and the facts of one."""
        if rung.is_baseline:
            return self._baseline(rung, runs), {"trainable": 0, "steps": 0, "train_flops": 0.0}
        train = train_settings(self.problem.settings, rung)
        flops, trained, steps, peak = 0.0, 0.0, 0, 0
        for adapted, recipe, objective in self._phases(rung):
            seen = recipe.steps * recipe.batch_size
            examples = len(self.problem.examples[TRAIN])
            start = adapted.frozen_prefix if examples <= seen else 0
            cost = step_cost(
                adapted,
                objective,
                recipe,
                self._inputs(adapted, start),
                start=start,
            )
            steps, peak = steps + recipe.steps, max(peak, cost.peak_bytes)
            looks = recipe.steps // recipe.evaluate_every if recipe.evaluate_every else 0
            tuning = len(self.problem.examples[TUNE])
            looked = looks * (runs + (trials if train.patience else 0)) * tuning
            trained += recipe.steps * (trials + runs) * cost.flops
            flops += self._predicting(adapted, looked)
            if trials + runs:
                cached = examples if start else 0
                # Each seed of random weights has frozen stages of its own; trials share one seed.
                flops += (
                    self._frozen(adapted, cached) * (min(1, trials) + runs)
                    if rung.is_reference
                    else self._prefix(adapted, cached)
                )
        predicted = trials * tuning + runs * len(self.problem.evaluated)
        trainable, _ = partition.split(adapted.variables, adapted.labels)
        return trained + flops + self._predicting(adapted, predicted), {
            "train_flops": trained,
            "trainable": sum(leaf.size for leaf in jax.tree.leaves(trainable)),
            "steps": steps,
            "step_flops": cost.flops,
            "peak_bytes": peak,
        }

    def check(self, rung: RungSettings) -> None:
        """Finds whether a rung can act on this model: its sites and targets, stages and optimizer groups.

        Raises:
          JaxTransferError: of the kind that training would end with, naming the rung.
        """
        try:
            for adapted, recipe, objective in self._phases(rung):
                state_shapes(adapted, objective, recipe)
        except JaxTransferError as error:
            raise type(error)(f"rung {rung.name!r}: {error}") from error

    def _phases(self, rung: RungSettings) -> Iterator[tuple[Adapted, Recipe, Objective]]:
        """What each phase of a rung trains, how, and on which loss; at any learning rate."""
        train = train_settings(self.problem.settings, rung)
        phases = cells.method_of(rung).phases()
        for index, phase in enumerate(phases):
            is_last = index == len(phases) - 1
            adapted = adapt(
                self.model,
                phase,
                rng=jax.random.key(0),
                statistics=statistics_of(self.problem, rung),
            )
            recipe = recipe_of(train, phase, rung, 1e-3, is_last=is_last)
            yield adapted, recipe, objective_of(train, is_last=is_last)

    def _baseline(self, rung: RungSettings, runs: int) -> float:
        if rung.method == "majority_class" or not runs:
            return 0.0
        probe = adapt(
            self.model, from_description({"method": "linear_probe"}), rng=jax.random.key(0)
        )
        return self._prefix(probe, len(self.problem.examples[TRAIN]))

    def _inputs(self, adapted: Adapted, start: int) -> Mapping[str, jax.ShapeDtypeStruct]:
        inputs = dict(adapted.model.example)
        return activations(adapted, inputs, start) if start else inputs

    def _predicting(self, adapted: Adapted, examples: int) -> float:
        """Operations from the frozen stages on, which are cached, for so many examples."""
        if not examples:
            return 0.0
        start = adapted.frozen_prefix
        inputs = self._inputs(adapted, start)
        cost = predict_cost(adapted, inputs, batch_size=cells.BATCH, start=start)
        return examples / cells.BATCH * cost.flops

    def _prefix(self, adapted: Adapted, train_examples: int) -> float:
        """Operations of the frozen stages, once for every example and boundary."""
        stop = adapted.frozen_prefix
        if not stop or stop in self._prefixes:
            return 0.0
        self._prefixes.add(stop)
        return self._frozen(adapted, train_examples)

    def _frozen(self, adapted: Adapted, train_examples: int) -> float:
        """Operations of the frozen stages for every example."""
        stop = adapted.frozen_prefix
        if not stop:
            return 0.0
        inputs = dict(adapted.model.example)
        cost = predict_cost(adapted, inputs, batch_size=cells.BATCH, stop=stop)
        return (train_examples + len(self.problem.evaluated)) / cells.BATCH * cost.flops
