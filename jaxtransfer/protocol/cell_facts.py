"""`cell.json`: what one run of one rung says of itself, checked where it is read."""

import pathlib
from collections.abc import Mapping
from typing import Annotated, Any

from jaxtransfer import json_text
from jaxtransfer.checking import Interval, check_document
from jaxtransfer.errors import ConfigError, WorkdirError

FILE, HISTORY = "cell.json", "history.jsonl"
TRIAL, RUN = "tune", "run"
"""Purposes of a ladder's cells: trials of learning rates, and runs of seeds."""

_Amount = Annotated[float, Interval(0)]
_Whole = Annotated[int, Interval(0)]
KINDS: Mapping[str, Any] = {
    "rung": str,
    "learning_rate": Annotated[float, Interval(0, open_low=True)] | None,
    "seed": _Whole,
    "method": Mapping[str, Any],
    "rules": tuple[tuple[str, ...], ...],
    "trainable": _Whole,
    "steps": _Whole,
    "cost": {"seconds": _Amount, "flops": _Amount, "peak_bytes": _Amount},
    "tuning": {"metric": str, "value": float | None},
    "diverged": str,
    "wall_seconds": _Amount,
}


def cell_name(rung: str, learning_rate: float | None, seed: int, purpose: str) -> str:
    """Directory of a cell inside `cells/`."""
    rate = "" if learning_rate is None else f"-lr{learning_rate!r}"
    return f"{rung}/{purpose}{rate}-seed{seed}"


def read(directory: pathlib.Path) -> dict[str, Any]:
    """The facts of a finished cell.

    Raises:
      WorkdirError: if they are damaged or another cell's, naming file and key.
    """
    path = directory / FILE
    try:
        facts = json_text.loads(path.read_text(encoding="utf-8"))
        check_document(facts, KINDS)
        _check_own(directory, facts)
    except (ValueError, ConfigError) as error:
        raise WorkdirError(f"{path} is damaged: {error}; {again(directory)}") from None
    return facts


def check_history(directory: pathlib.Path) -> None:
    """Finds whether every line of a cell's history is a JSON object.

    Raises:
      WorkdirError: naming file and line.
    """
    path = directory / HISTORY
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            is_row = isinstance(json_text.loads(line.decode("utf-8")), dict)
        except ValueError:
            is_row = False
        if not is_row:
            raise WorkdirError(f"{path} is damaged in line {number}; {again(directory)}")


def again(directory: pathlib.Path) -> str:
    """What to do about a damaged cell."""
    return f"remove the directory {directory}, and the same command makes it anew"


def _check_own(directory: pathlib.Path, facts: Mapping[str, Any]) -> None:
    """The directory's name says rung, purpose, seed, and of a ladder's cell the learning rate."""
    purpose = directory.name.partition("-")[0]
    rate = facts["learning_rate"]
    if purpose in (TRIAL, RUN):
        own = cell_name(facts["rung"], rate, facts["seed"], purpose)
    else:
        own = f"{facts['rung']}/{directory.name.rpartition('-')[0]}-seed{facts['seed']}"
    if own != f"{directory.parent.name}/{directory.name}":
        raise ConfigError(
            f"rung {facts['rung']!r}, learning_rate {rate!r} and seed {facts['seed']} are not those of its directory"
        )
    if facts["diverged"] and (purpose == RUN or facts["tuning"]["value"] is not None):
        raise ConfigError("diverged holds a text, but the cell has a result")
