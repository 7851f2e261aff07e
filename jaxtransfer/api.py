"""The Python front door: load a pretrained model, fit it, evaluate, save, load again, predict.

Each function is a short composition of the layers below, for when the defaults will do.
"""

import inspect
import os
from collections.abc import Sequence
from typing import Any, overload

import jax

from jaxtransfer.adapt import LoRA, Method, package
from jaxtransfer.adapt.adapted import Statistics
from jaxtransfer.checking import check, check_path
from jaxtransfer.data.examples import Examples
from jaxtransfer.errors import ConfigError, DataError, WorkdirError, nearest
from jaxtransfer.evaluation.definition import Definition, Measured
from jaxtransfer.evaluation.metrics import measure
from jaxtransfer.evaluation.rows import Rows
from jaxtransfer.fitted import Classifier, Ensemble, Fitted, load_fitted, member_directories
from jaxtransfer.given import as_given, labelled, listed
from jaxtransfer.models import zoo
from jaxtransfer.models.model import Model, Predictor, with_head, without_head
from jaxtransfer.objectives import Objective, cross_entropy
from jaxtransfer.optim import Group
from jaxtransfer.pretrained.fingerprint import fingerprint
from jaxtransfer.protocol.comparing import compare as compare
from jaxtransfer.protocol.measuring import load_tables, measure_split, measure_tables
from jaxtransfer.protocol.sections import Count, Rate, Seed, Weight
from jaxtransfer.train.loop import train
from jaxtransfer.train.phases import fit as fit_phases
from jaxtransfer.train.recipe import Recipe


def load(
    uri_or_file: str | os.PathLike[str], *, base: Model | None = None, **options: Any
) -> Model | Fitted | Ensemble:
    """Loads a pretrained model, or what `save` of a fitted one or of an ensemble wrote.

    Args:
      uri_or_file: a zoo name (`all-minilm-l6-v2`), a URI (`pypi:package==version/path`,
        `hf:repo@revision`), a local path, an adapter directory (`W/adapter` of a ladder's work
        directory), or a directory of nothing but those (`W/adapters`, where an ensemble was chosen).
      base: for an adapter, the model it was trained on; loaded from its source if left out. A
        network of your own (`from_module`) has none, and has to be given.
      **options: of the model's loader: `max_length` for text, `image_size` for images, `dropout`.

    Raises:
      PretrainedError: if there is no such model (naming the nearest), or a file does not fit it.
      ConfigError: if the source is no path, or an option is unknown, or not one of an adapter or a model.
    """
    path = check_path("what load takes", uri_or_file)
    members = member_directories(path)
    if package.is_package(path) or members:
        if options:
            raise ConfigError(
                f"{path} is an adapter, whose options are saved in it; leave out {sorted(options)}"
            )
        if base is not None:
            _check_model(base, "load(adapter, base=model)")
        if not members:
            return load_fitted(path, base)
        shared = package.load_base(members[0]) if base is None else base
        return Ensemble(members=tuple(load_fitted(one, shared) for one in members))
    if base is not None:
        raise ConfigError(f"{path} is no adapter directory; base is for those, leave it out")
    return zoo.load(str(uri_or_file), **options)


