"""Reads what `torch.save` writes, legacy and zip, without torch, running nothing of the file.

A pickle is a program. The unpickler here knows tensors, storages and plain containers; the first
other name the program asks for is refused before it is looked up, so nothing of the file runs. The
names it knows stand for objects of this module that only note what was asked; the arrays are made
afterwards, with every view checked against its storage.
"""

import collections
import dataclasses
import io
import itertools
import math
import pickle
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from jaxtransfer.errors import PretrainedError
from jaxtransfer.pretrained.dtypes import TORCH, TORCH_STORAGE

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_PROTOCOL = 1001
_DEPTH_LIMIT = 32
_NODE_LIMIT = 200_000  # a small pickle can share containers into a huge tree
_WRAPPERS = ("state_dict", "model_state_dict", "model")


# The classes below are frozen and have neither `__dict__` nor `__setstate__` (which `slots=True`
# would add), so that the pickle's BUILD opcode can change nothing that was checked.


@dataclasses.dataclass(frozen=True)
class _Dtype:
    """An element type, named by a torch dtype or by a typed storage's class."""

    __slots__ = ("dtype",)
    dtype: np.dtype | None  # None: bytes, typed by each view (`torch.storage.UntypedStorage`)


@dataclasses.dataclass(frozen=True)
class _Storage:
    __slots__ = ("count", "dtype", "key", "offset")
    key: str
    dtype: np.dtype | None
    count: int  # elements, or bytes where dtype is None
    offset: int  # elements into the stored buffer: legacy files have views of storages


@dataclasses.dataclass(frozen=True)
class _Tensor:
    __slots__ = ("dtype", "offset", "shape", "storage", "strides")
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype


@dataclasses.dataclass(frozen=True)
class _Function:
    """A function that a pickle may call."""

    __slots__ = ("call",)
    call: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        return self.call(*args)


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage) or storage.dtype is None:
        raise ValueError("a tensor without a typed storage")
    return _checked(storage, offset, shape, strides, storage.dtype)


def _rebuild_tensor_v3(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    _grad: Any,
    _hooks: Any,
    dtype: Any,
    *_: Any,
) -> _Tensor:
    if not isinstance(storage, _Storage) or not isinstance(dtype, _Dtype) or dtype.dtype is None:
        raise ValueError("a tensor without a storage or dtype")
    return _checked(storage, offset, shape, strides, dtype.dtype)


def _checked(storage: _Storage, offset: Any, shape: Any, strides: Any, dtype: np.dtype) -> _Tensor:
    shape, strides = tuple(shape), tuple(strides)
    if len(shape) != len(strides) or any(
        type(n) is not int or n < 0 for n in (offset, *shape, *strides)
    ):
        raise ValueError(f"a tensor with offset {offset}, shape {shape}, strides {strides}")
    count = storage.count if storage.dtype is not None else storage.count // dtype.itemsize
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides)) if math.prod(shape) else 0
    if last >= max(count, 1) or (math.prod(shape) and not count):
        raise ValueError(f"a view of element {last} of a storage of {count}")
    return _Tensor(storage, offset, shape, strides, dtype)


def _rebuild_parameter(tensor: Any, *_: Any) -> _Tensor:
    if not isinstance(tensor, _Tensor):
        raise ValueError("a parameter without a tensor")
    return tensor


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("bytes in another encoding than latin1")
    return text.encode("latin1")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch", "Size"): _Function(lambda *args: tuple(*args)),
    ("_codecs", "encode"): _Function(_encode),
    ("torch._utils", "_rebuild_tensor"): _Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): _Function(_rebuild_tensor_v3),
    ("torch._utils", "_rebuild_parameter"): _Function(_rebuild_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): _Function(_rebuild_parameter),
    ("torch.storage", "UntypedStorage"): _Dtype(None),
    **{("torch", name): _Dtype(dtype) for name, dtype in (TORCH_STORAGE | TORCH).items()},
}


