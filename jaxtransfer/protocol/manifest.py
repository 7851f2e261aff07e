"""`manifest.json`: size and SHA-256 of every file that a decision rests on, and the digest of its record.

It is written last. It shows what was changed afterwards, by accident or by hand; it is no signature: who rewrites the
files and the manifest too is found out only by who has kept the manifest's own digest.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jaxtransfer import json_text
from jaxtransfer.errors import WorkdirError
from jaxtransfer.protocol import record
from jaxtransfer.protocol.workdir import write_json

FILE = "manifest.json"
SCHEMA = 1
UNCOVERED = ("cache",)
"""Folders at the top of a work directory that hold nothing to keep."""
STATED = ("command", "created", "environment", "plan", "versions")
"""Fields of the record that nothing else implies; the manifest repeats them, and the revision of the code."""


def write(workdir: pathlib.Path) -> pathlib.Path:
    """Writes the manifest of a directory as it stands, with every file in it.

    Files whose names begin with a dot, drafts (`*.part`) and `cache/` are left out; the record is there by the digest of
    its canonical JSON.

    Raises:
      WorkdirError: if there is no record, a file is a symbolic link, or the manifest cannot be written.
    """
    document = record.read(workdir)
    links = [name for name in _walk(workdir) if (workdir / name).is_symlink() and name != FILE]
    if links:
        raise WorkdirError(
            f"{workdir / links[0]} is a symbolic link, whose content can change without the directory: put what it"
            " points to in its place, and the same command goes on"
        )
    write_json(
        workdir / FILE,
        {
            "schema": SCHEMA,
            "record": {"sha256": digest(document), "stated": stated(document)},
            "files": {name: _facts(workdir / name) for name in covered(workdir)},
        },
    )
    return workdir / FILE


def renew(workdir: pathlib.Path, names: Iterable[str]) -> None:
    """Enters files anew that a later step has written, and no other; a directory without a manifest gets none.

    Raises:
      WorkdirError: if the manifest is damaged, or cannot be written.
    """
    if not (workdir / FILE).is_file():
        return
    found = read(workdir)
    files = dict(found["files"])
    for name in names:
        files.pop(name, None)
        if (workdir / name).is_file():
            files[name] = _facts(workdir / name)
    write_json(workdir / FILE, {**found, "files": dict(sorted(files.items()))})


def remove(workdir: pathlib.Path) -> None:
    """Takes a manifest away before its directory changes, if there is one."""
    (workdir / FILE).unlink(missing_ok=True)


def read(workdir: pathlib.Path) -> dict[str, Any]:
    """The manifest of a directory, with its form checked.

    Raises:
      WorkdirError: if it is missing or damaged, or of another schema.
    """
    path = workdir / FILE
    if not path.is_file():
        raise WorkdirError(f"{FILE} is missing: run the ladder again on its directory to write it")
    try:
        found = json_text.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WorkdirError(f"{FILE} is damaged: {error}") from None
    if not isinstance(found, dict):
        raise WorkdirError(f"{FILE} is damaged: it holds no JSON object")
    if found.get("schema") != SCHEMA or isinstance(found.get("schema"), bool):
        raise WorkdirError(
            f"{FILE} has schema {found.get('schema')!r}, this version reads schema {SCHEMA}"
        )
    own, files = found.get("record"), found.get("files")
    if set(found) != {"schema", "record", "files"}:
        raise WorkdirError(
            f"{FILE} is damaged: its keys are {sorted(found)}, not files, record, schema"
        )
    if not isinstance(own, dict) or set(own) != {"sha256", "stated"}:
        raise WorkdirError(f"{FILE} is damaged: 'record' does not hold sha256 and stated")
    if not isinstance(files, dict) or not all(_is_facts(each) for each in files.values()):
        raise WorkdirError(f"{FILE} is damaged: 'files' does not hold sha256 and size of each")
    return found


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of a record's canonical JSON: keys sorted, no spaces, UTF-8.

    >>> digest({"b": 1, "a": [0.5]}) == hashlib.sha256(b'{"a":[0.5],"b":1}').hexdigest()
    True
    """
    text = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def stated(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record that no table implies."""
    found = {name: document.get(name) for name in STATED}
    again = document.get("reproduce")
    return {**found, "revision": again.get("revision") if isinstance(again, Mapping) else None}


def covered(workdir: pathlib.Path) -> list[str]:
    """Paths of the files that a manifest lists, relative to the directory, with slashes, in order."""
    return sorted(_walk(workdir))


def changes(workdir: pathlib.Path, manifest: Mapping[str, Any]) -> dict[str, str]:
    """File to what is wrong with it: missing, not in the manifest, or of other size or digest."""
    listed, present = manifest["files"], set(covered(workdir))
    wrong = {}
    for name in sorted({*listed, *present}):
        if (workdir / name).is_symlink():
            wrong[name] = "a symbolic link, and no file of the directory itself"
        elif name not in present:
            wrong[name] = "missing, though the manifest lists it"
        elif name not in listed:
            wrong[name] = "not in the manifest: it was added afterwards"
        else:
            facts = _facts(workdir / name)
            told = [
                f"{key} is {facts[key]}, the manifest's {listed[name][key]}"
                for key in ("size", "sha256")
                if facts[key] != listed[name][key]
            ]
            if told:
                wrong[name] = f"changed: {'; '.join(told)}"
    return wrong


def file_digest(path: pathlib.Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _facts(path: pathlib.Path) -> dict[str, Any]:
    return {"sha256": file_digest(path), "size": path.stat().st_size}


def _is_facts(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"sha256", "size"}


def _walk(workdir: pathlib.Path) -> Iterator[str]:
    for folder, folders, names in os.walk(workdir):
        place = pathlib.Path(folder).relative_to(workdir)
        skipped = UNCOVERED if place == pathlib.Path() else ()
        folders[:] = [name for name in folders if not name.startswith(".") and name not in skipped]
        # A link to a folder is not followed, and stands for itself.
        names += [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in names:
            path = (place / name).as_posix()
            is_draft = name.startswith(".") or name.endswith(".part")
            is_own = path in (FILE, record.FILE) and not (workdir / path).is_symlink()
            if not is_draft and not is_own:
                yield path
