"""What a kind of corruption is: its definition in words, five severities, and the function that does it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt32

from jaxtransfer.errors import DataError

SEVERITIES = (1, 2, 3, 4, 5)
SIDE = 224
"""The side of the images, in pixels, at which lengths of the severity tables hold as they stand."""


def check_severity(severity: Any) -> int:
    """Returns a severity in 0..5.

    Raises:
      DataError: if it is none.
    """
    whole = isinstance(severity, int | np.integer) and not isinstance(severity, bool)
    if not whole or not 0 <= severity <= len(SEVERITIES):
        raise DataError(f"severity is {severity!r}; give 0 (unchanged) to {len(SEVERITIES)}")
    return int(severity)


def check_seed(seed: Any) -> int:
    """Returns a seed as an integer.

    Raises:
      DataError: if it is no whole number.
    """
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool):
        raise DataError(f"seed is {seed!r}; give a whole number")
    return int(seed)


def scaled_length(pixels: float, shape: tuple[int, int]) -> float:
    """A length at side 224 as one of an image: times the square root of its shorter side over 224.

    In proportion to the side, a blur of 1 to 6 pixels would vanish from an image of 28 (0.1 to
    0.75), and unscaled it would leave nothing of it. The square root lies between: 0.35 to 2.1.

    >>> scaled_length(4.0, (56, 80))
    2.0
    """
    return pixels * (min(shape) / SIDE) ** 0.5


def _as_it_is(value: float, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    return (np.float32(value),)  # type: ignore[return-value]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageCorruption:
    """A corruption of images, compiled once for each shape and shared by the five severities.

    Attributes:
      name: how it is called.
      text: what it does, with its source.
      unit: what the numbers of `values` are.
      values: of severity 1 to 5.
      draw: from an image (h, w, c) in [0, 1], a random key and the parameters to an image of that
        shape, to be clipped to [0, 1]; JAX.
      parameters: from a value and (h, w) to the arrays that `draw` takes, of the same shapes for
        every severity; NumPy. A linear map of rows or columns is made here.
    """

    name: str
    text: str
    unit: str
    values: tuple[float, ...]
    draw: Callable[..., Any]
    parameters: Callable[[float, tuple[int, int]], tuple[np.ndarray, ...]] = _as_it_is

    def __call__(
        self,
        images: Float32[np.ndarray, "b h w c"],
        keys: UInt32[np.ndarray, "b 2"],
        severity: int,
    ) -> Float32[np.ndarray, "b h w c"]:
        """The corrupted images, before clipping; `keys` as of `keys.key_words`."""
        from jaxtransfer.data.corruptions.batches import in_blocks

        value = self.values[severity - 1]
        return in_blocks(self.draw, images, keys, self.parameters(value, images.shape[1:3]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class HostImageCorruption:
    """A corruption of images that a library on the host does, image by image.

    Attributes:
      name: how it is called.
      text: what it does, with its source.
      unit: what the numbers of `values` are.
      values: of severity 1 to 5.
      change: from an image (h, w, c) in [0, 1] and a value to an image of that shape; no chance.
    """

    name: str
    text: str
    unit: str
    values: tuple[float, ...]
    change: Callable[[Float[np.ndarray, "h w c"], float], Float[np.ndarray, "h w c"]]

    def __call__(
        self,
        images: Float32[np.ndarray, "b h w c"],
        keys: UInt32[np.ndarray, "b 2"],
        severity: int,
    ) -> Float32[np.ndarray, "b h w c"]:
        """The corrupted images."""
        value = self.values[severity - 1]
        return np.stack([self.change(image, value) for image in images]).astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextCorruption:
    """A corruption of texts.

    Attributes:
      name: how it is called.
      text: what it does.
      unit: what the numbers of `values` are.
      values: the probability of each unit to be changed, at severity 1 to 5. A unit that a lesser
        severity changes, a severer one changes to the same.
      change: from a text, a probability and a source of chance to the corrupted text, the number of
        units changed and the number of units there were.
    """

    name: str
    text: str
    unit: str
    values: tuple[float, ...]
    change: Callable[..., tuple[str, int, int]]
