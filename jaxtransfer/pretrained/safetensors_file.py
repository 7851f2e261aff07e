"""Reads safetensors files, single or sharded under an index.

The format (8-byte length, JSON header, tensor bytes) is checked whole before any tensor is made:
offsets in bounds, without holes or overlaps, of the size that shape and dtype say.
"""

import json
import math
from pathlib import Path

import numpy as np

from jaxtransfer.errors import PretrainedError, nearest
from jaxtransfer.json_text import unique_keys
from jaxtransfer.pretrained.dtypes import SAFETENSORS
from jaxtransfer.pretrained.names import shown

_HEADER_LIMIT = 100_000_000  # of the format's reference implementation


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Reads every tensor of one safetensors file, in the header's order.

    Returns:
      Name to read-only array; bfloat16 and float8 arrays have the dtypes of `ml_dtypes`.

    Raises:
      PretrainedError: if the file is truncated, malformed, or holds an element type numpy lacks.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _HEADER_LIMIT:
            raise PretrainedError(f"{path}: its safetensors header claims {length} bytes")
        if 8 + length > size:
            raise PretrainedError(
                f"{path}: truncated: the safetensors header needs {8 + length} bytes, the file has"
                f" {size}"
            )
        header = _header(path, file.read(length))
        spans = sorted((begin, end, name) for name, (_, _, begin, end) in header.items())
        position = 0
        for begin, end, name in spans:
            if begin != position:
                raise PretrainedError(
                    f"{path}: tensor {name!r} starts at byte {begin} of the data, expected"
                    f" {position}"
                )
            position = end
        held = size - 8 - length
        if held < position:
            raise PretrainedError(
                f"{path}: truncated: {position} bytes of tensors announced, {held} are there"
            )
        if held > position:
            raise PretrainedError(f"{path}: {held - position} bytes follow the last tensor")
        data = file.read(position)
    if len(data) != position:
        raise PretrainedError(f"{path}: truncated while it was read")
    return {
        name: np.frombuffer(data, dtype, math.prod(shape), begin).reshape(shape)
        for name, (dtype, shape, begin, _) in header.items()
    }


def _header(path: Path, text: bytes) -> dict[str, tuple[np.dtype, tuple[int, ...], int, int]]:
    try:
        raw = json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise PretrainedError(
            f"{path}: its safetensors header is not valid JSON: {error}"
        ) from None
    if not isinstance(raw, dict):
        raise PretrainedError(f"{path}: its safetensors header is not a JSON object")
    header = {}
    for name, entry in raw.items():
        if name == "__metadata__":
            continue
        try:
            code, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
            numbers = (*shape, begin, end)
            if any(type(n) is not int or n < 0 for n in numbers) or end < begin:
                raise ValueError(f"sizes {numbers}")
        except (KeyError, TypeError, ValueError) as error:
            raise PretrainedError(f"{path}: bad header entry of tensor {name!r}: {error}") from None
        if code not in SAFETENSORS:
            raise PretrainedError(
                f"{path}: tensor {name!r} has the element type {code!r}, which is not supported;"
                f" supported: {', '.join(SAFETENSORS)}"
            )
        dtype = SAFETENSORS[code]
        if math.prod(shape) * dtype.itemsize != end - begin:
            raise PretrainedError(
                f"{path}: tensor {name!r} of {code} {shape} does not fill its {end - begin} bytes"
            )
        try:
            np.broadcast_to(np.zeros((), dtype), shape)
        except ValueError as error:  # numpy counts axes and bytes in a long
            raise PretrainedError(
                f"{path}: tensor {name!r} of {len(shape)} axes is none that numpy can hold: {error}"
            ) from None
        header[name] = (dtype, shape, begin, end)
    return header


def read_sharded(index: Path) -> dict[str, np.ndarray]:
    """Reads the shards that a `*.safetensors.index.json` lists, in the index's order.

    Raises:
      PretrainedError: if a shard is missing or outside the index's directory, or if shards and
        index disagree.
    """
    try:
        weight_map = json.loads(index.read_bytes(), object_pairs_hook=unique_keys)["weight_map"]
        places = {str(name): str(shard) for name, shard in weight_map.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PretrainedError(
            f"{index}: not an index of safetensors shards (needs 'weight_map'): {error!r}"
        ) from None
    held: dict[str, np.ndarray] = {}
    origin: dict[str, str] = {}
    for shard in dict.fromkeys(places.values()):
        if Path(shard).name != shard or shard in {"", ".", ".."}:
            raise PretrainedError(f"{index}: shard {shard!r} is not a plain file name")
        path = index.parent / shard
        if not path.is_file():
            there = [p.name for p in index.parent.iterdir()]
            raise PretrainedError(
                f"{index}: shard {shard!r} is missing; nearest: {nearest(shard, there)}"
            )
        arrays = read_safetensors(path)
        twice = [name for name in arrays if name in held]
        if twice:
            raise PretrainedError(
                f"{path}: tensors that {origin[twice[0]]} also holds: {shown(twice)}"
            )
        held.update(arrays)
        origin.update(dict.fromkeys(arrays, shard))
    for what, names in (
        ("in the index, but not in its shard", [n for n in places if origin.get(n) != places[n]]),
        ("in a shard, but not in the index", [n for n in held if n not in places]),
    ):
        if names:
            raise PretrainedError(f"{index}: tensors {what}: {shown(names)}")
    return {name: held[name] for name in places}
