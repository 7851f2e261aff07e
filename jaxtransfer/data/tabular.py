"""Rows of CSV, JSON Lines and Parquet files as tables of texts.

An example's id is a column of its own, or the file's name and the line at which the row begins
(Parquet: its row, from 0).
"""

import csv as csv_format
import io
import json
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer.data.bands import Bands, class_of_band
from jaxtransfer.data.encoding import Encodings, check_text, decode, read_bytes
from jaxtransfer.data.source import Table, encode_labels
from jaxtransfer.errors import DataError, nearest


def csv(
    path: str | pathlib.Path,
    *,
    text: str = "text",
    label: str | None = "label",
    id: str | None = None,
    metadata: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    delimiter: str = ",",
    quoted: bool = True,
    encoding: Encodings = "utf-8",
    classes: Sequence[str] | None = None,
    bands: Mapping[str, Any] | None = None,
) -> Table:
    """Texts and labels from a CSV file (`.gz` too), read as RFC 4180 says; blank lines are skipped.

    Args:
      path: the file.
      text: column of the texts.
      label: column of the class names; None: no labels.
      id: column of unique ids; None: `<file name>:<line>`.
      metadata: further columns to keep, as strings.
      columns: the columns' names where the file has no header line.
      delimiter: what separates fields.
      quoted: whether double quotes enclose fields; False takes them as any other character, so that
        every line is a row.
      encoding: the file's encoding.
      classes: class names in label order; sorted by name without it.
      bands: where `label` is a column of numbers: class name to its lowest and highest number, as
        `bands.class_of_band` takes them. Classes are in the order of their bands unless `classes`
        says otherwise; a row in no band is left out and counted (`Table.left_out`).

    Raises:
      DataError: if a column is lacking (naming the nearest) or occurs twice, a row has another number
        of fields, a label is empty or unknown, or an id occurs twice; as `class_of_band` does.
    """
    path = pathlib.Path(path)
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        raise DataError(f"delimiter is {delimiter!r}; it is one character, such as ';' or a tab")
    content, _ = decode(read_bytes(path), path, encoding)
    quoting: Any = csv_format.QUOTE_MINIMAL if quoted else csv_format.QUOTE_NONE
    reader = csv_format.reader(
        io.StringIO(content, newline=""), delimiter=delimiter, quoting=quoting, strict=True
    )

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        names = list(columns) if columns is not None else None
        begin = 1
        # The module's limit of 131,072 characters a field is process-wide; documents are longer.
        limit = csv_format.field_size_limit(sys.maxsize)
        try:
            for fields in reader:
                if not fields:
                    pass
                elif names is None:
                    names = fields
                    _check_once(f"{path}:{begin}", names)
                elif len(fields) != len(names):
                    raise DataError(
                        f"{path}:{begin} has {len(fields)} fields,"
                        f" but there are {len(names)} columns"
                    )
                else:
                    yield begin, dict(zip(names, fields))
                begin = reader.line_num + 1
        except csv_format.Error as error:
            raise DataError(f"{path}:{reader.line_num}: {error}") from error
        finally:
            csv_format.field_size_limit(limit)

    return _table(path, list(rows()), text, label, id, metadata, classes, bands)


def jsonl(
    path: str | pathlib.Path,
    *,
    text: str = "text",
    label: str | None = "label",
    id: str | None = None,
    metadata: Sequence[str] = (),
    encoding: Encodings = "utf-8",
    classes: Sequence[str] | None = None,
    bands: Mapping[str, Any] | None = None,
) -> Table:
    """Texts and labels of a file with one JSON object a line (`.gz` too); skips blank lines.

    Arguments and errors are those of `csv`, for the objects' keys; a line that is no JSON object is
    named.
    """
    path = pathlib.Path(path)
    content, _ = decode(read_bytes(path), path, encoding)
    rows: list[tuple[int, dict[str, Any]]] = []
    # Not splitlines: JSON strings may hold U+2028 and the like unescaped.
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}:{number} is not JSON: {error.msg} (column {error.colno})"
            ) from None
        except (ValueError, RecursionError) as error:  # numbers too long, containers too deep
            raise DataError(f"{path}:{number} cannot be read as JSON: {error}") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number} is a JSON {type(row).__name__}, not an object")
        rows.append((number, row))
    return _table(path, rows, text, label, id, metadata, classes, bands)


