"""Images of any size to normalised float arrays of one size."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from jaxtransfer.errors import DataError


@dataclasses.dataclass(frozen=True)
class ImagePreprocess:
    """Resizes, scales to [0, 1] and normalises images.

    Resizing is PIL's bilinear filter, widened when it shrinks (antialiased), with its rounding to 8
    bits, as the usual evaluation pipelines of PyTorch do it.

    Attributes:
      size: height and width of the result, or one number for both.
      mean: per channel, subtracted after scaling to [0, 1]; its length is the number of channels, 1
        or 3.
      std: per channel, divided by.
      resize: 'crop' scales the shorter side (keeping proportions) and cuts the middle; 'stretch'
        scales both sides.
      crop_fraction: under 'crop', which part of the scaled image's side is kept.

    Raises:
      DataError: if a value is out of range.
    """

    size: int | tuple[int, int]
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    _: dataclasses.KW_ONLY
    resize: str = "crop"
    crop_fraction: float = 1.0

    def __post_init__(self):
        height_width = (
            (self.size, self.size) if isinstance(self.size, int) else tuple(map(int, self.size))
        )
        object.__setattr__(self, "size", height_width)
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))
        object.__setattr__(self, "std", tuple(map(float, self.std)))
        if len(height_width) != 2 or min(height_width) < 1:
            raise DataError(f"size is {self.size!r}; give one positive number or (height, width)")
        if len(self.mean) not in (1, 3) or len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise DataError(
                f"mean {self.mean} and std {self.std} need one value each for 1 or 3 channels,"
                " std positive"
            )
        if self.resize not in ("crop", "stretch"):
            raise DataError(f"resize is {self.resize!r}; choose 'crop' or 'stretch'")
        if not 0 < self.crop_fraction <= 1:
            raise DataError(f"crop_fraction is {self.crop_fraction}; it is in (0, 1]")

    @property
    def channels(self) -> int:
        """Channels of the result."""
        return len(self.mean)

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 of the settings."""
        return hashlib.sha256(repr(("images", dataclasses.astuple(self))).encode()).hexdigest()

    def __call__(self, images: Sequence[UInt8[np.ndarray, "..."]]) -> dict[str, np.ndarray]:
        """`image` (b, height, width, channels) float32 of uint8 (h, w), (h, w, 1) or (h, w, 3), or of PIL images.

        A greyscale image is repeated over three channels. A colour image is not made grey here (the
        loader does that where it is asked to).

        Raises:
          DataError: naming the position in the batch and what it holds instead of such an image.
        """
        height, width = self.size  # type: ignore[misc]
        batch = np.empty((len(images), height, width, self.channels), np.float32)
        for position, image in enumerate(images):
            batch[position] = self._scaled(_checked(image, position, self.channels))
        return {"image": self.normalise(batch)}

    def normalise(self, pixels: Float32[np.ndarray, "b h w c"]) -> Float32[np.ndarray, "b h w c"]:
        """(x / 255 - mean) / std for pixels in 0..255."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return (pixels / np.float32(255) - mean[None, None, None]) / std[None, None, None]

    def _scaled(self, image: np.ndarray) -> np.ndarray:
        from PIL import Image

        height, width = self.size  # type: ignore[misc]
        source = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        if self.resize == "stretch":
            box = (0.0, 0.0, float(source.width), float(source.height))
        else:
            box = self._middle(source.width, source.height)
        scaled = np.asarray(source.resize((width, height), Image.Resampling.BILINEAR, box=box))
        return scaled[:, :, None] if scaled.ndim == 2 else scaled

    def _middle(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the part of the source that becomes the result."""
        rows, columns = self.size  # type: ignore[misc]
        scale = min(height / rows, width / columns) * self.crop_fraction
        kept_width, kept_height = columns * scale, rows * scale
        left, top = (width - kept_width) / 2, (height - kept_height) / 2
        return left, top, left + kept_width, top + kept_height

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a worker process."""
        return {name: value for name, value in self.__dict__.items() if name != "fingerprint"}

    def __setstate__(self, state):
        self.__dict__.update(state)


def _pixels(image: Any, position: int) -> np.ndarray:
    """Those of a PIL image, whose array may hold palette indices or another colour space."""
    from jaxtransfer.data.folders import EIGHT_BIT_MODES, pixels_of

    if image.mode not in EIGHT_BIT_MODES:
        raise DataError(
            f"image {position} has pixel mode {image.mode!r}, more than 8 bits a channel; convert it"
        )
    return pixels_of(image, 1 if image.mode in ("1", "L", "LA") else 3)


def _checked(image: Any, position: int, channels: int) -> np.ndarray:
    array = np.asarray(_pixels(image, position) if hasattr(image, "convert") else image)
    if array.dtype != np.uint8:
        raise DataError(
            f"image {position} has dtype {array.dtype}, not uint8; scale its values to 0..255"
        )
    if array.ndim == 2 and array.shape[1] == 3:
        raise DataError(
            f"image {position} has shape {array.shape}, as a row of pixels of a colour image has; give a"
            " list of images, [image] if there is one"
        )
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or not array.size:
        raise DataError(
            f"image {position} has shape {np.shape(image)}; expected (h, w), (h, w, 1) or (h, w, 3);"
            " inputs are a list of images, [image] if there is one"
        )
    if array.shape[2] == 3 and channels == 1:
        raise DataError(f"image {position} is in colour, but one channel is asked for")
    return array
