"""The flat facts of a task, by name: what preconditions of rungs are about, and by which tasks are called similar."""

import json
import math
import operator
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxtransfer.errors import ConfigError, nearest
from jaxtransfer.protocol.conclusion import listed
from jaxtransfer.protocol.problem import TRAIN, Problem
from jaxtransfer.protocol.report.contents import read_diagnosis
from jaxtransfer.protocol.report.diagnosis_form import foreign
from jaxtransfer.protocol.sections import RungSettings

Fact = str | int | float | None
"""None is a fact that is undefined: no precondition on it holds."""
COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}


def facts_of(problem: Problem) -> dict[str, Fact]:
    """What the data are, before anything is trained.

    Returns:
      `input` (`text`, `image` or `array`), `classes`, `total` (examples as they were found), sizes of
      the splits by name, `labels_per_class` (training examples of the smallest class), `imbalance`
      (largest class over smallest, of all examples), `duplicates_removed`,
      `conflicting_duplicates`, and `truncated_share` of documents that the encoder cuts.
    """
    card = problem.card
    counts = list(card["classes"].values())
    raw = problem.table.inputs[0]
    kind = "text" if isinstance(raw, str) else "image" if np.ndim(raw) >= 2 else "array"
    trained = np.bincount(problem.examples[TRAIN].labels, minlength=len(problem.classes))
    cut = card["truncated"]
    return {
        "input": kind,
        "classes": len(problem.classes),
        "total": card["total"],
        **card["splits"],
        "labels_per_class": int(trained.min()),
        "imbalance": max(counts) / max(1, min(counts)),
        "duplicates_removed": card["duplicates_removed"],
        "conflicting_duplicates": card["conflicting_duplicates"],
        "truncated_share": None if cut is None else cut["examples"] / cut["of"],
    }


def with_diagnosis(
    facts: Mapping[str, Fact], path: str | None, hashes: Mapping[str, str]
) -> dict[str, Fact]:
    """The facts with those of a diagnosis or of a plain file of facts, if it is there.

    What the file calls `facts` keeps its names; its other scalars are named by their keys, joined by `/`.

    Args:
      facts: of the data.
      path: of the file.
      hashes: of data, splits and base weights. A diagnosis has to be of these: noise and stages are the
        backbone's, and of other splits it may have read the labels that decide or test here.

    Raises:
      ConfigError: if the file is no JSON object, holds a number that is not finite, is a diagnosis of something else,
        or says something else of the data than the data do.
      WorkdirError: if it is a damaged diagnosis.
    """
    if path is None or not pathlib.Path(path).is_file():
        return dict(facts)
    try:
        document = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"config.diagnosis {path!r} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"config.diagnosis {path!r} holds no JSON object")
    diagnosis = read_diagnosis(pathlib.Path(path))
    other = () if diagnosis is None else foreign(diagnosis, hashes)
    if other:
        raise ConfigError(
            f"config.diagnosis {path!r} is of {listed(other)}: diagnose what this ladder is of, or leave it out"
        )
    own = document.pop("facts", {})
    found = dict(_flat({**document, **(own if isinstance(own, dict) else {})}))
    for name, fact in found.items():
        if isinstance(fact, float) and not math.isfinite(fact):
            raise ConfigError(
                f"config.diagnosis {path!r}: {name} is {fact}, which is no finite number"
            )
    for name in sorted(set(found) & set(facts)):
        if found[name] != facts[name]:
            raise ConfigError(
                f"config.diagnosis {path!r} is of other data: {name} is {found[name]!r} there and {facts[name]!r}"
                " here; diagnose these data"
            )
    return {**found, **facts}


def unmet(rung: RungSettings, facts: Mapping[str, Fact], diagnosis: str | None) -> str | None:
    """Why a rung's preconditions do not hold; None if they do.

    Raises:
      ConfigError: if one is about a fact that there is not (naming the nearest), or compares a text
        with a number.
    """
    failed = []
    for name, (sign, wanted) in rung.when.items():
        place = f"config.methods.{rung.name}.when.{name}"
        if name not in facts:
            read = diagnosis is not None and pathlib.Path(diagnosis).is_file()
            where = f"config.diagnosis {diagnosis!r} is {'read' if read else 'not there'}"
            raise ConfigError(f"{place} is no fact; nearest: {nearest(name, facts)} ({where})")
        fact = facts[name]
        if fact is None:
            failed.append(f"{name} is undefined, and should be {sign} {wanted!r}")
        elif isinstance(fact, str) != isinstance(wanted, str):
            raise ConfigError(f"{place} compares {fact!r} with {wanted!r}: text with a number")
        elif not COMPARE[sign](fact, wanted):
            failed.append(f"{name} is {fact!r}, and should be {sign} {wanted!r}")
    return "; ".join(failed) or None


def _flat(document: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Fact]]:
    found: list[tuple[str, Fact]] = []
    for key, value in document.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}/")
        elif value is None or isinstance(value, str | int | float):
            found.append((f"{prefix}{key}", value))
    return found
