"""The worker's end of a benchmark: one process per measurement, told by lines of JSON what to run.

A contender that is not being timed blocks on its standard input and uses no processor, so contenders can take turns.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

Command = Callable[..., dict[str, Any]]


def peak_resident_mib() -> float:
    """Largest resident set of this process so far, in MiB, from the kernel's own count (Linux)."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def forget_peak() -> None:
    """Starts the kernel's count of the peak anew, from what is resident now."""
    with open("/proc/self/clear_refs", "w") as switch:
        switch.write("5")


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Calls a function and gives its result and the seconds it took."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def serve(setup: Callable[[dict[str, Any]], dict[str, Command]]) -> None:
    """Reads the task from the command line, sets up, then answers one command a line.

    Args:
      setup: from the task to its commands by name; a command gives JSON values.
    """
    task = json.loads(sys.argv[1])
    replies = sys.stdout
    sys.stdout = sys.stderr
    commands = setup(task)

    def reply(value: dict[str, Any]) -> None:
        print(json.dumps(value), file=replies, flush=True)

    reply({"ready": True, "resident_mib": peak_resident_mib()})
    for line in sys.stdin:
        name, arguments = json.loads(line)
        reply({**commands[name](**arguments), "peak_mib": peak_resident_mib()})
