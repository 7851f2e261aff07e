"""Takes steps: one call a step over batches that are read ahead, or one call for many steps.

Both compile once, take the same steps, and hand back rows of metrics now and then.
"""

import abc
import dataclasses
import time
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxtransfer.adapt.adapted import Adapted
from jaxtransfer.data.examples import RandomAccess
from jaxtransfer.data.stream import PADDING, Augment, Stream
from jaxtransfer.objectives.terms import Objective
from jaxtransfer.optim import Optimizer
from jaxtransfer.train import sharding
from jaxtransfer.train.compiled import Compiled, CompiledSteps, hashable, structure_of
from jaxtransfer.train.outcome import Row
from jaxtransfer.train.recipe import Recipe
from jaxtransfer.train.state import Frozen, TrainState
from jaxtransfer.train.step import (
    LABELED,
    Precision,
    compute_dtype,
    make_steps,
    make_train_step,
)

ROWS_AT_ONCE = 32
"""Steps between two looks at the metrics; a look waits for the device."""
SECONDS_AT_ONCE = 1.0
SCAN_LENGTH = 256
"""Most steps that one call takes."""


@dataclasses.dataclass(kw_only=True, eq=False)
class Runner(abc.ABC):
    """Takes the steps of one run.

    Attributes:
      adapted: model and method.
      objective: the loss.
      optimizer: over what trains.
      recipe: batch size and rates.
      streams: examples by name; activations if `start` is not 0.
      augment: by stream.
      seed: of the order of the data.
      start: stage that the examples' inputs are for.
      mesh: where.
      frozen: what the steps read.
      compiled: executables to share.
      shardings: of the state.
    """

    adapted: Adapted
    objective: Objective
    optimizer: Optimizer
    recipe: Recipe
    streams: Mapping[str, RandomAccess]
    augment: Mapping[str, Augment]
    seed: int
    start: int
    mesh: Mesh
    frozen: Frozen
    compiled: CompiledSteps
    shardings: TrainState
    compile_seconds: float = 0.0
    flops: float = 0.0
    peak_bytes: int = 0

    def __post_init__(self):
        self._sources = {
            name: Stream(
                examples,
                self.recipe.batch_size,
                stream_seed(self.seed, name),
                process_index=jax.process_index(),
                process_count=jax.process_count(),
                augment=self.augment.get(name),
            )
            for name, examples in self.streams.items()
        }
        whole = sharding.replicated(self.mesh)
        rates = (np.float32(self.recipe.learning_rate), np.float32(self.recipe.weight_decay))
        self._rates = tuple(sharding.place(rate, whole) for rate in rates)

    @abc.abstractmethod
    def prepare(self, state: TrainState, step: int) -> None:
        """Compiles what `advance` will call, unless it is there."""

    @abc.abstractmethod
    def advance(
        self, state: TrainState, step: int, stop: int
    ) -> Iterator[tuple[TrainState, list[Row]]]:
        """Takes the steps from `step` to before `stop`; yields the state and the new rows."""

    def _step(self):
        return make_train_step(
            self.adapted,
            self.objective,
            self.optimizer,
            start=self.start,
            precision=self.recipe.precision,
        )

    def _key(self, kind: str) -> tuple[Any, ...]:
        return step_key(
            kind,
            self.adapted,
            self.objective,
            self.optimizer,
            start=self.start,
            precision=self.recipe.precision,
        )

    def _compile(self, key: tuple[Any, ...], make, arguments) -> Compiled:
        traces = self.compiled.traces
        metrics = sharding.replicated(self.mesh)
        entry = self.compiled.get(
            key, make, arguments, donate=(0,), out_shardings=(self.shardings, metrics)
        )
        self.compile_seconds += entry.seconds if self.compiled.traces > traces else 0.0
        self.flops, self.peak_bytes = entry.flops, entry.peak_bytes
        return entry


