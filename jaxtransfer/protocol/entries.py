"""What a folder of work directories holds: decisions, single runs, sweeps and ablations, what is not finished, and what cannot be read.

Each decision is reduced to the facts that an index shows and counts; nothing is skipped in silence.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from jaxtransfer import json_text
from jaxtransfer.errors import WorkdirError
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.protocol import account, manifest, record
from jaxtransfer.protocol.past_records import conditions
from jaxtransfer.protocol.report.contents import DIAGNOSIS, TEST, check_record
from jaxtransfer.protocol.report.diagnosis_form import foreign, is_diagnosis
from jaxtransfer.protocol.sweep_summary import sentences
from jaxtransfer.protocol.workdir import RESULTS, RUN

EXAMINATION = "examination.json"
Interval = tuple[float, float] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rung:
    """A rung of a decision, with its test value and what it gained over the linear probe there.

    Attributes:
      gain: paired difference to the probe in the metric's units, positive where the rung is better; None for the probe,
        and where the two were not compared.
      is_distinct: whether that difference is distinguishable from none.
    """

    name: str
    method: str
    trainable: int
    seconds: float
    value: float | None
    ci: Interval
    decision: str
    gain: float | None = None
    gain_ci: Interval = None
    is_distinct: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decision:
    """A finished ladder.

    Attributes:
      input: `text`, `image` or `array`.
      labels_per_class: training examples of the smallest class; of an older record, the mean over classes.
      imbalance: examples of the largest class over those of the smallest, in all data.
      record_hash: of the record; the same record in two places is one decision.
      data_hash: of the data; decisions on the same data are not independent.
      recommended: rungs of its `diagnosis.json`, the one to try first in front; None without one of what was decided on.
      examination: sentences of its `examination.json`; None without one.
      is_sealed: whether its record is the one that its manifest was written for; an older record has no manifest.
    """

    directory: pathlib.Path
    name: str
    created: str
    question: str
    conclusion: tuple[str, ...]
    rationale: tuple[str, ...]
    limits: tuple[str, ...]
    command: str
    hashes: Mapping[str, str]
    metric: str
    confidence: float
    chosen: Rung
    rungs: tuple[Rung, ...]
    model: str
    input: str
    labels_per_class: float
    classes: int
    train: int
    imbalance: float
    seeds: int
    record_hash: str
    data_hash: str
    recommended: tuple[str, ...] | None
    examination: tuple[str, ...] | None
    is_sealed: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class SingleRun:
    """One rung that `train` trained; its test split is not looked at here."""

    directory: pathlib.Path
    name: str
    rung: str
    seed: int
    learning_rate: float | None
    metric: str
    tuning: float | None
    trainable: int
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """A sweep or an ablation that is finished, with the first sentence of what it found; it decides nothing."""

    directory: pathlib.Path
    name: str
    verb: str
    found: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unfinished:
    """A run whose end is missing, with the cells that are there."""

    directory: pathlib.Path
    name: str
    verb: str
    cells: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Damaged:
    """A directory that holds something of a run which cannot be read or is not what its manifest says."""

    directory: pathlib.Path
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copy:
    """A directory whose record is that of an earlier one."""

    directory: pathlib.Path
    of: pathlib.Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entries:
    """All that a folder holds, each kind in the order of its path; the same record is one decision and copies of it."""

    decisions: tuple[Decision, ...]
    runs: tuple[SingleRun, ...]
    searches: tuple[Search, ...]
    unfinished: tuple[Unfinished, ...]
    damaged: tuple[Damaged, ...]
    copies: tuple[Copy, ...] = ()


Entry = Decision | SingleRun | Search | Unfinished | Damaged


def find(root: pathlib.Path) -> Entries:
    """Reads every work directory under a folder, itself included.

    Raises:
      WorkdirError: if there is no such folder, or it holds none.
    """
    if not root.is_dir():
        raise WorkdirError(f"there is no folder {root}")
    found = [read(directory) for directory in _directories(root)]
    if not found:
        raise WorkdirError(
            f"{root} holds no record and no run: give the folder of your work directories"
        )
    decisions = [one for one in found if isinstance(one, Decision)]
    first: dict[str, Decision] = {}
    for one in decisions:
        first.setdefault(one.record_hash, one)
    return Entries(
        decisions=tuple(first.values()),
        runs=tuple(one for one in found if isinstance(one, SingleRun)),
        searches=tuple(one for one in found if isinstance(one, Search)),
        unfinished=tuple(one for one in found if isinstance(one, Unfinished)),
        damaged=tuple(one for one in found if isinstance(one, Damaged)),
        copies=tuple(
            Copy(directory=one.directory, of=first[one.record_hash].directory)
            for one in decisions
            if first[one.record_hash] is not one
        ),
    )


def read(directory: pathlib.Path) -> Entry:
    """What one work directory holds; Damaged, with the reason, if it cannot be read."""
    try:
        if (directory / record.FILE).is_file():
            return _decision(directory)
        if (directory / RUN).is_file():
            return _run(directory)
        raise WorkdirError(f"an examination without its record: {record.FILE} is missing")
    except WorkdirError as error:
        return Damaged(directory=directory, reason=str(error).replace(f"{directory}/", ""))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OSError) as error:
        # A file that was edited by hand may have any form.
        return Damaged(
            directory=directory,
            reason=f"a value is missing or of another kind ({type(error).__name__}: {error})",
        )


def _directories(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """The folders that hold a record, a run or an examination; what is inside of one is its own."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if {record.FILE, RUN, EXAMINATION} & set(names):
            folders.clear()
            yield pathlib.Path(folder)


