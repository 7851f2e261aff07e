"""Folders with one sub-folder a class: texts, read at once, and images, decoded on access."""

import collections
import io
import pathlib
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import UInt8

from jaxtransfer.data.encoding import Encodings, check_text, decode, read_bytes
from jaxtransfer.data.source import Table, encode_labels
from jaxtransfer.errors import DataError, nearest

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error)


def text_folder(
    path: str | pathlib.Path,
    *,
    encoding: Encodings = "utf-8",
    suffixes: Sequence[str] = (".txt",),
    classes: Sequence[str] | None = None,
) -> Table:
    """Documents in `path/<class>/.../<name>.txt`.

    Ids are paths relative to `path`; `metadata['encoding']` says in which encoding each document
    was read.

    Args:
      path: the folder.
      encoding: encoding of the documents, or several to be tried in order, document by document.
      suffixes: which files are documents (lower case); others are left out, and counted in a warning.
      classes: class names in label order; the sub-folders sorted by name without it.

    Raises:
      DataError: if there is no such folder, no document in a class, a class outside `classes`, or a
        document in none of the encodings (naming it).
    """
    root = pathlib.Path(path)
    files, labels, names = _class_files(root, suffixes, classes, "documents")
    texts, used = zip(*(decode(read_bytes(file), file, encoding) for file in files))
    return Table(
        ids=np.array([file.relative_to(root).as_posix() for file in files]),
        inputs=list(texts),
        labels=labels,
        classes=names,
        metadata={"encoding": np.array(used)},
    )


def image_folder(
    path: str | pathlib.Path,
    *,
    channels: int = 3,
    suffixes: Sequence[str] = IMAGE_SUFFIXES,
    classes: Sequence[str] | None = None,
) -> Table:
    """Images in `path/<class>/.../<name>.<suffix>`; inputs are uint8 (height, width, channels).

    Ids are paths relative to `path`. An image is decoded when it is read, as `ImageFiles` says.

    Args:
      path: the folder.
      channels: 3 (a greyscale image is repeated) or 1 (a colour image becomes its luminance).
      suffixes: which files are images (lower case); others are left out, and counted in a warning.
      classes: class names in label order; the sub-folders sorted by name without it.

    Raises:
      DataError: if there is no such folder, no image in a class, or a class outside `classes`; on
        access, if an image cannot be decoded (naming it).
    """
    root = pathlib.Path(path)
    files, labels, names = _class_files(root, suffixes, classes, "images")
    return Table(
        ids=np.array([file.relative_to(root).as_posix() for file in files]),
        inputs=ImageFiles(files, channels=channels),
        labels=labels,
        classes=names,
    )


class ImageFiles(Sequence):
    """Image files as uint8 arrays (height, width, channels), decoded on access.

    The orientation stated in EXIF is applied, and an alpha channel is dropped. An image of more
    than 8 bits a channel is refused, because converting it would clip it.
    """

    def __init__(self, paths: Sequence[pathlib.Path], *, channels: int = 3):
        if channels not in (1, 3):
            raise DataError(f"channels is {channels!r}; images have 1 or 3")
        self.paths, self.channels = tuple(paths), channels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index):
        path = self.paths[index]
        return decode_image(read_bytes(path), path, self.channels)

    def content(self, index: int) -> bytes:
        """The file's bytes, by which the image is hashed."""
        return read_bytes(self.paths[index])


def decode_image(
    raw: bytes, place: object, channels: int
) -> UInt8[np.ndarray, "height width channels"]:
    """Decodes an image through PIL, as `ImageFiles` says.

    Raises:
      DataError: naming `place`, if it is no image, damaged, or of more than 8 bits a channel.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(raw)) as opened:
            image = ImageOps.exif_transpose(opened)
            image.load()
    except UnidentifiedImageError:
        raise DataError(f"{place} is not an image that PIL can read") from None
    # PIL reports damage as any of these, depending on the format.
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise DataError(f"{place} cannot be decoded as an image: {error}") from error
    if image.mode not in EIGHT_BIT_MODES:
        raise DataError(
            f"{place} has pixel mode {image.mode!r}, more than 8 bits a channel;"
            " convert it to 8 bits"
        )
    return pixels_of(image, channels)


def pixels_of(image: Any, channels: int) -> UInt8[np.ndarray, "height width channels"]:
    """The pixels of a PIL image of 8 bits a channel; palettes and colour spaces become RGB or grey."""
    array = np.array(image.convert("RGB" if channels == 3 else "L"))
    return array.reshape(*array.shape[:2], channels)


def _class_files(
    root: pathlib.Path, suffixes: Sequence[str], classes: Sequence[str] | None, kind: str
) -> tuple[list[pathlib.Path], np.ndarray, tuple[str, ...]]:
    if not root.is_dir():
        siblings = [entry.name for entry in root.parent.iterdir()] if root.parent.is_dir() else []
        raise DataError(
            f"{root} is not a folder; nearest beside it: {nearest(root.name, siblings)}"
        )
    folders = sorted(
        entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )
    if not folders:
        raise DataError(f"{root} holds no sub-folders; put the {kind} of each class into its own")
    wanted = tuple(suffixes)
    files: list[pathlib.Path] = []
    left: collections.Counter[str] = collections.Counter()
    for folder in folders:
        present = sorted(
            file
            for file in folder.rglob("*")
            if not file.name.startswith(".") and not file.is_dir()
        )
        found = [file for file in present if file.suffix.lower() in wanted]
        left.update(file.suffix for file in present if file.suffix.lower() not in wanted)
        if not found:
            raise DataError(f"class folder {folder} holds no {kind} ({', '.join(wanted)})")
        files += found
    if left:
        shown = ", ".join(f"{suffix or 'without a suffix'} {n}" for suffix, n in left.most_common())
        logging.warning(
            "%s: left out %d files that are not %s: %s; the option suffixes says which are %s",
            root,
            left.total(),
            ", ".join(wanted),
            shown,
            kind,
        )
    for file in files:
        check_text(file.relative_to(root).as_posix(), f"the name of {str(file)!r}")
    values = [file.relative_to(root).parts[0] for file in files]
    labels, names = encode_labels(values, [str(file) for file in files], classes)
    return files, labels, names
