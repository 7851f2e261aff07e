"""One run at a time in a work directory, by a lock of the kernel's.

It goes with the process that holds it, however that ends; so a killed run leaves nothing to remove.
"""

import contextlib
import errno
import fcntl
import os
import pathlib
import platform
from collections.abc import Iterator
from typing import Any

from jaxtransfer.errors import WorkdirError
from jaxtransfer.train.checkpoint import writing
from jaxtransfer.train.distributed import is_first

FILE = ".lock"


@contextlib.contextmanager
def hold(directory: pathlib.Path) -> Iterator[None]:
    """Makes a work directory the caller's own until the block ends; its lock file stays.

    Of several processes that are one run, the first holds it for all.

    Args:
      directory: made if it is not there.

    Raises:
      WorkdirError: if another run holds it, in this process or another, naming process and host;
        or if it cannot be written.
    """
    if not is_first():
        yield
        return
    path = directory / FILE
    with writing(path):
        directory.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    with file:
        _lock(file, path, fcntl.LOCK_EX)
        with writing(path):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()
        yield  # closing the file frees the lock


def check_unheld(directory: pathlib.Path) -> None:
    """Raises the WorkdirError of `hold` if another run holds the directory now; writes nothing."""
    path = directory / FILE
    if path.is_file():
        with path.open() as file:
            _lock(file, path, fcntl.LOCK_SH)


def _lock(file: Any, path: pathlib.Path, kind: int) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise WorkdirError(
                f"{path} cannot be locked: {error.strerror}; put the work directory on a file"
                " system that has locks"
            ) from error
        holder = path.read_text() or "another process"
        raise WorkdirError(
            f"{path.parent} is in use by {holder}: wait until that run ends, or give another work"
            " directory"
        ) from error
