"""A ladder's problem: the pretrained encoder, and the user's examples cleaned, split and hashed.

Everything that a rung may look at is here; what a rung did is in its cells.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxtransfer import tasks
from jaxtransfer.data.duplicates import Duplicates, deduplicate
from jaxtransfer.data.examples import Examples
from jaxtransfer.data.load import load_table
from jaxtransfer.data.source import Table
from jaxtransfer.data.splits import halves, stratified_split
from jaxtransfer.errors import DataError
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.statistic import Undefined
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.models import zoo
from jaxtransfer.models.model import Model, with_head
from jaxtransfer.pretrained.fingerprint import fingerprint
from jaxtransfer.protocol.settings import LadderSettings, SplitSettings
from jaxtransfer.tasks import Classification, Task

TRAIN, TUNE, ACCEPT, CALIBRATION, TEST = "train", "tune", "accept", "calibration", "test"
EVALUATED = (TUNE, ACCEPT, CALIBRATION, TEST)
READ_BATCH = 64


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Statement:
    """A problem as stated: what a record says of it, and can be read again without data or weights.

    Attributes:
      settings: the ladder's settings.
      task: what is predicted: classes, loss, metrics.
      card: what is to be said about the data.
      hashes: SHA-256 of data, splits, base weights and config.
    """

    settings: LadderSettings
    task: Task
    card: Mapping[str, Any]
    hashes: Mapping[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Problem(Statement):
    """What every rung of a ladder works on.

    Attributes:
      encoder: the pretrained network, without a head.
      table: all examples, without exact duplicates.
      splits: positions of each split in the table; validation is its two halves, `tune` and `accept`.
      examples: the examples of each split, preprocessed for the encoder.
      evaluated: all that predictions are written for, one split after another.
      evaluated_splits: the split of each of those.
    """

    encoder: Model
    table: Table
    splits: Mapping[str, np.ndarray]
    examples: Mapping[str, Examples]
    evaluated: Examples
    evaluated_splits: np.ndarray

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self.table.classes

    def model(self, seed: int) -> Model:
        """The encoder with a head drawn from a seed."""
        return with_head(self.encoder, self.task.outputs, rng=jax.random.key(seed))

    def introduction(self) -> list[str]:
        """What a run says of its data before it begins: source, duplicates, classes, splits, truncation."""
        sizes = ", ".join(f"{name} {size}" for name, size in self.card["splits"].items())
        counts = [f"{name!r} {count}" for name, count in self.card["classes"].items()]
        more = f" and {len(counts) - 20} more" if len(counts) > 20 else ""
        lines = [
            f"data {self.card['source']}: {self.card['duplicates']}",
            f"classes: {', '.join(counts[:20])}{more}",
            f"splits: {sizes} (hash {self.hashes['splits'][:12]})",
        ]
        for reason, count in self.card["left_out"].items():
            lines.append(f"left out beforehand: {count} rows with {reason}")
        cut = self.card["truncated"]
        if cut is not None:
            lines.append(
                f"{cut['examples']} of {cut['of']} documents are longer than the encoder reads,"
                " and cut"
            )
        return lines


def prepare(settings: LadderSettings) -> Problem:
    """Loads model and data, removes exact duplicates, and splits.

    Raises:
      ConfigError: if the splits do not fit the settings.
      DataError: if the data cannot be read, hold fewer examples than asked for, or leave a class out of
        what is decided or measured on.
      PretrainedError: if the model cannot be had.
    """
    raw = load_table(settings.data)
    if raw.labels is None:
        raise DataError("a ladder needs labels: name the column or array of them in config.data")
    table, duplicates = deduplicate(raw)
    check_left(raw, table, duplicates)
    task = task_of(settings, table.classes)
    encoder = zoo.load(settings.model.uri, **settings.model.options)
    splits = draw(table, settings.splits)
    examples = {
        name: Examples(table.take(rows), encoder.preprocess)
        for name, rows in splits.items()
        if name != "rest"
    }
    present = [name for name in EVALUATED if name in splits]
    evaluated = Examples(
        table.take(np.concatenate([splits[name] for name in present])), encoder.preprocess
    )
    check_classes(table, splits)
    _check_metric(settings.acceptance.metric, examples)
    for part in (examples[TRAIN], evaluated):
        _read_all(part)
    card = {
        "source": str(settings.data.get("path", settings.data.get("name", ""))),
        "total": duplicates.total,
        "left_out": dict(raw.left_out),
        "duplicates_removed": len(duplicates.removed),
        "conflicting_duplicates": len(duplicates.conflicts),
        "duplicates": duplicates.summary(),
        "classes": table.counts(),
        "splits": {name: len(rows) for name, rows in splits.items()},
        "truncated": _truncated(encoder, table),
    }
    hashes = {
        "data": table.identity,
        "splits": splits_hash({name: table.ids[rows].tolist() for name, rows in splits.items()}),
        "base": fingerprint(encoder.variables),
        "config": settings.hash,
    }
    return Problem(
        settings=settings,
        task=task,
        encoder=encoder,
        table=table,
        splits=splits,
        examples=examples,
        evaluated=evaluated,
        evaluated_splits=np.concatenate([np.full(len(splits[name]), name) for name in present]),
        card=card,
        hashes=hashes,
    )


def check_left(raw: Table, table: Table, duplicates: Duplicates) -> None:
    """Refuses a class that is gone with the exact duplicates, each of its inputs being another class's too.

    Raises:
      DataError: naming the class, and what was removed.
    """
    before = raw.counts()
    for name, count in table.counts().items():
        if before[name] and not count:
            raise DataError(
                f"none of the {before[name]} examples of class {name!r} is left without exact duplicates"
                f" ({duplicates.summary()}): correct the labels of equal inputs, or leave the class out"
            )


def splits_hash(ids: Mapping[str, Sequence[str]]) -> str:
    """SHA-256 of the ids of each split, in order."""
    digest = hashlib.sha256()
    for name in sorted(ids):
        digest.update(f"{name}\n".encode())
        digest.update("\n".join(ids[name]).encode())
    return digest.hexdigest()


def draw(table: Table, wanted: SplitSettings) -> dict[str, np.ndarray]:
    """Positions of each split; validation is its two halves, `tune` and `accept`.

    Raises:
      DataError: if the table holds fewer examples than are asked for.
    """
    sizes = {name: size for name, size in wanted.sizes.items() if size}
    is_share = wanted.train_per_class < 1
    train = wanted.train_per_class if is_share else int(wanted.train_per_class) * len(table.classes)
    drawn = stratified_split(
        table,
        {TRAIN: train, **sizes},
        wanted.seed,
        balanced=() if is_share else (TRAIN,),
    )
    rows = drawn["validation"]
    assert table.labels is not None
    tune, accept = halves(rows, table.labels[rows], wanted.seed)
    rest = {name: drawn[name] for name in drawn.indices if name not in ("validation", "rest")}
    return {TRAIN: rest.pop(TRAIN), TUNE: tune, ACCEPT: accept, **rest, "rest": drawn["rest"]}


def check_classes(table: Table, splits: Mapping[str, np.ndarray]) -> None:
    """Refuses a split that lacks a class: what is measured on it would say nothing of that class.

    Raises:
      DataError: naming class, split, and the size to enlarge.
    """
    assert table.labels is not None
    places = {
        TRAIN: "train_per_class",
        TUNE: "sizes.validation",
        ACCEPT: "sizes.validation",
        TEST: "sizes.test",
    }
    for name, size in places.items():
        rows = splits[name]
        for label, (label_name, count) in enumerate(table.counts().items()):
            if not (table.labels[rows] == label).any():
                is_half = name in (TUNE, ACCEPT)
                part = f"the {name} half of validation" if is_half else f"the split {name!r}"
                raise DataError(
                    f"class {label_name!r} has no example in {part} ({len(rows)} examples); it"
                    f" has {count} in all: enlarge config.splits.{size}, or leave the class out"
                )


def task_of(settings: LadderSettings, classes: tuple[str, ...]) -> Task:
    """The task of the data's classes; what decides is among its metrics."""
    metric = settings.acceptance.metric
    fields = {**settings.task, "classes": classes, "criterion": metric}
    if "metrics" not in fields and metric not in Classification.metrics:
        fields["metrics"] = (*Classification.metrics, metric)
    return tasks.from_config(fields)


