import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtransfer.errors import PretrainedError
from jaxtransfer.pretrained.merge import merge


def test_linen_variables_are_filled_in_their_own_structure():
    template = {
        "params": {"norm": {"scale": jax.ShapeDtypeStruct((2,), jnp.float32)}},
        "batch_stats": {"norm": {"mean": jnp.zeros(2)}},
    }
    arrays = {"batch_stats/norm/mean": np.ones(2, np.float32), "norm/scale": np.full(2, 3.0, "f2")}
    merged = merge(template, arrays, name="m", source="f")
    assert merged["params"]["norm"]["scale"].dtype == np.float32
    np.testing.assert_array_equal(merged["params"]["norm"]["scale"], [3, 3])
    np.testing.assert_array_equal(merged["batch_stats"]["norm"]["mean"], [1, 1])
    assert list(merged) == ["params", "batch_stats"]


def test_flat_and_nested_templates_keep_their_form():
    arrays = {"a/b": np.ones(2)}
    assert list(merge({"a/b": (2,)}, arrays, name="m", source="f")) == ["a/b"]
    assert list(merge({"a": {"b": (2,)}}, arrays, name="m", source="f")["a"]) == ["b"]


def test_missing_extra_and_misshaped_leaves_are_all_listed():
    template = {"params": {"a": (2,), "b": (3,), "c": (1,)}}
    arrays = {"a": np.ones(2), "b": np.ones(4), "d": np.ones(1)}
    with pytest.raises(PretrainedError) as caught:
        merge(template, arrays, name="tiny", source="w.npz")
    message = str(caught.value)
    assert message.startswith("w.npz does not fit tiny")
    assert "missing 1: 'c'" in message
    assert "extra 1: 'd'" in message
    assert "b is (4,), the model has (3,)" in message


def test_floats_change_width_but_kinds_do_not_mix():
    template = {"a": jax.ShapeDtypeStruct((2,), jnp.bfloat16)}
    merged = merge(template, {"a": np.ones(2, np.float32)}, name="m", source="f")
    assert merged["a"].dtype == jnp.bfloat16
    with pytest.raises(PretrainedError, match="a is int32, the model has bfloat16"):
        merge(template, {"a": np.ones(2, np.int32)}, name="m", source="f")
