"""Checks a decision's directory: what its record says against what its tables give, and every file against the manifest.

Each mismatch is named by field or file. Costs, counts of parameters and what was stated once (command, machine, time) are
no function of the tables: the record is held to the cells' and to the manifest's words for them.
"""

import dataclasses
import html
import json
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxtransfer.errors import JaxTransferError, WorkdirError
from jaxtransfer.evaluation import metrics
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import cells, frozen, manifest, record
from jaxtransfer.protocol.acceptance import digest
from jaxtransfer.protocol.differences import differences, leaves, shown
from jaxtransfer.protocol.problem import TUNE
from jaxtransfer.protocol.provenance import versions
from jaxtransfer.protocol.replaying import Replayed, read_json, replay

RELATIVE = 1e-9
"""How far a number may be from the recomputed one: what another machine's rounding makes of the same tables."""
OUTPUTS = ("predictions", "history")
"""Folders that hold copies of the cells' files."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mismatch:
    """A field of the record or a file, and what is wrong with it."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found.

    Attributes:
      workdir: what was checked.
      mismatches: everything that does not match; none, if all does.
      values: values of the record that were recomputed.
      tables: tables they were recomputed from.
      files: files that the manifest lists.
      manifest_digest: SHA-256 of `manifest.json`, None without one.
      notes: what a reader should know of the check itself.
    """

    workdir: pathlib.Path
    mismatches: tuple[Mismatch, ...]
    values: int
    tables: int
    files: int
    manifest_digest: str | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        found = dataclasses.asdict(self)
        return {**found, "workdir": str(self.workdir), "matches": not self.mismatches}


def verify(workdir: pathlib.Path) -> Verification:
    """Checks a decision's directory, and writes nothing.

    Raises:
      WorkdirError: if it holds no record, or one of a schema that has no manifest.
    """
    document = record.read(workdir)
    record.check_schema(document, str(workdir / record.FILE), (record.SCHEMA,))
    listed, found = _read_manifest(workdir)
    stated = manifest.stated(document) if listed is None else listed["record"]["stated"]
    found += [] if listed is None else _against_manifest(workdir, document, listed)
    replayed: Replayed | None = None
    try:
        run, splits = (read_json(workdir / name) for name in ("run.json", "splits.json"))
        found += _run_facts(run, document)
        replayed = replay(workdir, run, splits, stated)
        found += _recomputed(workdir, document, replayed, run, splits)
    except JaxTransferError as error:
        found.append(_stopped(workdir, str(error)))
    # What was edited may have any form; what it breaks is named here, and the file by its digest.
    except KeyError as error:
        found.append(_stopped(workdir, f"the key {error} is missing from one of the files"))
    except (IndexError, TypeError, ValueError, AttributeError) as error:
        found.append(_stopped(workdir, f"{type(error).__name__} {error}"))
    found += _report(workdir, document)
    tables = 0 if replayed is None else len(replayed.runs) + len(replayed.trials)
    return Verification(
        workdir=workdir,
        mismatches=tuple(dict.fromkeys(found)),
        values=0 if replayed is None else leaves(replayed.record),
        tables=tables,
        files=0 if listed is None else len(listed["files"]),
        manifest_digest=None if listed is None else manifest.file_digest(workdir / manifest.FILE),
        notes=_notes(document),
    )


def _read_manifest(workdir: pathlib.Path) -> tuple[dict[str, Any] | None, list[Mismatch]]:
    try:
        return manifest.read(workdir), []
    except WorkdirError as error:
        return None, [Mismatch(place=manifest.FILE, message=str(error))]


def _against_manifest(
    workdir: pathlib.Path, document: Mapping[str, Any], listed: Mapping[str, Any]
) -> list[Mismatch]:
    found = [
        Mismatch(place=name, message=message)
        for name, message in manifest.changes(workdir, listed).items()
    ]
    stated = listed["record"]["stated"]
    found += _compared(manifest.stated(document), stated, "", "manifest")
    own = manifest.digest(document)
    if own != listed["record"]["sha256"]:
        message = f"its digest is {own}, the manifest's {listed['record']['sha256']}"
        found.append(Mismatch(place=record.FILE, message=message))
    return found


def _run_facts(run: Mapping[str, Any], document: Mapping[str, Any]) -> list[Mismatch]:
    """The record against what the run wrote down when it began."""
    same = {
        "config": document.get("config"),
        "hashes": document.get("hashes"),
        "data": document.get("data"),
        "versions": document.get("versions"),
    }
    told = {name: run.get(name) for name in same}
    found = _compared(same, told, "", "run.json")
    config_hash = (document.get("hashes") or {}).get("config")
    return found + _compared(run.get("config_hash"), config_hash, "run.json: config_hash", "record")


def _recomputed(
    workdir: pathlib.Path,
    document: Mapping[str, Any],
    replayed: Replayed,
    run: Mapping[str, Any],
    splits: Mapping[str, Any],
) -> list[Mismatch]:
    found = _compared(document, replayed.record, "", "recomputed")
    decision = read_json(workdir / frozen.DECISION)
    own = {name: decision.get(name) for name in replayed.decision}
    found += _compared(own, replayed.decision, "decision.json: ", "recomputed", of="file")
    hashes = replayed.record["hashes"]
    for name, given, right in (
        ("run.json: config_hash", run.get("config_hash"), hashes["config"]),
        ("run.json: seeds", run.get("seeds"), replayed.record["config"]["seeds"]),
        ("splits.json: hash", splits.get("hash"), hashes["splits"]),
        ("splits.json: seed", splits.get("seed"), run["config"]["splits"]["seed"]),
        ("examples.json: ids", list(read_json(workdir / "examples.json")), replayed.shown),
        *_criterion(replayed),
    ):
        found += _compared(given, right, name, "recomputed", of="file")
    for cell in [*replayed.trials, *(cell for _, cell in replayed.runs)]:
        found += _cell(workdir, cell)
    found += _copies(workdir, replayed)
    return found


def _criterion(replayed: Replayed) -> Iterator[tuple[str, Any, Any]]:
    """The frozen criterion against the config's, and its hash and those of its history against what they are of."""
    held = replayed.ascent.criterion
    config = replayed.record["config"]
    own = {name: config[name] for name in held["criterion"]}
    yield "criterion.json: criterion", held["criterion"], own
    yield "criterion.json: sha256", held["sha256"], digest(held["criterion"])
    history = held["history"]
    for index, change in enumerate(history):
        yield f"criterion.json: history[{index}].from", change["from"], digest(change["old"])
        # Each change leads to the next one, and the last to what stands.
        follows = [*(later["from"] for later in history[index + 1 : index + 2]), held["sha256"]]
        yield f"criterion.json: history[{index}].to", change["to"], follows[0]


