"""The criterion frozen before anything runs: `criterion.json` holds it with its hash, and every later change of it."""

import datetime
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from jaxtransfer.errors import WorkdirError
from jaxtransfer.protocol.acceptance import digest
from jaxtransfer.protocol.differences import in_words
from jaxtransfer.protocol.settings import LadderSettings
from jaxtransfer.protocol.workdir import finished_cells, write_json

FILE = "criterion.json"
DECISION = "decision.json"
"""Written just before test predictions are read: where it stands, they may have been."""


def freeze(workdir: pathlib.Path, settings: LadderSettings) -> dict[str, Any]:
    """Writes the criterion of a run, or finds it there; one that changed since goes into the history.

    Returns:
      What the file holds: `sha256`, `frozen` (when), `criterion`, and `history`: an entry a change,
      with `from` and `to` (hashes), `old` (the criterion before), `changed` (in words), `when`,
      `cells_finished` and `test_read`, whether test predictions may have been read by then.

    Raises:
      WorkdirError: if runs are finished and the file is missing, or if it is damaged or was edited.
    """
    path = workdir / FILE
    criterion = settings.criterion
    finished = finished_cells(workdir)
    found = _read(path)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    fresh = {"sha256": digest(criterion), "frozen": now, "criterion": criterion, "history": []}
    if not finished:
        # Nothing has run: there is nothing that the criterion could have been fitted to.
        if found is None or found["sha256"] != fresh["sha256"]:
            found = fresh
            write_json(path, found)
        return found
    if found is None:
        raise WorkdirError(
            f"{path} is missing, though {finished} runs are finished: the criterion they were begun with is unknown;"
            " restore it, or choose another --workdir"
        )
    if found["sha256"] == fresh["sha256"]:
        return found
    change = {
        "from": found["sha256"],
        "to": fresh["sha256"],
        "old": found["criterion"],
        "changed": in_words(found["criterion"], criterion, "criterion"),
        "when": now,
        "cells_finished": finished,
        "test_read": (workdir / DECISION).is_file(),
    }
    found = {**fresh, "history": [*found["history"], change]}
    write_json(path, found)
    return found


def sentence(frozen: Mapping[str, Any]) -> str | None:
    """What a reader has to know of a criterion that changed; None if it did not."""
    history = frozen["history"]
    if not history:
        return None
    changes = "; ".join(text for change in history for text in change["changed"])
    runs = min(change["cells_finished"] for change in history)
    read = any(change["test_read"] for change in history)
    after = (
        "after test predictions could have been read"
        if read
        else "before test predictions were read"
    )
    times = "once" if len(history) == 1 else f"{len(history)} times"
    return (
        f"The criterion was changed {times} since it was frozen, with {runs} or more runs finished, and {after}:"
        f" {changes}."
    )


def _read(path: pathlib.Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text())
        missing = {"sha256", "frozen", "criterion", "history"} - set(found)
        if missing:
            raise ValueError(f"it lacks {sorted(missing)}")
    except (ValueError, TypeError) as error:
        raise WorkdirError(f"{path} is damaged ({error}); choose another --workdir") from error
    if digest(found["criterion"]) != found["sha256"]:
        raise WorkdirError(
            f"{path} was edited: its criterion has the hash {digest(found['criterion'])[:12]}, and it says"
            f" {found['sha256'][:12]}; restore it, or choose another --workdir"
        )
    return found
