"""Looks at a user's data and says how a config reads it: kind, columns, classes, lengths and sizes.

What is ambiguous is asked for, not guessed; what is chosen is said, so that the user can correct it.
"""

import csv
import dataclasses
import io
import json
import math
import pathlib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer.data.encoding import decode, read_bytes
from jaxtransfer.data.folders import IMAGE_SUFFIXES, ImageFiles
from jaxtransfer.data.load import load_table
from jaxtransfer.data.source import Table, View
from jaxtransfer.errors import ConfigError, DataError, nearest

TEXTS, LABELS, IDS = (
    ("text", "sentence", "document", "body", "content", "review", "message", "title"),
    ("label", "class", "category", "target", "topic", "sentiment", "y"),
    ("id", "uid", "key", "name"),
)
"""Names that columns of texts, labels and ids usually have, likeliest first."""
DELIMITERS = (",", ";", "\t", "|")
ENCODINGS, UTF_16 = ("utf-8", "latin-1"), "utf-16"
MOST_CLASSES = 100
DOCUMENTS = (".txt", ".md", ".text", ".rst", ".html")
LOOKED = 200
"""Images whose size is looked at."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """Data as a config names them.

    Attributes:
      data: the config's `data` section.
      table: what it loads.
      of: `text` or `images`.
      facts: sentences on what was seen and chosen.
      size: words of a long text (95th percentile), or the median shorter side of an image.
    """

    data: Mapping[str, Any]
    table: Table
    of: str
    facts: tuple[str, ...]
    size: int


def look(
    kind: str, path: pathlib.Path, *, text: str | None = None, label: str | None = None
) -> Seen:
    """Looks at data.

    Args:
      kind: `text` (a folder of texts by class, or a table), `images` (a folder by class) or `table`
        (CSV, JSONL, Parquet; CSV of pixels).
      path: of the data, as the config is to name it.
      text: the column of texts, if it is not to be chosen here.
      label: the column of labels, likewise.

    Raises:
      ConfigError: if a column cannot be told, or the kind does not fit the path.
      DataError: if the data cannot be read.
    """
    if not path.exists():
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ConfigError(f"there is no {path}; nearest beside it: {nearest(path.name, beside)}")
    if path.is_dir():
        if text or label:
            raise ConfigError(f"{path} is a folder, whose classes are its sub-folders: no columns")
        if kind == "table":
            raise ConfigError(f"{path} is a folder; use `new text` or `new images` for it")
        return _images(path) if kind == "images" else _documents(path)
    if kind == "images":
        raise ConfigError(f"{path} is no folder of images by class; `new table` takes tables")
    return _rows(path, text, label)


def _documents(path: pathlib.Path) -> Seen:
    suffixes = _suffixes(path)
    if suffixes and not set(suffixes) & set(DOCUMENTS) and set(suffixes) & set(IMAGE_SUFFIXES):
        raise ConfigError(f"{path} holds images ({_most(suffixes)}): use `new images` for it")
    present = tuple(suffix for suffix in DOCUMENTS if suffix in suffixes)
    data: dict[str, Any] = {"kind": "text_folder", "path": str(path)}
    if present and present != (".txt",):
        data["suffixes"] = present
    return _of_texts(data, [])


def _images(path: pathlib.Path) -> Seen:
    suffixes = _suffixes(path)
    if suffixes and not set(suffixes) & set(IMAGE_SUFFIXES):
        raise ConfigError(f"{path} holds no images but {_most(suffixes)}: use `new text` for texts")
    data = {"kind": "image_folder", "path": str(path)}
    table = load_table(data)
    sides = [min(size) for size in _image_sizes(table)]
    middle = int(np.median(sides))
    facts = [f"shorter side of an image: {min(sides)} to {max(sides)} pixels, median {middle}"]
    return Seen(data=data, table=table, of="images", facts=(*_counts(table), *facts), size=middle)


def _image_sizes(table: Table) -> list[tuple[int, int]]:
    """Of some images, evenly chosen; headers alone are read."""
    from PIL import Image

    rows = np.unique(np.linspace(0, len(table) - 1, LOOKED).astype(int))
    files = table.inputs.base if isinstance(table.inputs, View) else table.inputs
    assert isinstance(files, ImageFiles)
    found = []
    for row in rows:
        try:
            with Image.open(files.paths[row]) as image:
                found.append(image.size)
        except OSError as error:
            raise DataError(f"{files.paths[row]} cannot be read as an image: {error}") from error
    return found


def _suffixes(path: pathlib.Path) -> Counter[str]:
    """Suffixes of the files in sub-folders."""
    files = [f for folder in path.iterdir() if folder.is_dir() for f in folder.rglob("*")]
    return Counter(f.suffix.lower() for f in files if f.is_file() and f.name[0] != ".")


def _most(suffixes: Counter[str]) -> str:
    return ", ".join(suffix or "no suffix" for suffix, _ in suffixes.most_common(3))


def _rows(path: pathlib.Path, text: str | None, label: str | None) -> Seen:
    suffix = pathlib.Path(path.name.removesuffix(".gz")).suffix.lower()
    data: dict[str, Any] = {"path": str(path)}
    facts: list[str] = []
    if suffix in (".csv", ".tsv", ".txt"):
        columns, options = _csv(path)
        if columns is None:
            return _pixels(path, options)
        data = {"kind": "csv", **data, **options}
    elif suffix in (".jsonl", ".ndjson", ".json"):
        columns, options = _jsonl(path)
        data = {"kind": "jsonl", **data, **options}
    elif suffix == ".parquet":
        data, columns = {"kind": "parquet", **data}, _parquet(path)
    else:
        raise ConfigError(f"{path} is no .csv, .tsv, .jsonl or .parquet file")
    if text is not None and text == label:
        raise ConfigError(
            f"--text and --label both name {text!r}; texts and labels need a column each"
        )
    chosen_text = _chosen(path, "text", text, columns, _texts(columns))
    others = {name: column for name, column in columns.items() if name != chosen_text}
    chosen_label = _chosen(path, "label", label, columns, _classes(others))
    endings = Counter(pathlib.Path(str(v)).suffix.lower() for v in columns[chosen_text])
    if endings.most_common(1)[0][0] in IMAGE_SUFFIXES:
        raise ConfigError(
            f"column {chosen_text!r} of {path} holds names of image files, and tables hold texts: put"
            " the images of each class in a folder, and use `new images`"
        )
    data |= {"text": chosen_text, "label": chosen_label}
    facts.append(f"columns {list(columns)}: texts in {chosen_text!r}, labels in {chosen_label!r}")
    for name in IDS:
        column = columns.get(name)
        whole = column is not None and all(isinstance(v, str | int) and v != "" for v in column)
        if column is not None and whole and len({str(v) for v in column}) == len(column):
            data["id"] = name
            facts.append(f"ids in {name!r}, which are unique")
            break
    return _of_texts(data, facts)


def _of_texts(data: dict[str, Any], facts: Sequence[str]) -> Seen:
    """Loads texts, in another encoding if they have no UTF-8, and measures them."""
    found = list(facts)
    try:
        table = load_table(data)
    except DataError as error:
        if "not utf-8" not in str(error) or "encoding" in data or data["kind"] == "parquet":
            raise
        data = {**data, "encoding": ENCODINGS}
        table = load_table(data)
    if data.get("encoding") == UTF_16:
        found.append("it is UTF-16")
    elif "encoding" in data:
        found.append(
            "not all of it is UTF-8: what is not is read as latin-1; look at a word with accents,"
            " and name another encoding if it is wrong"
        )
    words = [len(table.inputs[row].split()) for row in range(len(table))]
    long = math.ceil(np.quantile(words, 0.95))
    found.append(f"words of a text: median {int(np.median(words))}, 95 % have at most {long}")
    return Seen(data=data, table=table, of="text", facts=(*_counts(table), *found), size=long)


def _counts(table: Table) -> list[str]:
    counts = [f"{name!r} {count:,}" for name, count in table.counts().items()]
    more = f" and {len(counts) - 12} more" if len(counts) > 12 else ""
    return [f"{len(table):,} examples of {len(counts)} classes: {', '.join(counts[:12])}{more}"]


def _csv(path: pathlib.Path) -> tuple[dict[str, list[Any]] | None, dict[str, Any]]:
    """Columns and the loader's options; no columns, but rows, of a table of numbers alone."""
    raw = read_bytes(path)
    options = _utf_16(raw)
    try:
        content, _ = decode(raw, path, options.get("encoding", "utf-8"))
    except DataError:
        if options:
            raise
        content, _ = decode(raw, path, ENCODINGS)
        options["encoding"] = ENCODINGS
    head = content.split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=head.count)
    if delimiter != ",":
        options["delimiter"] = delimiter
    limit = csv.field_size_limit(2**31 - 1)
    try:
        rows = [r for r in csv.reader(io.StringIO(content, newline=""), delimiter=delimiter) if r]
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as CSV: {error}") from error
    finally:
        csv.field_size_limit(limit)
    if len(rows) < 2:
        raise DataError(f"{path} holds no rows below its header")
    if len(rows[1]) > 16 and all(field.strip().isdecimal() for field in rows[1]):
        return None, {"rows": rows}
    names = rows[0]
    ragged = next((n for n, row in enumerate(rows) if len(row) != len(names)), None)
    if ragged is not None:
        raise DataError(
            f"{path}: row {ragged} has {len(rows[ragged])} fields, but there are {len(names)} columns"
        )
    return {name: [row[i] for row in rows[1:]] for i, name in enumerate(names)}, options


