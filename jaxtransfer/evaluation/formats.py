"""Files of named columns: `.npz` of plain arrays, Parquet (known by its first bytes) and CSV.

A matrix is one array of an npz file, a list column of Parquet, or several columns `NAME_0`,
`NAME_1`, ... of either text or Parquet.
"""

import contextlib
import io
import os
import pathlib
import zipfile
import zlib
from typing import Any

import numpy as np

from jaxtransfer.errors import EvaluationError, WorkdirError

SUFFIXES = (".npz", ".parquet", ".csv")
WORDS = ("id", "split", "group", "label", "query", "item", "kind")
"""Columns of text files that stay text; `group_...` and `label_...` do too."""


class Columns(dict[str, np.ndarray]):
    """The columns of one file, by name; what a table takes, it takes out.

    Attributes:
      source: the file, for messages.
      names: what the file has, taken out or not, for messages.
      asked: names that were asked for, for messages.
    """

    def __init__(self, columns: dict[str, np.ndarray], source: str):
        super().__init__(columns)
        self.source = source
        self.names = sorted(columns)
        self.asked: list[str] = []

    def need(self, name: str) -> np.ndarray:
        """Takes a column out.

        Raises:
          EvaluationError: naming the file and what it has, if there is none.
        """
        self.asked.append(name)
        if name not in self:
            raise EvaluationError(
                f"{self.source}: column {name!r} is missing; the file has {self.names}"
            )
        return self.pop(name)

    def find(self, name: str) -> np.ndarray | None:
        """Takes a column out, or None where there is none."""
        self.asked.append(name)
        return self.pop(name, None)

    def has(self, name: str) -> bool:
        """Whether there is such a column, in one or in several (`NAME_...`)."""
        return name in self or any(key.startswith(f"{name}_") for key in self)

    def matrix(
        self, name: str, *, ragged: bool = False
    ) -> tuple[np.ndarray | None, tuple[str, ...] | None]:
        """Takes a matrix out: itself and None, or `NAME_...` side by side and their suffixes.

        Numbered columns come in the order of their numbers, which must be 0, 1, ...; others in the
        file's order.

        Args:
          name: of the column, or what several begin with.
          ragged: whether the rows may be lists of different length: an array of arrays then.

        Raises:
          EvaluationError: if it is there in both ways, numbers are left out, or a row has another
            length than the first (naming it).
        """
        self.asked.append(name)
        parts = [key for key in self if key.startswith(f"{name}_")]
        if name in self:
            if parts:
                raise EvaluationError(
                    f"{self.source}: column {name!r} is there twice, as {parts[0]!r} too"
                )
            if self[name].dtype.kind == "O" and not ragged:
                lengths = np.array([len(row) for row in self[name]])
                row = int(np.flatnonzero(lengths != lengths[0])[0])
                raise EvaluationError(
                    f"{self.source}: column {name!r}, row {row}: {lengths[row]} values, and row 0"
                    f" has {lengths[0]}"
                )
            return self.pop(name), None
        if not parts:
            return None, None
        suffixes = [key.removeprefix(f"{name}_") for key in parts]
        if all(suffix.isdecimal() for suffix in suffixes):
            parts.sort(key=lambda key: int(key.removeprefix(f"{name}_")))
            suffixes = [key.removeprefix(f"{name}_") for key in parts]
            expected = [str(number) for number in range(len(parts))]
            if suffixes != expected:
                lacking = sorted(set(expected) - set(suffixes), key=int)
                raise EvaluationError(
                    f"{self.source}: columns '{name}_...' have no '{name}_{lacking[0]}'; number them"
                    " from 0"
                )
        return np.stack([self.pop(key) for key in parts], axis=1), tuple(suffixes)


