import zipfile

import ml_dtypes
import numpy as np
import pytest

from jaxtransfer.errors import PretrainedError
from jaxtransfer.pretrained.arrays import read_arrays


def test_arrays_are_read_under_their_names_and_bfloat16_survives(tmp_path):
    path = tmp_path / "weights.bin"  # the bytes decide, not the suffix
    half = np.arange(3).astype(ml_dtypes.bfloat16)
    with path.open("wb") as file:
        np.savez(file, **{"params/a": np.ones((2, 3)), "half": half})
    arrays = read_arrays(path)
    assert list(arrays) == ["params/a", "half"]
    assert arrays["half"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(arrays["half"], half)


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def test_objects_are_refused_and_not_unpickled(tmp_path):
    path, marker = tmp_path / "w.npz", tmp_path / "ran"
    np.savez(path, fine=np.ones(1), bad=np.array([Hostile(marker)], dtype=object))
    marker.unlink(missing_ok=True)
    with pytest.raises(PretrainedError, match=r"w\.npz: not a readable \.npz at array 'bad'"):
        read_arrays(path)
    assert not marker.exists()


@pytest.mark.parametrize("kept", [4, 60, -1, -40])
def test_a_truncated_archive_is_named(tmp_path, kept):
    path = tmp_path / "w.npz"
    np.savez(path, a=np.arange(100.0))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(PretrainedError, match=r"w\.npz: "):
        read_arrays(path)


@pytest.mark.parametrize("shape", ["(10**15,)", "(1000000000000000,)", "((((("])
def test_a_header_that_lies_is_named(tmp_path, shape):
    path = tmp_path / "w.npz"
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (117 - len(header)) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        archive.writestr("a.npy", content)
    with pytest.raises(PretrainedError, match=r"w\.npz: not a readable \.npz at array 'a'"):
        read_arrays(path)


def test_text_is_not_weights(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, words=np.array(["a"]))
    with pytest.raises(PretrainedError, match="array 'words' holds <U1, not numbers"):
        read_arrays(path)
