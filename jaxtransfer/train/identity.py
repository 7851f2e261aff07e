"""What a training run is, so that a work directory resumes it and refuses every other."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from jaxtransfer.adapt.adapted import Adapted
from jaxtransfer.data.examples import RandomAccess
from jaxtransfer.data.stream import Augment
from jaxtransfer.errors import WorkdirError
from jaxtransfer.objectives.terms import Objective
from jaxtransfer.pretrained.fingerprint import fingerprint
from jaxtransfer.train.recipe import Recipe


def identity_of(
    adapted: Adapted,
    streams: Mapping[str, RandomAccess],
    objective: Objective,
    recipe: Recipe,
    seed: int,
    validation: RandomAccess | None,
    augment: Mapping[str, Augment],
) -> dict[str, Any]:
    """What shapes a run's outcome, as JSON values: it is the same in each process that works on it."""
    return {
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "module": _text(adapted.model.module),
        "method": adapted.method.describe(),
        "statistics": adapted.statistics,
        "objective": {term.name: _text(term) for term in objective.terms},
        "augment": {name: _text(function) for name, function in augment.items()},
        "streams": {name: streams[name].fingerprint for name in objective.streams},
        "validation": None if validation is None else validation.fingerprint,
        "variables": fingerprint(adapted.variables),
    }


def check_identity(path: pathlib.Path, identity: Mapping[str, Any]) -> None:
    """Finds whether a run is the one that a file describes.

    Raises:
      WorkdirError: if it is another, naming what differs; or if the file is damaged.
    """
    found, wanted = _flat(_read(path)), _flat(json.loads(json.dumps(identity)))
    differing = [key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)]
    if differing:
        shown = "; ".join(
            f"{key} is {_short(wanted.get(key))}, there it is {_short(found.get(key))}"
            for key in differing
        )
        raise WorkdirError(
            f"{path.parent} belongs to another run: {shown}. Give another work directory, or the"
            " settings it was made with"
        )


def _text(value: Any) -> str:
    # An address is another one in each process.
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise ValueError("it is no mapping")
    except ValueError as error:
        raise WorkdirError(
            f"{path} is damaged ({error}); restore it, or remove the work directory to start again"
        ) from error
    return found


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
