"""Freed memory is used again, so repeated calls of an executable touch no new pages."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")

PROGRAM = """
import resource, sys
import jax, jax.numpy as jnp
from jaxtransfer.host_memory import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()

@jax.jit
def total(x):  # a temporary of 64 MiB
    y = jnp.sin(x[:, None] + x[None])
    return (y @ (y @ x)).sum()

x = jnp.arange(4096.0)
counts = []
for _ in range(24):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    total(x).block_until_ready()
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(*counts)
"""


def faults(mode: str) -> list[int]:
    """Pages fetched by each call, fewest first."""
    # One device, as a user has it: the virtual ones of the tests bring threads of their own.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return sorted(map(int, result.stdout.split()))


def test_kept_memory_is_not_fetched_again():
    # A small block that has settled in the large one's place makes the heap grow now and then.
    assert faults("kept")[8] < 100


def test_without_it_every_call_fetches_its_pages():
    assert faults("usual")[0] > 10_000
