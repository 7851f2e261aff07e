"""Unpacks wheels and sdists as files: nothing of them is run, and nothing lands outside."""

import errno
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from jaxtransfer.errors import PretrainedError


def unpack(archive: Path, directory: Path) -> None:
    """Unpacks a zip (wheels) or tar archive (sdists) into a new directory.

    Only regular files are made, with the process's own permissions; a link within a tar archive
    becomes a copy of what it links to.

    Raises:
      PretrainedError: if the archive is damaged, a member's name leads out of the directory, a
        member is a link that leads out of the archive or a device, or the disk is full.
    """
    try:
        members = _zip_members if zipfile.is_zipfile(archive) else _tar_members
        directory.mkdir(parents=True)
        for name, open_member in members(archive):
            target = directory / _safe(archive, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with open_member() as source, target.open("xb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise PretrainedError(f"{archive}: a damaged archive: {error}") from None
    except OSError as error:
        full = "the disk is full" if error.errno == errno.ENOSPC else str(error)
        raise PretrainedError(f"{archive}: cannot be unpacked in {directory}: {full}") from error


def _safe(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
        raise PretrainedError(f"{archive}: refused: its member {name!r} leads out of the archive")
    return path


def _zip_members(archive: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            mode = info.external_attr >> 16
            if mode and stat.S_IFMT(mode) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise PretrainedError(
                    f"{archive}: refused: its member {info.filename!r} is a link or a device"
                )
            if not info.is_dir():
                yield info.filename, lambda info=info: file.open(info)  # type: ignore[misc]


def _tar_members(archive: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    with tarfile.open(archive, "r:*") as file:
        for member in file.getmembers():
            if member.isdir():
                continue
            if not (member.isreg() or member.islnk() or member.issym()):
                raise PretrainedError(f"{archive}: refused: its member {member.name!r} is a device")
            try:
                content = file.extractfile(member)  # follows links to members, and to no others
            except (KeyError, RecursionError):
                content = None
            if content is None:
                raise PretrainedError(
                    f"{archive}: refused: its link {member.name!r} leads to {member.linkname!r},"
                    " which the archive does not hold"
                )
            yield member.name, lambda content=content: content  # type: ignore[misc]
