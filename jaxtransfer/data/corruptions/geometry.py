"""Where things are: rotation, translation and occlusion, which ImageNet-C does not have.

Beyond the border, the border's pixels go on.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxtransfer.data.corruptions.blur import bilinear
from jaxtransfer.data.corruptions.kinds import ImageCorruption

GREY = 0.5


def rotation(image, key, degrees):
    """Turns the image about its middle, either way; bilinear."""
    sign = jnp.where(jax.random.bernoulli(key), 1.0, -1.0)
    return turned(image, sign * degrees)


def turned(image, degrees):
    """The image turned counter-clockwise about its middle."""
    height, width = image.shape[:2]
    angle = jnp.deg2rad(degrees)
    down, right = jnp.meshgrid(
        jnp.arange(height) - (height - 1) / 2, jnp.arange(width) - (width - 1) / 2, indexing="ij"
    )
    rows = jnp.cos(angle) * down + jnp.sin(angle) * right + (height - 1) / 2
    columns = jnp.cos(angle) * right - jnp.sin(angle) * down + (width - 1) / 2
    return bilinear(image, rows, columns)


def translation(image, key, down, right):
    """Moves the image in a random direction, by whole pixels, so that nothing is blurred."""
    angle = 2 * jnp.pi * jax.random.uniform(key)
    height, width = image.shape[:2]
    by_rows = jnp.round(down * jnp.sin(angle)).astype(jnp.int32)
    by_columns = jnp.round(right * jnp.cos(angle)).astype(jnp.int32)
    rows = jnp.clip(jnp.arange(height) - by_rows, 0, height - 1)
    columns = jnp.clip(jnp.arange(width) - by_columns, 0, width - 1)
    return image[rows][:, columns]


def occlusion(image, key, height, width):
    """Covers a rectangle inside the image with mid-grey."""
    place = jax.random.uniform(key, (2,))
    hidden = [
        _covered(side, length, where)
        for side, length, where in zip(image.shape, (height, width), place)
    ]
    return jnp.where((hidden[0][:, None] & hidden[1][None, :])[:, :, None], GREY, image)


def _covered(side, length, where):
    # Grows to both sides with the length, so that a larger cover holds the smaller one.
    start = jnp.minimum(jnp.floor(where * (side - length + 1)), side - length)
    places = jnp.arange(side)
    return (places >= start) & (places < start + length)


def _distances(share: float, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    # At least a pixel: any direction then rounds to a move.
    return tuple(np.float32(max(1.0, share * side)) for side in shape)  # type: ignore[misc]


def _sides(share: float, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    root = math.sqrt(share)
    return tuple(np.float32(max(1, round(root * side))) for side in shape)  # type: ignore[misc]


GEOMETRY = (
    ImageCorruption(
        name="rotation",
        text="turned about the middle, either way, bilinear, the border continued",
        unit="degrees",
        values=(6.0, 12.0, 18.0, 24.0, 30.0),
        draw=rotation,
    ),
    ImageCorruption(
        name="translation",
        text="moved by whole pixels in a random direction, at least one, the border continued",
        unit="share of the side",
        values=(0.04, 0.08, 0.12, 0.16, 0.2),
        draw=translation,
        parameters=_distances,
    ),
    ImageCorruption(
        name="occlusion",
        text="a rectangle of the image's proportions set to mid-grey (Cutout, DeVries and Taylor 2017)",
        unit="share of the area",
        values=(0.04, 0.09, 0.16, 0.25, 0.36),
        draw=occlusion,
        parameters=_sides,
    ),
)
