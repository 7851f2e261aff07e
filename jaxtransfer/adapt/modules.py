"""An index of the modules that a network calls, made by an abstract trace.

It tells a method where linear layers, embeddings and sites are, in any Linen network.
"""

import dataclasses
import weakref
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

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
      methods: names of the methods that were called.
      attributes: those of its dataclass fields that say how a linear layer contracts.
    """

    path: str
    type: type[nn.Module]
    params: Mapping[str, tuple[int, ...]]
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...] | None
    methods: frozenset[str]
    attributes: Mapping[str, Any]


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
    return f"{path}/{name}" if path else name


def _trace(model: Model) -> dict[str, ModuleInfo]:
    found: dict[str, ModuleInfo] = {}

    def record(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
        result = next_fun(*args, **kwargs)
        module = context.module
        if module.scope is None or context.method_name == "setup":
            return result
        path = "/".join(module.path)
        before = found.get(path)
        if before is not None:
            methods = before.methods | {context.method_name}
            found[path] = dataclasses.replace(before, methods=methods)
            return result
        call = {**dict(enumerate(args)), **kwargs}
        attributes = {name: getattr(module, name) for name in _ATTRIBUTES if hasattr(module, name)}
        if isinstance(module, nn.Einsum) and attributes["einsum_str"] is None:
            attributes["einsum_str"] = call.get("einsum_str", call.get(1))
        found[path] = ModuleInfo(
            path=path,
            type=type(module),
            params={
                name: tuple(leaf.shape)
                for name, leaf in module.variables.get("params", {}).items()
                if not isinstance(leaf, Mapping)
            },
            inputs=tuple(tuple(x.shape) for x in call.values() if hasattr(x, "shape")),
            output=tuple(result.shape) if hasattr(result, "shape") else None,
            methods=frozenset({context.method_name}),
            attributes=attributes,
        )
        return result

    def run(variables: Any, inputs: Any) -> Any:
        with nn.intercept_methods(record):
            return model.apply(variables, inputs)

    jax.eval_shape(run, model.variables, dict(model.example))
    return found
