"""Activations at the boundary of the frozen prefix, computed once for a set of examples.

They are kept in memory up to a budget, and beyond it in memory-mapped files. The key is a hash of
everything they depend on; a file of another key, or one that is not whole, is built again.
"""

import contextlib
import hashlib
import json
import math
import os
import pathlib
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

from jaxtransfer import trees
from jaxtransfer.adapt.adapted import Adapted
from jaxtransfer.data.examples import ArrayExamples, RandomAccess
from jaxtransfer.data.stream import eval_batches
from jaxtransfer.partition import DELTA
from jaxtransfer.pretrained.fingerprint import fingerprint
from jaxtransfer.train.checkpoint import writing
from jaxtransfer.train.compiled import SHARED, CompiledSteps, structure_of
from jaxtransfer.train.step import Precision, compute_dtype, make_predict
from jaxtransfer.version import __version__

MANIFEST = "manifest.json"
MEMORY_BUDGET = 2**30
Run = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


class ActivationCache:
    """Activations of examples before a stage, by what they depend on.

    Attributes:
      directory: where what exceeds the memory budget goes; None: nowhere.
      memory_budget: bytes to hold in memory, over all entries; the least recently used go first.
      builds: how many entries were computed, and not found.
      seconds: time spent computing them.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        memory_budget: int = MEMORY_BUDGET,
    ):
        self.directory = None if directory is None else pathlib.Path(directory)
        self.memory_budget = memory_budget
        self.builds = 0
        self.seconds = 0.0
        self._entries: OrderedDict[str, ArrayExamples] = OrderedDict()
        self._fingerprints: OrderedDict[tuple[int, ...], tuple[list[Any], str]] = OrderedDict()

    def examples(
        self,
        adapted: Adapted,
        variables: Mapping[str, Any],
        examples: RandomAccess,
        boundary: int,
        *,
        precision: Precision = "auto",
        batch_size: int = 64,
        compiled: CompiledSteps | None = None,
    ) -> ArrayExamples | None:
        """The examples as activations before stage `boundary`.

        Args:
          adapted: model and method; the stages below `boundary` must be frozen.
          variables: all variables; those of frozen stages count.
          examples: labels and ids stay, inputs become activations.
          boundary: the first stage that is not run; at least 1.
          precision: of the computation; activations are kept in its dtype.
          batch_size: rows computed at a time.
          compiled: executables to share.

        Returns:
          The activations; None if they exceed the memory budget and there is no directory.

        Raises:
          WorkdirError: if the directory cannot be written, as on a full disk.
        """
        below = _below(adapted, variables, boundary)
        key = self.key(adapted, below, examples, boundary, precision)
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key]
        shapes = _activation_shapes(adapted, variables, examples, boundary, precision)
        size = sum(
            len(examples) * math.prod(s.shape[1:]) * s.dtype.itemsize for s in shapes.values()
        )
        fits = size <= self.memory_budget
        if self.directory is not None and not fits:
            found = _open(self.directory / key, key, examples, shapes)
            if found is not None:
                return found
        if self.directory is None and not fits:
            logging.info(
                "activations before stage %d take %d MiB, over the budget of %d MiB, and the cache"
                " has no directory: they are computed at every step",
                boundary,
                size >> 20,
                self.memory_budget >> 20,
            )
            return None
        began = time.perf_counter()
        run = _runner(adapted, below, boundary, precision, SHARED if compiled is None else compiled)
        if fits:
            entry = ArrayExamples(
                examples.ids, examples.labels, _compute(run, examples, shapes, batch_size), key=key
            )
            self._remember(key, entry)
        else:
            assert self.directory is not None
            _build(self.directory / key, key, run, examples, shapes, batch_size)
            found = _open(self.directory / key, key, examples, shapes)
            assert found is not None
            entry = found
        self.builds += 1
        self.seconds += time.perf_counter() - began
        return entry

    def key(
        self,
        adapted: Adapted,
        below: Mapping[str, Any],
        examples: RandomAccess,
        boundary: int,
        precision: Precision,
    ) -> str:
        """Hash of all that the activations depend on.

        That is: the frozen leaves below the boundary (the method too, if new leaves are among
        them), the module and how it is called, preprocessing, ids and contents of the examples, the dtype, the boundary,
        and the versions of this package and of JAX on this platform.
        """
        parts = [
            self._fingerprint(below),
            repr(adapted.model.module),
            _description_of(adapted.model.call),
            repr(adapted.method) if below.get(DELTA) else "",
            examples.fingerprint,
            hashlib.sha256("\n".join(map(str, examples.ids)).encode()).hexdigest(),
            str(compute_dtype(precision)),
            str(boundary),
            __version__,
            jax.__version__,
            jax.default_backend(),
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _fingerprint(self, variables: Mapping[str, Any]) -> str:
        # Arrays do not change, so the same array objects have the same hash; holding them keeps
        # their addresses from being used again.
        leaves = jax.tree.leaves(variables)
        if not all(isinstance(leaf, jax.Array) for leaf in leaves):
            return fingerprint(variables)
        key = tuple(id(leaf) for leaf in leaves)
        if key not in self._fingerprints:
            self._fingerprints[key] = (leaves, fingerprint(variables))
            if len(self._fingerprints) > 8:
                self._fingerprints.popitem(last=False)
        return self._fingerprints[key][1]

    def _remember(self, key: str, entry: ArrayExamples) -> None:
        self._entries[key] = entry
        while sum(_size(e) for e in self._entries.values()) > self.memory_budget:
            self._entries.popitem(last=False)


def _description_of(call: Callable[..., Any]) -> str:
    """What a call does, as text: a value's fields, or a function's name, code and closure."""
    code = getattr(call, "__code__", None)
    if code is None:
        return repr(call)
    closure = [repr(cell.cell_contents) for cell in getattr(call, "__closure__", None) or ()]
    parts = [call.__module__, call.__qualname__, code.co_code.hex(), repr(code.co_consts), *closure]
    return " ".join([*parts, *map(str, code.co_names)])


def _size(entry: ArrayExamples) -> int:
    return sum(array.nbytes for array in entry.arrays.values())


def _below(adapted: Adapted, variables: Mapping[str, Any], boundary: int) -> dict[str, Any]:
    stages = set(adapted.model.stages[boundary:])
    flat = trees.flatten_variables(variables)
    kept = {path: leaf for path, leaf in flat.items() if adapted.model.stage_of(path) not in stages}
    return trees.unflatten_variables(kept, variables)


def _activation_shapes(adapted, variables, examples, boundary, precision) -> dict[str, Any]:
    inputs = examples.inputs(np.arange(1))
    return jax.eval_shape(
        make_predict(adapted, stop=boundary, precision=precision), variables, inputs
    )


def _runner(adapted, below, boundary, precision, compiled: CompiledSteps) -> Run:
    device = jax.local_devices()[0]
    variables = jax.device_put(below, device)
    key = ("prefix", structure_of(adapted), boundary, compute_dtype(precision))

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        arguments = (variables, jax.device_put(dict(inputs), device))
        function = compiled.get(
            key, lambda: make_predict(adapted, stop=boundary, precision=precision), arguments
        )
        return {name: np.asarray(value) for name, value in function.call(*arguments).items()}

    return run


def _batches(run: Run, examples, batch_size) -> Iterator[tuple[str, np.ndarray]]:
    """Activations by name, a batch at a time and in the examples' order."""
    for batch in eval_batches(examples, batch_size):
        for name, values in run(batch["inputs"]).items():
            yield name, values[batch["mask"]]


