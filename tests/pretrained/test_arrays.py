import gzip

import numpy as np
import pytest
import safetensors.numpy

from jaxtransfer.errors import PretrainedError
from jaxtransfer.pretrained.arrays import read_arrays


@pytest.mark.parametrize(
    ("name", "start", "format_name"),
    [
        ("model.gguf", b"GGUF\x03\0\0\0", "GGUF"),
        ("weights.h5", b"\x89HDF\r\n\x1a\n", "HDF5"),
        ("one.npy", b"\x93NUMPY\x01\0", r"a single \.npy array"),
        ("model.onnx", b"\x08\x07\x12\x07pytorch", "ONNX"),
        ("nameless", b"\x08\x07\x12\x07pytorch", "ONNX"),
        ("flax_model.msgpack", b"\x81\xa6params", "Flax msgpack"),
        ("nameless", b"\x81\xa6params", "Flax msgpack"),
        ("model.ckpt.index", b"\0\0\x0a", "a TensorFlow checkpoint"),
        ("model.ckpt.data-00000-of-00001", b"\0\0\x0a", "a TensorFlow checkpoint"),
        ("old.pth", b"\0" * 257 + b"ustar\x0000", "a tar archive"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        ("model.safetensors", b"<!DOCTYPE html><html>", "an HTML page"),
        ("model.npz.gz", gzip.compress(b"x", mtime=0), "gzip"),
    ],
)
def test_a_format_that_is_not_supported_is_named(tmp_path, name, start, format_name):
    path = tmp_path / name
    path.write_bytes(start + bytes(20))
    with pytest.raises(PretrainedError, match=rf"{name}: {format_name}.* is not supported"):
        read_arrays(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the file is empty"), (b"hello, world", "of no format known here"),
     (b"PK\x03\x04 but no archive", "truncated or damaged zip archive")],
)  # fmt: skip
def test_what_is_no_checkpoint_is_named(tmp_path, content, message):
    path = tmp_path / "weights"
    path.write_bytes(content)
    with pytest.raises(PretrainedError, match=rf"weights: {message}"):
        read_arrays(path)


@pytest.mark.parametrize(
    ("mark", "kind"),
    [("_CHECKPOINT_METADATA", "an Orbax checkpoint"), ("manifest.ocdbt", "an Orbax checkpoint"),
     ("saved_model.pb", "a TensorFlow SavedModel"), ("checkpoint", "a TensorFlow checkpoint")],
)  # fmt: skip
def test_checkpoint_directories_of_other_kinds_are_named(tmp_path, mark, kind):
    (tmp_path / mark).touch()
    with pytest.raises(PretrainedError, match=rf"{kind}.* is not supported"):
        read_arrays(tmp_path)


def test_a_directory_gives_its_checkpoint(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(PretrainedError, match=r"without any of .*; it holds config\.json"):
        read_arrays(tmp_path)
    safetensors.numpy.save_file({"a": np.ones(2)}, tmp_path / "model.safetensors")
    assert list(read_arrays(tmp_path)) == ["a"]


def test_a_missing_file_gives_the_nearest_names(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(PretrainedError, match=r"does not exist; nearest .*'model\.safetensors'"):
        read_arrays(tmp_path / "modl.safetensors")


def test_other_zip_archives_are_named(tmp_path, wheel):
    path = tmp_path / "a.zip"
    path.write_bytes(wheel({"notes.txt": "x"}))
    with pytest.raises(PretrainedError, match=r"neither torch's nor \.npz \(it holds notes\.txt\)"):
        read_arrays(path)
    path.write_bytes(wheel({"model.weights.h5": "x", "config.json": "{}"}))
    with pytest.raises(PretrainedError, match="a Keras archive is not supported"):
        read_arrays(path)
