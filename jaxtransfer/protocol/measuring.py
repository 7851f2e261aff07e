"""Measures predictions that a run has written: one table, or all of a work directory, split by split."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxtransfer import json_text
from jaxtransfer.errors import WorkdirError
from jaxtransfer.evaluation.definition import Definition, Measured
from jaxtransfer.evaluation.metrics import measure
from jaxtransfer.evaluation.rows import Rows, concatenate
from jaxtransfer.evaluation.tables import load_table
from jaxtransfer.protocol.problem import ACCEPT, TUNE
from jaxtransfer.protocol.record import search_of

VALIDATION = "validation"
BOTH_HALVES = (
    f"{VALIDATION} is its halves {TUNE} and {ACCEPT} together: learning rates were chosen on {TUNE},"
    f" which makes it look too good; {ACCEPT} alone does not"
)


def is_halved(table: Rows, split: str | None) -> bool:
    """Whether `validation` is asked of a table that holds it as the two halves of a ladder."""
    names = set() if table.split is None else set(table.split.tolist())
    return split == VALIDATION and VALIDATION not in names and {TUNE, ACCEPT} <= names


def rows_of(table: Rows, split: str | None) -> Rows:
    """The rows of one split, or all rows where `split` is None; `validation` may be both halves.

    Raises:
      EvaluationError: if the table has no such split, naming those it has.
    """
    if is_halved(table, split):
        return concatenate([table.select(half) for half in (TUNE, ACCEPT)])
    return table if split is None else table.select(split)


def measure_split(
    table: Rows,
    split: str | None,
    metrics: Sequence[str | Definition] | None = None,
    *,
    confidence: float = 0.95,
) -> dict[str, Measured]:
    """Measures the rows of one split, or all rows of a table where `split` is None.

    `validation` is both halves where a ladder has cut it in two; the definitions then say so.

    Raises:
      EvaluationError: if the table has no such split, naming those it has.
    """
    measured = measure(rows_of(table, split), metrics, confidence=confidence)
    if not is_halved(table, split):
        return measured
    return {
        name: dataclasses.replace(value, definition=f"{value.definition}; {BOTH_HALVES}")
        for name, value in measured.items()
    }


def measure_tables(
    tables: Sequence[Rows],
    split: str | None = None,
    metrics: Sequence[str | Definition] | None = None,
    *,
    confidence: float = 0.95,
) -> dict[str, dict[str, Measured]]:
    """Measures each split of each table, or one split of them: `<table>#<split>` to its metrics."""
    measured: dict[str, dict[str, Measured]] = {}
    for table in tables:
        if split is not None:
            names: list[str] = [split]
        else:
            names = [] if table.split is None else list(dict.fromkeys(table.split.tolist()))
        for name in names:
            measured[f"{table.source}#{name}"] = measure_split(
                table, name, metrics, confidence=confidence
            )
        if not names:
            measured[table.source] = measure_split(table, None, metrics, confidence=confidence)
    return measured


def load_tables(path: pathlib.Path) -> list[Rows]:
    """The predictions of a file, or of every run in a work directory.

    Raises:
      WorkdirError: if a directory holds none, or not all that its ladder has run.
      EvaluationError: if a file cannot be read.
    """
    if not path.is_dir():
        return [load_table(path)]
    _check_whole(path)
    found = sorted((path / "predictions").glob("*.npz"))
    if not found:
        searched = search_of(path, (read_json(path / "run.json") or {}).get("verb"))
        if searched is not None:
            raise WorkdirError(f"{path} holds {searched}")
        raise WorkdirError(f"{path} holds no predictions/*.npz; is the run finished?")
    return [load_table(file) for file in found]


def _check_whole(workdir: pathlib.Path) -> None:
    """Finds a ladder that has not finished, or whose tables are not all there any more.

    Raises:
      WorkdirError: naming the file that is missing or damaged.
    """
    record = read_json(workdir / "record.json")
    if record is None:
        run = read_json(workdir / "run.json")
        if run is not None and run.get("verb") == "ladder":
            raise WorkdirError(
                f"{workdir / 'record.json'} is missing: the ladder has not finished. Run the same"
                " command again, it goes on from there; or evaluate its tables one by one"
            )
        return
    for rung in record.get("rungs", ()):
        for seed in rung["seeds"]:
            table = workdir / "predictions" / f"{rung['name']}-seed{seed}.npz"
            if not table.is_file():
                raise WorkdirError(
                    f"{table} is missing, which {workdir / 'record.json'} counts: run the ladder on"
                    f" {workdir} again to complete it"
                )


def read_json(path: pathlib.Path) -> dict[str, Any] | None:
    """The JSON object of a run's file, or None if it is not there; WorkdirError if it is damaged."""
    if not path.is_file():
        return None
    try:
        found = json_text.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WorkdirError(f"{path} is damaged: {error}") from None
    if not isinstance(found, dict):
        raise WorkdirError(f"{path} is damaged: it holds no JSON object")
    return found