def fit(
    model: Model,
    inputs: Sequence[Any],
    labels: Sequence[Any],
    *,
    method: Method | None = None,
    learning_rate: float | None = None,
    steps: int = 100,
    batch_size: int = 16,
    weight_decay: float = 0.01,
    seed: int = 0,
    statistics: Statistics = "frozen",
    objective: Objective | None = None,
    workdir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Fitted:
    """Adapts a pretrained model to labelled examples.

    Args:
      model: as `load` gives it; a head for the classes found in `labels` is put on it.
      inputs: n raw inputs: texts, or images as arrays (height, width[, channels]) uint8.
      labels: n class names or numbers; predictions come back as they are given here.
      method: LoRA on all linear layers if left out.
      learning_rate: the middle of the method's suggested grid if left out.
      steps: optimizer steps, of each phase.
      batch_size: examples in a step.
      weight_decay: decoupled, on matrices.
      seed: of head, new leaves, data order and dropout.
      statistics: whether BatchNorm statistics stay 'frozen' or are 'updated'.
      objective: cross-entropy if left out.
      workdir: where to save checkpoints, so that the same call resumes; nowhere if left out.
      **options: as for `train.loop.train`.

    Raises:
      DataError: if labels do not fit inputs, one is missing, two differ in type alone (1 and '1'), or
        there are fewer than two classes.
      ConfigError: if the model, method, objective or workdir is none, or an option is unknown (naming the
        nearest) or out of its range.
      WorkdirError: if the workdir is a file.
      AdaptationError: if the method cannot act on the model.
      TrainingError: if the loss is no finite number.
    """
    _check_model(model, "fit(model, inputs, labels)")
    method = LoRA() if method is None else method
    if not isinstance(method, Method):
        raise ConfigError(f"method must be one such as LoRA(rank=8), not {method!r}")
    for name in options:
        if name not in TRAIN_OPTIONS:
            known = [*_keywords(fit), *TRAIN_OPTIONS]
            raise ConfigError(f"fit has no option {name!r}; nearest: {nearest(name, known)}")
    steps, batch_size = check("steps", steps, Count), check("batch_size", batch_size, Count)
    weight_decay, seed = check("weight_decay", weight_decay, Weight), check("seed", seed, Seed)
    statistics = check("statistics", statistics, Statistics)
    encoder = without_head(model) if isinstance(model.module, Predictor) else model
    given = listed(labels)
    table = labelled(inputs, given)
    if len(table.classes) < 2:
        raise DataError(f"classification needs two classes; the labels have {list(table.classes)}")
    rate = None if learning_rate is None else check("learning_rate", learning_rate, Rate)
    if rate is None:
        grid = sorted(method.suggested_learning_rates)
        if not grid:
            raise ConfigError(f"method {method.name!r} suggests no learning rate; give one")
        rate = grid[len(grid) // 2]
    if objective is not None and not isinstance(objective, Objective):
        raise ConfigError(
            f"objective must be one such as Objective((cross_entropy(),)), not {objective!r}"
        )
    if workdir is not None and check_path("workdir", workdir).is_file():
        raise WorkdirError(f"workdir {os.fspath(workdir)} is a file; choose another")
    phases = method.phases()
    recipes = [
        Recipe(
            steps=steps,
            batch_size=min(batch_size, len(table)),
            learning_rate=rate if index == len(phases) - 1 else phase.suggested_learning_rates[0],
            weight_decay=weight_decay,
            groups={
                name: Group(learning_rate=factor)
                for name, factor in phase.suggested_multipliers.items()
            },
        )
        for index, phase in enumerate(phases)
    ]
    trained = fit_phases(
        with_head(encoder, len(table.classes), rng=jax.random.key(seed)),
        method,
        {"labeled": Examples(table, model.preprocess)},
        Objective((cross_entropy(),)) if objective is None else objective,
        recipes,
        seed=seed,
        statistics=statistics,
        workdir=workdir,
        **options,
    )
    return Fitted(
        adapted=trained.adapted,
        classes=as_given(given, table.classes),
        base_hash=fingerprint(encoder.variables),
        history=trained.history,
    )


@overload
def evaluate(
    what: Classifier | Rows,
    inputs: Sequence[Any] | None = None,
    labels: Sequence[Any] | None = None,
    *,
    split: str | None = None,
    metrics: str | Sequence[str] | None = None,
    confidence: float = 0.95,
) -> dict[str, Measured]: ...


@overload
def evaluate(
    what: str | os.PathLike[str],
    *,
    split: str | None = None,
    metrics: str | Sequence[str] | None = None,
    confidence: float = 0.95,
) -> dict[str, Any]: ...


def evaluate(
    what: Classifier | Rows | str | os.PathLike[str],
    inputs: Sequence[Any] | None = None,
    labels: Sequence[Any] | None = None,
    *,
    split: str | None = None,
    metrics: str | Sequence[str] | None = None,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Measures a fitted model on labelled inputs, a predictions table, or a work directory.

    Args:
      what: a fitted model or an ensemble of them (with `inputs` and `labels`), a predictions table, the path of one, or the
        work directory of a run.
      inputs: n raw inputs.
      labels: n class names or numbers, as `fit` was given them.
      split: which rows of a table to measure; `validation` is both halves, `tune` and `accept`. A
        table with several splits needs it; of a work directory, each split is measured if left out.
      metrics: one name or several; all that a table of its kind can have if left
        out (`jaxtransfer.evaluation.metrics.METRICS`).
      confidence: of the intervals.

    Returns:
      Metric name to value, interval, n and definition. Of a work directory, one such mapping for
      each `<table>#<split>`, as `jaxtransfer evaluate` prints them.

    Raises:
      DataError: if a fitted model is given without inputs and labels, or a table with them; if the
        split is missing for a table with several, or given for a fitted model.
      ConfigError: if the model is not fitted, or an argument is of another type.
      EvaluationError: if a metric or split is unknown, or a table is malformed.
      WorkdirError: if a directory holds no predictions.
    """
    if isinstance(metrics, str | Definition):
        metrics = (metrics,)
    if metrics is not None and not isinstance(metrics, Sequence):
        raise ConfigError(f"metrics must be a name or a sequence of names, not {metrics!r}")
    if isinstance(what, Model):
        raise ConfigError(
            f"evaluate takes a fitted model, and {what.name!r} has learned no classes yet: fit it first,"
            " evaluate(fit(model, inputs, labels), ...)"
        )
    if isinstance(what, Classifier):
        if inputs is None or labels is None:
            raise DataError("evaluate(fitted, inputs, labels) needs inputs and labels")
        if split is not None:
            raise DataError(
                f"split {split!r} chooses rows of a table; give a fitted model the inputs and labels"
                " to be measured on, and no split"
            )
        return measure(what.predictions(inputs, labels), metrics, confidence=confidence)
    if inputs is not None or labels is not None:
        raise DataError(
            "a predictions table has its labels already: leave out inputs and labels, or give the"
            " fitted model (load reads an adapter directory) in place of the table"
        )
    if isinstance(what, Rows):
        tables = [what]
    else:
        path = check_path("what evaluate takes, where it is no table and no fitted model,", what)
        tables = load_tables(path)
        if path.is_dir():
            return measure_tables(tables, split, metrics, confidence=confidence)
    (table,) = tables
    if split is None and table.split is not None and len(set(table.split)) > 1:
        raise DataError(
            f"{table.source} holds the splits {sorted(set(table.split.tolist()))}, which are not to be"
            " measured as one: choose with split=..., or take rows with select"
        )
    return measure_split(table, split, metrics, confidence=confidence)


def _keywords(function: Any) -> list[str]:
    kinds = (inspect.Parameter.KEYWORD_ONLY,)
    parameters = inspect.signature(function).parameters.items()
    return [name for name, parameter in parameters if parameter.kind in kinds]


TRAIN_OPTIONS = tuple(name for name in _keywords(train) if name not in _keywords(fit))
"""What `fit` passes on to `train.loop.train`."""


def _check_model(model: Any, call: str) -> None:
    if isinstance(model, Model):
        return
    if isinstance(model, Classifier):
        raise ConfigError(
            f"{call} takes a pretrained model, and this one is fitted already; to go on from a fitted model,"
            " give jaxtransfer.adapt.adapted.merge(fitted.adapted)"
        )
    if isinstance(model, str | os.PathLike):
        raise ConfigError(f"{call} takes a model, not its name: give load({os.fspath(model)!r})")
    raise ConfigError(
        f"{call} takes a model as load or from_module gives it, not a {type(model).__name__}"
    )
