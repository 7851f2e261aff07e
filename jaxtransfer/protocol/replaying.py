"""Decides a finished ladder again from what its directory holds: no data, no weights and no training.

It runs the functions that wrote the record on the tables that the cells left, and gives the record they imply.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer import json_text
from jaxtransfer.errors import WorkdirError
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import account, cells, deciding, frozen, plan
from jaxtransfer.protocol.acceptance import guards_of
from jaxtransfer.protocol.climbing import Climbed, choose_rate, gather
from jaxtransfer.protocol.deciding import Ascent, Tables
from jaxtransfer.protocol.problem import Statement, splits_hash, task_of
from jaxtransfer.protocol.sections import RungSettings
from jaxtransfer.protocol.serving_figures import Serving, is_needed, kept
from jaxtransfer.protocol.settings import LadderSettings, from_json


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Replayed:
    """What a ladder's directory implies.

    Attributes:
      record: the record, as JSON would hold it.
      decision: chosen rung, verdicts and hashes, as `decision.json` holds them.
      shown: ids of the test examples that `examples.json` shows.
      ascent: what was climbed, with the cells of its runs.
      members_of: the rung whose seeds a chosen ensemble averages; else the chosen one.
      trials: the cells of its trials of learning rates.
    """

    record: dict[str, Any]
    decision: dict[str, Any]
    shown: list[str]
    ascent: Ascent
    members_of: str
    trials: Sequence[cells.Cell]

    @property
    def runs(self) -> list[tuple[str, cells.Cell]]:
        """Name of the rung and cell of each run, those of references too."""
        every = (*self.ascent.climbed, *self.ascent.references)
        return [(item.rung.name, cell) for item in every for cell in item.cells]


def replay(
    workdir: pathlib.Path,
    run: Mapping[str, Any],
    splits: Mapping[str, Any],
    stated: Mapping[str, Any],
) -> Replayed:
    """Decides again.

    Args:
      workdir: of a finished ladder.
      run: `run.json`.
      splits: `splits.json`.
      stated: what no table implies: `command`, `created`, `environment`, `versions`, `revision`, and of the `plan` the
        facts of the task, what the budget forbade and what it spent.

    Raises:
      WorkdirError: if a cell or another file is missing or damaged.
      JaxTransferError: if settings or tables are not what they must be.
    """
    _check_keys(run, "run.json", ("config", "data", "hashes"))
    _check_keys(splits, "splits.json", ("ids",))
    settings = from_json(run["config"])
    trials, ascent = _ascent(settings, workdir, stated["plan"])
    ids = splits["ids"]
    problem = Statement(
        settings=settings,
        task=task_of(settings, ascent.climbed[0].cells[0].predictions.classes),
        card={**run["data"], "splits": {name: len(each) for name, each in ids.items()}},
        hashes={**run["hashes"], "splits": splits_hash(ids), "config": settings.hash},
    )
    groups = _groups(settings, workdir, ascent.climbed[0])
    climbed, references = (
        {item.rung.name: item.tables(groups) for item in each}
        for each in (ascent.climbed, ascent.references)
    )
    _check_splits({**climbed, **references}, ids)
    decided = deciding.settle(problem, ascent, climbed)
    tables = deciding.with_all(ascent, decided, climbed, references)
    document = deciding.assemble(problem, ascent, decided, tables, stated["command"])
    document |= {name: stated[name] for name in ("created", "environment", "versions")}
    # The account's sentences rest on what is stated too.
    document["limits"] = account.limits(document)
    document["reproduce"] = account.reproduction(document, stated["revision"])
    return Replayed(
        record=_plain(document),
        decision=_plain(decided.to_json(problem, ascent)),
        shown=deciding.shown_examples(tables[decided.chosen]),
        ascent=ascent,
        members_of=decided.members_of,
        trials=trials,
    )


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """A file of the directory that holds a JSON object.

    Raises:
      WorkdirError: if it is missing or damaged.
    """
    if not path.is_file():
        raise WorkdirError(f"{path.name} is missing")
    try:
        found = json_text.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WorkdirError(f"{path.name} is damaged: {error}") from None
    if not isinstance(found, dict):
        raise WorkdirError(f"{path.name} is damaged: it holds no JSON object")
    return found


def _check_keys(found: Mapping[str, Any], name: str, keys: Sequence[str]) -> None:
    for key in keys:
        if key not in found:
            raise WorkdirError(f"{name} lacks the key {key!r}")


def _plain(document: Any) -> Any:
    return json.loads(json.dumps(document, allow_nan=False))


def _ascent(
    settings: LadderSettings, workdir: pathlib.Path, told: Mapping[str, Any]
) -> tuple[list[cells.Cell], Ascent]:
    """The trials, and what was climbed by the plan that the directory and the record tell of."""
    begun = read_json(workdir / plan.FILE)
    _check_keys(begun, plan.FILE, plan.BEGUN)
    because, missing = begun["because"], begun["missing"]
    skipped = {one["rung"]: one["reason"] for one in told["skipped"]}
    over = {name: why for name, why in skipped.items() if name not in missing}
    not_run = {one["rung"]: one["reason"] for one in told["not_run"]}
    by_name = {rung.name: rung for rung in settings.rungs}
    planned = tuple(by_name[name] for name in because if name not in over)
    trials: list[cells.Cell] = []
    climbed: list[Climbed] = []
    references: list[Climbed] = []
    for rungs, found in ((planned, climbed), (settings.references, references)):
        for rung in rungs:
            if not rung.is_ensemble and rung.name not in {*missing, *over, *not_run}:
                tried, item = _reread(settings, rung, workdir)
                trials += tried
                found.append(item)
    if not climbed:
        raise WorkdirError(f"{plan.FILE} and the record leave no rung that was climbed")
    return trials, Ascent(
        plan=plan.Plan(
            rungs=planned,
            because=because,
            skipped={**missing, **over},
            facts=told["facts"],
            rule=begun["rule"],
        ),
        criterion=read_json(workdir / frozen.FILE),
        climbed=climbed,
        references=references,
        not_run=not_run,
        serving=_serving(settings, climbed, workdir),
        spent=told["spent"],
    )


def _serving(
    settings: LadderSettings, climbed: Sequence[Climbed], workdir: pathlib.Path
) -> dict[str, Serving]:
    if not is_needed(settings):
        return {}
    found = {item.rung.name: kept(item.rung, workdir) for item in climbed}
    measured = {name: serving for name, serving in found.items() if serving is not None}
    if len(measured) < len(found):
        raise WorkdirError(f"what serving costs is missing for {sorted({*found} - {*measured})}")
    return measured


def _groups(
    settings: LadderSettings, workdir: pathlib.Path, item: Climbed
) -> dict[str, dict[str, str]]:
    """Column to group by id, for the guards that name one; the tables at the top hold them."""
    columns = [
        guard.subject for guard in guards_of(settings.acceptance) if guard.kind == "worst_group"
    ]
    if not columns:
        return {}
    name = f"{item.rung.name}-seed{item.cells[0].facts['seed']}"
    table = Predictions.load(workdir / "predictions" / f"{name}.npz")
    return {
        column: dict(zip(table.ids.tolist(), table.groups[column].tolist())) for column in columns
    }


def _reread(
    settings: LadderSettings, rung: RungSettings, workdir: pathlib.Path
) -> tuple[list[cells.Cell], Climbed]:
    """The trials of a rung, and its runs at the learning rate that they choose."""
    rates = cells.rates_of(rung)
    trials = [
        _cell(workdir, rung, rate, settings.tuning.seed, "tune")
        for rate in (rates if len(rates) > 1 else ())
    ]
    chosen = next(iter(rates), None)
    if trials:
        chosen = choose_rate(trials, rung, settings.acceptance.metric)
    runs = [_cell(workdir, rung, chosen, seed, "run") for seed in settings.seeds]
    return trials, gather(rung, chosen, trials, runs)


def _cell(
    workdir: pathlib.Path, rung: RungSettings, rate: float | None, seed: int, purpose: str
) -> cells.Cell:
    directory = workdir / "cells" / cells.cell_name(rung.name, rate, seed, purpose)
    found = cells.load_cell(directory)
    if found is None:
        raise WorkdirError(f"{directory} is missing or not finished")
    return found


def _check_splits(tables: Tables, ids: Mapping[str, Sequence[str]]) -> None:
    """The examples of each split of a table are those of `splits.json`, in its order."""
    for name, each in tables.items():
        for table in each:
            names = [] if table.split is None else list(dict.fromkeys(table.split.tolist()))
            for split in names:
                if split not in ids or table.select(split).ids.tolist() != list(ids[split]):
                    raise WorkdirError(
                        f"the examples of split {split!r} in a table of rung {name!r} ({table.source}) are not those"
                        " of splits.json"
                    )
