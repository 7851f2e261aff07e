"""The registry of corruptions, and their application to raw inputs and to tables."""

import collections
import hashlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer.data.corruptions.blur import BLUR
from jaxtransfer.data.corruptions.geometry import GEOMETRY
from jaxtransfer.data.corruptions.jpeg import JPEG
from jaxtransfer.data.corruptions.keys import Chance, key_words
from jaxtransfer.data.corruptions.kinds import (
    HostImageCorruption,
    ImageCorruption,
    TextCorruption,
    check_seed,
    check_severity,
)
from jaxtransfer.data.corruptions.light import LIGHT
from jaxtransfer.data.corruptions.noise import NOISE
from jaxtransfer.data.corruptions.spelling import SPELLING
from jaxtransfer.data.encoding import check_text
from jaxtransfer.data.source import Table, check_unique, raw_content, take_inputs
from jaxtransfer.errors import DataError, nearest

Corruption = ImageCorruption | HostImageCorruption | TextCorruption

IMAGE: Mapping[str, ImageCorruption | HostImageCorruption] = {
    kind.name: kind for kind in (*NOISE, *BLUR, *LIGHT, *JPEG, *GEOMETRY)
}
TEXT: Mapping[str, TextCorruption] = {kind.name: kind for kind in SPELLING}
CORRUPTIONS: Mapping[str, Mapping[str, Corruption]] = {"image": IMAGE, "text": TEXT}
"""Kinds of corruption by what they corrupt, then by name; a name occurs once."""

ROWS = 256
"""Examples of a table that are corrupted together, when one of them is read."""
BUDGET = 256 * 2**20
"""Bytes of corrupted inputs that a table keeps."""


def corruption(kind: str) -> Corruption:
    """Looks up a kind of corruption.

    Raises:
      DataError: with the nearest names, if there is none of that name.
    """
    for known in CORRUPTIONS.values():
        if kind in known:
            return known[kind]
    names = [name for known in CORRUPTIONS.values() for name in known]
    raise DataError(f"unknown corruption {kind!r}; nearest: {nearest(str(kind), names)}")


def corrupt(
    inputs: Sequence[Any] | np.ndarray,
    ids: Sequence[str] | np.ndarray,
    *,
    kind: str,
    severity: int,
    seed: int,
) -> list[Any]:
    """Corrupts raw inputs; each result is a function of (seed, id, kind, severity) and its input.

    What is random is drawn from (seed, id, kind), the same at every severity. Results are the same
    whatever else is in the batch; another backend's arithmetic may move a pixel by one level.

    Args:
      inputs: n texts; or n images (h, w) or (h, w, c), uint8 or floating in [0, 1], or of PIL. Each
        shape compiles once a kind, so many sizes are slow: `corrupted` can scale to one first.
      ids: their ids, unique.
      kind: a name in `CORRUPTIONS`.
      severity: 1 to 5, or 0 for the inputs as they are.
      seed: of all chance.

    Returns:
      n texts, or arrays of the inputs' shapes and dtypes.

    Raises:
      DataError: if the kind or severity is unknown, the seed no whole number, ids repeat, or an input is not what the kind
        corrupts, naming its id.
    """
    chosen, severity, seed = corruption(kind), check_severity(severity), check_seed(seed)
    names = [str(name) for name in ids]
    if len(names) != len(inputs):
        raise DataError(f"{len(inputs)} inputs have {len(names)} ids; give each its own")
    check_unique(names)
    if isinstance(chosen, TextCorruption):
        texts = [_text(value, name, kind) for value, name in zip(inputs, names)]
        return [
            corrupt_text(t, n, kind=kind, severity=severity, seed=seed)[0]
            for t, n in zip(texts, names)
        ]
    images = [_image(value, name, kind) for value, name in zip(inputs, names)]
    if severity == 0:
        return images
    results: list[Any] = [None] * len(images)
    for shape, places in _by_shape(images).items():
        batch = np.stack([_scaled(images[place]).reshape(shape) for place in places])
        words = np.stack([key_words(seed, kind, names[place]) for place in places])
        try:
            changed = np.clip(chosen(batch, words, severity), 0, 1)
        except DataError as error:
            raise DataError(f"image {names[places[0]]!r}: {error}") from None
        for place, image in zip(places, changed):
            results[place] = _as(image, images[place])
    return results


def corrupt_text(
    text: str, name: str, *, kind: str, severity: int, seed: int
) -> tuple[str, int, int]:
    """Corrupts one text.

    Returns:
      The text, how many of its units were changed, and how many it has (see the kind's `unit`).

    Raises:
      DataError: if the kind is none of texts, or the severity unknown.
    """
    chosen, severity, seed = corruption(kind), check_severity(severity), check_seed(seed)
    if not isinstance(chosen, TextCorruption):
        raise DataError(f"{kind!r} corrupts images, not texts; of texts there are {list(TEXT)}")
    probability = chosen.values[severity - 1] if severity else 0.0
    result, changed, units = chosen.change(text, probability, Chance(seed, kind, name))
    return (result if changed else text), changed, units


def corrupted(
    table: Table,
    *,
    kind: str,
    severity: int,
    seed: int,
    size: int | tuple[int, int] | None = None,
) -> Table:
    """The table with corrupted inputs, made when they are read; see `corrupt`.

    Ids, labels, classes and metadata stay, so that predictions on it are paired with those on the
    clean table. `Examples(corrupted(table, ...), preprocess)` feeds whatever takes examples.

    Args:
      table: texts or images.
      kind: a name in `CORRUPTIONS`.
      severity: 1 to 5, or 0.
      seed: of all chance.
      size: height and width, or one number for both, that images are scaled to before
        (`ImagePreprocess`: the shorter side, then the middle); None leaves their sizes. The clean
        table to compare with is the one of the same size and severity 0.

    Raises:
      DataError: if the kind or severity is unknown, or a size is given for texts; on access, as
        `corrupt` does.
    """
    inputs = CorruptedInputs(
        table.inputs, table.ids, kind=kind, severity=severity, seed=seed, size=size
    )
    return Table(
        ids=table.ids,
        inputs=inputs,
        labels=table.labels,
        classes=table.classes,
        metadata=table.metadata,
    )


