"""EfficientNet-Lite as a Linen encoder that runs stage by stage.

EfficientNet (Tan and Le, arXiv 1905.11946) without squeeze-and-excitation, with ReLU6 and with stem
and top of fixed width, as in TensorFlow's `efficientnet_lite_builder`.
"""

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxtransfer.errors import ConfigError, nearest
from jaxtransfer.models import site
from jaxtransfer.models.depthwise import depthwise, pointwise
from jaxtransfer.models.model import Inputs, Outputs
from jaxtransfer.models.site import Site

STEM = "stem"
TOP = "top"


@dataclasses.dataclass(frozen=True)
class Block:
    """Shape of an inverted residual block.

    Attributes:
      kernel: side of the depthwise kernel.
      stride: of the depthwise convolution.
      expand: by what the first convolution widens; 1 for no first convolution.
      width: output channels.
    """

    kernel: int
    stride: int
    expand: int
    width: int


@dataclasses.dataclass(frozen=True)
class Scaling:
    """What distinguishes the members of the family: widths and depths are multiplied.

    Attributes:
      width: multiplier of the blocks' channels.
      depth: multiplier of the repeats, but for the first and last group.
      image_size: side of the images it was trained on.
    """

    width: float
    depth: float
    image_size: int


FAMILY = {
    "efficientnet-lite0": Scaling(1.0, 1.0, 224),
    "efficientnet-lite1": Scaling(1.0, 1.1, 240),
    "efficientnet-lite2": Scaling(1.1, 1.2, 260),
    "efficientnet-lite3": Scaling(1.2, 1.4, 280),
    "efficientnet-lite4": Scaling(1.4, 1.8, 300),
}

_GROUPS = (
    (1, Block(3, 1, 1, 16)),
    (2, Block(3, 2, 6, 24)),
    (2, Block(5, 2, 6, 40)),
    (3, Block(3, 2, 6, 80)),
    (3, Block(5, 1, 6, 112)),
    (4, Block(5, 2, 6, 192)),
    (1, Block(3, 1, 6, 320)),
)


def blocks(name: str) -> tuple[Block, ...]:
    """The blocks of a member of the family, in order.

    Raises:
      ConfigError: if there is no such member.
    """
    if name not in FAMILY:
        raise ConfigError(f"no EfficientNet-Lite {name!r}; nearest: {nearest(name, FAMILY)}")
    scaling = FAMILY[name]
    scaled = []
    for index, (count, block) in enumerate(_GROUPS):
        if index not in (0, len(_GROUPS) - 1):
            count = math.ceil(scaling.depth * count)
        first = dataclasses.replace(block, width=_scaled_width(block.width, scaling.width))
        scaled += [first] + [dataclasses.replace(first, stride=1)] * (count - 1)
    return tuple(scaled)


def _scaled_width(width: int, multiplier: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to the scaled width that is not below it by over 10 %."""
    wanted = width * multiplier
    scaled = max(divisor, int(wanted + divisor / 2) // divisor * divisor)
    return scaled + divisor if scaled < 0.9 * wanted else scaled


class ConvNorm(nn.Module):
    """A convolution without bias, BatchNorm and perhaps ReLU6."""

    features: int
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    activate: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], *, train: bool = False
    ) -> Float[Array, "B P Q D"]:
        """Convolves with SAME padding as TensorFlow places it: the odd row goes below."""
        form = depthwise if self.depthwise else pointwise if self.kernel == 1 else None
        x = nn.Conv(
            self.features,
            (self.kernel, self.kernel),
            strides=(self.stride, self.stride),
            padding="SAME",
            feature_group_count=self.features if self.depthwise else 1,
            use_bias=False,
            dtype=self.dtype,
            conv_general_dilated=form,
            name="conv",
        )(x)
        x = nn.BatchNorm(momentum=0.99, epsilon=1e-3, dtype=self.dtype, name="norm")(
            x, use_running_average=not train
        )
        return nn.relu6(x) if self.activate else x


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; with a residual connection where shapes allow it."""

    block: Block
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], *, train: bool = False
    ) -> Float[Array, "B P Q D"]:
        """Runs the block."""
        block = self.block
        x = Site(name=site.BLOCK_INPUT)(x)
        channels = x.shape[-1]
        y = x
        if block.expand != 1:
            y = ConvNorm(channels * block.expand, dtype=self.dtype, name="expand")(y, train=train)
        y = ConvNorm(
            y.shape[-1], block.kernel, block.stride, True, dtype=self.dtype, name="depthwise"
        )(y, train=train)
        y = ConvNorm(block.width, activate=False, dtype=self.dtype, name="project")(y, train=train)
        return x + y if block.stride == 1 and channels == block.width else y


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite without its classifier; images of any size.

    Attributes:
      blocks: inverted residual blocks in order.
      stem: channels of the first convolution.
      top: channels of the last one, and width of the features.
      dropout: rate on the features, when training.
      dtype: of the computation; parameters, statistics and features are float32.
    """

    blocks: tuple[Block, ...]
    stem: int = 32
    top: int = 1280
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @property
    def stages(self) -> tuple[str, ...]:
        """Stem, the blocks in order, and the last convolution with average pooling."""
        return (STEM, *(f"block_{i}" for i in range(len(self.blocks))), TOP)

    @nn.compact
    def __call__(
        self, inputs: Inputs, *, train: bool = False, start: int = 0, stop: int | None = None
    ) -> Outputs:
        """Runs stages `start` to `stop`.

        Args:
          inputs: `image` `(B, H, W, 3)`, normalised; or, if `start` is not 0, what the run with
            `stop=start` returned.
          train: whether BatchNorm uses the batch's statistics and dropout drops.
          start: first stage.
          stop: stage to stop before; None for all.

        Returns:
          `features` `(B, top)` float32; before the last stage, `hidden` `(B, P, Q, C)`.
        """
        last = len(self.blocks) + 2
        stop = last if stop is None else stop
        if start == stop:
            return dict(inputs)
        if start == 0:
            x = ConvNorm(self.stem, 3, 2, dtype=self.dtype, name=STEM)(inputs["image"], train=train)
        else:
            x = inputs["hidden"]
        for i in range(max(start - 1, 0), min(stop - 1, len(self.blocks))):
            x = InvertedResidual(self.blocks[i], dtype=self.dtype, name=f"block_{i}")(
                x, train=train
            )
        if stop < last:
            return {"hidden": x}
        x = ConvNorm(self.top, dtype=self.dtype, name=TOP)(x, train=train)
        features = x.astype(jnp.float32).mean(axis=(1, 2))
        return {"features": nn.Dropout(self.dropout)(features, deterministic=not train)}
