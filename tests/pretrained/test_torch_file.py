import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest

from jaxtransfer.errors import PretrainedError
from jaxtransfer.pretrained.arrays import read_arrays

ARRAYS = {
    "w": np.arange(12, dtype=np.float32).reshape(3, 4),
    "h": np.arange(4, dtype=np.float16),
    "b": np.arange(4).astype(ml_dtypes.bfloat16),
    "n": np.array(5),
    "z": np.array([1 + 2j], np.complex64),
    "empty": np.zeros((0, 3), np.float32),
}
FORMATS = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])


@FORMATS
def test_tensors_are_read_in_order_to_the_bit(tmp_path, torch_writer, legacy):
    path = tmp_path / "w.any"  # the bytes decide, not the suffix
    torch_writer.save(path, ARRAYS, legacy=legacy)
    arrays = read_arrays(path)
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_big_endian_archives_are_turned(tmp_path, torch_writer):
    path = tmp_path / "w.pt"
    torch_writer.save(path, ARRAYS, order="big")
    for name, array in read_arrays(path).items():
        np.testing.assert_array_equal(array, ARRAYS[name])


def test_another_byte_order_is_named(tmp_path, torch_writer):
    path = tmp_path / "w.pt"
    torch_writer.save(path, ARRAYS, order="middle")
    with pytest.raises(PretrainedError, match="byte order 'middle'"):
        read_arrays(path)


@FORMATS
def test_views_share_a_storage_by_offset_and_strides(tmp_path, torch_writer, legacy):
    path, base = tmp_path / "w.pt", np.arange(24, dtype=np.float32)
    storages = {"7": base}

    def view(shape, strides, offset):
        return torch_writer.tensor(storages, "7", shape, strides, offset, legacy=legacy)

    write = torch_writer.legacy if legacy else torch_writer.zip
    entries = {
        "t": view((6, 4), (1, 6), 0),
        "s": view((2, 2), (12, 3), 5),
        "x": view((5,), (0,), 1),
    }
    write(path, torch_writer.program(entries), storages)
    arrays = read_arrays(path)
    np.testing.assert_array_equal(arrays["t"], base.reshape(4, 6).T)
    np.testing.assert_array_equal(arrays["s"], [[5, 8], [17, 20]])
    np.testing.assert_array_equal(arrays["x"], np.ones(5))


@FORMATS
@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [((25,), (1,), 0), ((2,), (1,), 23), ((2,), (24,), 0), ((2,), (-1,), 5), ((2,), (1,), -1),
     ((2,), (1, 1), 0), ((2**62, 2**62), (1, 1), 0)],
)  # fmt: skip
def test_a_view_outside_its_storage_is_refused(
    tmp_path, torch_writer, legacy, shape, strides, offset
):
    path, storages = tmp_path / "w.pt", {"0": np.zeros(24, np.float32)}
    tensor = torch_writer.tensor(storages, "0", shape, strides, offset, legacy=legacy)
    write = torch_writer.legacy if legacy else torch_writer.zip
    write(path, torch_writer.program({"a": tensor}), storages)
    with pytest.raises(PretrainedError, match=r"w\.pt: truncated or damaged: .*ValueError"):
        read_arrays(path)


@FORMATS
@pytest.mark.parametrize(
    ("shape", "strides"),
    [((2**62, 2**62), (0, 0)), ((2**70,), (0,)), ((1,) * 100, (1,) * 100), ((0, 2**70), (1, 1)),
     ((1,), (2**70,))],
)  # fmt: skip
def test_a_view_that_numpy_cannot_hold_is_refused_by_name(
    tmp_path, torch_writer, legacy, shape, strides
):
    path, storages = tmp_path / "w.pt", {"0": np.zeros(4, np.float32)}
    tensor = torch_writer.tensor(storages, "0", shape, strides, legacy=legacy)
    write = torch_writer.legacy if legacy else torch_writer.zip
    write(path, torch_writer.program({"a": tensor}), storages)
    with pytest.raises(PretrainedError, match=r"w\.pt: tensor 'a' of \d+ axes .* numpy can hold"):
        read_arrays(path)


def test_a_legacy_storage_may_be_a_view_of_another(tmp_path, torch_writer):
    path, storages = tmp_path / "w.pt", {"0": np.arange(10, dtype=np.float32)}
    tensor = torch_writer.tensor(storages, "0", (2,), (1,), 1, legacy=True, view=("v", 4, 3))
    torch_writer.legacy(path, torch_writer.program({"a": tensor}), storages)
    np.testing.assert_array_equal(read_arrays(path)["a"], [5, 6])


