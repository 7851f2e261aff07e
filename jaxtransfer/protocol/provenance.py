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
    """The git revision of the package's checkout, `+changes` if it has any; None outside of one."""
    root = pathlib.Path(__file__).parents[2]
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or pathlib.Path(top).resolve() != root.resolve():
        return None
    found = _git(root, "rev-parse", "HEAD")
    return f"{found}+changes" if _git(root, "status", "--porcelain") else found


def _git(directory: pathlib.Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=directory, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
