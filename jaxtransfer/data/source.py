"""A data set as one value: stable ids, raw inputs by random access, labels and classes.

Loaders make tables; splits, preprocessing and batches take them, and never ask where one came from.
"""

import dataclasses
import functools
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, Int64

from jaxtransfer.data.encoding import check_text
from jaxtransfer.errors import DataError, nearest


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Examples in a fixed order.

    Attributes:
      ids: (n,) strings, each unique; they outlive reordering and name examples in splits and
        predictions.
      inputs: n raw inputs by position: texts, image arrays, rows of an array. May decode on access;
        one that has a method `content(index) -> bytes` is hashed by that instead of by the decoded
        value.
      labels: (n,) int64 in [0, len(classes)), or None without labels.
      classes: name of each class, in label order.
      metadata: further columns, each (n,).
      left_out: why rows of the source are not here, to how many there are; a table that is taken
        from this one says nothing of it.

    Raises:
      DataError: if lengths differ, an id occurs twice, or a label is out of range.
    """

    ids: np.ndarray
    inputs: Sequence[Any] | np.ndarray
    labels: Int64[np.ndarray, "n"] | None = None
    classes: tuple[str, ...] = ()
    metadata: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        ids = np.asarray(self.ids, dtype=np.str_).reshape(-1)
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "classes", tuple(str(name) for name in self.classes))
        object.__setattr__(
            self, "metadata", {key: np.asarray(value) for key, value in self.metadata.items()}
        )
        columns: dict[str, Any] = {"inputs": self.inputs, **self.metadata}
        if self.labels is not None:
            object.__setattr__(self, "labels", np.asarray(self.labels, dtype=np.int64))
            columns["labels"] = self.labels
        for name, column in columns.items():
            if len(column) != len(ids):
                raise DataError(f"{name} has {len(column)} rows, but there are {len(ids)} ids")
        check_unique(ids)
        if self.labels is not None:
            wrong = np.flatnonzero((self.labels < 0) | (self.labels >= len(self.classes)))
            if wrong.size:
                row = int(wrong[0])
                raise DataError(
                    f"label {int(self.labels[row])} of {str(ids[row])!r} is outside"
                    f" 0..{len(self.classes) - 1}"
                    f" (classes: {list(self.classes)})"
                )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Int[np.ndarray, "k"] | Sequence[int]) -> "Table":
        """The rows at the given positions, in that order; a lazily decoded input stays lazy."""
        rows = np.asarray(indices, dtype=np.int64)
        return Table(
            ids=self.ids[rows],
            inputs=take_inputs(self.inputs, rows),
            labels=None if self.labels is None else self.labels[rows],
            classes=self.classes,
            metadata={key: value[rows] for key, value in self.metadata.items()},
        )

    @functools.cached_property
    def contents(self) -> tuple[str, ...]:
        """sha256 of each raw input: of its file's bytes, else of its text or array."""
        return tuple(content_hash(self.inputs, row) for row in range(len(self)))

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 of classes, ids, labels and contents, in order; reads every input once."""
        digest = hashlib.sha256(repr(self.classes).encode())
        labels: Sequence[Any] = [None] * len(self) if self.labels is None else self.labels.tolist()
        for row in zip(self.ids.tolist(), labels, self.contents):
            digest.update(repr(row).encode())
        return digest.hexdigest()

    @functools.cached_property
    def identity(self) -> str:
        """The fingerprint; where there is metadata, sha256 of that and of every column with its name.

        Predictions depend on the fingerprint alone; groups, domains and slices on this.
        """
        if not self.metadata:
            return self.fingerprint
        digest = hashlib.sha256(self.fingerprint.encode())
        for name in sorted(self.metadata):
            digest.update(repr((name, self.metadata[name].tolist())).encode())
        return digest.hexdigest()

    def counts(self) -> dict[str, int]:
        """Number of examples of each class, classes without any included."""
        if self.labels is None:
            raise DataError("the table has no labels to count")
        counts = np.bincount(self.labels, minlength=len(self.classes))
        return dict(zip(self.classes, counts.tolist()))


class View(Sequence):
    """Positions of another sequence, read on access."""

    def __init__(self, base: Sequence[Any] | np.ndarray, rows: Int64[np.ndarray, "n"]):
        self.base, self.rows = base, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index):
        return self.base[int(self.rows[index])]

    def content(self, index: int) -> bytes:
        """The bytes that stand for an input when it is hashed."""
        return raw_content(self.base, int(self.rows[index]))


def take_inputs(
    inputs: Sequence[Any] | np.ndarray, rows: Int64[np.ndarray, "k"]
) -> Sequence[Any] | np.ndarray:
    """The inputs at the given positions: an array of an array, a list of a list, else a view.

    Inputs that are made block by block have a method `rows(positions)` for it, so that a block is
    made of what is taken.
    """
    if isinstance(inputs, np.ndarray):
        return inputs[rows]
    own = getattr(inputs, "rows", None)
    if callable(own):
        return own(rows)
    if isinstance(inputs, list | tuple):
        return [inputs[row] for row in rows.tolist()]
    if isinstance(inputs, View):
        return View(inputs.base, inputs.rows[rows])
    return View(inputs, rows)


def raw_content(inputs: Sequence[Any] | np.ndarray, index: int) -> bytes:
    """The bytes that identify one raw input.

    A file's own, a text in UTF-8, or an array's dtype, shape and values.
    """
    own = getattr(inputs, "content", None)
    if own is not None:
        return own(index)
    value = inputs[index]
    if isinstance(value, str):
        check_text(value, f"input {index}")
        return value.encode()
    if isinstance(value, bytes):
        return value
    array = np.ascontiguousarray(value)
    if array.dtype.hasobject:
        raise DataError(f"input {index} is a {type(value).__name__}; give texts, bytes or arrays")
    return f"{array.dtype.str}{array.shape}".encode() + array.tobytes()


def content_hash(inputs: Sequence[Any] | np.ndarray, index: int) -> str:
    """sha256 of one raw input, in hexadecimal."""
    return hashlib.sha256(raw_content(inputs, index)).hexdigest()


def check_unique(ids: Iterable[str]) -> None:
    """Refuses ids that occur more than once.

    Raises:
      DataError: naming up to three of them.
    """
    repeated = [name for name, count in Counter(map(str, ids)).items() if count > 1]
    if repeated:
        raise DataError(
            f"{len(repeated)} ids occur more than once, such as {repeated[:3]};"
            " every example needs its own"
        )


def encode_labels(
    values: Sequence[str], places: Sequence[str], classes: Sequence[str] | None = None
) -> tuple[Int64[np.ndarray, "n"], tuple[str, ...]]:
    """Numbers class names: in the given order, else sorted by name (by value if all are integers).

    Args:
      values: (n,) class name of each example.
      places: (n,) where each value stands, for the message.
      classes: the classes and their order, such as those a model was trained on.

    Raises:
      DataError: if a value is blank or not among `classes`, naming value and place; if `classes`
        repeats a name.

    >>> encode_labels(["b", "a"], ["f:1", "f:2"])
    (array([1, 0]), ('a', 'b'))
    """
    order = tuple(map(str, classes)) if classes is not None else _sorted_names(set(values))
    if len(set(order)) != len(order):
        raise DataError(f"classes repeat a name: {list(order)}")
    number = {name: index for index, name in enumerate(order)}
    for value, place in zip(values, places):
        if not value.strip():
            raise DataError(f"{place} has an empty label; give it one, or drop the row")
        if value not in number:
            raise DataError(
                f"label {value!r} of {place} is not a known class; nearest: {nearest(value, order)}"
            )
    return np.array([number[value] for value in values], dtype=np.int64), order


def _sorted_names(names: set[str]) -> tuple[str, ...]:
    return tuple(map(str, sorted(class_values(tuple(names)))))


def class_values(names: Sequence[str]) -> tuple[str, ...] | tuple[int, ...]:
    """What the classes of a file stand for: integers if all are whole numbers, else their names.

    >>> class_values(["10", "9"]), class_values(["010", "9"])
    ((10, 9), ('010', '9'))
    """
    if all(name.isdecimal() and str(int(name)) == name for name in names):
        return tuple(map(int, names))
    return tuple(names)


def from_arrays(
    inputs: Sequence[Any] | np.ndarray,
    labels: Sequence[Any] | np.ndarray | None = None,
    *,
    ids: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    metadata: Mapping[str, np.ndarray] | None = None,
) -> Table:
    """A table of values in memory.

    Args:
      inputs: n texts, or arrays (n, ...).
      labels: (n,) class names, or integers; integers are positions in `classes` where that is
        given, else names to be sorted as numbers.
      ids: (n,) unique strings; the row number without them.
      classes: class names in label order.
      metadata: further columns (n,).

    Raises:
      DataError: as `Table` and `encode_labels` do; if labels are not (n,), or one is no number.
    """
    if ids is None:
        ids = [str(row) for row in range(len(inputs))]
    numbers, names = None, tuple(classes or ())
    if labels is not None:
        values = np.asarray(labels)
        if values.ndim != 1 or values.dtype.kind not in "biufUO":
            raise DataError(
                f"labels have shape {values.shape} and dtype {values.dtype}; give one class name or"
                " number for each input"
            )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise DataError(f"the label of row {row} is {values[row]}; give it a class, or drop it")
        if len(values) != len(ids):
            raise DataError(f"labels has {len(values)} rows, but there are {len(ids)} inputs")
        if np.issubdtype(values.dtype, np.integer):
            present = np.unique(values)
            names = names or tuple(str(value) for value in present)
            numbers = values if classes is not None else np.searchsorted(present, values)
        else:
            places = [f"example {name!r}" for name in ids]
            numbers, names = encode_labels([str(value) for value in values], places, classes)
    return Table(
        ids=np.asarray(ids, dtype=np.str_),
        inputs=inputs,
        labels=numbers,
        classes=names,
        metadata=metadata or {},
    )
