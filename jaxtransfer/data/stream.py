"""Batches as a function of (seed, step): the position in the data is one integer.

Each epoch is a fresh permutation in which every example occurs exactly once; the last batch is
padded and masked. The global batch is the same for any number of processes, each of which makes its
own rows.
"""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Int32

from jaxtransfer.data.examples import RandomAccess
from jaxtransfer.data.order import permutation, text_key
from jaxtransfer.errors import DataError

PADDING = -1
"""Position that stands for no example in `indices` and in a batch's `id`."""

FOREVER = 2**31 - 1

Batch = dict[str, Any]
"""`inputs`: dict of (b, ...); `label` (b,) int32; `mask` (b,) bool; `id` (b,) int32 positions."""

Augment = Callable[[dict[str, np.ndarray], np.random.Generator], dict[str, np.ndarray]]
"""One example's arrays (no batch axis) and a generator of its own, to arrays of the same shapes."""


@dataclasses.dataclass(frozen=True, eq=False)
class Stream:
    """An endless series of training batches over examples.

    Attributes:
      examples: what to draw from.
      batch_size: rows of the global batch; may exceed the number of examples (the rest is padding).
      seed: non-negative; fixes the order and the augmentation.
      process_index: which of the processes this one is.
      process_count: number of processes; divides `batch_size`.
      shuffle: whether each epoch has a fresh order; otherwise the examples' own.
      augment: changes each example, with a generator keyed by (seed, step, id): the same whatever
        the batch's composition, the process or the worker.

    Raises:
      DataError: without examples, with a batch size that is not positive or that the processes do
        not divide.
    """

    examples: RandomAccess
    batch_size: int
    seed: int = 0
    _: dataclasses.KW_ONLY
    process_index: int = 0
    process_count: int = 1
    shuffle: bool = True
    augment: Augment | None = None

    def __post_init__(self):
        _check(self.examples, self.batch_size, self.process_index, self.process_count)
        if self.seed < 0:
            raise DataError(f"seed {self.seed} is negative")

    @property
    def steps_per_epoch(self) -> int:
        """Batches in which every example occurs once."""
        return -(-len(self.examples) // self.batch_size)

    def indices(self, step: int) -> Int32[np.ndarray, "batch"]:
        """Positions in the global batch of a step (0, 1, ...), `PADDING` where there is none."""
        if step < 0:
            raise DataError(f"step {step} is negative")
        epoch, position = divmod(step, self.steps_per_epoch)
        rows = self._order(epoch)[position * self.batch_size : (position + 1) * self.batch_size]
        return _padded(rows, self.batch_size)

    def batch(self, step: int) -> Batch:
        """This process's rows of the batch of a step (0, 1, ...)."""
        every = self.indices(step)
        rows = _own_rows(every, self.process_index, self.process_count)
        batch = _assemble(self.examples, rows, every[0])
        if self.augment is not None:
            batch["inputs"] = self._augmented(batch["inputs"], rows, step)
        return batch

    def iterate(
        self,
        start_step: int = 0,
        stop_step: int | None = None,
        *,
        workers: int = 0,
        prefetch: int = 2,
    ) -> Iterator[Batch]:
        """Batches from `start_step` to before `stop_step`, made ahead of use by Grain.

        The batches do not depend on `workers` or `prefetch`.

        Args:
          start_step: the first step.
          stop_step: the step after the last; None: no end.
          workers: processes that make batches; 0 makes them in threads of this one. More than 0
            needs examples and an augmentation that can be pickled, and a main module guarded by
            `__name__ == '__main__'`.
          prefetch: batches kept ready, of each worker where there are any.
        """
        import grain

        # Endless even with a stop: workers that run out leave their last batch in shared memory.
        steps = grain.MapDataset.range(start_step, FOREVER).map(self.batch)
        count = None if stop_step is None else max(stop_step - start_step, 0)
        if workers == 0:
            threads = grain.ReadOptions(num_threads=min(prefetch, 2), prefetch_buffer_size=prefetch)
            dataset = steps.to_iter_dataset(threads)
        else:
            from absl import flags

            # Grain reads absl's flags when it starts a worker; only absl.app parses them.
            if not flags.FLAGS.is_parsed():
                flags.FLAGS.mark_as_parsed()
            reading = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
            dataset = steps.to_iter_dataset(reading).mp_prefetch(
                grain.MultiprocessingOptions(
                    num_workers=workers, per_worker_buffer_size=max(prefetch, 1)
                )
            )
        with contextlib.closing(iter(dataset)) as batches:
            yield from itertools.islice(batches, count)

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(len(self.examples))
        return _epoch_order(len(self.examples), self.seed, epoch)

    def _augmented(
        self, inputs: dict[str, np.ndarray], rows: np.ndarray, step: int
    ) -> dict[str, np.ndarray]:
        changed = []
        for position, row in enumerate(rows.tolist()):
            arrays = {key: value[position] for key, value in inputs.items()}
            if row != PADDING:
                key = (self.seed, step, text_key(str(self.examples.ids[row])))
                generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))
                arrays = self.augment(arrays, generator)  # type: ignore[misc]
            changed.append(arrays)
        return {key: np.stack([arrays[key] for arrays in changed]) for key in inputs}


def eval_batches(
    examples: RandomAccess, batch_size: int, *, process_index: int = 0, process_count: int = 1
) -> Iterator[Batch]:
    """Every example once, in order, in batches of one shape; the last is padded and masked.

    Raises:
      DataError: as `Stream` does.
    """
    _check(examples, batch_size, process_index, process_count)
    for start in range(0, len(examples), batch_size):
        rows = np.arange(start, min(start + batch_size, len(examples)))
        own = _own_rows(_padded(rows, batch_size), process_index, process_count)
        yield _assemble(examples, own, rows[0])


def _assemble(examples: RandomAccess, rows: np.ndarray, filler: int) -> Batch:
    mask = rows != PADDING
    # A padded row repeats a real one: all-zero inputs may have no defined output (mean pooling over
    # an empty mask).
    real = np.where(mask, rows, filler)
    return {
        "inputs": examples.inputs(real),
        "label": examples.labels[real],
        "mask": mask,
        "id": rows,
    }


@functools.lru_cache(maxsize=8)
def _epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    return permutation(count, seed, epoch)


def _padded(rows: np.ndarray, size: int) -> Int32[np.ndarray, "size"]:
    padding = np.full(size - len(rows), PADDING)
    return np.concatenate([rows, padding]).astype(np.int32)


def _own_rows(rows: np.ndarray, process_index: int, process_count: int) -> np.ndarray:
    share = len(rows) // process_count
    return rows[process_index * share : (process_index + 1) * share]


def _check(examples: RandomAccess, batch_size: int, process_index: int, process_count: int) -> None:
    if not len(examples):
        raise DataError("there are no examples to batch")
    if batch_size < 1 or batch_size % process_count:
        raise DataError(
            f"batch size {batch_size} must be positive and divisible by the number of processes,"
            f" {process_count}"
        )
    if not 0 <= process_index < process_count:
        raise DataError(f"process {process_index} is not among the {process_count} processes")
