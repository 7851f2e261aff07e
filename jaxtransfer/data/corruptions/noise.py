"""Noise of the sensor: Gaussian, shot and impulse noise (Hendrycks and Dietterich 2019).

The draws do not depend on the severity, so that the same pixels get worse.
"""

import jax
import jax.numpy as jnp

from jaxtransfer.data.corruptions.kinds import ImageCorruption

PHOTONS = (60.0, 25.0, 12.0, 5.0, 3.0)


def gaussian_noise(image, key, scale):
    """Adds scale times a standard normal number to every value."""
    return image + scale * jax.random.normal(key, image.shape, image.dtype)


def shot_noise(image, key, photons):
    """Counts photons: Poisson of the expected number at every value, over the number at white."""
    uniform = jax.random.uniform(key, image.shape, image.dtype)
    # Counts above white's are clipped anyway, so none is sought beyond it.
    return poisson_quantile(uniform, image * photons, int(max(PHOTONS))) / photons


def poisson_quantile(uniform, expected, most):
    """The Poisson count at a level of its distribution function, at most `most`.

    The count is monotone in level and expectation, so a darker exposure of the same level is the
    same grain.
    """

    def add(count, state):
        total, probability, counted = state
        return (
            total + probability,
            probability * expected / (count + 1),
            counted + (uniform >= total + probability),
        )

    none = jnp.zeros_like(expected)
    return jax.lax.fori_loop(0, most, add, (none, jnp.exp(-expected), none))[2]


def impulse_noise(image, key, share):
    """Sets a share of all values to 0 or 1, each as often."""
    chosen, white = jax.random.split(key)
    hit = jax.random.uniform(chosen, image.shape) < share
    salt = jax.random.bernoulli(white, 0.5, image.shape).astype(image.dtype)
    return jnp.where(hit, salt, image)


NOISE = (
    ImageCorruption(
        name="gaussian_noise",
        text="a normal number added to each value",
        unit="standard deviation, of the range 0 to 1",
        values=(0.08, 0.12, 0.18, 0.26, 0.38),
        draw=gaussian_noise,
    ),
    ImageCorruption(
        name="shot_noise",
        text="each value replaced by a Poisson count of that expectation, at most white",
        unit="photons at white",
        values=PHOTONS,
        draw=shot_noise,
    ),
    ImageCorruption(
        name="impulse_noise",
        text="values set to 0 or 1, as often to either",
        unit="share of values",
        values=(0.03, 0.06, 0.09, 0.17, 0.27),
        draw=impulse_noise,
    ),
)
