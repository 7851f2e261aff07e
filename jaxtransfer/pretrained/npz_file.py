"""Reads `.npz` archives without pickle."""

from pathlib import Path

import numpy as np

from jaxtransfer.errors import PretrainedError
from jaxtransfer.pretrained.dtypes import TORCH


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Reads every array of an `.npz` archive, under its name in the archive.

    Two-byte void arrays are what `numpy.savez` makes of bfloat16, and are read as such.

    Raises:
      PretrainedError: if the archive is damaged, or holds Python objects.
    """
    arrays = {}
    name = ""
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                arrays[name] = archive[name]
    except Exception as error:  # a malformed header can raise nearly anything, MemoryError too
        where = f" at array {name!r}" if name else ""
        raise PretrainedError(f"{path}: not a readable .npz{where}: {error}") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise PretrainedError(f"{path}: member {name!r} is not an array")
        if array.dtype == np.dtype("V2"):
            arrays[name] = array.view(TORCH["bfloat16"])
        elif array.dtype.kind not in "biufc":
            raise PretrainedError(f"{path}: array {name!r} holds {array.dtype}, not numbers")
    return arrays
