"""A work directory belongs to one run: `run.json` says which, and another run is refused."""

import base64
import contextlib
import io
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer import json_text
from jaxtransfer.checking import check_document
from jaxtransfer.errors import ConfigError, WorkdirError
from jaxtransfer.protocol import journal
from jaxtransfer.protocol.differences import in_words
from jaxtransfer.protocol.problem import Problem
from jaxtransfer.protocol.provenance import environment, revision, versions
from jaxtransfer.protocol.settings import LadderSettings, without_criterion
from jaxtransfer.train import lock
from jaxtransfer.train.checkpoint import writing

RUN = "run.json"
_KINDS: Mapping[str, Any] = {
    "verb": str,
    "config": {"acceptance": {"metric": str}, "rungs": [{"name": str}]},
    "config_hash": str,
    "hashes": Mapping[str, str],
    "data": Mapping[str, Any],
    "seeds": tuple[int, ...],
    "versions": Mapping[str, str],
    "environment": Mapping[str, Any],
    "revision": str | None,
}
RESULTS = {"sweep": "sweep.json", "ablate": "ablation.json"}
"""What a verb that searches writes at its end."""
DIAGNOSED = ("diagnosis.json", "recommended.py")
"""What `diagnose` writes, beside which a run may begin."""


def check_free(workdir: pathlib.Path, settings: LadderSettings) -> None:
    """Finds whether a work directory may be used by a run; writes nothing.

    A directory of other settings in which no cell was finished or saved may be taken over. One whose
    criterion alone differs may be gone on with: no cell depends on it.

    Raises:
      WorkdirError: if it belongs to a run with other settings (naming the first that differ), is
        in use, is no directory, or holds files that are no run's.
    """
    for place in (workdir, *workdir.parents):
        if place.exists() and not place.is_dir():
            raise WorkdirError(f"{place} is a file; choose another --workdir")
    lock.check_unheld(workdir)
    _check_owner(workdir, settings)


def _check_owner(workdir: pathlib.Path, settings: LadderSettings) -> None:
    found = read_run(workdir)
    if found is None:
        strangers = [
            name
            for name in _entries(workdir)
            if not name.endswith(".part") and name not in DIAGNOSED
        ]
        if strangers:
            raise WorkdirError(
                f"{workdir} is not empty and holds no {RUN} (but {strangers[:3]}): choose another"
                " --workdir, or empty it"
            )
    elif found.get("config_hash") != settings.hash and _has_work(workdir):
        config, own = found.get("config", {}), settings.to_json()
        if "acceptance" in config and without_criterion(config) == without_criterion(own):
            return
        changed = in_words(config, own, "config")
        raise WorkdirError(
            f"{workdir} belongs to another run: {'; '.join(changed[:3]) or 'its config differs'};"
            " choose another --workdir, or remove it"
        )


@contextlib.contextmanager
def claim(workdir: pathlib.Path, problem: Problem, verb: str) -> Iterator[None]:
    """Makes a work directory the caller's own until the block ends.

    It writes `run.json` (verb, settings, hashes, data card, seeds, versions, device), or finds that it is the
    same.

    Raises:
      WorkdirError: as `check_free` does, or if data, splits, base weights or library versions are
        not those that the cells in it were computed with.
    """
    with lock.hold(workdir):
        _write_run(workdir, problem, verb)
        yield


def _write_run(workdir: pathlib.Path, problem: Problem, verb: str) -> None:
    _check_owner(workdir, problem.settings)
    found = read_run(workdir)
    facts: dict[str, Any] = {
        "verb": verb,
        "config": problem.settings.to_json(),
        "config_hash": problem.settings.hash,
        "hashes": dict(problem.hashes),
        "data": dict(problem.card),
        "seeds": list(problem.settings.seeds),
        "versions": versions(),
        "environment": environment(),
        "revision": revision(),
    }
    if found is not None and _has_work(workdir):
        for kind in ("hashes", "versions"):
            for name, value in facts[kind].items():
                if name == "config":
                    continue  # its owner is checked, and the criterion may have changed
                began = found.get(kind, {}).get(name)
                if began != value:
                    raise WorkdirError(
                        f"{workdir} was begun with other {name} ({str(began)[:12]}, now"
                        f" {value[:12]}): restore it, or choose another --workdir"
                    )
        config = {key: facts[key] for key in ("config", "config_hash", "hashes")}
        facts = {**facts, **found, **config, "verb": verb}
    if facts != found:
        write_json(workdir / RUN, facts)


def _entries(workdir: pathlib.Path) -> list[str]:
    names = os.listdir(workdir) if workdir.is_dir() else []
    return sorted(name for name in names if name != lock.FILE)


def _has_work(workdir: pathlib.Path) -> bool:
    """Whether a cell is finished, the training of one has saved a checkpoint, or trials are."""
    if (workdir / journal.FILE).is_file():
        return True
    patterns = ("*/*/cell.json", "*/*/train/**/checkpoints/step_*")
    return any(True for pattern in patterns for _ in (workdir / "cells").glob(pattern))


def finished_cells(workdir: pathlib.Path) -> int:
    """Number of cells that are finished."""
    return sum(1 for _ in (workdir / "cells").glob("*/*/cell.json"))


def read_run(workdir: pathlib.Path) -> dict[str, Any] | None:
    """`run.json` of a work directory, or None where there is none.

    Raises:
      WorkdirError: if it is damaged, naming the key.
    """
    path = workdir / RUN
    if not path.is_file():
        return None
    try:
        found = json_text.loads(path.read_text(encoding="utf-8"))
        check_document(found, _KINDS, partial=True)
    except (ValueError, ConfigError) as error:
        raise WorkdirError(
            f"{path} is damaged: {error}; restore it, or run anew in another directory"
        ) from None
    return found


def write_json(path: pathlib.Path, content: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    draft = path.with_name(path.name + ".part")
    with writing(path):
        draft.write_text(text)
        draft.replace(path)


def examples_of(problem: Problem, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """What a person can look at of some examples: their text, or a PNG in base64."""
    positions = {name: row for row, name in enumerate(problem.table.ids.tolist())}
    shown: dict[str, dict[str, str]] = {}
    for name in ids:
        raw = problem.table.inputs[positions[name]]
        shown[name] = {"text": raw} if isinstance(raw, str) else {"png": _png(np.asarray(raw))}
    return shown


def _png(image: np.ndarray) -> str:
    from PIL import Image

    pixels = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
