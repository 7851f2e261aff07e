"""Light and weather: contrast, brightness and fog, with the strengths of Hendrycks and Dietterich (2019)."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxtransfer.data.corruptions.kinds import ImageCorruption

FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
"""Amount, and by what each octave's roughness is divided (Hendrycks and Dietterich 2019)."""


def contrast(image, key, factor):
    """Multiplies the distance from each channel's mean."""
    mean = image.mean(axis=(0, 1), keepdims=True)
    return (image - mean) * factor + mean


def brightness(image, key, added):
    """Adds to the largest channel, the value of HSV, and keeps hue and saturation."""
    value = image.max(axis=-1, keepdims=True)
    raised = jnp.minimum(value + added, 1)
    return jnp.where(value > 0, image * (raised / jnp.where(value > 0, value, 1)), raised)


def fog(image, key, share, exponent):
    """Mixes in a share of cloud."""
    return (1 - share) * image + share * clouds(key, image.shape[:2], exponent)[:, :, None]


def clouds(key, shape, exponent):
    """Noise of 1/f^exponent amplitude, stretched to [0, 1]; its mode of frequency 0 does not count."""
    height, width = shape
    down = jnp.fft.fftfreq(height, 1 / height)[:, None]
    right = jnp.fft.rfftfreq(width, 1 / width)[None, :]
    frequency = jnp.sqrt(down**2 + right**2)
    amplitude = jnp.where(frequency > 0, jnp.maximum(frequency, 1) ** -exponent, 0)
    waves = jnp.fft.rfft2(jax.random.normal(key, shape)) * amplitude
    field = jnp.fft.irfft2(waves, s=shape)
    low, high = field.min(), field.max()
    return (field - low) / jnp.where(high > low, high - low, 1)


def _fog(severity: float, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    amount, decay = FOG[int(severity) - 1]
    # Dividing displacements by d each octave gives a spectrum of amplitude f^-(1 + log2 d).
    values = (amount / (1 + amount), 1 + math.log2(decay))
    return tuple(np.float32(value) for value in values)  # type: ignore[misc]


LIGHT = (
    ImageCorruption(
        name="contrast",
        text="distances from the channel's mean, multiplied",
        unit="factor",
        values=(0.4, 0.3, 0.2, 0.1, 0.05),
        draw=contrast,
    ),
    ImageCorruption(
        name="brightness",
        text="added to the value of HSV, the largest channel",
        unit="of the range 0 to 1",
        values=(0.1, 0.2, 0.3, 0.4, 0.5),
        draw=brightness,
    ),
    ImageCorruption(
        name="fog",
        text="(x + a f) / (1 + a), f fractal noise from 0 to 1 of power-law spectrum, for a = "
        + ", ".join(f"{amount:g}" for amount, _ in FOG),
        unit="row of the table FOG",
        values=(1, 2, 3, 4, 5),
        draw=fog,
        parameters=_fog,
    ),
)
