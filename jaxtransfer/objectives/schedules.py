"""Weights of terms as functions of the step.

They are frozen dataclasses, so that objectives with equal schedules are equal and share a compiled
step.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxtransfer.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearRamp:
    """Rises linearly from 0 at step `start` to `peak` at step `end`, and stays there.

    >>> float(LinearRamp(end=10, peak=2.0)(jnp.asarray(5)))
    1.0
    """

    end: int
    peak: float = 1.0
    start: int = 0

    def __post_init__(self):
        if not 0 <= self.start < self.end:
            raise ConfigError(f"a ramp from step {self.start} to {self.end} does not rise")

    def __call__(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """The weight at a step."""
        fraction = (step.astype(jnp.float32) - self.start) / (self.end - self.start)
        return self.peak * jnp.clip(fraction, 0.0, 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SigmoidRamp:
    """The ramp of DANN (arXiv 1505.07818, sec. 5.2.2): `peak (2 / (1 + exp(-gamma p)) - 1)`.

    `p` is the fraction `step / steps`, at most 1.
    """

    steps: int
    peak: float = 1.0
    gamma: float = 10.0

    def __post_init__(self):
        if self.steps < 1:
            raise ConfigError(f"a ramp over {self.steps} steps does not rise")

    def __call__(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """The weight at a step."""
        fraction = jnp.clip(step.astype(jnp.float32) / self.steps, 0.0, 1.0)
        return self.peak * (2.0 / (1.0 + jnp.exp(-self.gamma * fraction)) - 1.0)
