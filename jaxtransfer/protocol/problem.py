"""A ladder's problem: the pretrained encoder, and the user's examples cleaned, split and hashed.

Everything that a rung may look at is here; what a rung did is in its cells.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxtransfer import tasks
from jaxtransfer.data.duplicates import deduplicate
from jaxtransfer.data.examples import Examples
from jaxtransfer.data.load import load_table
from jaxtransfer.data.source import Table
from jaxtransfer.data.splits import Splits, halves, stratified_split
from jaxtransfer.models import zoo
from jaxtransfer.models.model import Model, with_head
from jaxtransfer.pretrained.fingerprint import fingerprint
from jaxtransfer.protocol.settings import LadderSettings
from jaxtransfer.tasks import Task

TRAIN, TUNE, ACCEPT, CALIBRATION, TEST = "train", "tune", "accept", "calibration", "test"
EVALUATED = (TUNE, ACCEPT, CALIBRATION, TEST)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """What every rung of a ladder works on.

    Attributes:
      settings: the ladder's settings.
      task: what is predicted: classes, loss, metrics.
      encoder: the pretrained network, without a head.
      table: all examples, without exact duplicates.
      splits: positions of each split in the table; validation is its two halves, `tune` and `accept`.
      examples: the examples of each split, preprocessed for the encoder.
      card: what is to be said about the data.
      hashes: SHA-256 of data, splits, base weights and config.
    """

    settings: LadderSettings
    task: Task
    encoder: Model
    table: Table
    splits: Mapping[str, np.ndarray]
    examples: Mapping[str, Examples]
    card: Mapping[str, Any]
    hashes: Mapping[str, str]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self.table.classes

    def model(self, seed: int) -> Model:
        """The encoder with a head drawn from a seed."""
        return with_head(self.encoder, self.task.outputs, rng=jax.random.key(seed))

    def evaluated(self) -> tuple[Examples, np.ndarray]:
        """All examples that predictions are written for, one after another, and each one's split."""
        present = [name for name in EVALUATED if name in self.splits]
        rows = np.concatenate([self.splits[name] for name in present])
        names = np.concatenate([np.full(len(self.splits[name]), name) for name in present])
        return Examples(self.table.take(rows), self.encoder.preprocess), names


def prepare(settings: LadderSettings) -> Problem:
    """Loads model and data, removes exact duplicates, and splits.

    Raises:
      ConfigError: if the splits do not fit the settings.
      DataError: if the data cannot be read, or hold fewer examples than asked for.
      PretrainedError: if the model cannot be had.
    """
    raw = load_table(settings.data)
    table, duplicates = deduplicate(raw)
    task = tasks.from_config(
        {**settings.task, "classes": table.classes, "criterion": settings.acceptance.metric}
    )
    encoder = zoo.load(settings.model.uri, **settings.model.options)
    sizes = {name: size for name, size in settings.splits.sizes.items() if size}
    drawn = stratified_split(
        table,
        {TRAIN: settings.splits.train_per_class * len(table.classes), **sizes},
        settings.splits.seed,
    )
    splits = _halve_validation(drawn, table, settings.splits.seed)
    examples = {
        name: Examples(table.take(rows), encoder.preprocess)
        for name, rows in splits.items()
        if name != "rest"
    }
    card = {
        "source": str(settings.data.get("path", settings.data.get("name", ""))),
        "total": duplicates.total,
        "duplicates_removed": len(duplicates.removed),
        "conflicting_duplicates": len(duplicates.conflicts),
        "duplicates": duplicates.summary(),
        "classes": table.counts(),
        "splits": {name: len(rows) for name, rows in splits.items()},
        "truncated": _truncated(encoder, table),
    }
    hashes = {
        "data": table.fingerprint,
        "splits": splits_hash(splits, table),
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
        card=card,
        hashes=hashes,
    )


def splits_hash(splits: Mapping[str, np.ndarray], table: Table) -> str:
    """SHA-256 of the ids of each split, in order."""
    digest = hashlib.sha256()
    for name in sorted(splits):
        digest.update(f"{name}\n".encode())
        digest.update("\n".join(table.ids[splits[name]].tolist()).encode())
    return digest.hexdigest()


def _halve_validation(drawn: Splits, table: Table, seed: int) -> dict[str, np.ndarray]:
    rows = drawn["validation"]
    assert table.labels is not None
    tune, accept = halves(rows, table.labels[rows], seed)
    rest = {name: drawn[name] for name in drawn.indices if name not in ("validation", "rest")}
    return {TRAIN: rest.pop(TRAIN), TUNE: tune, ACCEPT: accept, **rest, "rest": drawn["rest"]}


def _truncated(encoder: Model, table: Table) -> dict[str, int] | None:
    """How many documents are longer than the encoder reads, or None for what is not text."""
    count = getattr(encoder.preprocess, "truncated", None)
    if count is None:
        return None
    texts = [table.inputs[row] for row in range(len(table))]
    return {"examples": count(texts), "of": len(texts)}