@pytest.mark.parametrize(("shape", "fits"), [((4,), True), ((5,), False), ((16,), False)])
def test_an_untyped_storage_counts_bytes(tmp_path, torch_writer, shape, fits):
    # What torch makes of dtypes without a typed storage: uint16, float8.
    path, plain, name = tmp_path / "w.pt", torch_writer.plain, torch_writer.name
    pid = b"(" + plain("storage") + name("torch.storage", "UntypedStorage")
    pid += plain("0") + plain("cpu") + plain(8) + b"tQ"
    made = name("torch._utils", "_rebuild_tensor_v3") + b"(" + pid + plain(0) + plain(shape)
    made += plain((1,)) + plain(False) + plain(None) + name("torch", "uint16") + b"tR"
    storages = {"0": np.arange(4, dtype=np.uint16)}
    torch_writer.zip(path, torch_writer.program({"a": made}), storages)
    if fits:
        np.testing.assert_array_equal(read_arrays(path)["a"], storages["0"])
    else:
        with pytest.raises(PretrainedError, match=r"a view of element .* of a storage of 4"):
            read_arrays(path)


def test_a_legacy_storage_that_claims_more_than_the_file_holds_is_not_read(tmp_path, torch_writer):
    path, storages = tmp_path / "w.pt", {"0": np.arange(2, dtype=np.float32)}
    torch_writer.save(path, storages, legacy=True)
    data = path.read_bytes()
    path.write_bytes(data[:-16] + (2**60).to_bytes(8, "little") + data[-8:])
    with pytest.raises(
        PretrainedError, match=r"truncated: storage '0' needs \d+ bytes, 8 are left"
    ):
        read_arrays(path)


def test_two_tensors_of_one_name_are_refused(tmp_path, torch_writer):
    path, storages = tmp_path / "w.pt", {"0": np.ones(2, np.float32)}
    tensor = torch_writer.tensor(storages, "0", (2,), (1,))
    inner = torch_writer.program({"b": tensor})[2:-1]
    torch_writer.zip(path, torch_writer.program({"a.b": tensor, "a": inner}), storages)
    with pytest.raises(PretrainedError, match=r"two tensors are named 'a\.b'"):
        read_arrays(path)


@FORMATS
def test_a_checked_view_cannot_be_changed_afterwards(tmp_path, torch_writer, legacy):
    path, storages = tmp_path / "w.pt", {"0": np.zeros(4, np.float32)}
    tensor = torch_writer.tensor(storages, "0", (4,), (1,), legacy=legacy)
    write = torch_writer.legacy if legacy else torch_writer.zip
    for state in ({"shape": (10**6,)}, (None, {"shape": (10**6,)}), [1, 2, 3, 4, 5]):
        changed = tensor + torch_writer.plain(state) + b"b"
        write(path, torch_writer.program({"a": changed}), storages)
        with pytest.raises(PretrainedError, match="its pickle stops with"):
            read_arrays(path)


@FORMATS
@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_file_is_named(tmp_path, torch_writer, legacy, kept):
    path = tmp_path / "w.pth"
    torch_writer.save(path, {"w": np.arange(200, dtype=np.float32)}, legacy=legacy)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(PretrainedError, match=r"w\.pth: (truncated|damaged)"):
        read_arrays(path)


def test_a_flipped_bit_in_an_archive_is_found(tmp_path, torch_writer):
    path = tmp_path / "w.pt"
    torch_writer.save(path, {"w": np.full(50, 3.0, np.float32)})
    data = bytearray(path.read_bytes())
    data[data.index(np.full(50, 3.0, np.float32).tobytes()) + 9] ^= 1
    path.write_bytes(data)
    with pytest.raises(PretrainedError, match=r"w\.pt: truncated or damaged"):
        read_arrays(path)


@FORMATS
def test_wrapped_and_nested_checkpoints_give_their_tensors(tmp_path, torch_writer, legacy):
    path, storages = tmp_path / "w.pt", {"0": np.ones(2, np.float32)}
    tensor = torch_writer.tensor(storages, "0", (2,), (1,), legacy=legacy)
    inner = torch_writer.program({"a": tensor, "epoch": torch_writer.plain(3)})[2:-1]
    write = torch_writer.legacy if legacy else torch_writer.zip
    for wrapper, expected in (("state_dict", "a"), ("teacher", "teacher.a")):
        write(path, torch_writer.program({wrapper: inner}), storages)
        assert list(read_arrays(path)) == [expected]


