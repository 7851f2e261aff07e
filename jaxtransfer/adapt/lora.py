"""LoRA (arXiv 2106.09685): a low-rank delta beside frozen linear maps, mergeable into them."""

import dataclasses
import math
import weakref
import zlib
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from absl import logging
from jaxtyping import Array, Float

from jaxtransfer import trees
from jaxtransfer.adapt.linear import add_low_rank
from jaxtransfer.adapt.method import HEAD_PATTERN, Interceptor, Method, head_rules
from jaxtransfer.adapt.modules import parameter_path
from jaxtransfer.adapt.targets import Target, choose_targets
from jaxtransfer.errors import AdaptationError
from jaxtransfer.models.model import Model
from jaxtransfer.partition import DELTA
from jaxtransfer.trees import PARAMS, Rule

_PLANS: weakref.WeakKeyDictionary[Model, dict["LoRA", tuple[Target, ...]]]
_PLANS = weakref.WeakKeyDictionary()


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoRA(Method):
    """`W + alpha / rank * A B`, with `A` `(in, rank)` and `B` `(rank, out)` trained.

    Dense, DenseGeneral, Einsum, Conv without groups and Embed are adapted through their module's
    output, without forming `A B`; every other matrix through its weights. `A` starts uniform in
    `1 / sqrt(in)`, as in peft, `B` at 0; of an embedding `A` at 0 and `B` normal, as there.

    Attributes:
      rank: of every delta that no rule gives another one.
      alpha: the scale is `alpha / rank`.
      dropout: rate on the input of the delta, in training; embeddings have none.
      targets: what is adapted, see `targets.choose_targets`; if None, all linear layers, or the 1x1
        convolutions of a network that has none.
      head: pattern of the parameters that are trained in full, or None.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str | Rule, ...] | None = None
    head: str | None = HEAD_PATTERN
    name: ClassVar[str] = "lora"
    suggested_learning_rates: ClassVar[tuple[float, ...]] = (5e-4, 1.5e-3)

    def __post_init__(self):
        if isinstance(self.targets, str):
            raise AdaptationError(f"targets are a tuple; write ({self.targets!r},)")
        if self.targets is not None:
            if not isinstance(self.targets, list | tuple):
                raise AdaptationError(
                    f"lora.targets must be a tuple of patterns, not {self.targets!r}"
                )
            object.__setattr__(self, "targets", tuple(self.targets))
            for target in self.targets:
                if not isinstance(target, str | Rule):
                    raise AdaptationError(f"lora.targets must be patterns or rules, not {target!r}")
        super().__post_init__()
        if self.rank < 1:
            raise AdaptationError(f"a LoRA of rank {self.rank} does nothing; give at least 1")
        if not (self.alpha > 0 and math.isfinite(self.alpha)):
            raise AdaptationError(f"a LoRA scaled by alpha={self.alpha} does nothing; give above 0")
        if not 0 <= self.dropout < 1:
            raise AdaptationError(f"dropout is in [0, 1), not {self.dropout}")

    def plan(self, model: Model) -> tuple[Target, ...]:
        """The parameters that are adapted, and through which handle.

        Raises:
          AdaptationError: if a target matches nothing, or dropout is asked for where there is no
            branch to drop on.
        """
        plans = _PLANS.setdefault(model, {})
        if self not in plans:
            targets = choose_targets(model, self.targets, head=self.head, rank=self.rank)
            through_weights = [target.path for target in targets if not target.factored]
            if self.dropout and through_weights:
                raise AdaptationError(
                    f"dropout {self.dropout} cannot act on {through_weights[:4]}: their delta goes"
                    " through the weights; set dropout=0 or leave them out of the targets"
                )
            plans[self] = targets
        return plans[self]

    def init(self, rng: Array, model: Model) -> dict[str, Any]:
        """`A` and `B` of every target; each depends on the key and its path alone."""
        flat: dict[str, Array] = {}
        for target in self.plan(model):
            key = jax.random.fold_in(rng, zlib.crc32(target.path.encode()))
            a_path, b_path = (parameter_path(target.module, leaf) for leaf in target.leaves)
            a_shape, b_shape = target.shapes
            if target.type is nn.Embed:
                flat[a_path] = jnp.zeros(a_shape, jnp.float32)
                flat[b_path] = jax.random.normal(key, b_shape, jnp.float32)
            else:
                bound = 1 / math.sqrt(target.view.fan_in)
                flat[a_path] = jax.random.uniform(key, a_shape, jnp.float32, -bound, bound)
                flat[b_path] = jnp.zeros(b_shape, jnp.float32)
        return trees.unflatten(flat)

    def rules(self, model: Model) -> tuple[Rule, ...]:
        """The head's leaves in group `head`, the new ones in `delta`."""
        return (
            *head_rules(model, self.head, self.name),
            Rule(rf"{DELTA}/(.*/)?([^/]+_)?lora_[ab]", DELTA),
        )

    def effective(
        self, params: Mapping[str, Any], delta: Mapping[str, Any], model: Model
    ) -> Mapping[str, Any]:
        """Adds the deltas that act through the weights."""
        through_weights = [target for target in self.plan(model) if not target.factored]
        return self._add(params, delta, through_weights) if through_weights else params

    def as_weights(
        self, params: Mapping[str, Any], delta: Mapping[str, Any], model: Model
    ) -> dict[str, Any]:
        """Adds all deltas to the weights: the reference that the factored form agrees with."""
        return self._add(params, delta, self.plan(model))

    def interceptor(self, model: Model, *, train: bool = False) -> Interceptor | None:
        """Adds the factored deltas to their modules' outputs."""
        targets = {target.module: target for target in self.plan(model) if target.factored}
        if not targets:
            return None

        def interceptor(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
            module = context.module
            output = next_fun(*args, **kwargs)
            if context.method_name not in ("__call__", "attend"):
                return output
            target = targets.get("/".join(module.path))
            if target is None or type(module) is not target.type:
                return output
            a_name, b_name = target.leaves
            # Absent under a lifted transformation that does not pass the collection; `adapt`
            # finds the leaf unread and says so.
            if not module.has_variable(DELTA, a_name):
                return output
            a: Array = module.get_variable(DELTA, a_name)
            b: Array = module.get_variable(DELTA, b_name)
            self._check_unstacked(target, a)
            drop = None
            if train and self.dropout and target.type is not nn.Embed:
                drop = self._drop(module)
            return add_low_rank(
                module,
                context.method_name,
                args,
                kwargs,
                output,
                a,
                b,
                scale=self.alpha / target.rank,
                drop=drop,
            )

        return interceptor

    def merge(self, variables: Mapping[str, Any], model: Model) -> dict[str, Any]:
        """Adds the deltas to the weights in float32, and rounds to the weights' own dtype once.

        For weights below float32 the rounding is logged; `merge_error` gives it.
        """
        delta = variables.get(DELTA, {})
        merged = self.as_weights(variables[PARAMS], delta, model)
        errors = self.merge_error(variables, model)
        if errors:
            worst = max(errors, key=errors.__getitem__)
            logging.warning(
                "merging rounded %d deltas to their kernels' dtype; largest relative error of a"
                " delta: %.1e (%s)",
                len(errors),
                errors[worst],
                worst,
            )
        rest = {name: tree for name, tree in variables.items() if name not in (DELTA, PARAMS)}
        return {PARAMS: merged, **rest}

    def merge_error(self, variables: Mapping[str, Any], model: Model) -> dict[str, float]:
        """What rounding the merged weights costs: `||round(W + D) - (W + D)|| / ||D||` by path.

        Weights in float32 are left out, and deltas that are 0.
        """
        flat = trees.flatten(variables[PARAMS])
        errors = {}
        for target in self.plan(model):
            weight = flat[target.path]
            if weight.dtype == jnp.float32:
                continue
            change = self._change(target, trees.flatten(variables.get(DELTA, {})))
            exact = weight.astype(jnp.float32) + change
            lost = exact.astype(weight.dtype).astype(jnp.float32) - exact
            size = float(jnp.linalg.norm(change.ravel()))
            if size > 0:
                errors[target.path] = float(jnp.linalg.norm(lost.ravel())) / size
        return errors

    def _add(
        self, params: Mapping[str, Any], delta: Mapping[str, Any], targets: Any
    ) -> dict[str, Any]:
        flat, new = trees.flatten(params), trees.flatten(delta)
        for target in targets:
            weight = flat[target.path]
            change = self._change(target, new)
            flat[target.path] = (weight.astype(jnp.float32) + change).astype(weight.dtype)
        return trees.unflatten(flat)

    def _change(self, target: Target, delta: Mapping[str, Array]) -> Float[Array, "..."]:
        a, b = (delta[parameter_path(target.module, leaf)] for leaf in target.leaves)
        scale = self.alpha / target.rank
        return target.view.restore(a.astype(jnp.float32) @ (b.astype(jnp.float32) * scale))

    def _drop(self, module: nn.Module) -> Any:
        if not module.has_rng("dropout"):
            raise AdaptationError(
                f"LoRA's dropout {self.dropout} on {'/'.join(module.path)!r} needs a key: give rng"
                " to Adapted.apply, and split_rngs={'dropout': True} on nn.scan or nn.vmap"
            )
        keep = 1 - self.dropout

        def drop(x: Array) -> Array:
            kept = jax.random.bernoulli(module.make_rng("dropout"), keep, x.shape)
            return jnp.where(kept, x / keep, 0).astype(x.dtype)

        return drop

    def _check_unstacked(self, target: Target, a: Array) -> None:
        if a.ndim != 2:
            raise AdaptationError(
                f"'{DELTA}/{target.module}' arrives with shape {a.shape} where the module computes"
                f" with {target.view.shape}; stack it as the parameters are:"
                f" variable_axes={{'params': 0, '{DELTA}': 0}}"
            )
