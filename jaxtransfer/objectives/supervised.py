"""Terms that compare logits with labels."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxtransfer.errors import ConfigError
from jaxtransfer.objectives.terms import (
    LABELED,
    Batch,
    Context,
    Metrics,
    Term,
    Weight,
    masked_mean,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """Mean over unmasked examples of the cross-entropy of labels and softmax of logits, in nats.

    Attributes:
      label_smoothing: mass spread evenly over all classes, in [0, 1).
      stream: the stream it reads.
    """

    label_smoothing: float = 0.0
    stream: str = LABELED

    def __post_init__(self):
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label smoothing is in [0, 1), not {self.label_smoothing}")

    def __call__(
        self,
        outputs: Mapping[str, Mapping[str, Array]],
        batch: Mapping[str, Batch],
        context: Context,
    ) -> tuple[Float[Array, ""], Metrics]:
        """The loss, and `accuracy` on the same examples."""
        del context
        mask = batch[self.stream]["mask"]
        label = jnp.where(mask, batch[self.stream]["label"], 0)
        logits = outputs[self.stream]["logits"].astype(jnp.float32)
        # Whatever a padded row computed is replaced before the logarithm, not after.
        log_probabilities = jax.nn.log_softmax(jnp.where(mask[:, None], logits, 0.0))
        chosen = jnp.take_along_axis(log_probabilities, label[:, None], axis=1)[:, 0]
        loss = -chosen
        if self.label_smoothing:
            spread = -log_probabilities.mean(axis=1)
            loss = (1 - self.label_smoothing) * loss + self.label_smoothing * spread
        correct = (log_probabilities.argmax(axis=1) == label).astype(jnp.float32)
        return masked_mean(loss, mask), {"accuracy": masked_mean(correct, mask)}


def cross_entropy(
    label_smoothing: float = 0.0,
    *,
    weight: Weight = 1.0,
    stream: str = LABELED,
    name: str = "cross_entropy",
) -> Term:
    """Cross-entropy on a labelled stream; smoothing as in arXiv 1512.00567, over all K classes."""
    function = CrossEntropy(label_smoothing=label_smoothing, stream=stream)
    return Term(name=name, weight=weight, function=function, streams=(stream,))