class CorruptedInputs(Sequence):
    """Raw inputs seen through a corruption, a block at a time; the blocks last read are kept."""

    def __init__(
        self,
        base: Sequence[Any] | np.ndarray,
        ids: np.ndarray,
        *,
        kind: str,
        severity: int,
        seed: int,
        size: int | tuple[int, int] | None = None,
    ):
        if isinstance(corruption(kind), TextCorruption) and size is not None:
            raise DataError(f"{kind!r} corrupts texts, which have no size {size!r}; leave it out")
        self.base, self.ids, self.size = base, ids, size
        self.options: dict[str, Any] = {
            "kind": kind,
            "severity": check_severity(severity),
            "seed": check_seed(seed),
        }
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._blocks: collections.OrderedDict[int, list[Any]] = collections.OrderedDict()
        self._bytes = 0

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a worker process: not the kept blocks, nor their lock."""
        return {name: self.__dict__[name] for name in ("base", "ids", "size", "options")}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._forget()

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index):
        place = range(len(self))[index]
        with self._lock:
            block = place // ROWS
            if block not in self._blocks:
                self._blocks[block] = self._read(block)
                self._bytes += _size(self._blocks[block])
                while self._bytes > BUDGET and len(self._blocks) > 1:
                    _, oldest = self._blocks.popitem(last=False)
                    self._bytes -= _size(oldest)
            self._blocks.move_to_end(block)
            return self._blocks[block][place % ROWS]

    def _read(self, block: int) -> list[Any]:
        places = range(block * ROWS, min((block + 1) * ROWS, len(self)))
        raw = [self.base[place] for place in places]
        if self.size is not None:
            raw = [_resized(v, self.size, str(self.ids[p])) for v, p in zip(raw, places)]
        return corrupt(raw, self.ids[places.start : places.stop], **self.options)

    def rows(self, places: np.ndarray) -> "CorruptedInputs":
        """The inputs at the given positions, in that order; corrupted as they are here."""
        base = take_inputs(self.base, places)
        return CorruptedInputs(base, self.ids[places], size=self.size, **self.options)

    def content(self, index: int) -> bytes:
        """The clean input's bytes and all that its corruption depends on."""
        severity = self.options["severity"]
        value = corruption(self.options["kind"]).values[severity - 1] if severity else None
        how = (*self.options.values(), value, self.size, str(self.ids[index]))
        stamp = hashlib.sha256(repr(("corrupted", *how)).encode("utf-8", "surrogatepass")).digest()
        return stamp + raw_content(self.base, index)


def _resized(image: Any, size: int | tuple[int, int], name: str) -> np.ndarray:
    from jaxtransfer.data.images import ImagePreprocess

    array = _image(image, name, "a size")
    channels = 1 if array.ndim == 2 or array.shape[2] == 1 else 3
    try:
        scaled = ImagePreprocess(size, (0.0,) * channels, (1.0,) * channels)([array])["image"][0]
    except DataError as error:
        raise DataError(f"image {name!r} cannot be scaled: {error}") from None
    return np.rint(scaled * 255).astype(np.uint8)


def _size(block: Sequence[Any]) -> int:
    return sum(v.nbytes if isinstance(v, np.ndarray) else 4 * len(v) for v in block)


def _text(value: Any, name: str, kind: str) -> str:
    if not isinstance(value, str):
        raise DataError(
            f"{kind!r} corrupts texts, but {name!r} is a {type(value).__name__};"
            f" of images there are {list(IMAGE)}"
        )
    check_text(value, f"input {name!r}")
    return value


def _image(value: Any, name: str, kind: str) -> np.ndarray:
    """An image as an array; a PIL image becomes one of (h, w) or (h, w, 3)."""
    if isinstance(value, str | bytes):
        raise DataError(
            f"{kind!r} corrupts images, but {name!r} is a {type(value).__name__};"
            f" of texts there are {list(TEXT)}"
        )
    if hasattr(value, "convert"):
        value = value.convert("L" if value.mode in ("1", "L", "LA") else "RGB")
    image = np.asarray(value)
    if image.ndim not in (2, 3) or not image.size:
        raise DataError(f"image {name!r} has shape {image.shape}; expected (h, w) or (h, w, c)")
    if image.dtype == np.uint8:
        return image
    if image.dtype.kind != "f":
        raise DataError(f"image {name!r} has dtype {image.dtype}; give uint8, or floats in [0, 1]")
    if not (image.min() >= 0 and image.max() <= 1):
        raise DataError(
            f"image {name!r} has values from {image.min():g} to {image.max():g}; floats are in"
            " [0, 1]: corrupt images before they are normalised"
        )
    return image


def _by_shape(images: Sequence[np.ndarray]) -> dict[tuple[int, ...], list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, image in enumerate(images):
        shape = image.shape if image.ndim == 3 else (*image.shape, 1)
        groups.setdefault(shape, []).append(place)
    return groups


def _scaled(image: np.ndarray) -> np.ndarray:
    values = image.astype(np.float32)
    return values / np.float32(255) if image.dtype == np.uint8 else values


def _as(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    values = values.reshape(like.shape)
    return (
        np.rint(values * 255).astype(np.uint8)
        if like.dtype == np.uint8
        else values.astype(like.dtype)
    )