def _decision(directory: pathlib.Path) -> Decision:
    document = record.read(directory)
    check_record(document, directory / record.FILE)
    rungs = _rungs(document)
    counts = [int(count) for count in document["data"]["classes"].values()]
    told = document if document["schema"] > 1 else _older(document)
    kind, labels = conditions(document)
    return Decision(
        directory=directory,
        name=str(document["name"]),
        created=str(document["created"]),
        question=str(told["question"]),
        conclusion=_sentences(document["conclusion"]),
        rationale=_sentences(told["rationale"]),
        limits=_sentences(told["limits"]),
        command=str(document["command"]),
        hashes={name: str(value) for name, value in document["hashes"].items()},
        metric=str(document["task"]["metric"]),
        confidence=float(document["task"]["confidence"]),
        chosen=next(rung for rung in rungs if rung.name == document["chosen"]),
        rungs=rungs,
        model=pathlib.PurePath(str(document["config"]["model"]["uri"])).name,
        input=kind,
        labels_per_class=labels,
        classes=len(document["task"]["classes"]),
        train=int(document["data"]["splits"]["train"]),
        imbalance=max(counts) / min(counts),
        seeds=len(document["config"]["seeds"]),
        record_hash=manifest.digest(document),
        data_hash=str(document["hashes"]["data"]),
        recommended=_recommended(directory / DIAGNOSIS, document["hashes"]),
        examination=_examination(directory / EXAMINATION),
        is_sealed=_check_seal(directory, document),
    )


def _older(document: Mapping[str, Any]) -> dict[str, Any]:
    """The account of a record that was written without one."""
    return {
        "question": account.question(document),
        "rationale": account.rationale(document),
        "limits": account.limits(document),
    }


def _check_seal(directory: pathlib.Path, document: Mapping[str, Any]) -> bool:
    # An older record was written without a manifest; where one stands beside it, it is no older record.
    if document["schema"] < record.SCHEMA and not (directory / manifest.FILE).is_file():
        return False
    if manifest.read(directory)["record"]["sha256"] != manifest.digest(document):
        raise WorkdirError(
            f"{record.FILE} is not the one that {manifest.FILE} was written for: see which fields with jaxtransfer"
            f" verify {directory}"
        )
    return True


