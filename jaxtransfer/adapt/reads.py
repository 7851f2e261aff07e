"""Finds the leaves that a function's outputs do not depend on, by an abstract trace.

A delta that nothing reads trains with gradient zero and says nothing; this is how it is found out.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.extend import core

from jaxtransfer import trees


def unread_leaves(function: Callable[..., Any], tree: Mapping[str, Any], *args: Any) -> list[str]:
    """Paths of the leaves of `tree` that no output of `function(tree, *args)` depends on.

    Dependence is read off the jaxpr: an operation counts if one of its results does, all operands of a loop count with
    it, and values are not considered (a product with a zero matrix is a dependence).

    Args:
      function: traced, not run.
      tree: nested mapping of arrays or shapes.
      *args: further arguments, arrays or shapes.
    """
    flat = trees.flatten(tree)

    def on_flat(leaves: list[Any], *rest: Any) -> Any:
        return function(trees.unflatten(dict(zip(flat, leaves, strict=True))), *rest)

    jaxpr = jax.make_jaxpr(on_flat)(list(flat.values()), *args).jaxpr
    used = _used_inputs(jaxpr, [True] * len(jaxpr.outvars))
    return [path for path, is_used in zip(flat, used[: len(flat)], strict=True) if not is_used]


def _used_inputs(jaxpr: Any, outputs: list[bool]) -> list[bool]:
    live = {
        var
        for var, used in zip(jaxpr.outvars, outputs, strict=True)
        if used and isinstance(var, core.Var)
    }
    for eqn in reversed(jaxpr.eqns):
        results = [var in live for var in eqn.outvars]
        if not any(results) and not eqn.effects:
            continue
        for var, used in zip(eqn.invars, _used_operands(eqn, results), strict=True):
            if used and isinstance(var, core.Var):
                live.add(var)
    return [var in live for var in jaxpr.invars]


def _used_operands(eqn: Any, results: list[bool]) -> list[bool]:
    # Calls of one inner function (jit, remat) are looked into; loops and custom derivatives are taken whole.
    inner = eqn.params.get("jaxpr")
    if (
        eqn.primitive.name in ("jit", "pjit", "checkpoint", "remat2", "closed_call")
        and inner is not None
    ):
        inner = getattr(inner, "jaxpr", inner)
        if len(inner.invars) == len(eqn.invars):
            return _used_inputs(inner, results)
    return [True] * len(eqn.invars)
