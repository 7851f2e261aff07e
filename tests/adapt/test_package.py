import dataclasses
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxtransfer import trees
from jaxtransfer.adapt import Full, LinearProbe, LoRA, adapt, package
from jaxtransfer.errors import PretrainedError
from jaxtransfer.models.model import from_module, with_head
from jaxtransfer.pretrained.fingerprint import fingerprint

X = jnp.linspace(-1, 1, 16).reshape(2, 8)


class Body(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.BatchNorm(use_running_average=not train, name="norm")(nn.Dense(6, name="up")(x))
        return nn.Dense(4, name="down")(nn.relu(x))


def make_base(seed=0):
    variables = Body().init(jax.random.key(seed), X)
    return from_module(Body(), variables, X, name="toy", output="features")


def make_adapted(method, statistics="frozen"):
    model = with_head(make_base(), 3, rng=jax.random.key(7))
    adapted = adapt(model, method, rng=jax.random.key(1), statistics=statistics)
    flat = trees.flatten_variables(adapted.variables)
    moved = {p: x + 0.1 if adapted.labels[p] != "frozen" else x for p, x in flat.items()}
    variables = trees.unflatten_variables(moved, adapted.variables)
    return dataclasses.replace(adapted, variables=variables)


@pytest.fixture
def saved(tmp_path):
    adapted = make_adapted(LoRA(rank=2))
    return adapted, package.save(adapted, tmp_path / "adapter", classes=["a", "b", "c"])


@pytest.mark.parametrize("statistics", ["frozen", "updated"])
@pytest.mark.parametrize("method", [LinearProbe(), LoRA(rank=2), Full()])
def test_an_adapter_comes_back_as_it_was(tmp_path, method, statistics):
    adapted = make_adapted(method, statistics)
    directory = package.save(adapted, tmp_path / "adapter", classes=["a", "b", "c"])
    again, classes = package.load(directory, make_base())
    assert classes == ("a", "b", "c")
    assert again.method == method
    assert again.statistics == statistics
    ours = trees.flatten_variables(adapted.variables)
    theirs = trees.flatten_variables(again.variables)
    assert ours.keys() == theirs.keys()
    for path, leaf in ours.items():
        np.testing.assert_array_equal(leaf, theirs[path])
    np.testing.assert_array_equal(
        adapted.apply(adapted.variables, {"inputs": X})[0]["logits"],
        again.apply(again.variables, {"inputs": X})[0]["logits"],
    )


def test_only_what_differs_from_the_base_is_saved(saved):
    adapted, directory = saved
    assert set(load_file(directory / package.ARRAYS)) == {
        path for path, label in adapted.labels.items() if label != "frozen"
    }
    assert package.is_package(directory)
    assert not package.is_package(directory.parent)


def test_all_leaves_are_saved_when_the_base_changed_on_the_way(tmp_path):
    pristine = make_base()
    adapted = make_adapted(Full())
    model = dataclasses.replace(
        adapted.model, variables={k: adapted.variables[k] for k in adapted.model.variables}
    )
    second = adapt(model, LinearProbe(), rng=jax.random.key(0))
    directory = package.save(second, tmp_path / "a", base_hash=fingerprint(pristine.variables))
    again, _ = package.load(directory, pristine)
    np.testing.assert_array_equal(
        second.apply(second.variables, {"inputs": X})[0]["logits"],
        again.apply(again.variables, {"inputs": X})[0]["logits"],
    )


def test_another_base_is_refused(saved):
    with pytest.raises(PretrainedError, match="was trained on a base with hash"):
        package.load(saved[1], make_base(seed=1))


def test_a_base_without_a_source_must_be_given(saved):
    with pytest.raises(PretrainedError, match=r"came from no URI; give the base .*base=model\)"):
        package.load(saved[1])


def test_a_base_may_come_with_a_head(saved):
    again, _ = package.load(saved[1], with_head(make_base(), 5, rng=jax.random.key(2)))
    assert again.variables["params"]["head"]["bias"].shape == (3,)


def test_leaves_that_do_not_fit_are_named(saved):
    _, directory = saved
    arrays = load_file(directory / package.ARRAYS)
    arrays["delta/encoder/upp/lora_a"] = arrays.pop("delta/encoder/up/lora_a")
    arrays["head/bias"] = np.zeros(5, np.float32)
    save_file(arrays, directory / package.ARRAYS)
    with pytest.raises(PretrainedError) as caught:
        package.load(directory, make_base())
    message = str(caught.value)
    assert "missing: 'delta/encoder/up/lora_a'" in message
    assert "extra: 'delta/encoder/upp/lora_a' (nearest: 'delta/encoder/up/lora_a')" in message
    assert "mis-shaped: 'head/bias' is float32[5], the network wants float32[3]" in message


def test_a_malformed_description_is_named(saved, tmp_path):
    _, directory = saved
    file = directory / package.DESCRIPTION
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "format": 99}))
    with pytest.raises(PretrainedError, match="has format 99; this version reads 1"):
        package.load(directory, make_base())
    file.write_text('{"format"')
    with pytest.raises(PretrainedError, match=r"cannot read .*adapter\.json"):
        package.load(directory, make_base())
    with pytest.raises(PretrainedError, match="is no adapter"):
        package.load(tmp_path, make_base())