class _Refused(Exception):
    """The pickle asked for a name that is not admitted."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, persistent: Callable[[Any], _Storage] | None = None):
        super().__init__(file, encoding="utf-8")
        self._persistent = persistent

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent is None:
            raise ValueError("a persistent reference outside the weights")
        return self._persistent(pid)


def _unpickle(path: Path, file: BinaryIO, persistent: Callable | None = None) -> Any:
    try:
        return _Unpickler(file, persistent).load()
    except _Refused as refused:
        raise PretrainedError(
            f"{path}: refused: its pickle asks for {refused}, which is not a tensor or a plain"
            " container; nothing of it was run. Save `model.state_dict()`, or safetensors, instead"
        ) from None
    except Exception as error:  # a malformed pickle can raise nearly anything
        raise PretrainedError(
            f"{path}: truncated or damaged: its pickle stops with {type(error).__name__}: {error}"
        ) from None


def read_torch_zip(path: Path) -> dict[str, np.ndarray]:
    """Reads the zip format (torch >= 1.6).

    Returns:
      Name to read-only array, in the file's order; see `named_arrays` for nested containers.

    Raises:
      PretrainedError: if the file is damaged, refused (see the module's docstring) or holds no
        named tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            main = next(name for name in members if PurePosixPath(name).name == "data.pkl")
            root = main.removesuffix("data.pkl")
            if f"{root}constants.pkl" in members:
                raise PretrainedError(
                    f"{path}: a TorchScript archive, which holds code; save `model.state_dict()`"
                    " instead"
                )
            order = ">" if _byte_order(path, archive, root) == "big" else "<"
            tree = _unpickle(path, io.BytesIO(archive.read(main)), _zip_storage)

            def fetch(storage: _Storage) -> bytes:
                return archive.read(f"{root}data/{storage.key}")

            return named_arrays(path, tree, fetch, order)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError, RuntimeError) as error:
        raise PretrainedError(f"{path}: truncated or damaged torch archive: {error}") from None


def _byte_order(path: Path, archive: zipfile.ZipFile, root: str) -> str:
    if f"{root}byteorder" not in archive.namelist():
        return "little"  # written before torch 2.1, which knew no other
    order = archive.read(f"{root}byteorder").decode("ascii", "replace").strip()
    if order not in ("little", "big"):
        raise PretrainedError(f"{path}: byte order {order!r} is neither little nor big")
    return order


def _zip_storage(pid: Any) -> _Storage:
    kind, dtype, key, _, count = pid
    return _storage(kind, dtype, key, count, 0)


def _storage(kind: Any, dtype: Any, key: Any, count: Any, offset: Any) -> _Storage:
    if kind != "storage" or not isinstance(dtype, _Dtype) or not isinstance(key, str):
        raise ValueError(f"a persistent reference that is not a storage: {kind!r}")
    if type(count) is not int or type(offset) is not int or count < 0 or offset < 0:
        raise ValueError(f"a storage of {count!r} elements at {offset!r}")
    return _Storage(key, dtype.dtype, count, offset)


def _legacy_storage(pid: Any) -> _Storage:
    kind, dtype, key, _, count, view = pid
    if view is None:
        return _storage(kind, dtype, key, count, 0)
    _, offset, size = view
    return _storage(kind, dtype, key, size, offset)


