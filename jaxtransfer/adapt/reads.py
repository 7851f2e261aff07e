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

    Dependence is read off the jaxpr: an operation counts if one of its results does. Calls and
    scans are looked into; conditionals, while loops and custom derivatives count whole. Values are
    not considered (a product with a zero matrix is a dependence).

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
    inner = eqn.params.get("jaxpr")
    inner = getattr(inner, "jaxpr", inner)
    if inner is not None and len(inner.invars) == len(eqn.invars):
        if eqn.primitive.name in ("jit", "pjit", "checkpoint", "remat2", "closed_call"):
            return _used_inputs(inner, results)
        if eqn.primitive.name == "scan":
            return _used_by_scan(inner, results, eqn.params["num_consts"], eqn.params["num_carry"])
    return [True] * len(eqn.invars)


def _used_by_scan(body: Any, results: list[bool], constants: int, carries: int) -> list[bool]:
    carry, stacked = results[:carries], results[carries:]
    while True:
        used = _used_inputs(body, [*carry, *stacked])
        grown = [a or b for a, b in zip(carry, used[constants : constants + carries], strict=True)]
        if grown == carry:
            return [*used[:constants], *carry, *used[constants + carries :]]
        carry = grown
