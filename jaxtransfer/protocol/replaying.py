"""Decides a finished ladder again from what its directory holds: no data, no weights and no training.

It runs the functions that wrote the record on the tables that the cells left, and gives the record they imply.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.errors import WorkdirError
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import account, cells, ladder
from jaxtransfer.protocol.decision import climb
from jaxtransfer.protocol.problem import ACCEPT, TEST, Statement, splits_hash, task_of
from jaxtransfer.protocol.report import series
from jaxtransfer.protocol.settings import LadderSettings, RungSettings, from_json


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Replayed:
    """What a ladder's directory implies.

    Attributes:
      record: the record, as JSON would hold it.
      decision: chosen rung, verdicts and hashes, as `decision.json` holds them.
      hardest: ids of the test examples that `examples.json` shows.
      climbed: each rung with the cells of its runs.
      trials: the cells of its trials of learning rates.
    """

    record: dict[str, Any]
    decision: dict[str, Any]
    hardest: list[str]
    climbed: Sequence[ladder.Climbed]
    trials: Sequence[cells.Cell]


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
      stated: what no table implies: `command`, `created`, `environment`, `versions`, `revision`.

    Raises:
      WorkdirError: if a cell is missing or damaged.
      JaxTransferError: if settings or tables are not what they must be.
    """
    settings = from_json(run["config"])
    trials, climbed = [], []
    for rung in settings.rungs:
        tried, item = _reread(settings, rung, workdir)
        trials += tried
        climbed.append(item)
    ids = splits["ids"]
    problem = Statement(
        settings=settings,
        task=task_of(settings, climbed[0].cells[0].predictions.classes),
        card={**run["data"], "splits": {name: len(each) for name, each in ids.items()}},
        hashes={**run["hashes"], "splits": splits_hash(ids), "config": settings.hash},
    )
    tables = {item.rung.name: item.tables() for item in climbed}
    for name, each in tables.items():
        _check_splits(each, ids, name)
    accept = {name: [table.select(ACCEPT) for table in each] for name, each in tables.items()}
    verdicts, chosen = climb(accept, settings.acceptance)
    document = ladder.assemble(problem, climbed, verdicts, chosen, stated["command"])
    document |= {name: stated[name] for name in ("created", "environment", "versions")}
    # The account's sentences rest on what is stated too.
    document["limits"] = account.limits(document)
    document["reproduce"] = account.reproduction(document, stated["revision"])
    test = [table.select(TEST) for table in tables[chosen]]
    worst = series.hardest(test, test[0].ids.tolist(), ladder.HARDEST)
    return Replayed(
        record=json.loads(json.dumps(document, allow_nan=False)),
        decision={
            "chosen": chosen,
            "verdicts": {name: [v.decision, v.reason] for name, v in verdicts.items()},
            "hashes": dict(problem.hashes),
        },
        hardest=[example.id for example in worst],
        climbed=climbed,
        trials=trials,
    )


def _reread(
    settings: LadderSettings, rung: RungSettings, workdir: pathlib.Path
) -> tuple[list[cells.Cell], ladder.Climbed]:
    """The trials of a rung, and its runs at the learning rate that they choose."""
    rates = cells.rates_of(rung)
    trials = [
        _cell(workdir, rung, rate, settings.tuning.seed, "tune")
        for rate in (rates if len(rates) > 1 else ())
    ]
    chosen = next(iter(rates), None)
    if trials:
        chosen = ladder.choose_rate(trials, rung, settings.acceptance.metric)
    runs = [_cell(workdir, rung, chosen, seed, "run") for seed in settings.seeds]
    return trials, ladder.gather(rung, chosen, trials, runs)


def _cell(
    workdir: pathlib.Path, rung: RungSettings, rate: float | None, seed: int, purpose: str
) -> cells.Cell:
    directory = workdir / "cells" / cells.cell_name(rung.name, rate, seed, purpose)
    found = cells.load_cell(directory)
    if found is None:
        raise WorkdirError(f"{directory} is missing or not finished")
    return found


def _check_splits(
    tables: Sequence[Predictions], ids: Mapping[str, Sequence[str]], name: str
) -> None:
    """The examples of each split of a table are those of `splits.json`, in its order."""
    for table in tables:
        names = [] if table.split is None else list(dict.fromkeys(table.split.tolist()))
        for split in names:
            if split not in ids or table.select(split).ids.tolist() != list(ids[split]):
                raise WorkdirError(
                    f"the examples of split {split!r} in a table of rung {name!r} ({table.source}) are not those of"
                    " splits.json"
                )