def test_saving_replaces_an_adapter_but_nothing_else(saved, tmp_path):
    adapted, directory = saved
    package.save(adapted, directory, classes=["x", "y", "z"])
    assert package.load(directory, make_base())[1] == ("x", "y", "z")
    other = tmp_path / "precious"
    other.mkdir()
    (other / "thesis.txt").write_text("all of it")
    with pytest.raises(PretrainedError, match="is no adapter; remove it first"):
        package.save(adapted, other)
    assert (other / "thesis.txt").read_text() == "all of it"
    assert {p.name for p in tmp_path.iterdir()} == {"adapter", "precious"}


def test_a_disk_that_fills_up_leaves_the_old_adapter(saved, monkeypatch):
    adapted, directory = saved

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        package.save(adapted, directory, classes=["x", "y", "z"])
    assert package.load(directory, make_base())[1] == ("a", "b", "c")
    assert [p.name for p in directory.parent.iterdir()] == ["adapter"]


def test_dtypes_are_kept_and_checked(tmp_path):
    adapted = make_adapted(LoRA(rank=2))
    low = jax.tree.map(lambda x: x.astype(jnp.bfloat16), adapted.model.variables)
    model = dataclasses.replace(adapted.model, variables=low)
    second = adapt(model, LoRA(rank=2), rng=jax.random.key(0))
    directory = package.save(second, tmp_path / "a")
    base = make_base()
    base = dataclasses.replace(
        base, variables=jax.tree.map(lambda x: x.astype(jnp.bfloat16), base.variables)
    )
    arrays = load_file(directory / package.ARRAYS)
    assert arrays["delta/encoder/up/lora_a"].dtype == np.float32
    assert str(arrays["head/kernel"].dtype) == "bfloat16"
    with pytest.raises(PretrainedError, match="mis-shaped: 'head/"):
        package.load(directory, base)


def test_another_preprocessing_is_refused_and_a_heads_dropout_comes_back(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Resize:
        size: tuple[int, int]

        @property
        def fingerprint(self):
            return f"resize {self.size}"

    base = dataclasses.replace(make_base(), preprocess=Resize((8, 8)))
    model = with_head(base, 3, rng=jax.random.key(7), dropout=0.25)
    directory = package.save(adapt(model, LinearProbe(), rng=jax.random.key(1)), tmp_path / "a")
    again, _ = package.load(directory, base)
    assert again.model.module.dropout == 0.25
    other = dataclasses.replace(base, preprocess=Resize((16, 8)))
    with pytest.raises(
        PretrainedError, match="trained with another preprocessing than model 'toy'"
    ):
        package.load(directory, other)