def _check_metric(name: str, examples: Mapping[str, Examples]) -> None:
    """Refuses a metric that the labels of a deciding half leave undefined or without a variance."""
    for half in (TUNE, ACCEPT):
        labels = examples[half].labels.astype(np.int64)
        classes = examples[half].table.classes
        table = Predictions(
            ids=examples[half].ids,
            labels=labels,
            logits=np.eye(len(classes))[labels],
            classes=classes,
        )
        statistic = definition(name).statistic(table)
        if isinstance(statistic, Undefined):
            raise DataError(
                f"{name} is undefined on the {half} half of validation: {statistic.reason};"
                " enlarge config.splits.sizes.validation, or choose another metric"
            )
        if len(labels) <= len(np.unique(labels)):
            raise DataError(
                f"the {half} half of validation has one example a class ({len(labels)} in all) and"
                " so no variance; enlarge config.splits.sizes.validation"
            )


def _read_all(examples: Examples) -> None:
    """Reads and preprocesses every example once, so that what cannot be read is named beforehand."""
    for start in range(0, len(examples), READ_BATCH):
        examples.inputs(np.arange(start, min(start + READ_BATCH, len(examples))))


def _truncated(encoder: Model, table: Table) -> dict[str, int] | None:
    """How many documents are longer than the encoder reads, or None for what is not text."""
    count = getattr(encoder.preprocess, "truncated", None)
    if count is None:
        return None
    texts = [table.inputs[row] for row in range(len(table))]
    return {"examples": count(texts), "of": len(texts)}
