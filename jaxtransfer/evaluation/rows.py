"""What every table of predictions has: ids, splits and groups, rows to take, and two tables to pair.

The kinds of tables (`table`, `payloads`) add what was predicted.
"""

import abc
import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Int

from jaxtransfer.errors import EvaluationError, nearest
from jaxtransfer.evaluation import formats

GROUP = "group"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Rows(abc.ABC):
    """Predictions of one model for n examples.

    Attributes:
      ids: (n,) str, unique; what two tables are paired by.
      split: (n,) str, or None.
      groups: name to (n,) str, for slices.
      source: where the table comes from, for messages; not saved.

    Raises:
      EvaluationError: naming source, column and row, if a column has the wrong shape or type, or
        ids repeat.
    """

    ids: np.ndarray
    split: np.ndarray | None = None
    groups: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    source: str = "predictions"

    kind: ClassVar[str]
    PAYLOAD: ClassVar[tuple[str, ...]]
    """Fields with one entry a row; None where the table has none."""
    TRUTH: ClassVar[tuple[str, ...]]
    """Those of them in which two tables of the same examples agree."""

    def __post_init__(self):
        ids = strings(self.ids, self.source, "id", None)
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
        fields: dict[str, Any] = {
            "ids": ids,
            "groups": {
                str(name): strings(
                    column, self.source, GROUP if name == GROUP else f"{GROUP}_{name}", rows
                )
                for name, column in self.groups.items()
            },
        }
        if self.split is not None:
            fields["split"] = strings(self.split, self.source, "split", rows)
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        for name, value in self._checked().items():
            object.__setattr__(self, name, value)

    @abc.abstractmethod
    def _checked(self) -> dict[str, Any]:
        """The payload's fields, checked; ids are checked already."""

    @abc.abstractmethod
    def _columns(self) -> dict[str, np.ndarray]:
        """The payload as named columns of a file."""

    @classmethod
    @abc.abstractmethod
    def _from_columns(cls, columns: formats.Columns) -> dict[str, Any]:
        """The payload's fields from a file's columns, each taken out of them."""

    def _same(self) -> tuple[tuple[str, Any], ...]:
        """Names and values in which two tables must agree to be paired or joined."""
        return ()

    @property
    def strata(self) -> Int[np.ndarray, "n"]:
        """What a bootstrap of the rows keeps the sizes of: (n,), one stratum unless a kind says so."""
        return np.zeros(len(self), np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Any) -> Self:
        """The table of some rows, in the order given (indices, a slice or a mask).

        Raises:
          EvaluationError: if a mask is not of shape (n,), or an index is outside the table.
        """
        indices = checked_rows(indices, len(self), self.source)
        payload: dict[str, Any] = {name: getattr(self, name) for name in self.PAYLOAD}
        taken: dict[str, Any] = {
            "ids": self.ids[indices],
            "split": None if self.split is None else self.split[indices],
            "groups": {name: column[indices] for name, column in self.groups.items()},
            **{name: None if v is None else v[indices] for name, v in payload.items()},
        }
        return dataclasses.replace(self, **taken)

    def select(self, split: str) -> Self:
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

    def align(self, other: "Rows") -> Self:
        """These rows in the order of another table's ids, for a paired comparison.

        Raises:
          EvaluationError: if kinds, ids, truths or classes differ.
        """
        self._check_same(other)
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
        for name in self.TRUTH:
            mine, its = getattr(aligned, name), getattr(other, name)
            unequal = (mine != its).reshape(len(self), -1).any(axis=1)
            if unequal.any():
                row = int(np.flatnonzero(unequal)[0])
                raise EvaluationError(
                    f"{self.source} and {other.source} disagree on the {name.removesuffix('s')} of"
                    f" id {str(other.ids[row])!r}: {mine[row]} and {its[row]}"
                    f" ({int(unequal.sum())} such rows)"
                )
        return aligned

    def _check_same(self, other: "Rows") -> None:
        if self.kind != other.kind:
            raise EvaluationError(
                f"{self.source} is a table of {self.kind} and {other.source} one of {other.kind}"
            )
        for (name, mine), (_, its) in zip(self._same(), other._same()):
            if mine != its:
                shown = [list(v) if isinstance(v, tuple) else v for v in (mine, its)]
                way = "; name the columns by the same classes, as in logits_<class>"
                raise EvaluationError(
                    f"{self.source} and {other.source} have different {name}:"
                    f" {shown[0]} and {shown[1]}{way if name == 'classes' else ''}"
                )

    def save(self, path: str | os.PathLike) -> pathlib.Path:
        """Writes the table to a `.npz`, `.parquet` or `.csv` file, or leaves what stood there.

        Raises:
          EvaluationError: if the path ends otherwise.
          WorkdirError: if the file cannot be written.
        """
        columns = {"id": self.ids, **self._columns()}
        columns |= {f"{GROUP}_{name}": column for name, column in self.groups.items()}
        if self.split is not None:
            columns["split"] = self.split
        return formats.write(pathlib.Path(path), columns)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Reads a table of this kind, written by `save` or by anyone with the same columns.

        Raises:
          EvaluationError: naming the file, if it cannot be read, lacks a column, has an unknown
            one, or one is malformed.
        """
        return cls.from_columns(formats.read(pathlib.Path(path)))

    @classmethod
    def from_columns(cls, columns: formats.Columns) -> Self:
        """Makes a table of a file's columns; none may be left over."""
        payload = cls._from_columns(columns)
        ids = columns.need("id")
        split = columns.pop("split", None)
        columns.pop("kind", None)
        groups: dict[str, np.ndarray] = {}
        for name in list(columns):
            if name != GROUP and not name.startswith(f"{GROUP}_"):
                known = [*columns.asked, "split", GROUP]
                raise EvaluationError(
                    f"{columns.source}: unknown column {name!r}; nearest: {nearest(name, known)};"
                    f" name further columns '{GROUP}_...'"
                )
            key = name.removeprefix(f"{GROUP}_")
            if key in groups:
                raise EvaluationError(
                    f"{columns.source}: column {name!r} is there twice, as {GROUP!r} too"
                )
            groups[key] = columns.pop(name)
        return cls(ids=ids, split=split, groups=groups, source=columns.source, **payload)


