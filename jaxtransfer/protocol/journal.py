"""An append-only file of finished trials: a header that says whose they are, then a line each.

A line stands whole or counts for nothing, so that a sweep killed at any moment goes on from its last
finished trial; processes take turns by a lock of the kernel's.
"""

import dataclasses
import fcntl
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.errors import WorkdirError
from jaxtransfer.train.checkpoint import writing
from jaxtransfer.version import __version__

FILE = "trials.jsonl"
FORMAT = 1
KIND = "jaxtransfer sweep"
ROW_KEYS = {"trial", "parameters", "steps", "value", "diverged"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Journal:
    """Finished trials of one sweep.

    Attributes:
      path: of the file.
    """

    path: pathlib.Path

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds finished trials; they are on disk when it returns.

        Raises:
          WorkdirError: if the disk is full.
        """
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        with writing(self.path), self.path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # What a killed process left of a line goes.
            file.seek(_whole(file.read()))
            file.truncate()
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    def rows(self) -> list[dict[str, Any]]:
        """Finished trials in the order of their ends, each once.

        Raises:
          WorkdirError: if a line is damaged, naming it.
        """
        found: dict[tuple[int, int], dict[str, Any]] = {}
        lines = self.path.read_bytes()
        for number, line in enumerate(lines[: _whole(lines)].splitlines()[1:], start=2):
            row = _parsed(self.path, number, line)
            if not set(row) >= ROW_KEYS:
                raise WorkdirError(
                    f"{self.path}, line {number}, lacks {sorted(ROW_KEYS - set(row))}; remove the"
                    " line to run its trial again"
                )
            found.setdefault((row["trial"], row["steps"]), row)
        return list(found.values())


def open_journal(workdir: pathlib.Path, facts: Mapping[str, Any]) -> Journal:
    """The journal of a work directory, begun if it is not there.

    Args:
      workdir: the sweep's.
      facts: what the trials depend on, by name: space, sampler, seeds, config and data.

    Raises:
      WorkdirError: if the journal is another version's or of other facts, naming the first that
        differs, or is damaged.
    """
    path = workdir / FILE
    header = {"journal": KIND, "format": FORMAT, "version": __version__, **facts}
    content = path.read_bytes() if path.is_file() else b""
    if not _whole(content):
        with writing(path):
            path.write_text(json.dumps(header) + "\n")
        return Journal(path=path)
    found = _parsed(path, 1, content.splitlines()[0])
    if found.get("journal") != KIND:
        raise WorkdirError(f"{path} is no journal of a sweep: choose another --workdir")
    for name in ("format", "version"):
        if found.get(name) != header[name]:
            raise WorkdirError(
                f"{path} was written by another version of jaxtransfer ({name}"
                f" {found.get(name)!r}, now {header[name]!r}): its trials are not comparable; choose"
                " another --workdir"
            )
    for name, value in json.loads(json.dumps(header)).items():
        if found.get(name) != value:
            raise WorkdirError(
                f"{path} belongs to a sweep with another {name.replace('_', ' ')}"
                f" ({_short(found.get(name))}, now {_short(value)}): choose another --workdir"
            )
    return Journal(path=path)


def _whole(content: bytes) -> int:
    """Length of the lines that end."""
    return content.rfind(b"\n") + 1


def _parsed(path: pathlib.Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError("it is no mapping")
    except ValueError as error:
        what = "choose another --workdir" if number == 1 else "remove it to run its trial again"
        raise WorkdirError(f"{path}, line {number}, is damaged ({error}); {what}") from error
    return row


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."
