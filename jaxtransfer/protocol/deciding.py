"""What follows the climb: the decision is written, then the test split is read, then the record and its evidence are written."""

import dataclasses
import itertools
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer.evaluation.seeds import measure_seeds
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import cells, record
from jaxtransfer.protocol.climbing import Climbed
from jaxtransfer.protocol.conclusion import conclude
from jaxtransfer.protocol.decision import Verdict, climb, compare_family
from jaxtransfer.protocol.problem import ACCEPT, EVALUATED, TEST, Problem
from jaxtransfer.protocol.report import series
from jaxtransfer.protocol.sections import TrainSettings
from jaxtransfer.protocol.settings import LadderSettings, train_settings
from jaxtransfer.protocol.workdir import examples_of, write_json

HARDEST = 12
"""Test examples whose text or picture the report shows."""


def decide(
    problem: Problem, climbed: Sequence[Climbed], workdir: pathlib.Path, command: str
) -> dict[str, Any]:
    """Decides on the acceptance half, writes the decision, reads the test split, and writes the record."""
    rule = problem.settings.acceptance
    tables = {item.rung.name: item.tables() for item in climbed}
    verdicts, chosen = climb(_only(tables, ACCEPT), rule)
    write_json(
        workdir / "decision.json",
        {
            "chosen": chosen,
            "verdicts": {name: [v.decision, v.reason] for name, v in verdicts.items()},
            "hashes": dict(problem.hashes),
        },
    )
    test = _only(tables, TEST)
    # A baseline that was not chosen is in question no longer.
    tested = [
        item.rung.name for item in climbed if not item.rung.is_baseline or item.rung.name == chosen
    ]
    probe = next((item.rung.name for item in climbed if item.rung.method == "linear_probe"), None)
    # The later rung minus the earlier one, and any rung minus the probe.
    pairs = [(a, b) if b == probe else (b, a) for a, b in itertools.combinations(tested, 2)]
    comparisons = compare_family(test, pairs, rule, two_sided=True) if pairs else []
    rungs = [
        _rung_facts(item, tables[item.rung.name], problem.task.metrics, problem.settings)
        for item in climbed
    ]
    measured = {rung["name"]: rung["metrics"][TEST][rule.metric] for rung in rungs}
    conclusion = conclude(
        chosen=chosen,
        verdicts=verdicts,
        comparisons=comparisons,
        measured=measured,
        metric=rule.metric,
        margin=rule.margin,
        confidence=rule.confidence,
        accept_count=problem.card["splits"][ACCEPT],
        tuned=[
            item.rung.name
            for item in climbed
            if not item.rung.is_baseline and item.rung.method != "linear_probe"
        ],
        probe=probe,
    )
    finished = record.build(
        problem,
        rungs=rungs,
        verdicts=verdicts,
        comparisons=comparisons,
        chosen=chosen,
        conclusion=conclusion,
        command=command,
    )
    _write_evidence(problem, climbed, tables, verdicts, chosen, workdir)
    record.write(finished, workdir)
    return finished


def _rung_facts(
    item: Climbed, tables: Sequence[Predictions], names: Sequence[str], settings: LadderSettings
) -> dict[str, Any]:
    facts = item.cells[0].facts
    metrics = {
        split: {
            name: value.to_json()
            for name, value in measure_seeds(
                [table.select(split) for table in tables],
                names,
                confidence=settings.acceptance.confidence,
            ).items()
        }
        for split in EVALUATED
        if split in set(tables[0].split.tolist())  # type: ignore[union-attr]
    }
    costs = [cell.facts["cost"] for cell in item.cells]
    train = train_settings(settings, item.rung)
    return {
        "name": item.rung.name,
        "method": facts["method"],
        "rules": facts["rules"],
        "hyperparameters": _hyperparameters(item, train, facts["steps"]),
        "tuning": item.tuning,
        "seeds": [cell.facts["seed"] for cell in item.cells],
        "trainable": facts["trainable"],
        "metrics": metrics,
        "cost": {
            "seconds": item.seconds,
            "train_seconds": float(np.mean([cost["seconds"] for cost in costs])),
            "flops": max(cost["flops"] for cost in costs),
            "peak_bytes": max(cost["peak_bytes"] for cost in costs),
        },
    }


def _hyperparameters(item: Climbed, train: TrainSettings, steps: int) -> dict[str, Any]:
    if item.rung.is_baseline:
        return {"learning_rate": None, "steps": 0}
    shared = {key: value for key, value in dataclasses.asdict(train).items() if key != "steps"}
    first = {"first_phase": dict(item.rung.first_phase)} if item.rung.first_phase else {}
    return {"learning_rate": item.learning_rate, "steps": steps, **shared, **first}


def _write_evidence(
    problem: Problem,
    climbed: Sequence[Climbed],
    tables: Mapping[str, Sequence[Predictions]],
    verdicts: Mapping[str, Verdict],
    chosen: str,
    workdir: pathlib.Path,
) -> None:
    for folder in ("predictions", "history"):
        (workdir / folder).mkdir(exist_ok=True)
    for item in climbed:
        for cell in item.cells:
            name = f"{item.rung.name}-seed{cell.facts['seed']}"
            shutil.copyfile(
                cell.directory / "predictions.npz", workdir / "predictions" / f"{name}.npz"
            )
            shutil.copyfile(cell.directory / "history.jsonl", workdir / "history" / f"{name}.jsonl")
    test = [table.select(TEST) for table in tables[chosen]]
    worst = series.hardest(test, test[0].ids.tolist(), HARDEST)
    write_json(workdir / "examples.json", examples_of(problem, [example.id for example in worst]))
    best = next(item for item in climbed if item.rung.name == chosen)
    cells.copy_adapter(best.cells[0], workdir)


def _only(tables: Mapping[str, Sequence[Predictions]], split: str) -> dict[str, list[Predictions]]:
    return {name: [table.select(split) for table in each] for name, each in tables.items()}