def concatenate(tables: Sequence[Any]) -> Any:
    """One table of all rows, in order.

    Raises:
      EvaluationError: if there are none, if their kinds, classes or optional columns differ, or if
        an id repeats.
    """
    if not tables:
        raise EvaluationError("there are no tables to concatenate")
    first = tables[0]
    optional = [name for name in ("split", *first.PAYLOAD) if getattr(first, name) is None]
    for table in tables[1:]:
        table._check_same(first)
        lacking = [name for name in ("split", *table.PAYLOAD) if getattr(table, name) is None]
        if lacking != optional or set(table.groups) != set(first.groups):
            raise EvaluationError(f"{first.source} and {table.source} have different columns")
    joined = {
        name: np.concatenate([getattr(table, name) for table in tables])
        for name in ("ids", "split", *first.PAYLOAD)
        if name not in optional
    }
    return dataclasses.replace(
        first,
        **joined,
        groups={name: np.concatenate([t.groups[name] for t in tables]) for name in first.groups},
        source=" + ".join(dict.fromkeys(t.source for t in tables)),
    )


def checked_rows(indices: Any, rows: int, source: str) -> Int[np.ndarray, "m"]:
    """Which rows to take, from indices, a slice or a mask.

    Raises:
      EvaluationError: if a mask is not of shape (rows,), or an index is outside the table.
    """
    if isinstance(indices, slice):
        return np.arange(rows)[indices]
    indices = np.asarray(indices)
    if indices.dtype == bool and indices.shape != (rows,):
        raise EvaluationError(
            f"{source}: a mask of shape {indices.shape} cannot choose among {rows}"
            f" rows; it must have shape ({rows},)"
        )
    if indices.size == 0:
        indices = indices.astype(np.int64)
    try:
        return np.arange(rows)[indices]
    except IndexError as error:
        raise EvaluationError(f"{source}: rows cannot be taken: {error}") from None


def strings(column: Any, source: str, name: str, rows: int | None) -> np.ndarray:
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


def numbers(
    column: Any, shape: tuple[int | None, ...], source: str, name: str, ids: np.ndarray
) -> np.ndarray:
    """A column of finite real numbers, float32 or float64; None in a shape is any length.

    Raises:
      EvaluationError: naming source and column, and the row of a number that is not finite.
    """
    array = np.asarray(column)
    fits = array.ndim == len(shape) and all(
        want in (None, has) for want, has in zip(shape, array.shape)
    )
    if array.dtype.kind in "bOSUMmc" or not fits:
        expected = ", ".join("any" if want is None else str(want) for want in shape)
        raise EvaluationError(
            f"{source}: column {name!r} must be real numbers of shape ({expected}), not"
            f" {array.dtype} of shape {array.shape}"
        )
    if array.dtype not in (np.float32, np.float64):
        whole = array.dtype.kind in "iu"
        array = array.astype(np.float32 if array.itemsize < 4 and not whole else np.float64)
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        worst = array[row].ravel()
        place = int(np.flatnonzero(~np.isfinite(worst))[0])
        where = f", column {place}" if array.ndim > 1 else ""
        raise EvaluationError(
            f"{source}: column {name!r}, row {row} (id {str(ids[row])!r}){where}: {worst[place]} is"
            f" not finite ({int((~finite).sum())} such rows)"
        )
    return array


def labels_of(
    labels: Any, classes: tuple[str, ...] | None, source: str, name: str = "label"
) -> np.ndarray:
    """Labels as indices: whole numbers stay, names are looked up among the classes.

    Raises:
      EvaluationError: naming the row, if a name is none of the classes.
    """
    array = np.asarray(labels)
    if array.dtype.kind == "O" and all(isinstance(value, str) for value in array.ravel()):
        array = array.astype(np.str_)
    if array.dtype.kind != "U":
        return array
    if classes is not None:
        index = {label: place for place, label in enumerate(classes)}
        if set(np.unique(array).tolist()) <= set(index):
            return np.array([index[label] for label in array.tolist()], np.int64)
    try:
        return array.astype(np.int64)
    except (ValueError, OverflowError):
        pass
    known = list(classes or ())
    for row, label in enumerate(array.tolist()):
        if label not in known and not _is_whole(label):
            raise EvaluationError(
                f"{source}: column {name!r}, row {row}: {label!r} is neither a whole number nor one"
                f" of the classes {known}"
            )
    raise EvaluationError(f"{source}: column {name!r} mixes class names and numbers")


def _is_whole(text: str) -> bool:
    try:
        return abs(int(text)) < 2**63
    except ValueError:
        return False