def read(path: pathlib.Path) -> Columns:
    """Reads all columns of a file.

    Raises:
      EvaluationError: naming the file, and the column and row where there is one.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except FileNotFoundError:
        raise EvaluationError(f"{path}: there is no such file") from None
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read: {error.strerror or error}") from error
    if start == b"PAR1":
        return Columns(_read_parquet(path), str(path))
    if ".csv" in path.suffixes and not start.startswith(b"PK"):
        return Columns(_read_csv(path), str(path))
    return Columns(read_npz(path), str(path))


def write(
    path: pathlib.Path,
    columns: dict[str, np.ndarray],
    *,
    what: str = "predictions",
    suffixes: tuple[str, ...] = SUFFIXES,
) -> pathlib.Path:
    """Writes columns to one file: all of it or, on failure, what stood there before.

    Args:
      path: of the file.
      columns: by name.
      what: they are, for messages.
      suffixes: that the file may have.

    Raises:
      EvaluationError: if the path ends in none of the suffixes.
      WorkdirError: if the file cannot be written.
    """
    if path.suffix not in suffixes:
        ending = f"in {suffixes[0]}" if len(suffixes) == 1 else "in one"
        raise EvaluationError(
            f"{path}: {what} are kept in a file of {', '.join(suffixes)}; end the name {ending}"
        )
    # Named by the file, so that what a killed process left is written over by the next one.
    draft = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            if path.suffix == ".npz":
                np.savez(file, allow_pickle=False, **columns)
            else:
                _write_arrow(file, columns, path.suffix)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        if not isinstance(error, OSError):
            raise
        raise WorkdirError(
            f"{path}: the {what} cannot be written: {error.strerror or error}"
        ) from error
    return path


def read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of an `.npz`, never a pickle.

    Raises:
      EvaluationError: naming the file, if there is none or it cannot be read.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file):
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            return {name: _plain(archive, name, path) for name in archive.files}
    except FileNotFoundError:
        raise EvaluationError(f"{path}: there is no such file") from None
    except EvaluationError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise EvaluationError(
            f"{path}: not a readable .npz of plain arrays ({error}); pickled objects are refused"
        ) from error


def _plain(archive: Any, name: str, path: pathlib.Path) -> np.ndarray:
    """One array of an archive: numbers or texts, no objects (such as None) and no records."""
    try:
        array = archive[name]
    except (ValueError, RuntimeError, MemoryError) as error:
        raise EvaluationError(
            f"{path}: not a readable .npz of plain arrays: column {name!r}: {error}; missing values"
            " and rows of different length become objects, and pickled objects are refused"
        ) from error
    if array.dtype.kind in "OV":
        raise EvaluationError(
            f"{path}: column {name!r} holds {array.dtype}; numbers or texts are read"
        )
    return array


def _is_word(name: str) -> bool:
    return name in WORDS or name.startswith(("group_", "label_"))


def _read_csv(path: pathlib.Path) -> dict[str, np.ndarray]:
    import pyarrow
    from pyarrow import csv

    try:
        with csv.open_csv(path) as reader:
            names = reader.schema.names
    except (pyarrow.ArrowInvalid, UnicodeDecodeError) as error:
        place = _first_broken_line(path)
        raise EvaluationError(f"{path}: {place or f'not a readable CSV file: {error}'}") from None
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise EvaluationError(f"{path}: column {repeated[0]!r} is there twice")
    types = {n: pyarrow.string() if _is_word(n) else pyarrow.float64() for n in names}
    # What stands between two commas is missing; an empty text has quotes.
    options = csv.ConvertOptions(
        column_types=types,
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=[""],
    )
    try:
        table = csv.read_csv(path, convert_options=options)
    except pyarrow.ArrowInvalid as error:
        place = _first_broken_line(path)
        place = place or _first_bad_number(path, [n for n in names if not _is_word(n)])
        raise EvaluationError(f"{path}: {place or f'not a readable CSV file: {error}'}") from None
    return {name: _array(table.column(name), path, name) for name in names}


def _first_broken_line(path: pathlib.Path) -> str | None:
    """Where the file is not UTF-8, or a row has more or fewer fields than the header."""
    import csv

    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return f"line {line}: byte {content[error.start]:#04x} is not UTF-8; save the file in UTF-8"
    rows = csv.reader(io.StringIO(text, newline=""))
    header = next(rows, [])
    for row, fields in enumerate(row for row in rows if row):
        if len(fields) != len(header):
            return (
                f"row {row} (line {rows.line_num}) has {len(fields)} fields, and the header has"
                f" {len(header)}"
            )
    return None


def _first_bad_number(path: pathlib.Path, columns: list[str]) -> str | None:
    """Where a text stands in a column of numbers; None if the file is broken otherwise."""
    import pyarrow
    from pyarrow import csv

    options = csv.ConvertOptions(column_types={name: pyarrow.string() for name in columns})
    try:
        table = csv.read_csv(path, convert_options=options)
    except pyarrow.ArrowInvalid:
        return None
    for name in columns:
        for row, text in enumerate(table.column(name).to_pylist()):
            try:
                float(text)
            except (TypeError, ValueError):
                return f"column {name!r}, row {row}: {text!r} is no number"
    return None


def _read_parquet(path: pathlib.Path) -> dict[str, np.ndarray]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path, partitioning=None)
    except (pyarrow.ArrowException, OSError) as error:
        raise EvaluationError(f"{path}: not a readable Parquet file: {error}") from None
    names = table.column_names
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise EvaluationError(f"{path}: column {repeated[0]!r} is there twice")
    # An index that pandas added to the file is no column of the table.
    return {n: _array(table.column(n), path, n) for n in names if not n.startswith("__index_level")}


def _array(column: Any, path: pathlib.Path, name: str) -> np.ndarray:
    import pyarrow

    if column.null_count:
        row = column.is_null().index(True).as_py()
        raise EvaluationError(f"{path}: column {name!r}, row {row}: there is no value")
    kind = column.type
    if pyarrow.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    lists = (pyarrow.types.is_list, pyarrow.types.is_large_list, pyarrow.types.is_fixed_size_list)
    if any(is_list(kind) for is_list in lists):
        return _matrix(column.combine_chunks(), path, name)
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        return np.array(column.to_pylist(), dtype=np.str_)
    if not (pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind)):
        raise EvaluationError(f"{path}: column {name!r} holds {kind}; numbers or texts are read")
    return column.to_numpy()


def _matrix(column: Any, path: pathlib.Path, name: str) -> np.ndarray:
    """A list column as a matrix; lists of different length become an array of arrays."""
    import pyarrow
    import pyarrow.compute

    if isinstance(column, pyarrow.ChunkedArray):
        column = pyarrow.concat_arrays(column.chunks)
    rows = len(column)
    flat = column.flatten()
    kinds = (pyarrow.types.is_floating, pyarrow.types.is_integer, pyarrow.types.is_boolean)
    if not any(is_kind(flat.type) for is_kind in kinds):
        raise EvaluationError(
            f"{path}: column {name!r} holds lists of {flat.type}; lists of numbers are read"
        )
    lengths = np.array(pyarrow.compute.list_value_length(column), np.int64)
    if flat.null_count:
        missing = np.flatnonzero(flat.is_null().to_numpy(zero_copy_only=False))[0]
        row = int(np.searchsorted(np.cumsum(lengths), missing, "right"))
        raise EvaluationError(f"{path}: column {name!r}, row {row}: a value of the list is missing")
    values = flat.to_numpy(zero_copy_only=False)
    if (lengths == lengths[:1]).all():
        return values.reshape(rows, int(lengths[0]) if rows else 0)
    ragged = np.empty(rows, dtype=object)
    ragged[:] = np.split(values, np.cumsum(lengths)[:-1])
    return ragged


def _write_arrow(file: Any, columns: dict[str, np.ndarray], suffix: str) -> None:
    import pyarrow
    from pyarrow import csv, parquet

    columns = dict(columns)
    classes = columns.pop("classes", None)
    plain: dict[str, Any] = {}
    for name, column in columns.items():
        if column.ndim == 0:
            plain[name] = np.full(len(columns["id"]), column[()])
        elif column.ndim == 1:
            plain[name] = column
        else:
            ends = range(column.shape[1]) if classes is None else classes.tolist()
            plain |= {f"{name}_{end}": column[:, place] for place, end in enumerate(ends)}
    if classes is not None:
        numbered = all(name.isdecimal() for name in classes.tolist())
        if numbered and classes.tolist() != [str(place) for place in range(len(classes))]:
            raise EvaluationError(
                f"classes named {classes.tolist()[:3]} would be taken for numbers of columns in a"
                f" {suffix} file; save the table as .npz"
            )
        if "label" in plain:
            plain["label"] = classes[plain["label"]]
    table = pyarrow.table({name: pyarrow.array(column) for name, column in plain.items()})
    if suffix == ".parquet":
        parquet.write_table(table, file)
    else:
        csv.write_csv(table, file)
