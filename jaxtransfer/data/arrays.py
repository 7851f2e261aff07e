"""Tables of arrays from files: images as rows of pixels in CSV, and NumPy archives."""

import io
import math
import pathlib
from collections.abc import Sequence

import numpy as np

from jaxtransfer.data.encoding import read_bytes
from jaxtransfer.data.source import Table, from_arrays
from jaxtransfer.errors import DataError, nearest


def pixel_csv(
    path: str | pathlib.Path,
    *,
    shape: Sequence[int] = (28, 28),
    label_column: int | None = -1,
    skip_rows: int = 0,
    white: int = 255,
    classes: Sequence[str] | None = None,
) -> Table:
    """Images as rows of pixels 0..white in a CSV file (`.gz` too); inputs are uint8 (n, *shape).

    Ids are `<file name>:<line>`. Labels are integers; their sorted values are the classes unless
    `classes` names them, in which case a label is a position in it.

    Args:
      path: the file.
      shape: (height, width) or (height, width, channels); a row is read in this order, the last
        axis fastest.
      label_column: which column is the label, from the end if negative; None: no labels.
      skip_rows: header lines.
      white: the largest value of a pixel, up to 255; it becomes 255.
      classes: class names in label order.

    Raises:
      DataError: if a row is not of whole numbers or has another width, or a pixel is outside
        0..white, or white outside 1..255.
    """
    path = pathlib.Path(path)
    if not 1 <= white <= 255:
        raise DataError(f"white is {white}; the largest value of a pixel is from 1 to 255")
    try:
        rows = np.loadtxt(
            io.BytesIO(read_bytes(path)), np.int64, delimiter=",", skiprows=skip_rows, ndmin=2
        )
    except ValueError as error:
        raise DataError(f"{path} is not a CSV file of whole numbers: {error}") from error
    if not rows.size:
        raise DataError(f"{path} holds no rows")
    if label_column is not None and not -rows.shape[1] <= label_column < rows.shape[1]:
        raise DataError(
            f"{path} has {rows.shape[1]} columns, none of which is label_column {label_column}"
        )
    size = math.prod(shape)
    width = size + (label_column is not None)
    if rows.shape[1] != width:
        raise DataError(
            f"{path} has {rows.shape[1]} columns, but shape {tuple(shape)} needs {size} pixels"
            + (f" and a label: {width}" if label_column is not None else "")
        )
    ids = [f"{path.name}:{row + 1 + skip_rows}" for row in range(len(rows))]
    labels = None if label_column is None else rows[:, label_column]
    pixels = rows if label_column is None else np.delete(rows, label_column, axis=1)
    if pixels.min() < 0 or pixels.max() > white:
        row = int(np.flatnonzero(((pixels < 0) | (pixels > white)).any(axis=1))[0])
        raise DataError(f"{path}:{row + 1 + skip_rows} holds a pixel outside 0..{white}")
    images = np.round(pixels * (255 / white)).astype(np.uint8).reshape(-1, *shape)
    return from_arrays(images, labels, ids=ids, classes=classes)


def npz(
    path: str | pathlib.Path,
    *,
    inputs: str = "inputs",
    labels: str | None = "labels",
    ids: str | None = None,
    classes: Sequence[str] | None = None,
) -> Table:
    """Arrays from a NumPy archive, read without pickle; ids are `<file name>:<row>` unless given.

    Args:
      path: the file.
      inputs: name of the array (n, ...) of inputs; strings are texts.
      labels: name of the array (n,) of labels, as `from_arrays` takes them; None: no labels.
      ids: name of the array (n,) of unique ids.
      classes: class names in label order.

    Raises:
      DataError: if the file is no such archive, or lacks an array (naming the nearest).
    """
    path = pathlib.Path(path)
    try:
        with np.load(io.BytesIO(read_bytes(path)), allow_pickle=False) as archive:
            arrays = {
                name: archive[name] if name in archive.files else None
                for name in (inputs, labels, ids)
                if name is not None
            }
            present = archive.files
    except DataError:
        raise
    except Exception as error:  # a malformed header can raise nearly anything, MemoryError too
        raise DataError(f"cannot read {path} as an .npz without pickle: {error}") from error
    for name, array in arrays.items():
        if array is None:
            raise DataError(f"{path} has no array {name!r}; nearest: {nearest(name, present)}")
    raw = arrays[inputs]
    assert raw is not None
    if not raw.ndim:
        raise DataError(f"{path}: {inputs!r} is a single value; inputs are an array (n, ...)")
    count = len(raw)
    names = [f"{path.name}:{row}" for row in range(count)] if ids is None else arrays[ids].tolist()  # type: ignore[union-attr]
    return from_arrays(
        raw.tolist() if raw.dtype.kind == "U" else raw,
        None if labels is None else arrays[labels],
        ids=[str(name) for name in names],
        classes=classes,
    )
