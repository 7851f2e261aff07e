"""Several processes as one run: each feeds its own rows, and all take the same steps."""

import os

import jax


def initialize(
    coordinator: str | None = None, processes: int | None = None, index: int | None = None
) -> tuple[int, int]:
    """Joins this process to the others, before anything else uses a device.

    On a TPU pod, GKE or Slurm the arguments are found out; elsewhere give all three. CPU processes
    talk through Gloo.

    Args:
      coordinator: `host:port` of process 0.
      processes: how many there are.
      index: which of them this one is.

    Returns:
      This process's index and the number of processes.
    """
    if os.environ.get("JAX_PLATFORMS", "").startswith("cpu"):
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(coordinator, num_processes=processes, process_id=index)
    return jax.process_index(), jax.process_count()


def is_first() -> bool:
    """Whether this process writes what is written once."""
    return jax.process_index() == 0
