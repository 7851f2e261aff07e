"""Labelled examples as the arrays a network takes, by random access.

`Examples` preprocesses a table's raw inputs and keeps the results while they are small;
`ArrayExamples` holds arrays that are ready, such as cached activations. Streams, training and
prediction use either through the same members.
"""

import dataclasses
import functools
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int, Int32

from jaxtransfer.data.source import Table, check_unique
from jaxtransfer.errors import DataError

UNLABELLED = -1
"""Label of an example that has none."""

MEMORY_BUDGET = 512 * 2**20


class Preprocess(Protocol):
    """Turns b raw inputs into a dict of arrays (b, ...), every row by itself."""

    @property
    def fingerprint(self) -> str:
        """Stands for everything the arrays depend on beside the raw inputs."""

    def __call__(self, raw: Sequence[Any], /) -> Mapping[str, np.ndarray]:
        """Arrays of the raw inputs."""


class RandomAccess(Protocol):
    """What streams, training and prediction ask of examples."""

    @property
    def ids(self) -> np.ndarray:
        """(n,) strings."""

    @property
    def labels(self) -> np.ndarray:
        """(n,) int32, `UNLABELLED` where there is none."""

    @property
    def fingerprint(self) -> str:
        """sha256 of ids, labels, contents and preprocessing."""

    def __len__(self) -> int: ...

    def inputs(self, indices: Int[np.ndarray, "b"]) -> dict[str, np.ndarray]:
        """Arrays (b, ...) of the examples at the given positions."""

    def take(self, indices: Int[np.ndarray, "k"]) -> "RandomAccess":
        """The examples at the given positions, in that order."""


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """A table seen through a preprocessing.

    Attributes:
      table: ids, raw inputs and labels.
      preprocess: turns a list of b raw inputs into a dict of arrays (b, ...), every row by itself;
        has a `fingerprint`. None stacks the raw inputs as `{'inputs': (b, ...)}`.
      memory_budget: preprocessed arrays are kept if all of them fit in this many bytes.
    """

    table: Table
    preprocess: Preprocess | None = None
    _: dataclasses.KW_ONLY
    memory_budget: int = MEMORY_BUDGET
    _memory: "_Memory" = dataclasses.field(
        init=False, repr=False, default_factory=lambda: _Memory()
    )

    def __getstate__(self):
        """What travels to a worker process: not the kept arrays, nor their lock."""
        return {
            "table": self.table,
            "preprocess": self.preprocess,
            "memory_budget": self.memory_budget,
        }

    def __setstate__(self, state):
        self.__dict__.update(state, _memory=_Memory())

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> np.ndarray:
        """(n,) strings."""
        return self.table.ids

    @functools.cached_property
    def labels(self) -> Int32[np.ndarray, "n"]:
        """(n,) int32, `UNLABELLED` throughout if the table has no labels."""
        if self.table.labels is None:
            return np.full(len(self), UNLABELLED, np.int32)
        return self.table.labels.astype(np.int32)

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 of the table's fingerprint and the preprocessing's."""
        preprocess = "" if self.preprocess is None else self.preprocess.fingerprint
        return hashlib.sha256(f"{self.table.fingerprint} {preprocess}".encode()).hexdigest()

    def take(self, indices: Int[np.ndarray, "k"] | Sequence[int]) -> "Examples":
        """The examples at the given positions, in that order."""
        return Examples(self.table.take(indices), self.preprocess, memory_budget=self.memory_budget)

    def inputs(self, indices: Int[np.ndarray, "b"] | Sequence[int]) -> dict[str, np.ndarray]:
        """Preprocessed arrays (b, ...) of the examples at the given positions.

        Raises:
          DataError: if the preprocessing returns another number of rows than it was given, or examples
            differ in shape or dtype.
        """
        rows = np.asarray(indices, dtype=np.int64)
        return self._memory.read(rows, self._compute, len(self), self.memory_budget)

    def _compute(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        raw = [self.table.inputs[row] for row in rows.tolist()]
        if self.preprocess is None:
            values = [np.asarray(value) for value in raw]
            for row, value in zip(rows.tolist(), values):
                _check_alike("inputs", row, value, rows[0], values[0])
            return {"inputs": np.stack(values)}
        arrays = {key: np.asarray(value) for key, value in self.preprocess(raw).items()}
        for key, array in arrays.items():
            if len(array) != len(rows):
                raise DataError(
                    f"preprocessing made {len(array)} rows of {key!r} from {len(rows)} inputs"
                )
        return arrays


def _check_alike(key: str, row: int, array: np.ndarray, other: object, like: np.ndarray) -> None:
    """Refuses a row that would be cast or broadcast to fit beside others."""
    if array.shape != like.shape or array.dtype != like.dtype:
        raise DataError(
            f"{key!r} of example {row} is {array.dtype}{list(array.shape)}, but of {other}"
            f" {like.dtype}{list(like.shape)}; give all examples one shape and dtype"
        )


class _Memory:
    """Rows of preprocessed arrays, filled when first read; safe under the prefetching thread."""

    def __init__(self):
        self.lock = threading.Lock()
        self.arrays: dict[str, np.ndarray] = {}
        self.known: np.ndarray | None = None

    def read(
        self,
        rows: np.ndarray,
        compute: Callable[[np.ndarray], dict[str, np.ndarray]],
        count: int,
        budget: int,
    ) -> dict[str, np.ndarray]:
        if not rows.size:
            return {key: array[rows] for key, array in compute(np.zeros(1, np.int64)).items()}
        with self.lock:
            if self.known is None:
                first = compute(rows)
                row_bytes = sum(array.nbytes for array in first.values()) // len(rows)
                if row_bytes * count > budget:
                    self.known = np.zeros(0, bool)
                    return first
                self.known = np.zeros(count, bool)
                self.arrays = {
                    key: np.empty((count, *array.shape[1:]), array.dtype)
                    for key, array in first.items()
                }
                self._store(rows, first)
            if not self.known.size:
                return compute(rows)
            missing = np.unique(rows[~self.known[rows]])
            if missing.size:
                self._store(missing, compute(missing))
            return {key: array[rows] for key, array in self.arrays.items()}

    def _store(self, rows: np.ndarray, values: dict[str, np.ndarray]) -> None:
        for key, array in values.items():
            _check_alike(key, rows[0], array[0], "those before it", self.arrays[key][0])
            self.arrays[key][rows] = array
        self.known[rows] = True  # type: ignore[index]


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayExamples:
    """Examples whose arrays are ready, in memory or memory-mapped.

    Attributes:
      ids: (n,) unique strings.
      labels: (n,) int32, `UNLABELLED` where there is none.
      arrays: name to array (n, ...).
      key: stands for the arrays' content in the fingerprint; empty: their sha256 is taken.
    """

    ids: np.ndarray
    labels: Int32[np.ndarray, "n"]
    arrays: Mapping[str, np.ndarray]
    _: dataclasses.KW_ONLY
    key: str = ""

    def __post_init__(self):
        object.__setattr__(self, "ids", np.asarray(self.ids, dtype=np.str_))
        object.__setattr__(self, "labels", np.asarray(self.labels, dtype=np.int32))
        for name, column in {"labels": self.labels, **self.arrays}.items():
            if len(column) != len(self.ids):
                raise DataError(f"{name} has {len(column)} rows, but there are {len(self.ids)} ids")
        check_unique(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 of ids, labels and arrays (or their `key`)."""
        digest = hashlib.sha256(repr((self.ids.tolist(), self.labels.tolist(), self.key)).encode())
        for name in sorted(self.arrays) if not self.key else ():
            array = self.arrays[name]
            digest.update(f"{name}{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def inputs(self, indices: Int[np.ndarray, "b"] | Sequence[int]) -> dict[str, np.ndarray]:
        """Arrays (b, ...) of the examples at the given positions."""
        rows = np.asarray(indices, dtype=np.int64)
        return {key: np.asarray(array[rows]) for key, array in self.arrays.items()}

    def take(self, indices: Int[np.ndarray, "k"] | Sequence[int]) -> "ArrayExamples":
        """The examples at the given positions, in that order; copies their rows."""
        rows = np.asarray(indices, dtype=np.int64)
        key = hashlib.sha256(f"{self.key} {rows.tolist()}".encode()).hexdigest() if self.key else ""
        return ArrayExamples(self.ids[rows], self.labels[rows], self.inputs(rows), key=key)
