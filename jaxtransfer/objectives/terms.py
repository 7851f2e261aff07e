"""A loss is a sum of named terms, each with a weight that is a number or a schedule.

A term of constant weight 0 is not built at all, so a trajectory without it has the same bits; one
whose scheduled weight is 0 at a step is not evaluated at that step, so an infinite value in it
cannot turn the gradient into NaN.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxtransfer.errors import ConfigError, DataError, nearest

LABELED = "labeled"
TARGET = "target"

Batch = Mapping[str, Any]
"""One stream's examples: `inputs`, `label` `(b,)` int32, `mask` `(b,)` bool, `id` `(b,)` int32."""
Metrics = dict[str, Array]
Weight = float | Callable[[Array], Array]
"""A constant, or a function of the step; a frozen dataclass, so that equal terms compare equal."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Context:
    """What a term may know besides outputs and batches.

    Attributes:
      rng: a key of this step; terms fold their own index into it.
      step: int32 scalar, the number of updates made so far.
      trainable: the variables tree that is differentiated.
      reference: the same leaves before training, if some term needs them.
    """

    rng: Array
    step: Int[Array, ""]
    trainable: Mapping[str, Any]
    reference: Mapping[str, Any] | None = None


class TermFunction(Protocol):
    """What a term computes."""

    def __call__(
        self,
        outputs: Mapping[str, Mapping[str, Array]],
        batch: Mapping[str, Batch],
        context: Context,
    ) -> tuple[Float[Array, ""], Metrics]:
        """A float32 scalar and metrics, from the streams' outputs and batches."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Term:
    """A named summand of a loss.

    Attributes:
      name: what it is called in metrics.
      weight: a number, at least 0, or a schedule.
      function: what it computes.
      streams: the streams it reads.
      needs_reference: whether it needs the trainable leaves from before training.
    """

    name: str
    weight: Weight
    function: TermFunction
    streams: tuple[str, ...] = (LABELED,)
    needs_reference: bool = False

    def __post_init__(self):
        if not callable(self.weight) and not (math.isfinite(self.weight) and self.weight >= 0):
            raise ConfigError(
                f"term {self.name!r} has weight {self.weight!r}; give a finite number that is at"
                " least 0, or a schedule"
            )

    @property
    def is_off(self) -> bool:
        """Whether the weight is the constant 0."""
        return not callable(self.weight) and self.weight == 0


@dataclasses.dataclass(frozen=True)
class Objective:
    """The weighted sum of its terms.

    Attributes:
      terms: with different names; those of constant weight 0 are dropped.
    """

    terms: tuple[Term, ...]

    def __post_init__(self):
        names = [term.name for term in self.terms]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"several terms are named {twice}; give them different names")
        kept = tuple(term for term in self.terms if not term.is_off)
        if not kept:
            raise ConfigError(f"an objective needs a term of weight above 0; got {names}")
        object.__setattr__(self, "terms", kept)

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that some term reads, in order of first use."""
        return tuple(dict.fromkeys(stream for term in self.terms for stream in term.streams))

    @property
    def needs_reference(self) -> bool:
        """Whether some term needs the trainable leaves from before training."""
        return any(term.needs_reference for term in self.terms)

    def __call__(
        self,
        outputs: Mapping[str, Mapping[str, Array]],
        batch: Mapping[str, Batch],
        context: Context,
    ) -> tuple[Float[Array, ""], Metrics]:
        """The loss and its parts.

        Args:
          outputs: the network's outputs, by stream.
          batch: the examples, by stream.
          context: see `Context`.

        Returns:
          The loss, a float32 scalar, and metrics: each term's value under its name, its own
          metrics under `name/metric`, and `name/weight` where the weight is scheduled. A term
          that is not evaluated at a step reports zeros.

        Raises:
          DataError: if a stream that a term reads is not in the batch.
          ConfigError: if a reference is needed and not given.
        """
        for stream in self.streams:
            if stream not in batch or stream not in outputs:
                raise DataError(
                    f"the objective reads a stream {stream!r} that is not in the batch; nearest:"
                    f" {nearest(stream, batch)}"
                )
        if self.needs_reference and context.reference is None:
            names = [term.name for term in self.terms if term.needs_reference]
            raise ConfigError(f"terms {names} need the reference leaves in the context")
        total = None
        metrics: Metrics = {}
        for index, term in enumerate(self.terms):
            own = dataclasses.replace(context, rng=jax.random.fold_in(context.rng, index))
            value, parts, weight = _evaluate(term, outputs, batch, own)
            weighted = value if isinstance(weight, float) and weight == 1.0 else weight * value
            total = weighted if total is None else total + weighted
            metrics[term.name] = value
            metrics |= {f"{term.name}/{name}": part for name, part in parts.items()}
            if callable(term.weight):
                metrics[f"{term.name}/weight"] = jnp.asarray(weight)
        return jnp.asarray(total), metrics


def _evaluate(
    term: Term, outputs: Any, batch: Any, context: Context
) -> tuple[Array, Metrics, float | Array]:
    if not callable(term.weight):
        value, metrics = term.function(outputs, batch, context)
        return value, metrics, float(term.weight)
    weight = jnp.asarray(term.weight(context.step), jnp.float32)

    # The derivative of a branch that is not taken is not computed; a product with 0 would be.
    def run(streams: Any) -> tuple[Array, Metrics]:
        return term.function(streams, batch, context)

    shapes = jax.eval_shape(run, outputs)

    def skip(streams: Any) -> tuple[Array, Metrics]:
        del streams
        return jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)

    value, metrics = jax.lax.cond(weight != 0, run, skip, outputs)
    return value, metrics, weight


def masked_mean(values: Float[Array, " batch"], mask: Bool[Array, " batch"]) -> Float[Array, ""]:
    """Mean of the values whose mask is true, in float32; 0 if there are none.

    >>> float(masked_mean(jnp.array([1.0, 3.0, 9.0]), jnp.array([True, True, False])))
    2.0
    """
    if values.shape != mask.shape:
        raise DataError(f"values {values.shape} and mask {mask.shape} differ in shape")
    kept = jnp.where(mask, values.astype(jnp.float32), 0.0)
    return kept.sum() / jnp.maximum(mask.sum().astype(jnp.float32), 1.0)
