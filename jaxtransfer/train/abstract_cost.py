"""What a step costs before it is taken: operations by XLA's count and memory by arithmetic, from shapes alone.

Nothing is computed and nothing compiled: functions are traced and lowered, which takes a second where
compiling takes many.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import ShapeDtypeStruct
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from jaxtransfer.adapt.adapted import Adapted
from jaxtransfer.objectives.terms import Objective
from jaxtransfer.train.recipe import Recipe
from jaxtransfer.train.state import init_state
from jaxtransfer.train.step import (
    LABELED,
    Precision,
    compute_dtype,
    make_predict,
    make_train_step,
)

PRODUCT = 1024
"""Side of the matrices whose product gives a device's rate."""

Inputs = Mapping[str, ShapeDtypeStruct]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AbstractCost:
    """What one call of a function costs, by its shapes.

    Attributes:
      flops: floating point operations, by XLA's count of the lowered function, before it is optimised.
      peak_bytes: most bytes alive at once: the arguments that are read, and every intermediate result
        from the operation that makes it to the last that reads it. XLA writes less where it fuses
        operations, and more where it unrolls them, as convolutions on a CPU.
    """

    flops: float
    peak_bytes: int


def step_cost(
    adapted: Adapted,
    objective: Objective,
    recipe: Recipe,
    inputs: Inputs,
    *,
    start: int = 0,
) -> AbstractCost:
    """The cost of a training step on the stream `labeled`, on one device.

    Args:
      adapted: model and method; the variables may be shapes.
      objective: the loss.
      recipe: batch size, optimizer and precision.
      inputs: of any number of examples, as the network takes them, or activations if `start` is not 0.
      start: stage that the inputs are for.
    """
    state, frozen = state_shapes(adapted, objective, recipe)
    size = recipe.batch_size
    rows = {"label": jnp.int32, "mask": jnp.bool_, "id": jnp.int32}
    batch = {
        LABELED: {
            "inputs": resized(inputs, size),
            **{name: ShapeDtypeStruct((size,), dtype) for name, dtype in rows.items()},
        }
    }
    rate = ShapeDtypeStruct((), jnp.float32)
    step = make_train_step(
        adapted, objective, recipe.optimizer(adapted), start=start, precision=recipe.precision
    )
    return cost_of(step, state, frozen, batch, rate, rate, consumed=state)


def state_shapes(adapted: Adapted, objective: Objective, recipe: Recipe) -> tuple[Any, Any]:
    """The shapes of the state that training begins with, and of what it leaves frozen.

    Raises:
      JaxTransferError: if the recipe does not fit what is trained, such as a group of another method.
    """
    optimizer = recipe.optimizer(adapted)

    def begin(variables: Any) -> Any:
        return init_state(
            variables, adapted.labels, optimizer, 0, keep_reference=objective.needs_reference
        )

    return jax.eval_shape(begin, _shapes(adapted.variables))


def predict_cost(
    adapted: Adapted,
    inputs: Inputs,
    *,
    batch_size: int,
    start: int = 0,
    stop: int | None = None,
    precision: Precision = "auto",
) -> AbstractCost:
    """The cost of running stages `start` to `stop` on a batch, as in evaluation."""
    function = make_predict(adapted, start=start, stop=stop, precision=precision)
    return cost_of(function, _shapes(adapted.variables), resized(inputs, batch_size))


def activations(
    adapted: Adapted, inputs: Inputs, stop: int, *, precision: Precision = "auto"
) -> dict[str, ShapeDtypeStruct]:
    """The shapes of the activations before a stage, which are the inputs of a run from it."""
    function = make_predict(adapted, stop=stop, precision=precision)
    return jax.eval_shape(function, _shapes(adapted.variables), dict(inputs))


def cost_of(function: Callable[..., Any], *arguments: Any, consumed: Any = ()) -> AbstractCost:
    """The cost of a function of arrays, or of their shapes.

    Args:
      function: to be jitted.
      *arguments: arrays, or their shapes.
      consumed: the first of the arguments, if its memory is given up as it is read (donated).

    >>> cost_of(lambda x, y: x @ y, jnp.zeros((2, 3)), jnp.zeros((3, 4))).flops
    48.0
    """
    traced = jax.jit(function).trace(*arguments)
    analysis = traced.lower().cost_analysis() or {}
    given = len(jax.tree.leaves(consumed))
    return AbstractCost(
        flops=float(analysis.get("flops", 0.0)),
        peak_bytes=_peak(traced.jaxpr.jaxpr, given),
    )


def flop_rate(precision: Precision = "auto", *, seconds: float = 0.2) -> float:
    """Operations a second of a matrix product on this device: what a step can reach at best.

    Args:
      precision: see `step.compute_dtype`.
      seconds: how long to measure.
    """
    matrix = jnp.ones((PRODUCT, PRODUCT), compute_dtype(precision))
    product = jax.jit(jnp.matmul)
    product(matrix, matrix).block_until_ready()
    best, began = math.inf, time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        product(matrix, matrix).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 2 * PRODUCT**3 / best


def resized(inputs: Inputs, size: int) -> dict[str, ShapeDtypeStruct]:
    """Shapes of inputs of so many examples."""
    return {name: ShapeDtypeStruct((size, *x.shape[1:]), x.dtype) for name, x in inputs.items()}


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: ShapeDtypeStruct(np.shape(leaf), leaf.dtype), tree)


def _peak(jaxpr: Jaxpr, consumed: int | None = None) -> int:
    """Most bytes alive at once.

    Args:
      jaxpr: a function.
      consumed: arguments that are given up after their last use, the first so many; the others are
        held throughout. None for a function that another calls, which holds the arguments.
    """
    end = len(jaxpr.eqns)
    last: dict[Any, int] = {}
    for place, equation in enumerate(jaxpr.eqns):
        last |= {v: place for v in equation.invars if not isinstance(v, Literal)}
    last |= {v: end for v in jaxpr.outvars if not isinstance(v, Literal)}
    held: dict[Any, int] = {}
    if consumed is not None:
        # What nothing reads is not even passed.
        held = {v: _bytes(v.aval) for v in jaxpr.invars if v in last}
        last |= {v: end for v in jaxpr.invars[consumed:] if v in last}
    alive = peak = sum(held.values())
    for place, equation in enumerate(jaxpr.eqns):
        inner = max(map(_peak, _inside(equation.params)), default=0)
        made = {v: _bytes(v.aval) for v in equation.outvars}
        peak = max(peak, alive + max(inner, sum(made.values())))
        held |= made
        alive += sum(made.values())
        read = [v for v in equation.invars if not isinstance(v, Literal)]
        for variable in {*read, *equation.outvars}:
            if last.get(variable, -1) <= place:
                alive -= held.pop(variable, 0)
    return peak


def _inside(parameters: Mapping[str, Any]) -> list[Jaxpr]:
    """The functions that an operation calls, as loops and branches do."""
    found = []
    for value in parameters.values():
        for item in value if isinstance(value, list | tuple) else (value,):
            if isinstance(item, ClosedJaxpr):
                found.append(item.jaxpr)
            elif isinstance(item, Jaxpr):
                found.append(item)
    return found


def _bytes(aval: Any) -> int:
    shape = getattr(aval, "shape", ())
    dtype = getattr(aval, "dtype", None)
    # A random key is four words, and has no size of its own.
    return math.prod(shape) * getattr(dtype, "itemsize", 0)
