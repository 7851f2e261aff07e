"""The predictions table: what a run writes, and all that evaluation ever sees of a model.

One row an example (id, label, logits, optionally split and groups), one `.npz` file a table, never
a pickle.
"""

import contextlib
import dataclasses
import os
import pathlib
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError, WorkdirError, nearest

COLUMNS = ("id", "label", "logits", "classes", "split")
GROUP = "group"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Predictions of one model for n examples of a classification task with k classes.

    Attributes:
      ids: (n,) str, unique; what two tables are paired by.
      labels: (n,) int64 in [0, k).
      logits: (n, k) float32 or float64, finite; log probabilities serve too. The prediction is the
        argmax, the first one among ties.
      classes: the k names, unique.
      split: (n,) str, or None.
      groups: name to (n,) str, for slices.
      source: where the table comes from, for messages; not saved.

    Raises:
      EvaluationError: naming source, column and row, if a column has the wrong shape or type, ids
        repeat, logits are not finite, or a label is outside the classes.
    """

    ids: np.ndarray
    labels: Int[np.ndarray, "n"]
    logits: Float[np.ndarray, "n k"]
    classes: tuple[str, ...]
    split: np.ndarray | None = None
    groups: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    source: str = "predictions"

    kind: ClassVar[str] = "classification"

    def __post_init__(self):
        ids = _strings(self.ids, self.source, "id", None)
        rows = len(ids)
        if rows == 0:
            raise EvaluationError(f"{self.source}: the table has no rows")
        values, first, counts = np.unique(ids, return_index=True, return_counts=True)
        if len(values) != rows:
            value = values[counts > 1][np.argmin(first[counts > 1])]
            where = np.flatnonzero(ids == value)
            raise EvaluationError(
                f"{self.source}: column 'id', row {where[1]}: {str(value)!r} is also the id of"
                f" row {where[0]}; ids must be unique"
            )
        classes = tuple(str(name) for name in self.classes)
        if len(classes) < 2 or len(set(classes)) != len(classes):
            raise EvaluationError(
                f"{self.source}: column 'classes' must hold at least two different names, not"
                f" {list(classes)}"
            )
        fields = {
            "ids": ids,
            "classes": classes,
            "labels": self._labels(ids, classes),
            "logits": self._logits(ids, classes),
            "groups": {
                str(name): _strings(column, self.source, f"{GROUP}_{name}", rows)
                for name, column in self.groups.items()
            },
        }
        if self.split is not None:
            fields["split"] = _strings(self.split, self.source, "split", rows)
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def _labels(self, ids: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
        labels = np.asarray(self.labels)
        if labels.dtype.kind not in "iu" or labels.shape != ids.shape:
            raise EvaluationError(
                f"{self.source}: column 'label' must be integers of shape {ids.shape},"
                f" not {labels.dtype} of shape {labels.shape}"
            )
        outside = np.flatnonzero((labels < 0) | (labels >= len(classes)))
        if outside.size:
            row = outside[0]
            raise EvaluationError(
                f"{self.source}: column 'label', row {row} (id {str(ids[row])!r}): {labels[row]}"
                f" is outside the {len(classes)} classes 0..{len(classes) - 1}"
                f" ({outside.size} such rows)"
            )
        return labels.astype(np.int64)

    def _logits(self, ids: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
        logits = np.asarray(self.logits)
        if logits.dtype.kind in "bOSUMmc" or logits.shape != (len(ids), len(classes)):
            raise EvaluationError(
                f"{self.source}: column 'logits' must be real numbers of shape (rows, classes) ="
                f" {(len(ids), len(classes))}, not {logits.dtype} of shape {logits.shape}"
            )
        if logits.dtype not in (np.float32, np.float64):
            logits = logits.astype(np.float64 if logits.dtype.kind in "iu" else np.float32)
        broken = np.argwhere(~np.isfinite(logits))
        if broken.size:
            row, column = broken[0]
            raise EvaluationError(
                f"{self.source}: column 'logits', row {row} (id {str(ids[row])!r}), class"
                f" {classes[column]!r}: {logits[row, column]} is not finite"
                f" ({len(np.unique(broken[:, 0]))} such rows)"
            )
        return logits

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def predicted(self) -> Int[np.ndarray, "n"]:
        """The class of the largest logit, the first among ties."""
        return np.argmax(self.logits, axis=1)

    def take(self, indices: Any) -> "Predictions":
        """The table of some rows, in the order given (indices or a mask)."""
        return dataclasses.replace(
            self,
            ids=self.ids[indices],
            labels=self.labels[indices],
            logits=self.logits[indices],
            split=None if self.split is None else self.split[indices],
            groups={name: column[indices] for name, column in self.groups.items()},
        )

    def select(self, split: str) -> "Predictions":
        """The rows of one split.

        Raises:
          EvaluationError: if the table has no such split.
        """
        if self.split is None:
            raise EvaluationError(
                f"{self.source}: the table has no column 'split' to select {split!r} from"
            )
        rows = self.split == split
        if not rows.any():
            names = sorted(set(self.split.tolist()))
            raise EvaluationError(f"{self.source}: no row of split {split!r}; it has {names}")
        return self.take(rows)

    def align(self, other: "Predictions") -> "Predictions":
        """These rows in the order of another table's ids, for a paired comparison.

        Raises:
          EvaluationError: if ids, labels or classes differ.
        """
        if self.classes != other.classes:
            raise EvaluationError(
                f"{self.source} and {other.source} have different classes:"
                f" {list(self.classes)} and {list(other.classes)}"
            )
        order, target = np.argsort(self.ids), np.argsort(other.ids)
        if len(self) != len(other) or not np.array_equal(self.ids[order], other.ids[target]):
            lone = sorted(set(self.ids.tolist()) ^ set(other.ids.tolist()))
            raise EvaluationError(
                f"{self.source} ({len(self)} rows) and {other.source} ({len(other)} rows) cannot"
                " be paired:"
                f" {len(lone)} ids are in one of them only, such as {lone[:3]}"
            )
        rows = np.empty(len(self), np.int64)
        rows[target] = order
        aligned = self.take(rows)
        differ = np.flatnonzero(aligned.labels != other.labels)
        if differ.size:
            row = differ[0]
            raise EvaluationError(
                f"{self.source} and {other.source} disagree on the label of id"
                f" {str(other.ids[row])!r}: {aligned.labels[row]} and {other.labels[row]}"
                f" ({differ.size} such rows)"
            )
        return aligned

    def save(self, path: str | os.PathLike) -> pathlib.Path:
        """Writes the table to one `.npz` file: all of it or, on failure, what stood there before.

        Raises:
          EvaluationError: if the path does not end in `.npz`.
          WorkdirError: if the file cannot be written.
        """
        path = pathlib.Path(path)
        if path.suffix != ".npz":
            raise EvaluationError(
                f"{path}: a predictions table is an .npz file; end the name in .npz"
            )
        columns: dict[str, np.ndarray] = {
            "id": self.ids,
            "label": self.labels,
            "logits": self.logits,
            "classes": np.asarray(self.classes, dtype=np.str_),
            **{f"{GROUP}_{name}": column for name, column in self.groups.items()},
        }
        if self.split is not None:
            columns["split"] = self.split
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
                temporary = file.name
                np.savez(file, allow_pickle=False, **columns)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except OSError as error:
            if temporary is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
            raise WorkdirError(
                f"{path}: the predictions cannot be written: {error.strerror or error}"
            ) from error
        return path

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Predictions":
        """Reads a table written by `save`, or by anyone with the same columns.

        Needs `id`, `label` and `logits`; may have `classes` (else '0', '1', ...), `split`, `group`
        and `group_NAME`.

        Raises:
          EvaluationError: naming the file, if it cannot be read, lacks a column, has an unknown
            one, or one is malformed.
        """
        columns = _read(pathlib.Path(path))
        for name in COLUMNS[:3]:
            if name not in columns:
                raise EvaluationError(
                    f"{path}: column {name!r} is missing; the file has {sorted(columns)}"
                )
        groups: dict[str, np.ndarray] = {}
        for name, column in columns.items():
            if name in COLUMNS:
                continue
            if name != GROUP and not name.startswith(f"{GROUP}_"):
                raise EvaluationError(
                    f"{path}: unknown column {name!r}; nearest: {nearest(name, [*COLUMNS, GROUP])};"
                    f" name further columns '{GROUP}_...'"
                )
            key = name.removeprefix(f"{GROUP}_")
            if key in groups:
                raise EvaluationError(f"{path}: column {name!r} is there twice, as {GROUP!r} too")
            groups[key] = column
        logits = columns["logits"]
        classes = columns.get("classes")
        if classes is None:
            classes = np.arange(logits.shape[1] if logits.ndim == 2 else 0).astype(np.str_)
        return cls(
            ids=columns["id"],
            labels=columns["label"],
            logits=logits,
            classes=tuple(_strings(classes, str(path), "classes", None).tolist()),
            split=columns.get("split"),
            groups=groups,
            source=str(path),
        )


def concatenate(tables: Sequence[Predictions]) -> Predictions:
    """One table of all rows, in order.

    Raises:
      EvaluationError: if there are none, if their classes or optional columns differ, or if an id
        repeats.
    """
    if not tables:
        raise EvaluationError("there are no tables to concatenate")
    first = tables[0]
    for table in tables[1:]:
        if table.classes != first.classes:
            raise EvaluationError(
                f"{first.source} and {table.source} have different classes:"
                f" {list(first.classes)} and {list(table.classes)}"
            )
        if (table.split is None) != (first.split is None) or set(table.groups) != set(first.groups):
            raise EvaluationError(f"{first.source} and {table.source} have different columns")
    splits = [table.split for table in tables if table.split is not None]
    return Predictions(
        ids=np.concatenate([t.ids for t in tables]),
        labels=np.concatenate([t.labels for t in tables]),
        logits=np.concatenate([t.logits for t in tables]),
        classes=first.classes,
        split=np.concatenate(splits) if splits else None,
        groups={name: np.concatenate([t.groups[name] for t in tables]) for name in first.groups},
        source=" + ".join(dict.fromkeys(t.source for t in tables)),
    )


def _strings(column: Any, source: str, name: str, rows: int | None) -> np.ndarray:
    """A column of strings; integers become their decimal form, anything else is refused."""
    array = np.asarray(column)
    if array.dtype.kind == "O" and all(isinstance(value, str) for value in array.ravel()):
        array = array.astype(np.str_)
    if array.size == 0:
        array = array.astype(np.str_)
    if (
        array.dtype.kind not in "Uiu"
        or array.ndim != 1
        or (rows is not None and len(array) != rows)
    ):
        expected = "(rows,)" if rows is None else f"({rows},)"
        raise EvaluationError(
            f"{source}: column {name!r} must be strings or integers of shape {expected},"
            f" not {array.dtype} of shape {array.shape}"
        )
    return array if array.dtype.kind == "U" else array.astype(np.str_)


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, zipfile.ZipFile(file):
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise EvaluationError(f"{path}: there is no such file") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise EvaluationError(
            f"{path}: not a readable .npz of plain arrays ({error}); pickled objects are refused"
        ) from error
