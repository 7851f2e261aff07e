"""Terms that bring the features of two streams together, without labels of the second."""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxtransfer.objectives.terms import (
    LABELED,
    TARGET,
    Batch,
    Context,
    Metrics,
    Term,
    Weight,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coral:
    """Deep CORAL (arXiv 1607.01719, eq. 1): `||C_s - C_t||_F^2 / (4 d^2)` of `features` `(b, d)`.

    Covariances have denominator n - 1 and count unmasked rows only. (Some libraries use the mean of
    squared differences and add the means' distance; this is the paper's.)

    Attributes:
      source: stream of the labelled examples.
      target: stream of the examples to align with.
    """

    source: str = LABELED
    target: str = TARGET

    def __call__(
        self,
        outputs: Mapping[str, Mapping[str, Array]],
        batch: Mapping[str, Batch],
        context: Context,
    ) -> tuple[Float[Array, ""], Metrics]:
        """The squared distance, and no metrics."""
        del context
        covariances = [
            masked_covariance(outputs[stream]["features"], batch[stream]["mask"])
            for stream in (self.source, self.target)
        ]
        width = covariances[0].shape[0]
        difference = jnp.square(covariances[0] - covariances[1]).sum()
        return difference / (4.0 * width**2), {}


def coral(
    *,
    weight: Weight = 1.0,
    source: str = LABELED,
    target: str = TARGET,
    name: str = "coral",
) -> Term:
    """CORAL between the features of a labelled and a target stream."""
    function = Coral(source=source, target=target)
    return Term(name=name, weight=weight, function=function, streams=(source, target))


def masked_covariance(
    features: Float[Array, "batch width"], mask: Bool[Array, " batch"]
) -> Float[Array, "width width"]:
    """Covariance of the unmasked rows with denominator n - 1, in float32; 0 for fewer than two."""
    count = mask.sum().astype(jnp.float32)
    rows = jnp.where(mask[:, None], features.astype(jnp.float32), 0.0)
    mean = rows.sum(axis=0, keepdims=True) / jnp.maximum(count, 1.0)
    centred = jnp.where(mask[:, None], rows - mean, 0.0)
    return centred.T @ centred / jnp.maximum(count - 1.0, 1.0)
