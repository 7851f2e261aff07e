"""Bottleneck adapters: a small residual network inside every block, at named sites."""

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxtransfer import trees
from jaxtransfer.adapt.method import HEAD_PATTERN, Interceptor, Method, head_rules
from jaxtransfer.adapt.modules import ModuleInfo, module_index, parameter_path
from jaxtransfer.errors import AdaptationError, nearest
from jaxtransfer.models.model import Model
from jaxtransfer.models.site import ATTENTION_BRANCH, MLP_BRANCH, Site
from jaxtransfer.partition import DELTA
from jaxtransfer.trees import Rule

_ACTIVATIONS = {"gelu": nn.gelu, "relu": nn.relu, "swish": nn.swish}
_LEAVES = tuple(
    f"bottleneck_{name}" for name in ("down_kernel", "down_bias", "up_kernel", "up_bias")
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bottleneck(Method):
    """`x + up(activation(down(x)))` on residual branches, just before they are added.

    Both branches as in Houlsby et al. (arXiv 1902.00751), or the MLP's alone as in Pfeiffer et al.
    (arXiv 2005.00247). `up` starts at 0, so the network starts unchanged.

    Attributes:
      width: of the bottleneck.
      sites: names of the sites it is put at; each must exist.
      activation: 'gelu', 'relu' or 'swish'.
      head: pattern of the parameters that are trained in full, or None.
    """

    width: int = 16
    sites: tuple[str, ...] = (ATTENTION_BRANCH, MLP_BRANCH)
    activation: str = "gelu"
    head: str | None = HEAD_PATTERN
    name: ClassVar[str] = "bottleneck"
    suggested_learning_rates: ClassVar[tuple[float, ...]] = (5e-4, 1.5e-3)

    def __post_init__(self):
        super().__post_init__()
        if self.width < 1:
            raise AdaptationError(f"a bottleneck of width {self.width} passes nothing")
        if self.activation not in _ACTIVATIONS:
            raise AdaptationError(
                f"there is no activation {self.activation!r}; there are {sorted(_ACTIVATIONS)}"
            )

    def plan(self, model: Model) -> dict[str, ModuleInfo]:
        """The sites it is put at, by path.

        Raises:
          AdaptationError: if the model has no sites, or none of one of the names.
        """
        sites = {p: info for p, info in module_index(model).items() if info.type is Site}
        if not sites:
            raise AdaptationError(
                f"method {self.name!r} acts at sites, and model {model.name!r} has none; use lora,"
                " or place Site(name=...) modules in the network"
            )
        names = {path.rpartition("/")[2] for path in sites}
        for wanted in self.sites:
            if wanted not in names:
                raise AdaptationError(
                    f"model {model.name!r} has no site {wanted!r}; nearest:"
                    f" {nearest(wanted, names)}"
                )
        return {p: info for p, info in sites.items() if p.rpartition("/")[2] in self.sites}

    def init(self, rng: Array, model: Model) -> dict[str, Any]:
        """Down and up projections of every site; each depends on the key and its path alone."""
        flat: dict[str, Array] = {}
        initializer = nn.initializers.lecun_normal()
        for path, info in self.plan(model).items():
            depth = info.inputs[0][-1]
            key = jax.random.fold_in(rng, zlib.crc32(path.encode()))
            leaves = (
                initializer(key, (depth, self.width), jnp.float32),
                jnp.zeros((self.width,), jnp.float32),
                jnp.zeros((self.width, depth), jnp.float32),
                jnp.zeros((depth,), jnp.float32),
            )
            flat |= {parameter_path(path, name): x for name, x in zip(_LEAVES, leaves, strict=True)}
        return trees.unflatten(flat)

    def rules(self, model: Model) -> tuple[Rule, ...]:
        """The head's leaves in group `head`, the new ones in `delta`."""
        rule = Rule(rf"{DELTA}/(.*/)?bottleneck_\w+", DELTA)
        return (*head_rules(model, self.head, self.name), rule)

    def interceptor(self, model: Model, *, train: bool = False) -> Interceptor | None:
        """Puts the adapters at their sites."""
        del train
        paths = set(self.plan(model))
        activation = _ACTIVATIONS[self.activation]

        def interceptor(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
            module = context.module
            x = next_fun(*args, **kwargs)
            if type(module) is not Site or context.method_name != "__call__":
                return x
            if "/".join(module.path) not in paths or not module.has_variable(DELTA, _LEAVES[0]):
                return x
            leaves: list[Array] = [module.get_variable(DELTA, name) for name in _LEAVES]
            down_kernel, down_bias, up_kernel, up_bias = (y.astype(x.dtype) for y in leaves)
            flat = x.reshape(-1, x.shape[-1])
            hidden = activation(flat @ down_kernel + down_bias[None])
            return x + (hidden @ up_kernel + up_bias[None]).reshape(x.shape)

        return interceptor

    def merge(self, variables: Mapping[str, Any], model: Model) -> dict[str, Any]:
        """Refuses: there is no linear map to fold it into.

        Raises:
          AdaptationError: always, if there is a delta.
        """
        if variables.get(DELTA):
            raise AdaptationError(
                f"method {self.name!r} cannot be merged into model {model.name!r}: its adapters"
                " are not linear; save it as an adapter package and run it with Adapted.apply"
            )
        return dict(variables)