def _cell(workdir: pathlib.Path, cell: cells.Cell) -> list[Mismatch]:
    """The tuning metric that a cell states, against its table."""
    if cell.facts["diverged"]:
        return []
    told = cell.facts["tuning"]
    value = metrics.value(cell.predictions.select(TUNE), told["metric"])
    place = f"{(cell.directory / 'cell.json').relative_to(workdir).as_posix()}: tuning.value"
    return _compared(told["value"], value, place, "recomputed", of="file")


def _copies(workdir: pathlib.Path, replayed: Replayed) -> Iterator[Mismatch]:
    """The files at the top that are copies of cells': predictions, histories, the chosen rung's adapter."""
    for name, cell in replayed.runs:
        for folder, suffix in zip(OUTPUTS, ("npz", "jsonl")):
            copy = workdir / folder / f"{name}-seed{cell.facts['seed']}.{suffix}"
            yield from _is_copy(workdir, copy, cell.directory / f"{folder}.{suffix}")
    members = [cell for name, cell in replayed.runs if name == replayed.members_of]
    folders = {workdir / "adapter": members[0]}
    if replayed.members_of != replayed.decision["chosen"]:
        folders = {workdir / "adapters" / f"seed{cell.facts['seed']}": cell for cell in members}
    for target, cell in folders.items():
        source = cell.directory / "adapter"
        for file in sorted({path.name for each in (source, target) for path in each.glob("*")}):
            yield from _is_copy(workdir, target / file, source / file)


def _is_copy(workdir: pathlib.Path, copy: pathlib.Path, source: pathlib.Path) -> Iterator[Mismatch]:
    place, of = (path.relative_to(workdir).as_posix() for path in (copy, source))
    for path, name in ((copy, place), (source, of)):
        if not path.is_file():
            yield Mismatch(place=name, message="missing")
            return
    if not _is_same(copy, source):
        yield Mismatch(place=place, message=f"is not the same as {of}")


def _is_same(copy: pathlib.Path, source: pathlib.Path) -> bool:
    """Whether two files have the same bytes, or hold the same predictions: a copy may have groups of its own."""
    if manifest.file_digest(copy) == manifest.file_digest(source):
        return True
    if copy.suffix != ".npz":
        return False
    one, other = Predictions.load(copy), Predictions.load(source)
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("ids", "labels", "logits", "classes", "split")
    )


def _report(workdir: pathlib.Path, document: Mapping[str, Any]) -> list[Mismatch]:
    """The record that the report embeds; how it is drawn is held by the file's digest alone."""
    path = workdir / "report.html"
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    embedded = re.search(r'<script type="application/json" id="record">(.*?)</script>', text, re.S)
    again = f"write it anew: jaxtransfer report {workdir}"
    try:
        held = json.loads(html.unescape(embedded[1])) if embedded else None
    except ValueError:
        held = None
    if held == document:
        return []
    return [Mismatch(place="report.html", message=f"holds another record; {again}")]


def _compared(
    first: Any, second: Any, place: str, name: str, *, of: str = "record"
) -> list[Mismatch]:
    is_file = place.endswith(": ")
    return [
        Mismatch(
            place=f"{place}{one.place}" if is_file else one.place,
            message=f"{of} {shown(one.first)}, {name} {shown(one.second)}",
        )
        for one in differences(first, second, "" if is_file else place, relative=RELATIVE)
    ]


def _stopped(workdir: pathlib.Path, reason: str) -> Mismatch:
    shorter = reason.replace(f"{workdir}/", "")
    return Mismatch(place="recomputation", message=f"it stopped: {shorter}")


def _notes(document: Mapping[str, Any]) -> tuple[str, ...]:
    told = document.get("versions")
    here = versions()
    other = [
        f"{name} {told.get(name)} there and {version} here"
        for name, version in here.items()
        if isinstance(told, Mapping) and told.get(name) != version
    ]
    if not other:
        return ()
    return (f"recomputed with other versions ({', '.join(other)}): last digits may differ by them",)
