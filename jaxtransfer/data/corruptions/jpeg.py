"""JPEG by Pillow's encoder: not JAX, because what is wanted is the artefacts that files have.

Which encoder Pillow was built with decides the last bits.
"""

import io

import numpy as np
from jaxtyping import Float

from jaxtransfer.data.corruptions.kinds import HostImageCorruption
from jaxtransfer.errors import DataError


def jpeg_compression(
    image: Float[np.ndarray, "h w c"], quality: float
) -> Float[np.ndarray, "h w c"]:
    """Encodes in 8 bits at a quality, chroma halved in either direction, and decodes again.

    Raises:
      DataError: if there are not 1 or 3 channels.
    """
    from PIL import Image

    channels = image.shape[2]
    if channels not in (1, 3):
        raise DataError(f"a JPEG has 1 or 3 channels, not {channels}")
    pixels = np.rint(image * 255).astype(np.uint8)
    source = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    with io.BytesIO() as file:
        source.save(file, format="JPEG", quality=int(quality), subsampling="4:2:0")
        with Image.open(file) as opened:
            decoded = np.asarray(opened)
    return decoded.reshape(image.shape) / np.float32(255)


JPEG = (
    HostImageCorruption(
        name="jpeg_compression",
        text="JPEG by Pillow, chroma subsampled 4:2:0, from 8 bits",
        unit="quality",
        values=(25, 18, 15, 10, 7),
        change=jpeg_compression,
    ),
)
