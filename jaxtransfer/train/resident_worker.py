"""The process that `resident.measure_resident` starts: serves one network, and reports its memory."""

import gc
import json
import pathlib
import pickle
import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxtransfer import trees
from jaxtransfer.train.latency import serve
from jaxtransfer.train.resident import LEAVES, PATHS, TASK

STATUS, CLEAR = pathlib.Path("/proc/self/status"), pathlib.Path("/proc/self/clear_refs")


def resident(name: str) -> int | None:
    """Bytes of a line of the kernel's status: VmRSS now, VmHWM at most; None if there is none.

    The maximum that `getrusage` gives is no substitute: a child inherits its parent's.
    """
    if not STATUS.exists():
        return None
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def forget_peak() -> bool:
    """Sets VmHWM back to what is resident now; False where that is not allowed."""
    try:
        CLEAR.write_text("5")
    except OSError:
        return False
    return True


def main(directory: pathlib.Path) -> None:
    """Reads the task, runs it, and prints the figures as one line of JSON."""
    jax.block_until_ready(jax.jit(lambda x: x + 1)(jnp.zeros(8)))
    gc.collect()
    baseline = resident("VmRSS")
    task = pickle.loads((directory / TASK).read_bytes())
    described = json.loads((directory / PATHS).read_text())
    with np.load(directory / LEAVES, allow_pickle=False) as archive:
        # The file knows bfloat16 as two bytes without a meaning.
        flat = {
            path: jnp.array(archive[str(i)].view(jnp.dtype(dtype)))
            for i, (path, dtype) in enumerate(described)
        }
    variables = trees.unflatten_variables(flat, task["collections"])
    del flat
    served = serve(task["source"], task["raw"], variables=variables, precision=task["precision"])
    inputs = served.arrays(task["raw"])
    served.compute(inputs)
    peak, serving = resident("VmHWM"), None
    reasons = {}
    is_reset = forget_peak()
    for _ in range(task["calls"]):
        served.compute(served.arrays(task["raw"]))
    last = resident("VmHWM")
    if is_reset:
        serving = last
    if peak is not None and last is not None:
        peak = max(peak, last)
    unread = "the platform has no /proc/self/status"
    if baseline is None:
        reasons["baseline"] = unread
    if peak is None:
        reasons["peak"] = reasons["serving"] = unread
    elif serving is None:
        reasons["serving"] = "the platform does not let a process set its peak back"
    device = jax.devices()[0]
    statistics = device.memory_stats() or {}
    if "peak_bytes_in_use" not in statistics:
        reasons["device_peak"] = f"the platform {device.platform!r} has no statistics of its memory"
    found = {
        "baseline": baseline,
        "peak": peak,
        "serving": serving,
        "device_peak": statistics.get("peak_bytes_in_use"),
        "reasons": reasons,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
