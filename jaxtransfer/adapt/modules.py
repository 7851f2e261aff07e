"""An index of the modules that a network calls, made by an abstract trace.

It tells a method where linear layers, embeddings and sites are, in any Linen network.
"""

import dataclasses
import weakref
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from jaxtransfer import trees
from jaxtransfer.models.model import Model

_ATTRIBUTES = ("axis", "batch_dims", "einsum_str", "feature_group_count", "mask", "features")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModuleInfo:
    """What a trace saw of a module.

    Attributes:
      path: where it lies, `encoder/layer_0/mlp/up`; empty for the root.
      type: its class.
      params: shapes of its own parameters as it sees them, without the axes over which a lifted
        transformation (scan, vmap) stacks them.
      inputs: shapes of its array arguments in the first call.
      output: shape of what it returned in the first call, if that is one array.
      methods: names of the public methods that were called.
      attributes: those of its dataclass fields that say how a linear layer contracts; an einsum's
        equation is None if its calls differ in it.
      derived: names of the parameters that reach it computed from the stored ones, as
        `nn.WeightNorm` and other uses of `nn.map_variables` do.
    """

    path: str
    type: type[nn.Module]
    params: Mapping[str, tuple[int, ...]]
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...] | None
    methods: frozenset[str]
    attributes: Mapping[str, Any]
    derived: frozenset[str]


_INDEX: weakref.WeakKeyDictionary[Model, dict[str, ModuleInfo]] = weakref.WeakKeyDictionary()


def module_index(model: Model) -> dict[str, ModuleInfo]:
    """The modules that the model calls on its example inputs, by path, in order of first return."""
    if model not in _INDEX:
        _INDEX[model] = _trace(model)
    return _INDEX[model]


def parameter_path(path: str, name: str) -> str:
    """Path of a module's own parameter.

    >>> parameter_path("encoder/up", "kernel"), parameter_path("", "kernel")
    ('encoder/up/kernel', 'kernel')
    """
    part = trees.segment(name)
    return f"{path}/{part}" if path else part


def _trace(model: Model) -> dict[str, ModuleInfo]:
    found: dict[str, ModuleInfo] = {}
    stored: dict[str, Any] = {}

    def is_derived(leaf: Any, path: str) -> bool:
        # Inside scan, vmap or remat a parameter is a tracer of an inner trace; one of the same
        # trace that is another value has been computed.
        own = stored.get(path, leaf)
        return leaf is not own and getattr(leaf, "_trace", None) is getattr(own, "_trace", None)

    def record(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
        result = next_fun(*args, **kwargs)
        module = context.module
        is_private = context.method_name.startswith("_") and context.method_name != "__call__"
        if module.scope is None or context.method_name == "setup" or is_private:
            return result
        path = "/".join(module.path)
        call = {**dict(enumerate(args)), **kwargs}
        attributes = {name: getattr(module, name) for name in _ATTRIBUTES if hasattr(module, name)}
        if isinstance(module, nn.Einsum) and attributes["einsum_str"] is None:
            attributes["einsum_str"] = call.get("einsum_str", call.get(1))
        before = found.get(path)
        if before is not None:
            if before.attributes.get("einsum_str") != attributes.get("einsum_str"):
                attributes["einsum_str"] = None
            methods = before.methods | {context.method_name}
            found[path] = dataclasses.replace(before, methods=methods, attributes=attributes)
            return result
        own = {
            name: leaf
            for name, leaf in module.variables.get("params", {}).items()
            if not isinstance(leaf, Mapping)
        }
        found[path] = ModuleInfo(
            path=path,
            type=type(module),
            params={name: tuple(leaf.shape) for name, leaf in own.items()},
            inputs=tuple(tuple(x.shape) for x in call.values() if hasattr(x, "shape")),
            output=tuple(result.shape) if hasattr(result, "shape") else None,
            methods=frozenset({context.method_name}),
            attributes=attributes,
            derived=frozenset(n for n, x in own.items() if is_derived(x, parameter_path(path, n))),
        )
        return result

    def run(variables: Any, inputs: Any) -> Any:
        stored.update(trees.flatten(variables.get(trees.PARAMS, {})))
        with nn.intercept_methods(record):
            return model.apply(variables, inputs)

    jax.eval_shape(run, model.variables, dict(model.example))
    return found
