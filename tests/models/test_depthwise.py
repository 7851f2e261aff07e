import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax

from jaxtransfer.errors import AdaptationError
from jaxtransfer.models.depthwise import depthwise, pointwise

NUMBERS = ("NHWC", "HWIO", "NHWC")


def convolve(form, stride):
    def run(x, kernel):
        return form(
            x,
            kernel,
            (stride, stride),
            "SAME",
            dimension_numbers=NUMBERS,
            feature_group_count=x.shape[-1] // kernel.shape[2],
        )

    return run


def arrays(side, size, channels=3):
    a, b = jax.random.split(jax.random.key(side * 10 + size))
    x = jax.random.normal(a, (2, side, side + 1, channels))
    return x, jax.random.normal(b, (size, size, 1, channels))


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [1, 2, 7, 8])
def test_depthwise_and_its_gradient_equal_the_convolution(side, stride, size):
    """Within 1e-5 of the largest entry, in float32: only the order of summation differs."""
    x, kernel = arrays(side, size)

    @functools.partial(jax.jit, static_argnums=0)
    def pull(form):
        y, back = jax.vjp(convolve(form, stride), x, kernel)
        return (y, *back(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)))

    for ours, theirs in zip(pull(depthwise), pull(lax.conv_general_dilated)):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * float(jnp.abs(theirs).max()))


@pytest.mark.parametrize("padding", ["SAME", "VALID", [(0, 3), (2, 1)]])
def test_windows_and_strides_may_differ_by_axis(padding):
    x = jax.random.normal(jax.random.key(0), (2, 9, 12, 3))
    kernel = jax.random.normal(jax.random.key(1), (2, 5, 1, 3))
    ours, theirs = (
        form(x, kernel, (3, 2), padding, dimension_numbers=NUMBERS, feature_group_count=3)
        for form in (depthwise, lax.conv_general_dilated)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def gradient(x, kernel):
    return jax.grad(lambda a, b: (convolve(depthwise, 1)(a, b) ** 2).sum(), (0, 1))(x, kernel)


def test_on_a_cpu_no_convolution_is_left_and_no_branch():
    lowered = jax.jit(gradient).lower(*arrays(8, 5))
    assert "stablehlo.convolution" not in lowered.as_text()
    compiled = lowered.compile().as_text()
    assert not re.search(r" (convolution|conditional)\(", compiled)


def test_for_a_tpu_the_convolution_stays():
    module = export.export(jax.jit(gradient), platforms=["tpu"])(*arrays(8, 5)).mlir_module()
    assert module.count("stablehlo.convolution") == 3


def test_in_linen_it_is_an_ordinary_convolution():
    x, _ = arrays(7, 3)
    plain = nn.Conv(3, (3, 3), strides=2, feature_group_count=3)
    fast = nn.Conv(3, (3, 3), strides=2, feature_group_count=3, conv_general_dilated=depthwise)
    variables = plain.init(jax.random.key(0), x)
    assert variables["params"]["kernel"].shape == (3, 3, 1, 3)
    np.testing.assert_allclose(fast.apply(variables, x), plain.apply(variables, x), atol=1e-5)


def test_pointwise_equals_the_convolution():
    x, _ = arrays(7, 3)
    plain, fast = nn.Conv(4, (1, 1)), nn.Conv(4, (1, 1), conv_general_dilated=pointwise)
    variables = plain.init(jax.random.key(0), x)
    np.testing.assert_allclose(fast.apply(variables, x), plain.apply(variables, x), atol=1e-5)


def test_other_convolutions_are_refused():
    x, kernel = arrays(7, 3)
    with pytest.raises(AdaptationError, match="not an undilated depthwise"):
        depthwise(x, kernel, (1, 1), "SAME", rhs_dilation=(2, 2), feature_group_count=3)
    with pytest.raises(AdaptationError, match="not a plain 1x1"):
        pointwise(x, jnp.ones((3, 3, 3, 2)), (1, 1), "SAME")
    with pytest.raises(AdaptationError, match="not a plain 1x1"):
        pointwise(x, jnp.ones((1, 1, 3, 2)), (2, 2), "SAME")
