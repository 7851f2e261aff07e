import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtransfer.pretrained.fingerprint import fingerprint
from jaxtransfer.trees import flatten_variables

BASE = {
    "params": {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros(())},
    "stats": {"m": np.ones(1)},
}


def test_order_nesting_layout_and_device_do_not_matter():
    expected = fingerprint(BASE)
    flat = flatten_variables(BASE)
    assert fingerprint(flat) == expected
    assert fingerprint(dict(reversed(flat.items()))) == expected
    assert fingerprint({**flat, "a": np.asfortranarray(flat["a"])}) == expected
    assert fingerprint({**flat, "a": flat["a"].astype(">f8")}) == expected
    half = jnp.arange(3, dtype=jnp.bfloat16)
    assert fingerprint({"h": half}) == fingerprint({"h": np.asarray(half)})


@pytest.mark.parametrize(
    "change",
    [
        {"a": np.arange(6.0).reshape(3, 2)},
        {"a": np.arange(6.0).reshape(2, 3) + 1e-12},
        {"a": np.arange(6, dtype=np.int64).reshape(2, 3)},
        {"c": np.zeros(())},
    ],
)
def test_paths_shapes_dtypes_and_bits_matter(change):
    flat = flatten_variables(BASE)
    assert fingerprint({**flat, **change}) != fingerprint(flat)


def test_negative_zero_and_zero_differ():
    assert fingerprint({"a": np.array(0.0)}) != fingerprint({"a": np.array(-0.0)})


def test_leaves_without_values_are_refused():
    with pytest.raises(TypeError, match="'a' is abstract"):
        fingerprint({"a": jax.ShapeDtypeStruct((1,), jnp.float32)})
    with pytest.raises(TypeError, match="'a' is object, not an array"):
        fingerprint({"a": object()})
