"""Resident memory of serving a network, measured in a process of its own that does nothing else.

What a process that has trained, tested or compiled other things holds says nothing of one network.
"""

import dataclasses
import json
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxtransfer import trees
from jaxtransfer.adapt.adapted import Adapted
from jaxtransfer.models.model import Model
from jaxtransfer.train.step import Precision

TASK, LEAVES, PATHS = "task.pickle", "leaves.npz", "paths.json"
TIMEOUT = 600.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resident:
    """Bytes of one subprocess; each is None where the platform does not say.

    Attributes:
      baseline: resident with the package imported and the backend started, before the network.
      peak: the most resident up to the end, loading and compilation included.
      serving: the most resident during further calls, after the first.
      device_peak: the most that the device's own allocator had in use.
      reasons: name of a figure to why it is None.
    """

    baseline: int | None
    peak: int | None
    serving: int | None
    device_peak: int | None
    reasons: Mapping[str, str]

    @classmethod
    def unknown(cls, reason: str) -> "Resident":
        """No figure, for one reason."""
        names = [field.name for field in dataclasses.fields(cls) if field.name != "reasons"]
        return cls(**dict.fromkeys(names), reasons=dict.fromkeys(names, reason))


def measure_resident(
    source: Model | Adapted,
    raw: Sequence[Any],
    *,
    batch_size: int = 1,
    calls: int = 3,
    variables: Mapping[str, Any] | None = None,
    precision: Precision = "auto",
) -> Resident:
    """Starts a process that loads the network, compiles it, predicts, and reports its memory.

    The network travels pickled, its weights as arrays that are read one at a time. It must
    therefore be made of classes and functions that another process can import; for one that is
    not, the figures are None and say so.

    Args:
      source: a model, or an adapted one.
      raw: raw examples; the first `batch_size` are used, from the start again if there are fewer.
      batch_size: examples in a call.
      calls: calls after the first.
      variables: trained ones, if not the source's.
      precision: see `step.compute_dtype`.
    """
    held = source.variables if variables is None else variables
    flat = trees.flatten_variables(held)
    task = {
        "source": _without_weights(source),
        "collections": list(held),
        "raw": [raw[row % len(raw)] for row in range(batch_size)],
        "calls": calls,
        "precision": precision,
    }
    with tempfile.TemporaryDirectory() as scratch:
        directory = pathlib.Path(scratch)
        try:
            (directory / TASK).write_bytes(pickle.dumps(task))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            return Resident.unknown(f"cannot be sent to a process of its own: {error}")
        np.savez(
            directory / LEAVES,
            allow_pickle=False,
            **{str(i): np.asarray(leaf) for i, leaf in enumerate(flat.values())},
        )
        described = [[path, str(leaf.dtype)] for path, leaf in flat.items()]
        (directory / PATHS).write_text(json.dumps(described))
        return _run(directory)


def _without_weights(source: Model | Adapted) -> Model | Adapted:
    """The same with shapes in place of arrays, which is all that tracing it takes."""
    model = source.model if isinstance(source, Adapted) else source
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype), model.variables
    )
    bare = dataclasses.replace(model, variables=shapes)
    if isinstance(source, Adapted):
        return dataclasses.replace(source, model=bare, variables={})
    return bare


def _run(directory: pathlib.Path) -> Resident:
    paths = [entry for entry in sys.path if entry] + [os.getcwd()]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "JAX_ENABLE_X64": str(bool(jax.config.jax_enable_x64)),  # type: ignore[attr-defined]
        # This process may hold the rest of the device's memory.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    command = [sys.executable, "-m", "jaxtransfer.train.resident_worker", str(directory)]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return Resident.unknown(f"the process was not done after {TIMEOUT:g} s")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Resident.unknown(f"the process ended with status {done.returncode}: {last}")
    return Resident(**json.loads(done.stdout.strip().splitlines()[-1]))
