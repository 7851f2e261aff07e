"""Runs a function of one image over many: vectorised, in blocks of one shape, compiled once for it.

A block is always full (the last one is padded), so an image meets the same program whatever batch
it came in.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32, UInt32

BLOCK = 2**21
"""Numbers of a block's images, at most, unless one image has more."""
ROWS = 64


def block_rows(shape: tuple[int, ...]) -> int:
    """How many images of a shape are done at once: a power of two, at most 64.

    >>> block_rows((28, 28, 1)), block_rows((224, 224, 3))
    (64, 8)
    """
    most = max(1, BLOCK // int(np.prod(shape)))
    return min(ROWS, 2 ** (most.bit_length() - 1))


@functools.cache
def compiled(draw: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a block; one key an image, the same parameters for all."""

    def of_block(images, words, parameters):
        def of_image(image, word):
            return draw(image, jax.random.wrap_key_data(word, impl="threefry2x32"), *parameters)

        return jax.vmap(of_image)(images, words)

    return jax.jit(of_block)


def in_blocks(
    draw: Callable[..., Any],
    images: Float32[np.ndarray, "b h w c"],
    words: UInt32[np.ndarray, "b 2"],
    parameters: tuple[np.ndarray, ...],
) -> Float32[np.ndarray, "b h w c"]:
    """Applies `draw` to each image; bits do not depend on which images come together."""
    rows = block_rows(images.shape[1:])
    result = np.empty(images.shape, np.float32)
    # Both flags decide which bits a key gives; a process may have set them otherwise.
    with jax.threefry_partitionable(True), jax.enable_x64(False):
        for start in range(0, len(images), rows):
            kept = min(rows, len(images) - start)
            take = np.minimum(np.arange(start, start + rows), len(images) - 1)
            block = compiled(draw)(images[take], words[take], parameters)
            result[start : start + kept] = np.asarray(block)[:kept]
    return result
