"""What computed the numbers: versions, devices, and the revision of the code."""

import importlib.metadata
import pathlib
import platform
import subprocess
from typing import Any

from jaxtransfer.version import __version__

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Versions of this package, Python, and the libraries that decide the numbers."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"jaxtransfer": __version__, "python": platform.python_version(), **found}


def environment() -> dict[str, Any]:
    """The devices that computed the numbers."""
    import jax

    devices = jax.devices()
    return {
        "platform": platform.platform(),
        "backend": jax.default_backend(),
        "device": devices[0].device_kind,
        "devices": len(devices),
    }


def revision() -> str | None:
    """The git revision of the package's checkout, or None outside of one."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=pathlib.Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
