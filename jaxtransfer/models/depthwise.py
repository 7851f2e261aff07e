"""The two halves of a separable convolution, depthwise and pointwise, in the forms that are fast.

XLA's CPU backend runs a grouped convolution group by group, 15 to 30 times slower than the same sum
written as shifted multiply-adds. `nn.Conv(..., conv_general_dilated=depthwise)` stays an ordinary
Linen convolution with an ordinary HWIO kernel, so that methods that look for convolutions find it.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxtransfer.errors import AdaptationError


def shifted(
    x: Float[Array, "B H W C"],
    kernel: Float[Array, "h w 1 C"],
    strides: tuple[int, int],
    padding: Sequence[tuple[int, int]],
) -> Float[Array, "B P Q C"]:
    """Convolves each channel with its own filter, as a sum over filter taps of shifted inputs.

    Equal to `lax.conv_general_dilated` with `feature_group_count=C` up to the order of summation.
    """
    height, width = kernel.shape[:2]
    batch, _, _, channels = x.shape
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    rows = (x.shape[1] - height) // strides[0] + 1
    columns = (x.shape[2] - width) // strides[1] + 1
    total: Any = None
    for i in range(height):
        for j in range(width):
            tap = lax.slice(
                x,
                (0, i, j, 0),
                (
                    batch,
                    i + (rows - 1) * strides[0] + 1,
                    j + (columns - 1) * strides[1] + 1,
                    channels,
                ),
                (1, *strides, 1),
            )
            term = tap * kernel[i, j][None, None]
            total = term if total is None else total + term
    return total


def depthwise(
    lhs: Float[Array, "B H W C"],
    rhs: Float[Array, "h w 1 C"],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    *,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    precision: Any = None,
) -> Float[Array, "B P Q C"]:
    """Depthwise convolution in the form that suits the platform it is lowered for.

    Takes what `nn.Conv` passes: NHWC images, an HWIO kernel, one group a channel, no dilation.

    Raises:
      AdaptationError: if the convolution is not depthwise, or is dilated.
    """
    channels = lhs.shape[-1]
    dilated = any(d != 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
    if dilated or feature_group_count != channels or rhs.shape[2:] != (1, channels):
        raise AdaptationError(
            f"a kernel {rhs.shape} in {feature_group_count} groups on {channels} channels is not an"
            " undilated depthwise convolution; use nn.Conv without conv_general_dilated"
        )
    strides = (window_strides[0], window_strides[1])
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], strides, padding)
    pads = [(int(low), int(high)) for low, high in padding]

    def fast(x: Array, kernel: Array) -> Array:
        return shifted(x, kernel, strides, pads)

    def xla(x: Array, kernel: Array) -> Array:
        return lax.conv_general_dilated(
            x,
            kernel,
            strides,
            pads,
            dimension_numbers=dimension_numbers,
            feature_group_count=feature_group_count,
            precision=precision,
        )

    return lax.platform_dependent(lhs, rhs, cpu=fast, default=xla)


def pointwise(
    lhs: Float[Array, "B H W C"],
    rhs: Float[Array, "1 1 C D"],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    *,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    precision: Any = None,
) -> Float[Array, "B H W D"]:
    """A 1x1 convolution as one matrix product, whose gradient takes half the time on a CPU.

    Takes what `nn.Conv` passes: NHWC images, an HWIO kernel, one group, no stride, no padding.

    Raises:
      AdaptationError: if the convolution is not of that kind.
    """
    del lhs_dilation, rhs_dilation, dimension_numbers
    padded = not isinstance(padding, str) and any(p != (0, 0) for p in map(tuple, padding))
    if rhs.shape[:2] != (1, 1) or set(window_strides) != {1} or feature_group_count != 1 or padded:
        raise AdaptationError(
            f"a kernel {rhs.shape} with strides {tuple(window_strides)} is not a plain 1x1"
            " convolution; use nn.Conv without conv_general_dilated"
        )
    rows = lhs.reshape(-1, lhs.shape[-1])
    return jnp.dot(rows, rhs[0, 0], precision=precision).reshape(*lhs.shape[:-1], rhs.shape[-1])
