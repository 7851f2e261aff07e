"""Files of Google Cloud Storage, through fsspec and gcsfs where they are installed."""

import hashlib
import os
import shutil
from pathlib import Path, PurePosixPath

from jaxtransfer.errors import NotFetchedError, PretrainedError, nearest
from jaxtransfer.pretrained.cache import cache_directory, is_offline, locked


def fetch_from_bucket(
    path: str,
    *,
    cache_dir: str | os.PathLike | None = None,
    offline: bool | None = None,
) -> Path:
    """Returns the local copy of an object, or of everything under a prefix.

    A copy is kept per version of the object (its generation, etag or size, and those of all
    objects under a prefix), so a changed object is fetched again.

    Args:
      path: `bucket/name`, without the scheme.
      cache_dir: see `cache.cache_directory`.
      offline: see `cache.is_offline`; a bucket is always asked, so this raises.

    Raises:
      PretrainedError: if gcsfs is not installed, the object does not exist, or it cannot be read.
    """
    uri = f"gs:{path}"
    if is_offline(offline):
        raise NotFetchedError(f"{uri}: fetching is off (offline); copy it and give the local path")
    try:
        import fsspec

        files = fsspec.filesystem("gs")
    except ImportError:
        raise PretrainedError(
            f"{uri}: reading Google Cloud Storage needs gcsfs; install it, or copy the file here"
            " and give its path"
        ) from None
    try:
        if not files.exists(path):
            parent = str(PurePosixPath(path).parent)
            there = [str(name) for name in files.ls(parent, detail=False)]
            raise PretrainedError(f"{uri} does not exist; nearest: {nearest(path, there)}")
        found = files.find(path, detail=True)
        state = [
            (name, *(str(info.get(field)) for field in ("generation", "etag", "size")))
            for name, info in sorted(found.items())
        ]
        version = hashlib.sha256(repr(state).encode()).hexdigest()[:16]
        home = cache_directory(cache_dir) / "gs" / version
        target = home / PurePosixPath(path).name
        with locked(home.with_suffix(".lock")):
            if not target.exists():
                scratch = home.with_suffix(".partial")
                shutil.rmtree(scratch, ignore_errors=True)
                scratch.mkdir(parents=True)
                files.get(path, str(scratch / target.name), recursive=files.isdir(path))
                scratch.rename(home)
    except OSError as error:
        raise PretrainedError(f"{uri}: cannot be fetched: {error}") from error
    return target