def _pixels(path: pathlib.Path, found: Mapping[str, Any]) -> Seen:
    """A table of numbers: a row is an image's pixels and its label, first or last."""
    rows = found["rows"]
    skip = 0 if rows[0][0].strip().isdecimal() else 1
    values = rows[skip:]
    size = len(values[0]) - 1
    side = next(
        (s for s, c in ((math.isqrt(size // c), c) for c in (1, 3)) if s * s * c == size), 0
    )
    if not side:
        raise ConfigError(
            f"{path} has rows of {size + 1} whole numbers, which are no square image and a label; write"
            " its shape and label_column into a config of kind pixel_csv"
        )
    distinct = {column: len({row[column] for row in values}) for column in (0, -1)}
    column = min(distinct, key=lambda c: (distinct[c] < 2, distinct[c]))
    shape = (side, side) if side * side == size else (side, side, 3)
    data = {"kind": "pixel_csv", "path": str(path), "shape": shape, "label_column": column}
    if skip:
        data["skip_rows"] = skip
    table = load_table(data)
    facts = [f"images of shape {shape}; labels in the {'last' if column else 'first'} column"]
    return Seen(data=data, table=table, of="images", facts=(*_counts(table), *facts), size=side)


def _utf_16(raw: bytes) -> dict[str, Any]:
    """The loader's option for bytes that begin with the mark of UTF-16."""
    return {"encoding": UTF_16} if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else {}


def _jsonl(path: pathlib.Path) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Columns, and the loader's options."""
    raw = read_bytes(path)
    options = _utf_16(raw)
    content, _ = decode(raw, path, options.get("encoding", ENCODINGS))
    rows = []
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(
                    f"{path}:{number} is not JSON: {error}; give a row a line"
                ) from None
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number} is a JSON {type(row).__name__}, not an object")
            rows.append(row)
    if not rows:
        raise DataError(f"{path} holds no rows")
    return {name: [row.get(name) for row in rows] for name in rows[0]}, options


def _parquet(path: pathlib.Path) -> dict[str, list[Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        return parquet.read_table(path).to_pydict()
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"cannot read {path} as Parquet: {error}") from error


def _texts(columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """Columns that may be the texts, likeliest first: not those whose values are all numbers."""
    strings = {
        name: np.mean([len(value) for value in column])
        for name, column in columns.items()
        if all(isinstance(value, str) for value in column) and not _is_numbers(column)
    }
    known = [name for name in TEXTS for column in strings if column.lower() == name]
    named = [column for name in known for column in strings if column.lower() == name]
    if not named and set(strings) <= set(_classes({name: columns[name] for name in strings})):
        # Of what remains beside numbers, all has the few values of labels.
        return []
    # Words of several letters, and no two alike in length: the longest column by far.
    ranked = sorted(strings, key=lambda name: -strings[name])
    clear = len(ranked) == 1 or (len(ranked) > 1 and strings[ranked[0]] > 2 * strings[ranked[1]])
    return named[:1] or (ranked[:1] if clear else ranked)


def _is_numbers(column: Sequence[str]) -> bool:
    """Whether every value that is given is a number."""
    try:
        [float(value) for value in column if value.strip()]
    except ValueError:
        return False
    return True


def _classes(columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """Columns that may be the labels, likeliest first."""
    fitting = [
        name
        for name, column in columns.items()
        if 2 <= len(set(map(str, column))) <= min(MOST_CLASSES, len(column) // 2)
        and not any(isinstance(value, float | list | dict | type(None)) for value in column)
    ]
    named = [column for name in LABELS for column in fitting if column.lower() == name]
    return named[:1] or fitting


def _chosen(
    path: pathlib.Path,
    what: str,
    asked: str | None,
    columns: Mapping[str, Any],
    candidates: Sequence[str],
) -> str:
    if asked is not None:
        if asked not in columns:
            raise ConfigError(f"{path} has no column {asked!r}; nearest: {nearest(asked, columns)}")
        return asked
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        if what == "text":
            raise ConfigError(
                f"no column of {path} holds texts; numbers, and the few values of labels, are none (columns:"
                f" {', '.join(map(repr, columns))}): say the column with --text COLUMN"
            )
        counts = ", ".join(f"{name!r} {len(set(map(str, v)))}" for name, v in columns.items())
        raise ConfigError(
            f"no column of {path} can be the label, which has 2 to {MOST_CLASSES} different values, two rows or more"
            f" of each on average (different values: {counts}); say the column with --label COLUMN"
        )
    which = f"may be any of {list(candidates)}"
    raise ConfigError(f"the {what} of {path} {which}: say the column with --{what} COLUMN")