class StepRunner(Runner):
    """One call a step; batches are made ahead by threads or processes."""

    def prepare(self, state: TrainState, step: int) -> None:
        """Compiles the step for the batches of these streams."""
        batch = {name: self._place(s.batch(step)) for name, s in self._sources.items()}
        arguments = (state, self.frozen, batch, *self._rates)
        self._call = self._compile(self._key("step"), self._step, arguments).call

    def advance(
        self, state: TrainState, step: int, stop: int
    ) -> Iterator[tuple[TrainState, list[Row]]]:
        """Takes steps without waiting for them; looks at their metrics now and then."""
        readers = {
            name: source.iterate(step, stop, workers=self.recipe.workers)
            for name, source in self._sources.items()
        }
        pending: list[dict[str, Any]] = []
        first, began = step, time.perf_counter()
        for at in range(step, stop):
            batch = {name: self._place(next(reader)) for name, reader in readers.items()}
            state, metrics = self._call(state, self.frozen, batch, *self._rates)
            pending.append(metrics)
            late = time.perf_counter() - began > SECONDS_AT_ONCE
            if len(pending) >= ROWS_AT_ONCE or late or at + 1 == stop:
                values = jax.device_get(pending)
                rows = [
                    {"step": first + i + 1, **{k: float(v) for k, v in row.items()}}
                    for i, row in enumerate(values)
                ]
                yield state, rows
                pending, first, began = [], at + 1, time.perf_counter()

    def _place(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        return sharding.place_batch(batch, self.mesh, self.recipe.batch_size)


class ScanRunner(Runner):
    """One call for many steps, over examples in device memory; rows are gathered there."""

    def prepare(self, state: TrainState, step: int) -> None:
        """Puts the examples on the devices and compiles a call of up to `SCAN_LENGTH` steps."""
        whole = sharding.replicated(self.mesh)
        self._data = {
            name: sharding.place(
                {
                    "inputs": examples.inputs(np.arange(len(examples))),
                    "label": np.asarray(examples.labels),
                },
                whole,
            )
            for name, examples in self.streams.items()
        }
        self._length = min(SCAN_LENGTH, self.recipe.steps)
        arguments = self._arguments(state, step, step + 1)
        self._call = self._compile(
            (*self._key("scan"), self._length),
            lambda: make_steps(self._step(), self._length),
            arguments,
        ).call

    def advance(
        self, state: TrainState, step: int, stop: int
    ) -> Iterator[tuple[TrainState, list[Row]]]:
        """Takes up to `SCAN_LENGTH` steps a call."""
        while step < stop:
            count = min(stop - step, self._length)
            state, metrics = self._call(*self._arguments(state, step, step + count))
            values = jax.device_get(metrics)
            yield (
                state,
                [
                    {"step": step + i + 1, **{k: float(v[i]) for k, v in values.items()}}
                    for i in range(count)
                ],
            )
            step += count

    def _arguments(self, state: TrainState, step: int, stop: int) -> tuple[Any, ...]:
        size = sharding.rows_per_process(self.recipe.batch_size, self.mesh) * jax.process_count()
        cut = NamedSharding(self.mesh, PartitionSpec(None, sharding.DATA))
        rows = {}
        for name, source in self._sources.items():
            table = np.full((self._length, size), PADDING, np.int32)
            for at in range(step, stop):
                indices = source.indices(at)
                table[at - step, : len(indices)] = indices
            rows[name] = sharding.place(table, cut)
        count = sharding.place(np.int32(stop - step), sharding.replicated(self.mesh))
        return (state, self.frozen, self._data, rows, count, *self._rates)


def step_key(
    kind: str,
    adapted: Adapted,
    objective: Objective,
    optimizer: Optimizer,
    *,
    start: int,
    precision: Precision,
) -> tuple[Any, ...]:
    """Everything but the shapes of its arguments that decides what a training step computes."""
    settings = {
        field.name: hashable(getattr(optimizer, field.name))
        for field in dataclasses.fields(optimizer)
    }
    return (
        kind,
        structure_of(adapted),
        hashable(objective),
        hashable(settings),
        start,
        compute_dtype(precision),
    )


def stream_seed(seed: int, name: str) -> int:
    """Seed of a stream's order: the run's own for `labeled`, one derived from it for another."""
    return seed if name == LABELED else (seed + zlib.crc32(name.encode())) % 2**31
