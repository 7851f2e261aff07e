"""One file by HTTP, resumed where it broke off and verified by its sha256."""

import errno
import hashlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from jaxtransfer.errors import PretrainedError

if TYPE_CHECKING:
    import requests

ATTEMPTS = 5
TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two pieces of a body
_PIECE = 1 << 16  # what is lost of a broken connection
_log = logging.getLogger(__name__)


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    session: "requests.Session",
    delay: float = 0.5,
) -> str:
    """Downloads a URL to a file.

    The bytes gather in `<target>.partial`, which a later call goes on from if the server knows
    Range requests; only a verified file gets the target's name, and one that is there is not sent again.

    Args:
      url: where the file is.
      target: where it goes; its directory exists.
      sha256: what the file must have, in hex; without it, an earlier call's partial is not used.
      session: makes the requests.
      delay: seconds before the second attempt; doubled for each one after.

    Returns:
      The file's sha256 in hex.

    Raises:
      PretrainedError: if the server cannot be reached, keeps dropping the connection, answers an
        error, or sends another file; or if the disk is full. A partial file that can be gone on
        from is kept.
    """
    import requests

    partial = target.with_name(target.name + ".partial")
    if sha256 is None:
        partial.unlink(missing_ok=True)
    elif target.is_file() and sha256_of(target) == sha256:
        return sha256
    shown_url = without_secrets(url)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            is_resumed = _append(url, partial, session)
        except (requests.ConnectionError, requests.Timeout, _Interrupted) as error:
            held = partial.stat().st_size if partial.exists() else 0
            if attempt == ATTEMPTS:
                raise PretrainedError(
                    f"{shown_url}: no download after {ATTEMPTS} attempts ({reason(error)}); {held}"
                    f" bytes are kept in {partial}, and the next call goes on from there"
                ) from None
            _log.info("%s broke off at byte %d; attempt %d", shown_url, held, attempt + 1)
            time.sleep(delay * 2 ** (attempt - 1))
            continue
        except requests.RequestException as error:
            raise PretrainedError(f"{shown_url}: {reason(error)}") from None
        except OSError as error:
            full = "the disk is full" if error.errno == errno.ENOSPC else str(error)
            raise PretrainedError(
                f"{partial}: cannot be written while downloading {shown_url}: {full}"
            ) from error
        digest = sha256_of(partial)
        if sha256 is None or digest == sha256:
            partial.replace(target)
            return digest
        size = partial.stat().st_size
        partial.unlink()
        if not is_resumed or attempt == ATTEMPTS:
            raise PretrainedError(
                f"{shown_url}: refused: its sha256 is {digest} ({size} bytes), expected {sha256}"
            )
        _log.info("%s: the kept part was of another file; starting again", shown_url)
    raise AssertionError("unreachable: the last attempt returns or raises")


class _Interrupted(Exception):
    """The body ended before its announced length, or the server had a passing trouble."""


def _append(url: str, partial: Path, session: "requests.Session") -> bool:
    """Gets what the partial file lacks; returns whether bytes of an earlier request were kept."""
    import requests
    import tqdm

    held = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:  # nothing left to send, or the partial is of another file
            if response.headers.get("Content-Range", "") == f"bytes */{held}":
                return True
            partial.unlink()
            raise _Interrupted("the kept part does not fit the server's file")
        if response.status_code in (408, 429) or response.status_code >= 500:
            raise _Interrupted(f"HTTP {response.status_code}")
        response.raise_for_status()
        is_rest = response.status_code == 206
        if is_rest and not response.headers.get("Content-Range", "").startswith(f"bytes {held}-"):
            raise _Interrupted("the server sent another range than asked for")
        kept = held if is_rest else 0
        length = response.headers.get("Content-Length")
        total = kept + int(length) if length else None
        with (
            partial.open("ab" if is_rest else "wb") as file,
            tqdm.tqdm(
                total=total,
                initial=kept,
                unit="B",
                unit_scale=True,
                desc=partial.stem,
                disable=None,
                leave=False,
            ) as bar,
        ):
            try:
                for piece in response.iter_content(_PIECE):
                    file.write(piece)
                    bar.update(len(piece))
            except requests.exceptions.ChunkedEncodingError as error:
                raise _Interrupted(reason(error)) from None
            size = file.tell()
    if total is not None and size != total:
        raise _Interrupted(f"{size} bytes of {total}")
    return bool(kept)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def without_secrets(url: str) -> str:
    """A URL as a message may show it: without user, password, query and fragment.

    >>> without_secrets("https://user:secret@host/simple/?token=1")
    'https://host/simple/'
    """
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def reason(error: BaseException) -> str:
    """The innermost cause of a network error, in a few words: the outer ones repeat the URL."""
    response = getattr(error, "response", None)
    if response is not None and getattr(response, "status_code", None):
        return f"HTTP {response.status_code}"
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
