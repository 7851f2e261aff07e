"""Terms that hold trained parameters near where they started."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxtransfer import trees
from jaxtransfer.errors import ConfigError, nearest
from jaxtransfer.objectives.terms import LABELED, Batch, Context, Metrics, Term, Weight
from jaxtransfer.trees import PARAMS, Rule


@dataclasses.dataclass(frozen=True, kw_only=True)
class L2SP:
    """Half the sum of squared distances from the starting point, plus a plain decay of the head.

    `1/2 sum (w - w0)^2 + head_ratio / 2 sum v^2` over trained parameters `w` that were pretrained
    and `v` of the head (arXiv 1802.01483, eq. 3, divided by its alpha, which is the term's weight;
    `head_ratio` is its beta / alpha). A sum, not a mean. New leaves of a method (`delta`) are not
    counted: they have no pretrained value.

    Attributes:
      head: pattern of the head's parameters, or None if no head trains.
      head_ratio: weight of the head's decay relative to the rest.
    """

    head: str | None = "head/.*"
    head_ratio: float = 0.1

    def __call__(
        self,
        outputs: Mapping[str, Mapping[str, Array]],
        batch: Mapping[str, Batch],
        context: Context,
    ) -> tuple[Float[Array, ""], Metrics]:
        """The penalty, and `distance`, the root of the sum of squares over pretrained leaves.

        Raises:
          ConfigError: if no pretrained parameter trains, `head` matches none that does, or the
            reference lacks one.
        """
        del outputs, batch
        now = _parameters(context.trainable)
        before = _parameters(context.reference or {})
        rule = None if self.head is None else Rule(self.head, None)
        body = [path for path in now if rule is None or not rule.matches(path)]
        if not body:
            raise ConfigError(
                "l2_sp holds pretrained parameters in place, and none of them trains"
                f" (trained: {sorted(now) or 'new leaves only'}); leave the term out, or train with"
                " full, bitfit or top_stages"
            )
        if rule is not None and len(body) == len(now):
            raise ConfigError(
                f"l2_sp decays the head {self.head!r} towards zero, and it matched no parameter that"
                f" trains (nearest: {nearest(rule.pattern, now)}); give the head's pattern, or"
                " head=None if none trains"
            )
        missing = [path for path in body if path not in before]
        if missing:
            raise ConfigError(f"l2_sp has no reference for {missing[:8]}")
        moved = _sum([_squares(now[path], before[path]) for path in body])
        size = _sum([_squares(now[path], None) for path in now if path not in body])
        # The root's derivative at 0 is infinite; the metric must not be differentiated there.
        safe = jnp.where(moved > 0, moved, 1.0)
        distance = jnp.where(moved > 0, jnp.sqrt(safe), 0.0)
        return 0.5 * (moved + self.head_ratio * size), {"distance": distance}


def l2_sp(
    *,
    weight: Weight = 0.1,
    head: str | None = "head/.*",
    head_ratio: float = 0.1,
    name: str = "l2_sp",
) -> Term:
    """L2-SP: pull towards the pretrained point; the paper's alpha = 0.1, beta = 0.01 are default.

    It reads no stream of its own; it is computed once a step.
    """
    return Term(
        name=name,
        weight=weight,
        function=L2SP(head=head, head_ratio=head_ratio),
        streams=(LABELED,),
        needs_reference=True,
    )


def _parameters(variables: Mapping[str, Any]) -> dict[str, Array]:
    return trees.flatten(variables.get(PARAMS, {}))


def _squares(leaf: Array, origin: Array | None) -> Float[Array, ""]:
    value = leaf.astype(jnp.float32)
    if origin is not None:
        value = value - origin.astype(jnp.float32)
    return jnp.sum(jnp.square(value))


def _sum(parts: list[Array]) -> Float[Array, ""]:
    return jnp.sum(jnp.stack(parts)) if parts else jnp.zeros((), jnp.float32)