def hostile_programs(marker):
    """Pickles that would create the marker if anything in them ran."""

    class Runs:
        def __init__(self, call, *args):
            self.value = call, args

        def __reduce__(self):
            return self.value

    import os

    touch, code = f"touch {marker}", f"open({str(marker)!r}, 'w').close()"
    programs = {}
    for protocol in range(6):
        programs[f"system{protocol}"] = pickle.dumps({"a": Runs(os.system, touch)}, protocol)
        programs[f"eval{protocol}"] = pickle.dumps([Runs(eval, code)], protocol)
    programs["stack_global"] = (
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93"
        + b"\x8c" + bytes([len(touch)]) + touch.encode() + b"\x85R."
    )  # fmt: skip
    programs["inst"] = b"(S'" + touch.encode() + b"'\nios\nsystem\n."
    programs["getattr"] = (
        b"\x80\x02cbuiltins\ngetattr\n(ccollections\nOrderedDict\nU\x08__init__tR."
    )
    programs["dotted"] = b"\x80\x04\x8c\x0bcollections\x8c\x10OrderedDict.keys\x93."
    programs["numpy"] = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n."
    programs["import"] = b"\x80\x02cthis\ns\n."
    return programs


NAMES = list(hostile_programs("x"))


def legacy_file(path, *pickles):
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    path.write_bytes(magic + b"".join(pickles))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["zip", "tree", "protocol", "machine", "keys", "plain"])
def test_hostile_pickles_are_refused_by_name_and_nothing_runs(tmp_path, name, place):
    path, marker = tmp_path / "w.pth", tmp_path / "ran"
    program = hostile_programs(marker)[name]
    fine = [pickle.dumps(value, 2) for value in (1001, {"little_endian": True}, {}, [])]
    position = {"protocol": 0, "machine": 1, "tree": 2, "keys": 3}
    if place == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("w/data.pkl", program)
    elif place == "plain":
        path.write_bytes(program)
    else:
        fine[position[place]] = program
        legacy_file(path, *fine)
    with pytest.raises(
        PretrainedError, match=r"w\.pth: refused: its pickle asks for \w+\.\w+"
    ) as e:
        read_arrays(path)
    assert "nothing of it was run" in str(e.value)
    asked = {"system": ("posix.system", "os.system"), "eval": ("builtins.eval", "__builtin__.eval")}
    kind = name.rstrip("0123456789")
    if kind in asked:
        assert any(f"asks for {dotted}," in str(e.value) for dotted in asked[kind])
    assert not marker.exists()


def test_the_hostile_pickles_would_run_elsewhere(tmp_path):
    for name in ("system2", "eval4", "stack_global", "inst"):
        marker = tmp_path / name
        pickle.loads(hostile_programs(marker)[name])
        assert marker.exists()


def test_a_checkpoint_that_pickles_a_whole_module_is_refused_by_its_class(tmp_path):
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", b"\x80\x02cmodels.net\nNet\n)\x81.")
    with pytest.raises(PretrainedError, match=r"asks for models\.net\.Net"):
        read_arrays(path)


def test_torchscript_is_named(tmp_path, torch_writer):
    path = tmp_path / "w.pt"
    torch_writer.save(path, {"a": np.ones(1, np.float32)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/constants.pkl", b"\x80\x02).")
    with pytest.raises(PretrainedError, match="a TorchScript archive, which holds code"):
        read_arrays(path)


@pytest.mark.parametrize(
    ("tree", "message"), [([1], "holds a list, not a mapping"), ({"a": 1}, "holds no tensors")]
)
def test_a_file_without_named_tensors_says_so(tmp_path, tree, message):
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", pickle.dumps(tree, 2))
    with pytest.raises(PretrainedError, match=message):
        read_arrays(path)


def test_shared_and_endless_containers_are_bounded(tmp_path):
    endless = {}
    endless["self"] = endless
    doubled = []
    for _ in range(30):
        doubled = [doubled, doubled]
    for tree in (endless, {"a": doubled}):
        path = tmp_path / "w.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("w/data.pkl", pickle.dumps(tree, 2))
        with pytest.raises(PretrainedError, match="containers nested deeper than"):
            read_arrays(path)