def _compute(run: Run, examples, shapes, batch_size) -> dict[str, np.ndarray]:
    out = {name: np.empty((len(examples), *s.shape[1:]), s.dtype) for name, s in shapes.items()}
    filled = dict.fromkeys(out, 0)
    for name, values in _batches(run, examples, batch_size):
        out[name][filled[name] : filled[name] + len(values)] = values
        filled[name] += len(values)
    return out


def _manifest(key: str, examples: RandomAccess, shapes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": key,
        "arrays": {
            name: {"shape": [len(examples), *s.shape[1:]], "dtype": str(s.dtype)}
            for name, s in sorted(shapes.items())
        },
    }


def _build(path: pathlib.Path, key, run: Run, examples, shapes, batch_size) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = pathlib.Path(tempfile.mkdtemp(prefix=".draft-", dir=path.parent))
        try:
            with contextlib.ExitStack() as closing:
                # Written, not mapped: on a full disk a write fails, and a mapped page kills.
                files = {name: closing.enter_context((draft / name).open("wb")) for name in shapes}
                for name, values in _batches(run, examples, batch_size):
                    files[name].write(np.ascontiguousarray(values).tobytes())
            (draft / MANIFEST).write_text(json.dumps(_manifest(key, examples, shapes)))
            try:
                draft.rename(path)
            except OSError:
                # Another process may have been faster; what stands and is damaged goes.
                if _open(path, key, examples, shapes) is None:
                    shutil.rmtree(path, ignore_errors=True)
                    draft.rename(path)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _open(path: pathlib.Path, key, examples, shapes) -> ArrayExamples | None:
    if not path.is_dir():
        return None
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        if manifest != _manifest(key, examples, shapes):
            raise ValueError("its manifest is another's")
        arrays = {}
        for name, s in shapes.items():
            shape = (len(examples), *s.shape[1:])
            if (path / name).stat().st_size != math.prod(shape) * s.dtype.itemsize:
                raise ValueError(f"{name} is cut short")
            arrays[name] = np.memmap(path / name, mode="r", dtype=s.dtype, shape=shape)
    except (OSError, ValueError) as error:
        logging.warning("activations in %s are built again: %s", path, error)
        return None
    return ArrayExamples(examples.ids, examples.labels, arrays, key=key)