def _rungs(document: Mapping[str, Any]) -> tuple[Rung, ...]:
    metric = document["task"]["metric"]
    sign = 1.0 if definition(metric).maximise else -1.0
    methods = {rung["name"]: _method(rung) for rung in document["rungs"]}
    gains = {
        pair["a"]: pair
        for pair in document["comparisons"]
        if methods[pair["b"]] == "linear_probe" and pair["value"] is not None
    }
    found = []
    for rung in document["rungs"]:
        measured = rung["metrics"][TEST][metric]
        pair = gains.get(rung["name"])
        gain_ci = None if pair is None else _interval(pair["ci"])
        if gain_ci is not None and sign < 0:
            gain_ci = -gain_ci[1], -gain_ci[0]
        found.append(
            Rung(
                name=str(rung["name"]),
                method=methods[rung["name"]],
                trainable=int(rung["trainable"]),
                seconds=float(rung["cost"]["seconds"]),
                value=None if measured["value"] is None else float(measured["value"]),
                ci=_interval(measured["ci"]),
                decision=str(rung["decision"]),
                gain=None if pair is None else sign * pair["value"],
                gain_ci=gain_ci,
                is_distinct=pair is not None and bool(pair["distinguishable"]),
            )
        )
    return tuple(found)


def _method(rung: Mapping[str, Any]) -> str:
    return str(rung["method"].get("method", rung["name"]))


def _interval(ci: Any) -> Interval:
    return None if ci is None else (float(ci[0]), float(ci[1]))


def _sentences(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list of sentences")
    return tuple(str(sentence) for sentence in value)


def _recommended(path: pathlib.Path, hashes: Mapping[str, str]) -> tuple[str, ...] | None:
    document = _json(path) if path.is_file() else {}
    if not is_diagnosis(document):
        return None
    found = document.get("recommended")
    first, rungs = (found["first"], found["rungs"]) if isinstance(found, dict) else (None, [])
    if not isinstance(first, str) or not isinstance(rungs, list) or first not in rungs:
        raise WorkdirError(
            f"{path.name} is damaged: 'recommended' does not name rungs and the first to try: {found!r}"
        )
    if foreign(document, hashes):
        return None
    return (first, *(str(name) for name in rungs if name != first))


def _examination(path: pathlib.Path) -> tuple[str, ...] | None:
    if not path.is_file():
        return None
    found = _json(path)
    return (f"Of rung {found['rung']}, on {found['split']}:", *_sentences(found["summary"]))


def _run(directory: pathlib.Path) -> SingleRun | Search | Unfinished:
    facts = _json(directory / RUN)
    verb, name = str(facts["verb"]), str(facts["config"]["name"])
    if verb in RESULTS and (directory / RESULTS[verb]).is_file():
        result = _json(directory / RESULTS[verb])
        said = sentences(result) if verb == "sweep" else _sentences(result["conclusion"])
        return Search(directory=directory, name=name, verb=verb, found=said[0])
    cells = sorted((directory / "cells").glob("*/*/cell.json"))
    if verb != "train" or not cells:
        return Unfinished(directory=directory, name=name, verb=verb, cells=len(cells))
    cell = _json(cells[0])
    rate, tuning = cell["learning_rate"], cell["tuning"]["value"]
    return SingleRun(
        directory=directory,
        name=name,
        rung=str(cell["rung"]),
        seed=int(cell["seed"]),
        learning_rate=None if rate is None else float(rate),
        metric=str(cell["tuning"]["metric"]),
        tuning=None if tuning is None else float(tuning),
        trainable=int(cell["trainable"]),
        seconds=float(cell["wall_seconds"]),
    )


def _json(path: pathlib.Path) -> dict[str, Any]:
    try:
        found = json_text.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WorkdirError(f"{path.name} is damaged: {error}") from None
    if not isinstance(found, dict):
        raise WorkdirError(f"{path.name} is damaged: it holds no JSON object")
    return found
