"""Reads a checkpoint, whatever its name says, by the format its first bytes show."""

import zipfile
from pathlib import Path, PurePosixPath

import numpy as np

from jaxtransfer.errors import PretrainedError, nearest
from jaxtransfer.pretrained.npz_file import read_npz
from jaxtransfer.pretrained.safetensors_file import read_safetensors, read_sharded
from jaxtransfer.pretrained.torch_file import (
    LEGACY_MAGIC,
    read_torch_legacy,
    read_torch_zip,
    refuse_plain_pickle,
)

SUPPORTED = "safetensors (one file, or shards with an index), torch files (legacy and zip), .npz"
_INDEX = ".safetensors.index.json"
_IN_DIRECTORY = (f"model{_INDEX}", "model.safetensors", "pytorch_model.bin", "model.npz")
_NAMED_BY_START = (
    (b"GGUF", "GGUF"),
    (b"\x89HDF\r\n\x1a\n", "HDF5 (Keras .h5)"),
    (b"\x93NUMPY", "a single .npy array (save names with numpy.savez)"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself (run `git lfs pull`)"),
    (b"\x1f\x8b", "gzip (unpack it first)"),
    (b"<!doctype html", "an HTML page, probably an error page of a download"),
    (b"<html", "an HTML page, probably an error page of a download"),
)
_ORBAX = ("_CHECKPOINT_METADATA", "manifest.ocdbt", "_METADATA", "checkpoint_metadata")


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Reads every array of a checkpoint into memory.

    Args:
      path: a file, an index of shards (`model.safetensors.index.json`), or a directory that holds
        `model.safetensors.index.json`, `model.safetensors`, `pytorch_model.bin` or `model.npz`.

    Returns:
      Name in the file to array, in the file's order. Arrays may be read-only views.

    Raises:
      PretrainedError: naming the file, if it does not exist, is truncated, damaged, hostile, or of
        a format that is not supported (which is named).
    """
    path = Path(path)
    try:
        if path.is_dir():
            return read_arrays(_checkpoint_of(path))
        if not path.exists():
            raise missing(path)
        if path.name.endswith(_INDEX):
            return read_sharded(path)
        return _read_file(path)
    except OSError as error:
        raise PretrainedError(f"{path}: cannot be read: {error}") from error


def missing(path: Path) -> PretrainedError:
    """The error for a path that does not exist, with the nearest names that do."""
    first, parent = path, path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent, first = parent.parent, parent
    there = sorted(entry.name for entry in parent.iterdir()) if parent.is_dir() else []
    return PretrainedError(
        f"{path} does not exist; nearest names in {parent.resolve()}: {nearest(first.name, there)}"
    )


def _read_file(path: Path) -> dict[str, np.ndarray]:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise PretrainedError(f"{path}: the file is empty")
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _read_zip(path)
    if start.startswith(LEGACY_MAGIC):
        return read_torch_legacy(path)
    if _begins_as_safetensors(start, size):
        return read_safetensors(path)
    if name := _unsupported(path, start):
        raise PretrainedError(f"{path}: {name} is not supported; supported: {SUPPORTED}")
    if start[0] == 0x80 and len(start) > 1 and 2 <= start[1] <= 5:
        refuse_plain_pickle(path)
    if path.suffix == ".safetensors":
        return read_safetensors(path)  # which says what is wrong with it
    if path.suffix in {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"}:
        refuse_plain_pickle(path)  # protocols 0 and 1 have no first bytes of their own
    raise PretrainedError(
        f"{path}: of no format known here (first bytes {start[:8]!r}); supported: {SUPPORTED}"
    )


def _begins_as_safetensors(start: bytes, size: int) -> bool:
    return len(start) > 8 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 2**40


def _unsupported(path: Path, start: bytes) -> str | None:
    for magic, name in _NAMED_BY_START:
        if start[: len(magic)].lower() == magic.lower():
            return name
    if start[257:262] == b"ustar":
        return "a tar archive (unpack it first; torch files before 2017 are one)"
    if path.suffix == ".onnx" or (start[0] == 0x08 and start[2:3] == b"\x12"):
        return "ONNX"
    if path.suffix == ".msgpack" or start[0] in range(0x81, 0x90) or start[0] in (0xDE, 0xDF):
        return "Flax msgpack"
    if path.name.endswith(".ckpt.index") or ".data-0" in path.name or path.suffix == ".index":
        return "a TensorFlow checkpoint"
    return None


def _read_zip(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [PurePosixPath(name) for name in archive.namelist()]
    except zipfile.BadZipFile as error:
        raise PretrainedError(
            f"{path}: truncated or damaged zip archive (torch or .npz): {error}"
        ) from None
    if any(name.name == "data.pkl" for name in names):
        return read_torch_zip(path)
    if names and all(name.suffix == ".npy" for name in names):
        return read_npz(path)
    if any(name.suffix in {".h5", ".keras"} for name in names):
        raise PretrainedError(f"{path}: a Keras archive is not supported; supported: {SUPPORTED}")
    listed = ", ".join(map(str, names[:5])) or "nothing"
    raise PretrainedError(
        f"{path}: a zip archive that is neither torch's nor .npz (it holds {listed}); supported:"
        f" {SUPPORTED}"
    )


def _checkpoint_of(directory: Path) -> Path:
    for name in _IN_DIRECTORY:
        if (directory / name).is_file():
            return directory / name
    names = sorted(entry.name for entry in directory.iterdir())
    for mark, kind in (
        *((mark, "an Orbax checkpoint directory") for mark in _ORBAX),
        ("saved_model.pb", "a TensorFlow SavedModel"),
        ("checkpoint", "a TensorFlow checkpoint directory"),
    ):
        if mark in names:
            raise PretrainedError(f"{directory}: {kind} is not supported; supported: {SUPPORTED}")
    listed = ", ".join(names[:12]) or "(it is empty)"
    raise PretrainedError(
        f"{directory}: a directory without any of {', '.join(_IN_DIRECTORY)}; it holds {listed}"
    )
