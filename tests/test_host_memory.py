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
for _ in range(8):
    total(x).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    total(x).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    # One device, as a user has it: the virtual ones of the tests bring threads of their own.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return int(result.stdout)


def test_kept_memory_is_not_fetched_again():
    assert faults("kept") < 100


def test_without_it_every_call_fetches_its_pages():
    assert faults("usual") > 10_000
