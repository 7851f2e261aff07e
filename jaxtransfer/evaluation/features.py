"""The features table: what a network's last hidden layer says of n examples, in one `.npz`.

Detectors of outliers and of drift are fitted on one and read others; no model is needed for that.
"""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError, nearest
from jaxtransfer.evaluation import formats
from jaxtransfer.evaluation.rows import checked_rows, strings

COLUMNS = ("id", "features", "logits", "label", "split")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Features of n examples, and what else is known of them.

    Attributes:
      ids: (n,) str, unique.
      features: (n, d) float32 or float64, finite; one number an example, (n,), becomes (n, 1).
      logits: (n, k) float32 or float64, finite, or None.
      labels: (n,) int64, at least 0 and below k where there are logits, or None.
      split: (n,) str, or None.
      source: where the table comes from, for messages; not saved.

    Raises:
      EvaluationError: naming source, column and row, if a column has the wrong shape or type, ids
        repeat, numbers are not finite, or a label is outside the classes.
    """

    ids: np.ndarray
    features: Float[np.ndarray, "n d"]
    logits: Float[np.ndarray, "n k"] | None = None
    labels: Int[np.ndarray, "n"] | None = None
    split: np.ndarray | None = None
    source: str = "features"

    def __post_init__(self):
        ids = strings(self.ids, self.source, "id", None)
        if not len(ids):
            raise EvaluationError(f"{self.source}: the table has no rows")
        values, first, counts = np.unique(ids, return_index=True, return_counts=True)
        if len(values) != len(ids):
            value = values[counts > 1][np.argmin(first[counts > 1])]
            rows = np.flatnonzero(ids == value)
            raise EvaluationError(
                f"{self.source}: column 'id', row {rows[1]}: {str(value)!r} is also the id of"
                f" row {rows[0]}; ids must be unique"
            )
        features = np.asarray(self.features)
        features = features[:, None] if features.ndim == 1 else features
        fields: dict[str, Any] = {"ids": ids, "features": self._numbers(features, "features", ids)}
        if self.logits is not None:
            fields["logits"] = self._numbers(np.asarray(self.logits), "logits", ids)
        if self.labels is not None:
            classes = None if self.logits is None else fields["logits"].shape[1]
            fields["labels"] = self._labels(ids, classes)
        if self.split is not None:
            fields["split"] = strings(self.split, self.source, "split", len(ids))
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def _numbers(self, array: np.ndarray, name: str, ids: np.ndarray) -> np.ndarray:
        fits = array.ndim == 2 and len(array) == len(ids) and array.shape[1] > 0
        if array.dtype.kind not in "iuf" or not fits:
            raise EvaluationError(
                f"{self.source}: column {name!r} must be real numbers of shape ({len(ids)}, any),"
                f" not {array.dtype} of shape {array.shape}"
            )
        if array.dtype not in (np.float32, np.float64):
            array = array.astype(np.float64 if array.dtype.kind in "iu" else np.float32)
        broken = np.argwhere(~np.isfinite(array))
        if broken.size:
            row, column = broken[0]
            raise EvaluationError(
                f"{self.source}: column {name!r}, row {row} (id {str(ids[row])!r}), dimension"
                f" {column}: {array[row, column]} is not finite"
                f" ({len(np.unique(broken[:, 0]))} such rows)"
            )
        return array

    def _labels(self, ids: np.ndarray, classes: int | None) -> np.ndarray:
        labels = np.asarray(self.labels)
        if labels.dtype.kind not in "iu" or labels.shape != ids.shape:
            raise EvaluationError(
                f"{self.source}: column 'label' must be integers of shape {ids.shape},"
                f" not {labels.dtype} of shape {labels.shape}"
            )
        outside = (labels < 0) | (False if classes is None else labels >= classes)
        if outside.any():
            row = int(np.flatnonzero(outside)[0])
            known = "0 or more" if classes is None else f"0..{classes - 1}"
            raise EvaluationError(
                f"{self.source}: column 'label', row {row} (id {str(ids[row])!r}): {labels[row]}"
                f" is no class; they are {known} ({int(outside.sum())} such rows)"
            )
        return labels.astype(np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    def need(self, *columns: str) -> None:
        """Checks that optional columns are there.

        Raises:
          EvaluationError: naming the first of them that is not.
        """
        for name in columns:
            if getattr(self, "labels" if name == "label" else name) is None:
                raise EvaluationError(
                    f"{self.source}: the table has no column {name!r}, which is needed here"
                )

    def take(self, indices: Any) -> "Features":
        """The table of some rows, in the order given (indices, a slice or a mask).

        Raises:
          EvaluationError: if a mask is not of shape (n,), or an index is outside the table.
        """
        indices = checked_rows(indices, len(self), self.source)

        def of(column: np.ndarray | None) -> np.ndarray | None:
            return None if column is None else column[indices]

        return dataclasses.replace(
            self,
            ids=self.ids[indices],
            features=self.features[indices],
            logits=of(self.logits),
            labels=of(self.labels),
            split=of(self.split),
        )

    def select(self, split: str) -> "Features":
        """The rows of one split.

        Raises:
          EvaluationError: if the table has no such split.
        """
        self.need("split")
        rows = self.split == split
        if not np.any(rows):
            names = sorted(set(np.asarray(self.split).tolist()))
            raise EvaluationError(f"{self.source}: no row of split {split!r}; it has {names}")
        return self.take(rows)

    def save(self, path: str | os.PathLike) -> pathlib.Path:
        """Writes the table to one `.npz` file: all of it or, on failure, what stood there before.

        Raises:
          EvaluationError: if the path does not end in `.npz`.
          WorkdirError: if the file cannot be written.
        """
        columns = {"id": self.ids, "features": self.features, "logits": self.logits}
        columns |= {"label": self.labels, "split": self.split}
        present = {name: column for name, column in columns.items() if column is not None}
        return formats.write(pathlib.Path(path), present, what="features", suffixes=(".npz",))

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Features":
        """Reads a table written by `save`, or by anyone with the same columns.

        Needs `id` and `features`; may have `logits`, `label` and `split`.

        Raises:
          EvaluationError: naming the file, if it cannot be read, lacks a column, has an unknown
            one, or one is malformed.
        """
        columns = formats.read_npz(pathlib.Path(path))
        for name in COLUMNS[:2]:
            if name not in columns:
                raise EvaluationError(
                    f"{path}: column {name!r} is missing; the file has {sorted(columns)}"
                )
        for name in columns:
            if name not in COLUMNS:
                raise EvaluationError(
                    f"{path}: unknown column {name!r}; nearest: {nearest(name, COLUMNS)}"
                )
        return cls(
            ids=columns["id"],
            features=columns["features"],
            logits=columns.get("logits"),
            labels=columns.get("label"),
            split=columns.get("split"),
            source=str(path),
        )
