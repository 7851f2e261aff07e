import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from jaxtransfer.errors import PretrainedError
from jaxtransfer.pretrained.arrays import read_arrays

ARRAYS = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.arange(4, dtype=np.float16),
    "n": np.array(7),
    "empty": np.zeros((0, 3), np.float32),
    "flag": np.array([True, False]),
    "half": np.arange(3).astype(ml_dtypes.bfloat16),
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "m.safetensors"
    safetensors.numpy.save_file(ARRAYS, path, metadata={"format": "np"})
    return path


def test_what_the_reference_writes_is_read_to_the_bit(path):
    arrays = read_arrays(path)
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 40, -1, -20])
def test_a_truncated_file_is_named(path, kept):
    data = path.read_bytes()
    path.write_bytes(data[:kept])
    with pytest.raises(PretrainedError, match=r"m\.safetensors: "):
        read_arrays(path)


def craft(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def entry(begin, end, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("header", "held", "message"),
    [
        ({"a": entry(0, 8), "b": entry(4, 12)}, 12, "starts at byte 4 of the data, expected 8"),
        ({"a": entry(4, 12)}, 12, "starts at byte 4"),
        ({"a": entry(0, 8)}, 9, "1 bytes follow the last tensor"),
        ({"a": entry(0, 8)}, 7, "truncated: 8 bytes of tensors announced, 7 are there"),
        ({"a": entry(0, 8, (3,))}, 8, "does not fill its 8 bytes"),
        ({"a": entry(0, 8, (-2,))}, 8, "bad header entry of tensor 'a'"),
        ({"a": entry(8, 0)}, 8, "bad header entry"),
        ({"a": {"dtype": "F32"}}, 8, "bad header entry"),
        ({"a": entry(0, 4, (1,) * 100)}, 4, "tensor 'a' of 100 axes is none that numpy can hold"),
        ({"a": entry(0, 0, (0, 2**70))}, 0, "tensor 'a' of 2 axes is none that numpy can hold"),
        ({"a": entry(0, 8, dtype="F4")}, 8, "element type 'F4', which is not supported"),
        (b'{"a": ', 8, "not valid JSON"),
        (b'{"a": 1, "a": 2}', 0, r"repeated keys \['a'\]"),
    ],
)
def test_a_malformed_file_says_what_is_wrong(tmp_path, header, held, message):
    path = tmp_path / "m.safetensors"
    craft(path, header, bytes(held))
    with pytest.raises(PretrainedError, match=message):
        read_arrays(path)


def sharded(directory, places, shards):
    for shard, arrays in shards.items():
        safetensors.numpy.save_file(arrays, directory / shard)
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return index


def test_shards_are_joined_in_the_order_of_the_index(tmp_path):
    one, two = np.ones(2), np.full(3, 2.0)
    index = sharded(tmp_path, {"b": "2.safetensors", "a": "1.safetensors"}, {
        "1.safetensors": {"a": one}, "2.safetensors": {"b": two}})  # fmt: skip
    for path in (index, tmp_path):
        arrays = read_arrays(path)
        assert list(arrays) == ["b", "a"]
        np.testing.assert_array_equal(arrays["b"], two)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({"a": "1.safetensors", "b": "3.safetensors"}, "shard '3.safetensors' is missing; nearest"),
        ({"a": "../1.safetensors"}, "not a plain file name"),
        ({"a": "1.safetensors", "c": "1.safetensors"}, "in the index, but not in its shard: 'c'"),
        ({"a": "1.safetensors"}, "in a shard, but not in the index: 'b'"),
    ],
)
def test_shards_and_index_must_agree(tmp_path, places, message):
    index = sharded(tmp_path, places, {"1.safetensors": {"a": np.ones(2), "b": np.ones(1)}})
    with pytest.raises(PretrainedError, match=message):
        read_arrays(index)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    index = sharded(
        tmp_path,
        {"a": "1.safetensors", "b": "2.safetensors"},
        {"1.safetensors": {"a": np.ones(2)}, "2.safetensors": {"a": np.ones(2), "b": np.ones(1)}},
    )
    with pytest.raises(PretrainedError, match=r"tensors that 1\.safetensors also holds: 'a'"):
        read_arrays(index)


def test_an_index_without_a_weight_map_is_named(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text("[]")
    with pytest.raises(PretrainedError, match=r"index\.json: not an index of safetensors shards"):
        read_arrays(index)
