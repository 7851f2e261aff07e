"""A batch of examples as the monitor sees it: features, logits, input statistics, maybe labels.

One row an example, one `.npz` file a batch, never a pickle; a batch must have the columns of the
reference.
"""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError, nearest
from jaxtransfer.evaluation.formats import read_npz
from jaxtransfer.evaluation.probabilities import log_softmax
from jaxtransfer.evaluation.rows import GROUP, checked_rows, strings

COLUMNS = ("id", "features", "logits", "classes", "label", "split")
INPUT = "input_"

LARGEST = 1e18
"""A monitor keeps its rows in float32, and compares their squares."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """n examples, of which at least one of features, logits and inputs is known.

    Attributes:
      ids: (n,) str, unique.
      features: (n, d) finite, or None.
      logits: (n, k) finite, or None; the prediction is the argmax, the first one among ties.
      inputs: name to (n,), finite: numbers computed from the raw inputs, such as a text's length.
      labels: (n,) int64 in [0, k), or None; they need logits.
      classes: the k names; empty without logits.
      split: (n,) str, or None.
      source: where the batch comes from, for messages.

    Raises:
      EvaluationError: naming source, column and row, if a column has the wrong shape or type, ids
        repeat, a number is not finite, or a label is outside the classes.
    """

    ids: np.ndarray
    features: Float[np.ndarray, "n d"] | None = None
    logits: Float[np.ndarray, "n k"] | None = None
    inputs: Mapping[str, Float[np.ndarray, "n"]] = dataclasses.field(default_factory=dict)
    labels: Int[np.ndarray, "n"] | None = None
    classes: tuple[str, ...] = ()
    split: np.ndarray | None = None
    source: str = "batch"

    def __post_init__(self):
        ids = strings(self.ids, self.source, "id", None)
        rows = len(ids)
        if rows == 0:
            raise EvaluationError(f"{self.source}: the batch has no rows")
        values, first, counts = np.unique(ids, return_index=True, return_counts=True)
        if len(values) != rows:
            value = values[counts > 1][np.argmin(first[counts > 1])]
            where = np.flatnonzero(ids == value)
            raise EvaluationError(
                f"{self.source}: column 'id', row {where[1]}: {str(value)!r} is also the id of"
                f" row {where[0]}; ids must be unique"
            )
        if self.features is None and self.logits is None and not self.inputs:
            raise EvaluationError(
                f"{self.source}: there is nothing to watch; give 'features', 'logits' or"
                f" '{INPUT}NAME' columns"
            )
        fields: dict[str, Any] = {
            "ids": ids,
            "inputs": {
                str(name): self._numbers(column, f"{INPUT}{name}", (rows,))
                for name, column in sorted(self.inputs.items())
            },
        }
        if self.features is not None:
            fields["features"] = self._numbers(self.features, "features", (rows, None))
        if self.logits is not None:
            fields["logits"] = self._numbers(self.logits, "logits", (rows, None))
            fields["classes"] = self._classes(fields["logits"].shape[1])
        elif self.classes:
            raise EvaluationError(f"{self.source}: column 'classes' needs the column 'logits'")
        if self.labels is not None:
            fields["labels"] = self._labels(ids, len(fields.get("classes", ())))
        if self.split is not None:
            fields["split"] = strings(self.split, self.source, "split", rows)
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def _numbers(self, column: Any, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        array = np.asarray(column)
        fits = array.ndim == len(shape) and all(
            want in (None, size) for want, size in zip(shape, array.shape)
        )
        if array.dtype.kind not in "iuf" or not fits or array.size == 0:
            expected = f"({shape[0]},)" if len(shape) == 1 else f"({shape[0]}, columns)"
            raise EvaluationError(
                f"{self.source}: column {name!r} must be real numbers of shape {expected},"
                f" not {array.dtype} of shape {array.shape}"
            )
        array = array.astype(np.float64)
        broken = np.argwhere(~np.isfinite(array))
        if broken.size:
            row, *rest = broken[0]
            place = f", number {rest[0]}" if rest else ""
            raise EvaluationError(
                f"{self.source}: column {name!r}, row {row}{place}: {array[tuple(broken[0])]} is"
                f" not finite ({len(np.unique(broken[:, 0]))} such rows)"
            )
        large = np.argwhere(np.abs(array) > LARGEST)
        if large.size:
            raise EvaluationError(
                f"{self.source}: column {name!r}, row {large[0][0]}: {array[tuple(large[0])]:g} is"
                f" larger than {LARGEST:g}, and float32 cannot hold its square; scale the column"
            )
        return array

    def _classes(self, width: int) -> tuple[str, ...]:
        classes = tuple(str(name) for name in self.classes) or tuple(map(str, range(width)))
        if len(classes) != width or len(set(classes)) != width or width < 2:
            raise EvaluationError(
                f"{self.source}: column 'classes' must hold a different name for each of the"
                f" {width} logits, at least two, not {list(classes)}"
            )
        return classes

    def _labels(self, ids: np.ndarray, classes: int) -> np.ndarray:
        labels = np.asarray(self.labels)
        if labels.dtype.kind not in "iu" or labels.shape != ids.shape:
            raise EvaluationError(
                f"{self.source}: column 'label' must be integers of shape {ids.shape},"
                f" not {labels.dtype} of shape {labels.shape}"
            )
        if not classes:
            raise EvaluationError(f"{self.source}: column 'label' needs the column 'logits'")
        outside = np.flatnonzero((labels < 0) | (labels >= classes))
        if outside.size:
            row = outside[0]
            raise EvaluationError(
                f"{self.source}: column 'label', row {row} (id {str(ids[row])!r}): {labels[row]}"
                f" is outside the {classes} classes 0..{classes - 1} ({outside.size} such rows)"
            )
        return labels.astype(np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def predicted(self) -> Int[np.ndarray, "n"]:
        """The class of the largest logit; 0 for all where there are no logits."""
        if self.logits is None:
            return np.zeros(len(self), np.int64)
        return np.argmax(self.logits, axis=1)

    @property
    def confidence(self) -> Float[np.ndarray, "n"]:
        """The probability of the predicted class; there must be logits."""
        return np.exp(log_softmax(np.asarray(self.logits)).max(axis=1))

    @property
    def input_matrix(self) -> Float[np.ndarray, "n j"]:
        """The input statistics as columns, in the order of their names."""
        return np.stack(list(self.inputs.values()), axis=1)

    @property
    def digest(self) -> str:
        """SHA-256 of the content; the same rows under another file name have the same one."""
        digest = hashlib.sha256()
        parts: dict[str, Any] = {"id": self.ids, "features": self.features, "logits": self.logits}
        parts |= {f"{INPUT}{name}": column for name, column in self.inputs.items()}
        parts["label"] = self.labels
        for name, column in parts.items():
            if column is None:
                continue
            text = column.dtype.kind == "U"
            data = "\0".join(column.tolist()).encode() if text else column.tobytes()
            digest.update(f"{name} {column.shape} {len(data)} ".encode() + data)
        return digest.hexdigest()

    def take(self, indices: Any) -> "Batch":
        """The batch of some rows, in the order given (indices, a slice or a mask).

        Raises:
          EvaluationError: if a mask is not of shape (n,), or an index is outside the batch.
        """
        indices = checked_rows(indices, len(self), self.source)

        def rows(column: np.ndarray | None) -> np.ndarray | None:
            return None if column is None else column[indices]

        return dataclasses.replace(
            self,
            ids=self.ids[indices],
            features=rows(self.features),
            logits=rows(self.logits),
            inputs={name: column[indices] for name, column in self.inputs.items()},
            labels=rows(self.labels),
            split=rows(self.split),
        )

    def select(self, split: str) -> "Batch":
        """The rows of one split.

        Raises:
          EvaluationError: if the batch has no such split.
        """
        if self.split is None:
            raise EvaluationError(
                f"{self.source}: there is no column 'split' to select {split!r} from"
            )
        rows = self.split == split
        if not rows.any():
            names = sorted(set(self.split.tolist()))
            raise EvaluationError(f"{self.source}: no row of split {split!r}; it has {names}")
        return self.take(rows)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Batch":
        """Reads a batch from an `.npz`; a predictions table is one, without features.

        Needs `id` and at least one of `features`, `logits` and `input_NAME`; may have `classes`,
        `label` and `split`. Columns `group` and `group_NAME` are left aside.

        Raises:
          EvaluationError: naming the file, if it cannot be read, lacks a column, has an unknown
            one, or one is malformed.
        """
        columns = read_npz(pathlib.Path(path))
        if "id" not in columns:
            raise EvaluationError(f"{path}: column 'id' is missing; the file has {sorted(columns)}")
        inputs = {}
        for name, column in columns.items():
            if name in COLUMNS or name == GROUP or name.startswith(f"{GROUP}_"):
                continue
            if not name.startswith(INPUT) or name == INPUT:
                raise EvaluationError(
                    f"{path}: unknown column {name!r}; nearest: {nearest(name, COLUMNS)}; name"
                    f" statistics of the inputs '{INPUT}...'"
                )
            inputs[name.removeprefix(INPUT)] = column
        classes = columns.get("classes")
        return cls(
            ids=columns["id"],
            features=columns.get("features"),
            logits=columns.get("logits"),
            inputs=inputs,
            labels=columns.get("label"),
            classes=()
            if classes is None
            else tuple(strings(classes, str(path), "classes", None).tolist()),
            split=columns.get("split"),
            source=str(path),
        )
