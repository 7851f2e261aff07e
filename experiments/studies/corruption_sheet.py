"""Draws every corruption of images at every severity, for a picture and a digit side by side.

    python experiments/studies/corruption_sheet.py docs/corruptions.png

The picture is made here (a landscape of gradients, edges and fine texture), the digit comes with
scikit-learn, so the sheet needs no download.
"""

import sys

import numpy as np
from PIL import Image, ImageDraw

from jaxtransfer.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt

SIDE, EDGE, LABEL = 64, 2, 104


def picture() -> np.ndarray:
    """A sky, hills, a house and grass, (64, 64, 3) uint8."""
    image = Image.new("RGB", (4 * SIDE, 4 * SIDE))
    draw = ImageDraw.Draw(image)
    for row in range(4 * SIDE):
        draw.line((0, row, 4 * SIDE, row), fill=(90 + row // 2, 150 + row // 4, 225))
    draw.ellipse((180, 20, 220, 60), fill=(255, 240, 170))
    draw.polygon(
        [(0, 170), (70, 80), (150, 180), (200, 120), (256, 170), (256, 256), (0, 256)],
        fill=(70, 110, 90),
    )
    draw.rectangle((0, 180, 256, 256), fill=(95, 140, 60))
    draw.rectangle((60, 140, 140, 215), fill=(200, 180, 150))
    draw.polygon([(50, 140), (100, 100), (150, 140)], fill=(150, 60, 45))
    draw.rectangle((90, 175, 112, 215), fill=(80, 50, 35))
    draw.rectangle((118, 152, 134, 170), fill=(120, 170, 210))
    rng = np.random.default_rng(0)
    for _ in range(1200):
        x, y = rng.integers(0, 256), rng.integers(195, 256)
        shade = int(rng.integers(-40, 40))
        draw.line(
            (x, y, x + rng.integers(-2, 3), y - 8), fill=(85 + shade, 135 + shade, 55 + shade // 2)
        )
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def digit() -> np.ndarray:
    """A digit of 8 by 8 pixels, scaled to (28, 28) uint8."""
    from sklearn.datasets import load_digits

    pixels = (load_digits().images[3] * 15.9375).astype(np.uint8)
    return np.pad(np.asarray(Image.fromarray(pixels).resize((20, 20), Image.Resampling.BICUBIC)), 4)


def sheet() -> Image.Image:
    step = SIDE + EDGE
    columns, kinds = len(SEVERITIES) + 1, list(CORRUPTIONS["image"])
    canvas = Image.new("RGB", (LABEL + 2 * columns * step + 8, 14 + len(kinds) * step), "white")
    draw = ImageDraw.Draw(canvas)
    for row, kind in enumerate(kinds):
        top = 14 + row * step
        draw.text((2, top + SIDE // 2 - 6), kind, fill="black")
        for half, image in enumerate((picture(), digit())):
            for severity in range(columns):
                left = LABEL + half * (columns * step + 8) + severity * step
                draw.text((left + SIDE // 2, 1), str(severity), fill="black")
                (result,) = corrupt([image], ["sheet"], kind=kind, severity=severity, seed=1)
                shown = Image.fromarray(result).resize((SIDE, SIDE), Image.Resampling.NEAREST)
                canvas.paste(shown.convert("RGB"), (left, top))
    return canvas


if __name__ == "__main__":
    # Noise does not compress: a palette keeps the file to a third.
    sheet().quantize(256, dither=Image.Dither.NONE, kmeans=3).save(sys.argv[1], optimize=True)