def read_torch_legacy(path: Path) -> dict[str, np.ndarray]:
    """Reads the format before torch 1.6: five pickles, then the storages.

    Returns and raises as `read_torch_zip`.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(len(LEGACY_MAGIC))
        protocol = _unpickle(path, file)
        if protocol != _LEGACY_PROTOCOL:
            raise PretrainedError(f"{path}: torch protocol {protocol!r}, expected 1001")
        _unpickle(path, file)  # the writer's machine; this format is little-endian on every one
        dtypes: dict[str, np.dtype | None] = {}

        def note(pid: Any) -> _Storage:
            storage = _legacy_storage(pid)
            dtypes[storage.key] = storage.dtype
            return storage

        tree = _unpickle(path, file, note)
        keys = _unpickle(path, file)
        are_names = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
        if not are_names or set(keys) != set(dtypes):
            raise PretrainedError(
                f"{path}: damaged: its list of storages differs from its tensors'"
            )
        buffers = {}
        for key in keys:
            count = int.from_bytes(file.read(8), "little")
            width = 1 if (dtype := dtypes[key]) is None else dtype.itemsize
            if file.tell() + count * width > size:
                raise PretrainedError(
                    f"{path}: truncated: storage {key!r} needs {count * width} bytes,"
                    f" {size - file.tell()} are left"
                )
            buffers[key] = file.read(count * width)
        return named_arrays(path, tree, lambda storage: buffers[storage.key])


def named_arrays(
    path: Path, tree: Any, fetch: Callable[[_Storage], bytes], order: str = "<"
) -> dict[str, np.ndarray]:
    """Makes the arrays of an unpickled tree.

    Nested mappings and lists give dotted names; numbers, strings and None are not arrays and are
    left out. A training checkpoint without tensors at the top, whose weights are under
    `state_dict`, `model_state_dict` or `model`, gives those alone.
    """
    if not isinstance(tree, Mapping):
        raise PretrainedError(f"{path}: holds {_kind(tree)}, not a mapping of names to tensors")
    if not any(isinstance(value, _Tensor) for value in tree.values()):
        wrapper = next((key for key in _WRAPPERS if isinstance(tree.get(key), Mapping)), None)
        tree = tree if wrapper is None else tree[wrapper]
    buffers: dict[str, bytes] = {}
    arrays: dict[str, np.ndarray] = {}
    visits = itertools.count()

    def visit(node: Any, name: str, depth: int) -> None:
        if depth > _DEPTH_LIMIT or next(visits) > _NODE_LIMIT:
            raise PretrainedError(
                f"{path}: containers nested deeper than {_DEPTH_LIMIT}, or with more than"
                f" {_NODE_LIMIT} entries, at {name[:80]!r}"
            )
        if isinstance(node, _Tensor):
            if name in arrays:
                raise PretrainedError(f"{path}: two tensors are named {name!r}")
            key = node.storage.key
            if key not in buffers:
                buffers[key] = fetch(node.storage)
            try:
                arrays[name] = _array(path, name, node, buffers[key], order)
            except (ValueError, OverflowError) as error:  # numpy counts axes and bytes in a long
                raise PretrainedError(
                    f"{path}: tensor {name!r} of {len(node.shape)} axes and"
                    f" {math.prod(node.shape)} elements is none that numpy can hold: {error}"
                ) from None
        elif isinstance(node, Mapping):
            for key, child in node.items():
                visit(child, f"{name}.{key}" if name else str(key), depth + 1)
        elif isinstance(node, list | tuple):
            for index, child in enumerate(node):
                visit(child, f"{name}.{index}", depth + 1)

    visit(tree, "", 0)
    if not arrays:
        raise PretrainedError(f"{path}: holds no tensors")
    return arrays


def _array(path: Path, name: str, tensor: _Tensor, data: bytes, order: str) -> np.ndarray:
    storage = tensor.storage
    width = 1 if storage.dtype is None else storage.dtype.itemsize
    begin, length = storage.offset * width, storage.count * width
    if len(data) < begin + length:
        raise PretrainedError(
            f"{path}: truncated: the storage of {name!r} has {len(data)} bytes of {begin + length}"
        )
    dtype = tensor.dtype
    count = length // dtype.itemsize
    if order == ">":
        raw = np.frombuffer(data, np.uint8, count * dtype.itemsize, begin)
        # extension dtypes have no byte order of their own, so the bytes are turned
        parts = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
        flat = np.ascontiguousarray(raw.reshape(-1, parts)[:, ::-1]).reshape(-1).view(dtype)
    else:
        flat = np.frombuffer(data, dtype, count, begin)
    if not math.prod(tensor.shape):
        return np.zeros(tensor.shape, dtype)
    strides = [stride * dtype.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(
        flat[tensor.offset :], tensor.shape, strides, writeable=False
    )


def _kind(value: Any) -> str:
    return "a single tensor" if isinstance(value, _Tensor) else f"a {type(value).__name__}"


def refuse_plain_pickle(path: Path) -> None:
    """Raises the error for a pickle that is not torch's, naming what it asks for, if anything."""
    with path.open("rb") as file:
        _unpickle(path, file)
    raise PretrainedError(
        f"{path}: a plain pickle, which is not supported (a pickle is a program); save safetensors"
        " or .npz instead"
    )
