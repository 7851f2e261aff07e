"""Trains a method's phases one after another, each from where the last one ended."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from jaxtransfer.adapt.adapted import Statistics, adapt, merge
from jaxtransfer.adapt.method import Method
from jaxtransfer.data.examples import RandomAccess
from jaxtransfer.errors import ConfigError
from jaxtransfer.models.model import Model
from jaxtransfer.objectives.terms import Objective
from jaxtransfer.train.loop import train
from jaxtransfer.train.outcome import Trained, add_costs
from jaxtransfer.train.recipe import Recipe


def fit(
    model: Model,
    method: Method,
    streams: Mapping[str, RandomAccess],
    objectives: Objective | Sequence[Objective],
    recipes: Recipe | Sequence[Recipe],
    *,
    seed: int,
    statistics: Statistics = "frozen",
    workdir: str | os.PathLike[str] | None = None,
    until: int | None = None,
    **options: Any,
) -> Trained:
    """Adapts a model to data by a method, phase by phase.

    New leaves of a phase that is not the last are merged into the base before the next begins.

    Args:
      model: with a head, if the method trains one.
      method: of one phase or several.
      streams: as for `train`.
      objectives: one for every phase, or one for all.
      recipes: one for every phase, or one for all.
      seed: of new leaves, data order and dropout.
      statistics: see `adapt.adapted.Adapted`.
      workdir: phase i of several saves in `phase_i` inside it.
      until: step of the last phase to stop at, as for `train`; the phases before run to their ends.
      **options: as for `train`.

    Returns:
      The last phase's outcome, with the histories of all phases in order (`phase` in their rows
      where there are several) and their costs added up.

    Raises:
      ConfigError: if the number of recipes or objectives is not the number of phases; else as `adapt`, `train`.
    """
    phases = method.phases()
    each = [recipes] * len(phases) if isinstance(recipes, Recipe) else list(recipes)
    losses = [objectives] * len(phases) if isinstance(objectives, Objective) else list(objectives)
    for name, given in (("recipes", each), ("objectives", losses)):
        if len(given) != len(phases):
            raise ConfigError(
                f"method {method.name!r} has {len(phases)} phases"
                f" ({', '.join(phase.name for phase in phases)}), but there are {len(given)} {name}"
            )
    results: list[Trained] = []
    for index, (phase, recipe, objective) in enumerate(zip(phases, each, losses)):
        if results:
            model = merge(results[-1].adapted)
        key = jax.random.fold_in(jax.random.key(seed), index)
        place = None if workdir is None else pathlib.Path(workdir)
        if place is not None and len(phases) > 1:
            place = place / f"phase_{index}"
        results.append(
            train(
                adapt(model, phase, rng=key, statistics=statistics),
                streams,
                objective,
                recipe,
                seed=seed,
                workdir=place,
                until=until if index == len(phases) - 1 else None,
                **options,
            )
        )
    if len(results) == 1:
        return results[0]
    rows = [{**row, "phase": i} for i, result in enumerate(results) for row in result.history]
    return dataclasses.replace(
        results[-1],
        history=rows,
        steps=sum(result.steps for result in results),
        cost=add_costs([result.cost for result in results]),
    )
