"""Importing the package costs little more than importing JAX, Linen and Optax."""

import json
import subprocess
import sys

HEAVY = ("torch", "tensorflow", "transformers", "matplotlib", "sklearn")
BASE = "import jax, flax.linen, optax"
LIMIT = 1.6


def run(statement: str) -> dict:
    """Imports in a fresh interpreter; processor seconds, number of modules, heavy ones among them."""
    program = (
        f"{statement}\n"
        "import json, sys, time\n"
        "print(json.dumps({'seconds': time.process_time(), 'modules': len(sys.modules),\n"
        f"  'heavy': [name for name in {HEAVY!r} if name in sys.modules]}}))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_import_loads_no_heavy_library():
    assert run("import jaxtransfer")["heavy"] == []


def test_command_line_loads_no_heavy_library():
    assert run("import jaxtransfer.cli")["heavy"] == []


def test_import_adds_few_modules():
    assert run("import jaxtransfer")["modules"] <= LIMIT * run(BASE)["modules"]


def test_import_takes_at_most_1_6_times_its_foundations():
    # Processor time, the least of each: what another process does at the same time only adds.
    ours, base = [], []
    for _ in range(5):
        base.append(run(BASE)["seconds"])
        ours.append(run("import jaxtransfer")["seconds"])
        if min(ours) <= LIMIT * min(base):
            return
    raise AssertionError(f"import jaxtransfer: {min(ours):.2f} s, {BASE}: {min(base):.2f} s")
