"""Text files to strings, in an encoding that is stated and never guessed.

Several encodings may be given; each file is read in the first that fits it, and which one that was
is returned.
"""

import gzip
import pathlib
import zlib
from collections.abc import Sequence

from jaxtransfer.errors import DataError

Encodings = str | Sequence[str]


def read_bytes(path: pathlib.Path) -> bytes:
    """The bytes of a file, unpacked if its name ends in `.gz`.

    Raises:
      DataError: if it cannot be read, naming the path.
    """
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def check_text(text: str, place: object) -> None:
    """Refuses a text that has no UTF-8, as half of a surrogate pair has none.

    Raises:
      DataError: naming the place.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place} holds {text[error.start]!r} at position {error.start}, which is half of a"
            " character and has no UTF-8; remove it"
        ) from None


def decode(raw: bytes, place: object, encodings: Encodings) -> tuple[str, str]:
    """Decodes bytes in the first encoding that fits; drops a leading byte order mark.

    Args:
      raw: the bytes.
      place: names them in the message.
      encodings: one encoding, or several in the order in which they are tried.

    Returns:
      The text, and the encoding used.

    Raises:
      DataError: if none fits, or an encoding is unknown.

    >>> decode(b"\\xa3", "a.txt", ("utf-8", "latin-1"))
    ('£', 'latin-1')
    """
    names = (encodings,) if isinstance(encodings, str) else tuple(encodings)
    if not names:
        raise DataError(f"no encoding is given for {place}")
    failures = []
    for name in names:
        try:
            return raw.decode(name).removeprefix("\ufeff"), name
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            failures.append(
                f"not {name}: byte 0x{raw[error.start]:02x} at offset {error.start} (line {line})"
            )
        except LookupError:
            raise DataError(f"{name!r} (for {place}) is not a known encoding") from None
    raise DataError(
        f"{place} is {'; '.join(failures)}; if it is in another encoding, name that"
        " (for example encoding=('utf-8', 'latin-1') tries both, file by file)"
    )
