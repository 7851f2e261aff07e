"""Runs the trials of a sweep: a rung with some of its parameters set, measured on the tuning half alone.

Trials of a head on frozen features take their steps together; all others run one after another, on
shared compiled steps and cached activations.
"""

import dataclasses
import json
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxtransfer.adapt.adapted import adapt
from jaxtransfer.checking import check, kinds_of
from jaxtransfer.errors import AdaptationError, ConfigError, TrainingError, nearest
from jaxtransfer.evaluation import metrics
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol.cells import facts_of
from jaxtransfer.protocol.priors import Uniform
from jaxtransfer.protocol.problem import TRAIN, TUNE
from jaxtransfer.protocol.search_space import SearchSpace, prior_of
from jaxtransfer.protocol.sections import Count, Rate, RungSettings, TrainSettings
from jaxtransfer.protocol.settings import LadderSettings, train_settings
from jaxtransfer.protocol.training import (
    BATCH,
    method_of,
    network,
    objective_of,
    rates_of,
    recipe_of,
    train_rung,
)
from jaxtransfer.protocol.workbench import Workbench
from jaxtransfer.train.predict import predict
from jaxtransfer.train.together import Member, Together, can_share_steps, train_together

AT_ONCE = 64
"""Most trials that take their steps in one call."""
SHARED = ("learning_rate", "weight_decay", "batch_size")
"""Parameters in which trials that run together may differ."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """What to run.

    Attributes:
      number: from 0.
      parameters: of the space, by name.
      steps: to train up to; the schedule is that of the rung's own number.
    """

    number: int
    parameters: Mapping[str, Any]
    steps: int


def configured(rung: RungSettings, parameters: Mapping[str, Any]) -> tuple[RungSettings, float]:
    """The rung with parameters in the place of its own, and the learning rate.

    Another method takes none of the rung's options, which are those of its own method.

    Raises:
      ConfigError: if a parameter is unknown, naming the nearest, or out of its range.
    """
    kinds = kinds_of(TrainSettings)
    method = check("method", parameters.get("method", rung.method), str)
    options = dict(rung.options) if method == rung.method else {}
    overrides, first_phase = dict(rung.overrides), dict(rung.first_phase)
    for name, value in parameters.items():
        section, _, key = name.partition(".")
        if section == "options" and key:
            options[key] = value
        elif section == "first_phase" and key in ("learning_rate", "steps"):
            kind = Rate if key == "learning_rate" else Count
            first_phase[key] = check(name, value, kind)
        elif section == "group_rates" and key:
            rates = {**overrides.get("group_rates", {}), key: value}
            overrides["group_rates"] = check("group_rates", rates, kinds["group_rates"])
        elif name in kinds:
            overrides[name] = check(name, value, kinds[name])
        elif name not in ("method", "learning_rate"):
            known = (*kinds, "learning_rate", "method", "first_phase.steps", "options.NAME")
            raise ConfigError(f"a rung has no parameter {name!r}; nearest: {nearest(name, known)}")
    changed = dataclasses.replace(
        rung, method=method, options=options, overrides=overrides, first_phase=first_phase
    )
    rate = parameters.get("learning_rate", next(iter(rates_of(changed)), None))
    return changed, check("learning_rate", rate, Rate)


def current(settings: LadderSettings, rung: RungSettings) -> dict[str, Any]:
    """What a rung has now of everything that a space may name, as far as it has it."""
    train = train_settings(settings, rung)
    method = method_of(rung)
    return {
        **dataclasses.asdict(train),
        "method": rung.method,
        "learning_rate": next(iter(rates_of(rung)), None),
        **{f"options.{f.name}": getattr(method, f.name) for f in dataclasses.fields(method)},
        **{f"first_phase.{name}": value for name, value in rung.first_phase.items()},
        **{f"group_rates.{name}": value for name, value in train.group_rates.items()},
    }


def check_space(space: SearchSpace, rung: RungSettings) -> None:
    """Tries the extremes of every prior on the rung, so that no trial fails for its parameters.

    Raises:
      ConfigError, AdaptationError: naming the parameter, as `configured` and the method do.
    """
    for name, parameter in space.parameters.items():
        prior = prior_of(parameter)
        for end in prior.ends():
            place = f"parameter {name!r} at {end!r}"
            try:
                method = method_of(configured(rung, space.with_end(name, end))[0])
            except (ConfigError, AdaptationError) as error:
                raise type(error)(f"{place}: {error}") from error
            option = kinds_of(type(method)).get(name.removeprefix("options."))
            if option is int and isinstance(prior, Uniform):
                raise ConfigError(
                    f"{place}: it is a whole number, and {prior} is of any: take int_uniform, or a choice"
                )


def extremes(space: SearchSpace, rung: RungSettings) -> list[RungSettings]:
    """The rung at both ends of each parameter that decides what of the model trains, and how; its name says which."""
    return [
        dataclasses.replace(
            configured(rung, space.with_end(name, end))[0], name=f"{rung.name} with {name} {end}"
        )
        for name, parameter in space.parameters.items()
        if name.partition(".")[0] in ("method", "options", "group_rates", "statistics")
        for end in prior_of(parameter).ends()
    ]


def run_together(
    bench: Workbench, rung: RungSettings, trials: Sequence[Trial], *, seed: int
) -> Iterator[list[dict[str, Any]]]:
    """Runs those trials that can share their steps, and yields the journal's rows by group.

    Args:
      bench: what trials share.
      rung: whose parameters are tried.
      trials: those that train anything but a head on cached features are left out.
      seed: of head, data order and dropout, the same for all.
    """
    refused: set[str] = set()
    for group in _groups(trials):
        method = str(group[0].parameters.get("method", rung.method))
        rows = None if method in refused else _run_group(bench, rung, group, seed)
        if rows is None:
            refused.add(method)
        else:
            yield rows


def _groups(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Trials that differ in nothing but what runs together may, at most `AT_ONCE` of them."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        own = {name: v for name, v in trial.parameters.items() if name not in SHARED}
        groups.setdefault(json.dumps([own, trial.steps], sort_keys=True), []).append(trial)
    return [
        group[start : start + AT_ONCE]
        for group in groups.values()
        for start in range(0, len(group), AT_ONCE)
    ]


def _run_group(
    bench: Workbench, rung: RungSettings, trials: Sequence[Trial], seed: int
) -> list[dict[str, Any]] | None:
    """The rows of a group, or None if its steps cannot be shared."""
    began = time.perf_counter()
    problem = bench.problem
    first, rate = configured(rung, trials[0].parameters)
    method = method_of(first)
    train = train_settings(problem.settings, first)
    if len(method.phases()) > 1 or trials[0].steps != train.steps:
        return None
    recipe = recipe_of(train, method, first, rate, is_last=True)
    # As `train.phases.fit` draws what is new.
    key = jax.random.fold_in(jax.random.key(seed), 0)
    adapted = adapt(network(bench, first, seed), method, rng=key, statistics=train.statistics)
    if not can_share_steps(adapted, recipe):
        return None
    members = []
    for trial in trials:
        own, rate = configured(rung, trial.parameters)
        its = train_settings(problem.settings, own)
        members.append(
            Member(
                adapted=adapted,
                learning_rate=rate,
                weight_decay=its.weight_decay,
                batch_size=its.batch_size,
                seed=seed,
            )
        )
    found = train_together(
        members,
        problem.examples[TRAIN],
        problem.examples[TUNE],
        objective_of(train, is_last=True),
        recipe,
        cache=bench.cache,
        compiled=bench.compiled,
    )
    if found is None:
        return None
    share = (time.perf_counter() - began) / len(trials)
    return [_row_of(bench, trial, found, index, share) for index, trial in enumerate(trials)]


def _row_of(
    bench: Workbench, trial: Trial, found: Together, index: int, seconds: float
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "seconds": seconds,
        "flops": found.flops,
        "trainable": found.trainable,
    }
    if found.diverged[index]:
        return _row(trial, diverged=found.diverged[index], **facts)
    return _row(trial, **_measured(bench, found.logits[index]), **facts)


def run_one(
    bench: Workbench,
    rung: RungSettings,
    trial: Trial,
    *,
    seed: int,
    saves: pathlib.Path | None = None,
) -> dict[str, Any]:
    """Runs one trial and gives the journal's row.

    Args:
      bench: what trials share.
      rung: whose parameters are tried.
      trial: what to run.
      seed: of head, new leaves, data order and dropout.
      saves: where the trial is saved, to go on from there with more steps; nowhere if left out.
    """
    began = time.perf_counter()
    changed, rate = configured(rung, trial.parameters)
    steps = train_settings(bench.problem.settings, changed).steps
    try:
        trained, recipe = train_rung(
            bench,
            changed,
            learning_rate=rate,
            seed=seed,
            workdir=None if saves is None else saves / f"trial-{trial.number}",
            # Saved where it stops, and nowhere before.
            checkpoint_every=0 if saves is None else steps,
            until=None if saves is None else trial.steps,
        )
    except TrainingError as error:
        return _row(trial, diverged=str(error), seconds=time.perf_counter() - began)
    logits = predict(
        trained.adapted,
        trained.variables,
        bench.problem.examples[TUNE],
        batch_size=BATCH,
        cache=bench.cache,
        precision=recipe.precision,
        compiled=bench.compiled,
    )
    return _row(
        trial,
        **_measured(bench, logits),
        seconds=time.perf_counter() - began,
        flops=trained.cost.flops,
        trainable=facts_of(trained.adapted, changed)["trainable"],
    )


def _measured(bench: Workbench, logits: np.ndarray) -> dict[str, Any]:
    examples = bench.problem.examples[TUNE]
    table = Predictions(
        ids=examples.ids,
        labels=examples.labels.astype(np.int64),
        logits=logits.astype(np.float32),
        classes=bench.problem.classes,
    )
    return {"value": metrics.value(table, bench.problem.settings.acceptance.metric)}


def _row(
    trial: Trial, *, value: float | None = None, diverged: str = "", **facts: Any
) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "parameters": dict(trial.parameters),
        "steps": trial.steps,
        "value": value,
        "diverged": diverged,
        **facts,
    }