def parquet(
    path: str | pathlib.Path,
    *,
    text: str = "text",
    label: str | None = "label",
    id: str | None = None,
    metadata: Sequence[str] = (),
    classes: Sequence[str] | None = None,
    bands: Mapping[str, Any] | None = None,
) -> Table:
    """Texts and labels from a Parquet file, of which only the named columns are read.

    Arguments and errors are those of `csv`; a file that is not Parquet is named.
    """
    import pyarrow
    from pyarrow import parquet as parquet_format

    path = pathlib.Path(path)
    wanted = [name for name in (text, label, id, *metadata) if name is not None]
    try:
        with parquet_format.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow.names, wanted)
            rows = file.read(columns=list(dict.fromkeys(wanted))).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"cannot read {path} as Parquet: {error}") from error
    return _table(path, list(enumerate(rows)), text, label, id, metadata, classes, bands)


def _check_once(place: str, names: Sequence[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{place} names the columns {repeated} more than once; give each its own")


def _check_columns(path: pathlib.Path, present: Sequence[str], wanted: Sequence[str]) -> None:
    for name in wanted:
        if name not in present:
            raise DataError(
                f"{path} has no column {name!r}; nearest: {nearest(name, present)}"
                f" (it has {list(present)})"
            )


def _table(
    path: pathlib.Path,
    rows: Sequence[tuple[int, Mapping[str, Any]]],
    text: str,
    label: str | None,
    id: str | None,
    metadata: Sequence[str],
    classes: Sequence[str] | None,
    bands: Bands | None,
) -> Table:
    if not rows:
        raise DataError(f"{path} holds no rows")
    places = [f"{path}:{number}" for number, _ in rows]
    for place, (_, row) in zip(places, rows):
        wanted = [name for name in (text, label, id, *metadata) if name is not None]
        _check_columns(path if row is rows[0][1] else pathlib.Path(place), list(row), wanted)
        if not isinstance(row[text], str):
            raise DataError(f"{place}: {text!r} is {row[text]!r}, not a text")
        check_text(row[text], f"{place}: {text!r}")
    found: list[str | None] = []
    left_out: dict[str, int] = {}
    if bands is not None:
        if label is None:
            raise DataError(f"bands {dict(bands)} cut a column of numbers: name it as label")
        numbers = [row[label] for _, row in rows]
        found, order = class_of_band(numbers, [f"{place}: {label!r}" for place in places], bands)
        classes = classes or order
        inside = [position for position, name in enumerate(found) if name is not None]
        left_out[f"{label!r} in no band"] = len(rows) - len(inside)
        rows = [rows[at] for at in inside]
        places = [places[at] for at in inside]
        found = [found[at] for at in inside]
    if id is None:
        ids = [f"{path.name}:{number}" for number, _ in rows]
    else:
        ids = [_name(row[id], id, place) for place, (_, row) in zip(places, rows)]
    labels, names = None, tuple(classes or ())
    if label is not None:
        values = [str(name) for name in found]
        if bands is None:
            values = [_name(row[label], label, place) for place, (_, row) in zip(places, rows)]
        labels, names = encode_labels(values, places, classes)
    return Table(
        ids=np.array(ids),
        inputs=[row[text] for _, row in rows],
        labels=labels,
        classes=names,
        metadata={name: np.array([str(row[name]) for _, row in rows]) for name in metadata},
        left_out=left_out,
    )


def _name(value: Any, column: str, place: str) -> str:
    if value is None or isinstance(value, float | list | dict | bytes):
        raise DataError(f"{place}: {column!r} is {value!r}, not a name or whole number")
    check_text(name := str(value), f"{place}: {column!r}")
    return name
