"""How a rung of a ladder is trained: its method, its learning rates, the recipe of each phase and the loss."""

import dataclasses
import pathlib

import jax
import numpy as np

from jaxtransfer.adapt import Full, from_description
from jaxtransfer.adapt.adapted import Adapted, Statistics, adapt
from jaxtransfer.adapt.method import Method
from jaxtransfer.errors import ConfigError
from jaxtransfer.evaluation import metrics
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.models.initialise import initialiser
from jaxtransfer.models.model import Model, with_head
from jaxtransfer.objectives import Objective, cross_entropy, l2_sp
from jaxtransfer.optim import Group
from jaxtransfer.protocol.problem import TRAIN, TUNE, Problem
from jaxtransfer.protocol.sections import RungSettings, TrainSettings
from jaxtransfer.protocol.settings import train_settings
from jaxtransfer.protocol.workbench import Workbench
from jaxtransfer.train.compiled import hashable
from jaxtransfer.train.outcome import Trained
from jaxtransfer.train.phases import fit
from jaxtransfer.train.progress import Progress
from jaxtransfer.train.recipe import Recipe

BATCH = 25
"""Examples of a call that predicts."""


def method_of(rung: RungSettings) -> Method:
    """The method that a rung names, with its options.

    Raises:
      AdaptationError: if there is no such method or option; the message names the nearest.
    """
    return from_description({"method": rung.method, **rung.options})


def rates_of(rung: RungSettings) -> tuple[float, ...]:
    """The rung's grid of learning rates, or what its method suggests."""
    if rung.is_baseline or rung.is_ensemble:
        return ()
    rates = rung.learning_rates or method_of(rung).suggested_learning_rates
    if not rates:
        raise ConfigError(
            f"rung {rung.name!r} has no learning_rates, and method {rung.method!r} suggests none"
        )
    return tuple(rates)


def untrained(problem: Problem, rung: RungSettings) -> Adapted:
    """What a rung serves, before it is trained: the network under the last phase of its method.

    A nearest mean is served as a linear head on frozen features.
    """
    method = from_description({"method": "linear_probe"}) if rung.is_baseline else method_of(rung)
    return adapt(
        problem.model(0),
        method.phases()[-1],
        rng=jax.random.key(0),
        statistics=statistics_of(problem, rung),
    )


def network(bench: Workbench, rung: RungSettings, seed: int) -> Model:
    """The encoder that a rung starts from, with a head drawn from a seed; a random encoder is drawn from it too.

    Raises:
      AdaptationError: if the encoder cannot be drawn anew.
    """
    problem = bench.problem
    if not rung.is_reference:
        return problem.model(seed)
    encoder = problem.encoder
    # Another key than the head's, which is that of the pretrained rungs.
    key = jax.random.fold_in(jax.random.key(seed), 1)
    draw = bench.compiled.get(
        ("initialise", hashable(encoder.module), hashable(encoder.call)),
        lambda: initialiser(encoder),
        (key,),
    )
    drawn = dataclasses.replace(encoder, variables=draw.call(key))
    return with_head(drawn, problem.task.outputs, rng=jax.random.key(seed))


def statistics_of(problem: Problem, rung: RungSettings) -> Statistics:
    """Whether BatchNorm statistics are updated: as the settings say, but for full training from random weights."""
    if (
        rung.is_reference
        and rung.method == Full.name
        and problem.encoder.variables.get("batch_stats")
    ):
        return "updated"
    return train_settings(problem.settings, rung).statistics


def train_rung(
    bench: Workbench,
    rung: RungSettings,
    *,
    learning_rate: float | None,
    seed: int,
    workdir: pathlib.Path | None = None,
    draws_curve: bool = False,
    checkpoint_every: int = 0,
    until: int | None = None,
    progress: Progress | None = None,
) -> tuple[Trained, Recipe]:
    """Trains a rung once, phase by phase.

    Args:
      bench: what cells share.
      rung: what to train.
      learning_rate: of the last phase.
      seed: of head, new leaves, data order and dropout.
      workdir: of its checkpoints; None writes none.
      draws_curve: whether the tuning half is evaluated where nothing but the curve needs it.
      checkpoint_every: steps between checkpoints.
      until: step of the last phase to stop and save at, as for `train.loop.train`.
      progress: as for `train.loop.train`.

    Returns:
      The outcome, and the recipe of the last phase.

    Raises:
      TrainingError: if the loss is no finite number.
    """
    if learning_rate is None:
        raise ConfigError(f"rung {rung.name!r} is trained and needs a learning rate")
    problem = bench.problem
    train = train_settings(problem.settings, rung)
    method = method_of(rung)
    phases = method.phases()
    is_last = [index == len(phases) - 1 for index in range(len(phases))]
    recipes = [
        recipe_of(train, phase, rung, learning_rate, is_last=last)
        for phase, last in zip(phases, is_last)
    ]
    recipes = [dataclasses.replace(recipe, checkpoint_every=checkpoint_every) for recipe in recipes]
    metric = problem.settings.acceptance.metric
    # A trial of a learning rate has no use for a curve, but early stopping needs its points.
    evaluates = train.evaluate_every > 0 and (draws_curve or train.patience > 0)

    def measure(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        table = Predictions(
            ids=problem.examples[TUNE].ids,
            labels=labels.astype(np.int64),
            logits=logits,
            classes=problem.classes,
        )
        measured = {name: metrics.value(table, name) for name in (metric, "nll")}
        return {name: float("nan") if value is None else value for name, value in measured.items()}

    trained = fit(
        network(bench, rung, seed),
        method,
        {"labeled": problem.examples[TRAIN]},
        [objective_of(train, is_last=last) for last in is_last],
        recipes,
        seed=seed,
        statistics=statistics_of(problem, rung),
        workdir=workdir,
        until=until,
        validation=problem.examples[TUNE] if evaluates else None,
        measure=measure,
        cache=bench.cache,
        compiled=bench.compiled,
        progress=progress,
    )
    return trained, recipes[-1]


def recipe_of(
    train: TrainSettings,
    phase: Method,
    rung: RungSettings,
    learning_rate: float,
    *,
    is_last: bool,
) -> Recipe:
    """The recipe of one phase of a rung."""
    rates = {**phase.suggested_multipliers, **train.group_rates}
    steps, rate = train.steps, learning_rate
    if not is_last:
        rates = dict(phase.suggested_multipliers)
        steps = int(rung.first_phase.get("steps", train.steps))
        rate = float(rung.first_phase.get("learning_rate", phase.suggested_learning_rates[0]))
    return Recipe(
        steps=steps,
        batch_size=train.batch_size,
        learning_rate=rate,
        weight_decay=train.weight_decay,
        schedule=train.schedule,
        warmup=train.warmup,
        clip_norm=train.clip_norm or None,
        groups={name: Group(learning_rate=factor) for name, factor in rates.items()},
        layer_decay=train.layer_decay if isinstance(phase, Full) else 1.0,
        evaluate_every=train.evaluate_every,
        patience=train.patience,
        keep_best=train.patience > 0,
        criterion="nll",
        precision=train.precision,
        evaluation_batch_size=BATCH,
    )


def objective_of(train: TrainSettings, *, is_last: bool) -> Objective:
    """Cross-entropy, and in the last phase the pull towards the pretrained values, by its weight."""
    loss = cross_entropy(label_smoothing=train.label_smoothing)
    return Objective((loss, l2_sp(weight=train.l2_sp)) if is_last else (loss,))
