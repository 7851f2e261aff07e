"""Compiled functions kept by what they compute, so that a sweep or a second phase compiles nothing.

A key says everything that shapes the computation (module, method, labels, objective, optimizer);
rates, seeds and weights are arguments, and are not in it.
"""

import dataclasses
import functools
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax

from jaxtransfer.adapt.adapted import Adapted


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Compiled:
    """An executable and what it costs, by XLA's own analysis.

    Attributes:
      call: the executable; its arguments must have the shapes and shardings it was compiled for.
      seconds: time to trace and compile.
      flops: floating point operations of one call on one device; a loop's body counts once.
      peak_bytes: arguments, outputs and temporaries of one device.
    """

    call: Callable[..., Any]
    seconds: float
    flops: float
    peak_bytes: int


class CompiledSteps:
    """Executables by key and argument shapes; the least recently used go first.

    Attributes:
      traces: how many times a function was traced, which is how often something compiled.
    """

    def __init__(self, maximum: int = 64):
        self.traces = 0
        self._maximum = maximum
        self._entries: OrderedDict[Hashable, Compiled] = OrderedDict()

    def get(
        self,
        key: Hashable,
        make: Callable[[], Callable[..., Any]],
        arguments: tuple[Any, ...],
        *,
        donate: tuple[int, ...] = (),
        out_shardings: Any = None,
    ) -> Compiled:
        """The executable of `make()` for arguments like the given ones.

        Args:
          key: what the function computes.
          make: makes the function; called on a miss.
          arguments: placed arrays, or `ShapeDtypeStruct`s with shardings.
          donate: positions of the arguments that a call consumes.
          out_shardings: as for `jax.jit`.
        """
        leaves, structure = jax.tree.flatten(arguments)
        full = (
            key,
            structure,
            tuple((x.shape, str(x.dtype), getattr(x, "sharding", None)) for x in leaves),
        )
        if full in self._entries:
            self._entries.move_to_end(full)
            return self._entries[full]
        entry = self._compile(make(), arguments, donate, out_shardings)
        self._entries[full] = entry
        if len(self._entries) > self._maximum:
            self._entries.popitem(last=False)
        return entry

    def _compile(self, function, arguments, donate, out_shardings) -> Compiled:
        @functools.wraps(function)
        def counted(*args):
            self.traces += 1
            return function(*args)

        began = time.perf_counter()
        jitted = jax.jit(counted, donate_argnums=donate, out_shardings=out_shardings)
        executable = jitted.lower(*arguments).compile()
        seconds = time.perf_counter() - began
        cost = executable.cost_analysis() or {}
        memory: Any = executable.memory_analysis()
        return Compiled(
            call=executable,
            seconds=seconds,
            flops=float(cost.get("flops", 0.0)),
            peak_bytes=int(
                memory.argument_size_in_bytes
                + memory.output_size_in_bytes
                + memory.temp_size_in_bytes
                - memory.alias_size_in_bytes
            ),
        )


SHARED = CompiledSteps()
"""What calls that are given no `CompiledSteps` share, as `jax.jit` shares its cache."""


def structure_of(adapted: Adapted) -> Hashable:
    """Everything about an adapted model that shapes its computation, and no weights."""
    model = adapted.model
    return (
        hashable(model.module),
        hashable(model.call),
        model.stages,
        hashable(adapted.method),
        tuple(sorted(adapted.labels.items())),
        adapted.statistics,
    )


def hashable(value: Any) -> Hashable:
    """The value if it can be hashed, else a key that equals itself alone."""
    if isinstance(value, Mapping):
        return tuple(sorted((key, hashable(item)) for key, item in value.items()))
    try:
        hash(value)
    except TypeError:
        return _Identity(value)
    return value


@dataclasses.dataclass(frozen=True, eq=False)
class _Identity:
    # Holds the value, so that its address is not given to another while the key lives.
    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)
