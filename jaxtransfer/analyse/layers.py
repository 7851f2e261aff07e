"""What each stage of a network knows of a task, before training: which look generic, which specific.

Probe accuracy, similarity to the other stages and to the labels, and relative gradient norm by
stage; and a reading of them by a rule that is stated.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from jaxtransfer import trees
from jaxtransfer.analyse.cka import Similarities, one_hot, similarities
from jaxtransfer.analyse.gradient_norms import NAME as GRADIENT
from jaxtransfer.analyse.gradient_norms import probe_head, relative_gradient_norms
from jaxtransfer.analyse.labelled import checked_labels
from jaxtransfer.analyse.probes import Probed, linear_probe
from jaxtransfer.analyse.score import Score, undefined
from jaxtransfer.analyse.stage_features import stage_features, staged_encoder
from jaxtransfer.data.examples import RandomAccess
from jaxtransfer.errors import EvaluationError
from jaxtransfer.models.model import Model
from jaxtransfer.train.compiled import CompiledSteps
from jaxtransfer.train.step import Precision
from jaxtransfer.trees import PARAMS

GENERIC = "generic"
TASK = "task"
SOURCE = "source"
TARGET = "(labels)"
"""Name of the labels among the sets that are compared."""
STANDARD_ERRORS = 2.0
"""How many paired standard errors are a difference: the best of many stages is partly luck."""
RULE = (
    f"A stage suffices if its linear probe is at most {STANDARD_ERRORS:g} paired standard errors less"
    " accurate than the best stage's, on the same examples and folds. Stages before the first that suffices are"
    f" '{GENERIC}': what tells the classes apart is not yet linear in them. From the first to the last"
    f" that suffices they are '{TASK}': what the task needs is there. Those after the last are"
    f" '{SOURCE}': specific to what the network was trained on. If the best stage's probe is not more"
    f" than {STANDARD_ERRORS:g} paired standard errors above always saying the largest class, no stage"
    " is read."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageAnalysis:
    """One stage.

    Attributes:
      stage: its name.
      width: of its pooled features.
      parameters: how many it has.
      probe: cross-fitted accuracy of a linear probe.
      target: debiased CKA with the labels.
      gradient: relative gradient norm.
      reading: 'generic', 'task' or 'source', by `RULE`; None where stages cannot be read.
    """

    stage: str
    width: int
    parameters: int
    probe: Score
    target: Score
    gradient: Score
    reading: str | None

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "stage": self.stage,
            "width": self.width,
            "parameters": self.parameters,
            "probe": self.probe.to_json(),
            "target": self.target.to_json(),
            "gradient": self.gradient.to_json(),
            "reading": self.reading,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerAnalysis:
    """All stages of a network on one labelled set.

    Attributes:
      model: its name.
      n: number of examples.
      stages: in depth order.
      cka: debiased CKA between every two stages, and the labels.
      rule: how stages were read.
      unread: why no stage was read; None if they were.
    """

    model: str
    n: int
    stages: tuple[StageAnalysis, ...]
    cka: Similarities
    rule: str = RULE
    unread: str | None = None

    def read_as(self, reading: str) -> tuple[str, ...]:
        """Names of the stages of one reading."""
        return tuple(stage.stage for stage in self.stages if stage.reading == reading)

    def __str__(self) -> str:
        if self.unread is not None:
            return f"stages of {self.model} cannot be read: {self.unread}"
        parts = [
            f"{reading}: {', '.join(self.read_as(reading))}"
            for reading in (GENERIC, TASK, SOURCE)
            if self.read_as(reading)
        ]
        return f"stages of {self.model} by linear probes (n={self.n}): {'; '.join(parts)}"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "model": self.model,
            "n": self.n,
            "stages": [stage.to_json() for stage in self.stages],
            "cka": self.cka.to_json(),
            "rule": self.rule,
            "unread": self.unread,
        }


def read_stages(
    correct: Mapping[str, np.ndarray], labels: Int[np.ndarray, "m"]
) -> tuple[dict[str, str | None], str | None]:
    """Reads stages by `RULE`.

    Args:
      correct: by stage in depth order, (m,) whether each example was classified right.
      labels: (m,) of the same examples.

    Returns:
      The reading of each stage, and why there is none; None if there is.

    Raises:
      EvaluationError: if there is no stage, or sizes differ.
    """
    stages = list(correct)
    if not stages or any(len(correct[stage]) != len(labels) for stage in stages) or not len(labels):
        sizes = {stage: len(rows) for stage, rows in correct.items()}
        raise EvaluationError(f"stages {sizes} must be of the same {len(labels)} examples")
    accuracies = [float(np.mean(correct[stage])) for stage in stages]
    # The first among equals: what an earlier stage can do needs no later one.
    best = int(np.argmax(accuracies))
    values, counts = np.unique(labels, return_counts=True)
    guessed = labels == values[counts.argmax()]
    gain, allowed = _paired(correct[stages[best]], guessed)
    if gain <= allowed:
        return dict.fromkeys(stages), (
            f"the best stage's probe, {stages[best]!r}, has accuracy {accuracies[best]:.3f}, not more"
            f" than {STANDARD_ERRORS:g} standard errors ({allowed:.3f}) above the largest class's"
            f" {guessed.mean():.3f}"
        )
    differences = [_paired(correct[stages[best]], correct[stage]) for stage in stages]
    suffices = [place for place, (lost, allowed) in enumerate(differences) if lost <= allowed]
    readings: dict[str, str | None] = {}
    for place, stage in enumerate(stages):
        if place < suffices[0]:
            readings[stage] = GENERIC
        else:
            readings[stage] = TASK if place <= suffices[-1] else SOURCE
    return readings, None


def analyse_layers(
    model: Model,
    examples: RandomAccess,
    classes: int | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
    batch_size: int = 64,
    gradient_batch_size: int = 32,
    gradient_batches: int = 8,
    mesh: Mesh | None = None,
    precision: Precision = "auto",
    compiled: CompiledSteps | None = None,
) -> LayerAnalysis:
    """Analyses every stage of a network on labelled examples.

    Two functions compile per network: features of all stages, and gradient norms.

    Args:
      model: with stages; a linear head is left out.
      examples: labelled, each of them.
      classes: how many there are.
      folds: of the probes.
      seed: of folds and batches.
      batch_size: rows at a time for features.
      gradient_batch_size: rows of a batch for gradients.
      gradient_batches: how many of those, at most.
      mesh: where to run; see `sharding.default_mesh`.
      precision: of the computation; see `step.compute_dtype`.
      compiled: executables to share.

    Raises:
      AdaptationError: if the model has no stages.
      EvaluationError: if there is an unlabelled example.
    """
    encoder = staged_encoder(model)
    labels = np.asarray(examples.labels)
    _, counts, known = checked_labels(labels, classes)
    options: dict[str, Any] = {"mesh": mesh, "precision": precision, "compiled": compiled}
    features = stage_features(encoder, examples, batch_size=batch_size, **options)
    probes = {
        stage: linear_probe(rows, labels, known, folds=folds, seed=seed)
        for stage, rows in features.items()
    }
    gradients = _gradients(
        encoder,
        examples,
        features[encoder.stages[-1]],
        one_class=len(counts) < 2,
        batch_size=gradient_batch_size,
        batches=gradient_batches,
        seed=seed,
        **options,
    )
    compared: dict[str, Float[np.ndarray, "n d"]] = dict(features)
    compared[TARGET] = one_hot(labels, known)
    cka = similarities(compared)
    readings, unread = _readings(probes, labels)
    sizes = dict.fromkeys(encoder.stages, 0)
    for path, leaf in trees.flatten(encoder.variables[PARAMS]).items():
        stage = encoder.stage_of(path)
        if stage is not None:
            sizes[stage] += int(np.prod(leaf.shape))
    return LayerAnalysis(
        model=model.name,
        n=len(labels),
        stages=tuple(
            StageAnalysis(
                stage=stage,
                width=features[stage].shape[1],
                parameters=sizes[stage],
                probe=probes[stage].score,
                target=cka.of(stage, TARGET),
                gradient=gradients[stage],
                reading=readings[stage],
            )
            for stage in encoder.stages
        ),
        cka=cka,
        unread=unread,
    )


def _readings(
    probes: Mapping[str, Probed], labels: np.ndarray
) -> tuple[dict[str, str | None], str | None]:
    for stage, probe in probes.items():
        if probe.score.value is None:
            return dict.fromkeys(probes), f"stage {stage!r}: {probe.score.undefined}"
    rows = next(iter(probes.values())).rows
    return read_stages({stage: probe.correct for stage, probe in probes.items()}, labels[rows])


def _gradients(
    encoder: Model, examples: RandomAccess, features: np.ndarray, *, one_class: bool, **options: Any
) -> dict[str, Score]:
    definition = f"{GRADIENT} of the loss of a fitted probe"
    if one_class:
        reason = "1 class has examples: there is no probe to fit"
        missing = undefined(GRADIENT, len(examples), definition, reason)
        return dict.fromkeys(encoder.stages, missing)
    try:
        head = probe_head(features, np.asarray(examples.labels))
    except EvaluationError as error:
        missing = undefined(GRADIENT, len(examples), definition, str(error))
        return dict.fromkeys(encoder.stages, missing)
    return relative_gradient_norms(encoder, examples, head, **options)


def _paired(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Mean difference of two accuracies on the same examples, and what is no difference yet."""
    difference = first.astype(np.float64) - second
    if len(difference) < 2:
        return float(difference.mean()), 0.0
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    # Counts give round multiples of the standard error: rounding must not decide.
    return float(difference.mean()), float(error * STANDARD_ERRORS * (1 + 1e-9))
