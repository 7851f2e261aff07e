"""A work directory belongs to one run: `run.json` says which, and another run is refused."""

import base64
import io
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxtransfer.errors import WorkdirError
from jaxtransfer.protocol.problem import Problem
from jaxtransfer.protocol.provenance import environment, revision, versions
from jaxtransfer.protocol.settings import LadderSettings

RUN = "run.json"


def claim(workdir: pathlib.Path, settings: LadderSettings) -> None:
    """Makes a work directory this run's, or finds that it already is.

    Raises:
      WorkdirError: if it belongs to a run with other settings (naming the first that differ), or
        holds files that are no run's.
    """
    path = workdir / RUN
    if path.is_file():
        try:
            found = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise WorkdirError(f"{path} is damaged ({error}); choose another --workdir") from error
        if found.get("config_hash") != settings.hash:
            changed = _differences(found.get("config", {}), settings.to_json())
            raise WorkdirError(
                f"{workdir} belongs to another run: {'; '.join(changed[:3]) or 'its config differs'};"
                " choose another --workdir, or remove it"
            )
        return
    if workdir.is_dir() and any(workdir.iterdir()):
        raise WorkdirError(
            f"{workdir} is not empty and holds no {RUN}: choose another --workdir, or empty it"
        )
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(path, {"config": settings.to_json(), "config_hash": settings.hash})


def bind(workdir: pathlib.Path, problem: Problem) -> None:
    """Completes `run.json` with what the settings turned out to mean: hashes, seeds, versions, device.

    Raises:
      WorkdirError: if data, splits or base weights are not those that the run began with.
    """
    path = workdir / RUN
    document = json.loads(path.read_text())
    began = document.get("hashes", dict(problem.hashes))
    for name, value in problem.hashes.items():
        if began.get(name) != value:
            raise WorkdirError(
                f"{workdir} was begun with other {name} (hash {str(began.get(name))[:12]}, now {value[:12]}):"
                " restore them, or choose another --workdir"
            )
    facts = {
        "seeds": list(problem.settings.seeds),
        "versions": versions(),
        "environment": environment(),
        "revision": revision(),
    }
    write_json(path, {**facts, **document, "hashes": dict(problem.hashes)})


def write_json(path: pathlib.Path, content: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    draft = path.with_name(path.name + ".part")
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


def _differences(old: Any, new: Any, place: str = "config") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in sorted(set(old) | set(new))
            for line in _differences(old.get(key), new.get(key), f"{place}.{key}")
        ]
    return [] if old == new else [f"{place} is {old!r} there and {new!r} here"]
