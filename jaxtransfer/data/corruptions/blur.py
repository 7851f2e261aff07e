"""Loss of detail: Gaussian blur, motion blur, and pixelation.

What is linear in rows and columns is a matrix for either, made on the host, so the severities share
one program. Beyond the border, the border's pixels go on.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from jaxtransfer.data.corruptions.kinds import ImageCorruption, scaled_length

MOTION = (5.0, 9.0, 14.0, 19.0, 25.0)


def separable(image, key, rows, columns):
    """Applies one matrix to the rows and one to the columns of each channel."""
    highest = jax.lax.Precision.HIGHEST
    return jnp.einsum("ip,jq,pqc->ijc", rows, columns, image, precision=highest)


def gaussian_matrix(side: int, sigma: float) -> Float32[np.ndarray, "side side"]:
    """Gaussian weights, cut at four standard deviations; rows sum to 1.

    >>> gaussian_matrix(3, 1e-9)[0].tolist()
    [1.0, 0.0, 0.0]
    """
    reach = int(4 * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    places = np.clip(np.arange(side)[:, None] + offsets, 0, side - 1)
    matrix = np.zeros((side, side))
    np.add.at(matrix, (np.arange(side)[:, None], places), weights / weights.sum())
    return matrix.astype(np.float32)


def pixel_matrix(side: int, cells: int) -> Float32[np.ndarray, "side side"]:
    """Averages over cells of equal length, a pixel counted by its overlap, and repeats them.

    >>> pixel_matrix(4, 2)[1].tolist()
    [0.5, 0.5, 0.0, 0.0]
    """
    edges = np.arange(cells + 1) * side / cells
    low = np.maximum(edges[:-1, None], np.arange(side))
    high = np.minimum(edges[1:, None], np.arange(side) + 1)
    mean = np.maximum(0, high - low) * cells / side
    # The middle of a pixel lies in one cell; half-open cells decide a tie.
    own = np.minimum((np.arange(side) + 0.5) * cells // side, cells - 1).astype(np.int64)
    return mean[own].astype(np.float32)


def motion_blur(image, key, positions):
    """Averages the image over positions along a line of random direction."""
    angle = jnp.pi * jax.random.uniform(key)
    height, width = image.shape[:2]
    rows, columns = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")

    def add(total, position):
        down, right = position * jnp.sin(angle), position * jnp.cos(angle)
        return total + bilinear(image, rows + down, columns + right), None

    total, _ = jax.lax.scan(add, jnp.zeros_like(image), positions)
    return total / len(positions)


def motion_positions(length: float, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Positions from one end of the line to the other, at most half a pixel apart at any severity."""
    count = 2 * math.ceil(scaled_length(max(MOTION), shape)) + 1
    reach = scaled_length(length, shape) / 2
    return (np.linspace(-reach, reach, count).astype(np.float32),)


def bilinear(image, rows, columns):
    """Values between the pixels of an image (h, w, c), at positions (h, w); the border goes on."""
    height, width = image.shape[:2]
    rows, columns = jnp.clip(rows, 0, height - 1), jnp.clip(columns, 0, width - 1)
    top, left = jnp.floor(rows).astype(jnp.int32), jnp.floor(columns).astype(jnp.int32)
    bottom, right = jnp.minimum(top + 1, height - 1), jnp.minimum(left + 1, width - 1)
    down, across = (rows - top)[:, :, None], (columns - left)[:, :, None]
    upper = image[top, left] * (1 - across) + image[top, right] * across
    lower = image[bottom, left] * (1 - across) + image[bottom, right] * across
    return upper * (1 - down) + lower * down


def _gaussian(sigma: float, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    return tuple(gaussian_matrix(side, scaled_length(sigma, shape)) for side in shape)


def _cells(block: float, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    # A block of one pixel changes nothing at any size, so what is more than one is what scales.
    size = 1 + scaled_length(block - 1, shape)
    return tuple(pixel_matrix(side, max(1, round(side / size))) for side in shape)


BLUR = (
    ImageCorruption(
        name="gaussian_blur",
        text="convolution with a Gaussian",
        unit="standard deviation in pixels at side 224, scaled by the root of the side",
        values=(1.0, 2.0, 3.0, 4.0, 6.0),
        draw=separable,
        parameters=_gaussian,
    ),
    ImageCorruption(
        name="motion_blur",
        text="mean along a line of random direction",
        unit="length in pixels at side 224, scaled by the root of the side",
        values=MOTION,
        draw=motion_blur,
        parameters=motion_positions,
    ),
    ImageCorruption(
        name="pixelate",
        text="means of square blocks",
        unit="side of a block in pixels at side 224; its excess over 1 scaled by the root of the side",
        values=(1 / 0.6, 2.0, 1 / 0.4, 1 / 0.3, 4.0),
        draw=separable,
        parameters=_cells,
    ),
)
