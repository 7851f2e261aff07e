"""Where fetched files live, and the lock that lets two processes fetch one thing at once."""

import contextlib
import contextvars
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from jaxtransfer.errors import PretrainedError

CACHE_VARIABLE = "JAXTRANSFER_CACHE"
_OFFLINE_VARIABLES = ("JAXTRANSFER_OFFLINE", "HF_HUB_OFFLINE")
_WITHOUT_NETWORK = contextvars.ContextVar("without_network", default=False)


def cache_directory(cache_dir: str | os.PathLike | None = None) -> Path:
    """The cache: the argument, else the environment's JAXTRANSFER_CACHE, else the user's cache."""
    chosen = cache_dir or os.environ.get(CACHE_VARIABLE) or None
    path = Path(chosen) if chosen else platformdirs.user_cache_path("jaxtransfer")
    return path.expanduser().absolute()


def is_offline(offline: bool | None = None) -> bool:
    """The argument; where it is None, whether JAXTRANSFER_OFFLINE or HF_HUB_OFFLINE is set.

    Inside `without_network` it is True whatever the argument.
    """
    if _WITHOUT_NETWORK.get():
        return True
    if offline is not None:
        return offline
    values = (os.environ.get(name, "").lower() for name in _OFFLINE_VARIABLES)
    return any(value in {"1", "true", "yes", "on"} for value in values)


@contextlib.contextmanager
def without_network() -> Iterator[None]:
    """Fetches nothing until the block ends: what the cache lacks is a `NotFetchedError`."""
    token = _WITHOUT_NETWORK.set(True)
    try:
        yield
    finally:
        _WITHOUT_NETWORK.reset(token)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock between processes and threads; a dead holder's lock is free.

    Raises:
      PretrainedError: if the lock file's directory cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise PretrainedError(
            f"the cache {path.parent} cannot be written: {error}; choose another with"
            f" {CACHE_VARIABLE}"
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file frees the lock
