import gzip
import zipfile

import numpy as np
import pytest

from jaxtransfer.data.arrays import npz, pixel_csv
from jaxtransfer.errors import DataError


def test_rows_of_pixels_are_images_with_the_label_last(tmp_path):
    path = tmp_path / "p.csv.gz"
    path.write_bytes(gzip.compress(b"0,1,2,3,4,5,7\n255,0,0,0,0,0,3\n"))
    table = pixel_csv(path, shape=(2, 3))
    np.testing.assert_array_equal(table.inputs[0], [[0, 1, 2], [3, 4, 5]])
    assert table.inputs.dtype == np.uint8
    assert table.classes == ("3", "7")
    assert table.labels.tolist() == [1, 0]
    assert table.ids.tolist() == ["p.csv.gz:1", "p.csv.gz:2"]


def test_the_label_may_stand_first_under_a_header_or_be_absent(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("label,a,b\n1,8,9\n")
    table = pixel_csv(path, shape=(1, 2), label_column=0, skip_rows=1, classes=("no", "yes"))
    np.testing.assert_array_equal(table.inputs[0], [[8, 9]])
    assert table.labels.tolist() == [1]
    assert table.ids.tolist() == ["p.csv:2"]
    assert pixel_csv(path, shape=(1, 3), label_column=None, skip_rows=1).labels is None


def test_the_largest_pixel_becomes_white(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("0,8,16,3\n")
    table = pixel_csv(path, shape=(1, 3), white=16)
    np.testing.assert_array_equal(table.inputs[0], [[0, 128, 255]])
    with pytest.raises(DataError, match=r"p\.csv:1 holds a pixel outside 0\.\.15"):
        pixel_csv(path, shape=(1, 3), white=15)
    with pytest.raises(DataError, match="white is 0"):
        pixel_csv(path, shape=(1, 3), white=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,2,0\n", r"has 3 columns, but shape \(2, 2\) needs 4 pixels and a label: 5"),
        ("1,2,3,4,0\n1,2,3,256,0\n", r"p\.csv:2 holds a pixel outside 0\.\.255"),
        ("1,2,3,x,0\n", "is not a CSV file of whole numbers"),
    ],
)
def test_bad_pixels_are_named(tmp_path, content, message):
    path = tmp_path / "p.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        pixel_csv(path, shape=(2, 2))


def test_npz_holds_arrays_or_texts(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, inputs=np.array(["x", "y"]), labels=np.array(["b", "a"]), name=["i", "j"])
    table = npz(path)
    assert table.inputs == ["x", "y"]
    assert table.classes == ("a", "b")
    assert table.ids.tolist() == ["a.npz:0", "a.npz:1"]
    assert npz(path, ids="name", labels=None).ids.tolist() == ["i", "j"]
    with pytest.raises(DataError, match="no array 'input'; nearest: 'inputs'"):
        npz(path, inputs="input")


def test_a_label_column_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("1,2,0\n")
    with pytest.raises(DataError, match="has 3 columns, none of which is label_column 9"):
        pixel_csv(path, shape=(1, 2), label_column=9)


def test_npz_with_a_header_that_lies_or_a_single_value_is_named(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, inputs=np.array(3))
    with pytest.raises(DataError, match="'inputs' is a single value"):
        npz(path, labels=None)
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }".ljust(117)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inputs.npy", b"\x93NUMPY\x01\x00\x76\x00" + header + b"\n")
    with pytest.raises(DataError, match=r"cannot read .*a\.npz"):
        npz(path, labels=None)


def test_npz_is_read_without_pickle(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, inputs=np.array([{"not": "an array"}], dtype=object))
    with pytest.raises(DataError, match=r"cannot read .*a\.npz as an \.npz without pickle"):
        npz(path, labels=None)
    path.write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(DataError, match="cannot read"):
        npz(path)
