"""The transfer ladder: climb from the cheapest rung, tune on one half of validation, decide on the other, then read the test.

The order of events is the evidence: every cell is run and its predictions written; the acceptance half decides; the
decision is written; only then are test predictions read.
"""

import contextlib
import dataclasses
import itertools
import pathlib
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer.errors import ConfigError, TrainingError
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.seeds import measure_seeds
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import cells, console, record
from jaxtransfer.protocol.conclusion import conclude
from jaxtransfer.protocol.decision import Verdict, can_accept, climb, compare_family
from jaxtransfer.protocol.problem import ACCEPT, EVALUATED, TEST, Problem, prepare
from jaxtransfer.protocol.report import series, write_report
from jaxtransfer.protocol.settings import (
    LadderSettings,
    RungSettings,
    TrainSettings,
    train_settings,
)
from jaxtransfer.protocol.workdir import check_free, claim, examples_of, write_json
from jaxtransfer.train.cache import ActivationCache
from jaxtransfer.train.compiled import CompiledSteps

HARDEST = 12


def run(settings: LadderSettings, workdir: pathlib.Path, *, command: str = "") -> dict[str, Any]:
    """Runs or resumes a ladder, prints its table, and writes its record and report.

    Args:
      settings: what to climb.
      workdir: where everything is written; one that belongs to other settings is refused.
      command: how the ladder was called, for the record.

    Returns:
      The record.

    Raises:
      WorkdirError: if the work directory belongs to another run.
      JaxTransferError: whatever else is wrong with settings, data or model.
    """
    check(settings, settings.rungs)
    check_free(workdir, settings)
    total = sum(cell_count(settings, rung) for rung in settings.rungs)
    with contextlib.ExitStack() as closing:
        progress = console.LadderProgress(total)
        closing.callback(progress.close)
        progress.say(f"ladder {settings.name}: {len(settings.rungs)} rungs, {total} runs")
        problem = prepare(settings)
        closing.enter_context(claim(workdir, problem, "ladder"))
        for line in problem.introduction():
            progress.say(line)
        _warn_of_few(problem, progress)
        write_json(workdir / "splits.json", _splits(problem))
        bench = cells.Workbench(
            problem=problem,
            compiled=CompiledSteps(),
            cache=ActivationCache(directory=workdir / "cache"),
        )
        climbed = [climb_rung(bench, rung, workdir, progress) for rung in settings.rungs]
        progress.close()
        shutil.rmtree(workdir / "cache", ignore_errors=True)
        finished = decide(problem, climbed, workdir, command)
        print(console.table(finished))
        for sentence in finished["conclusion"]:
            print(sentence)
        print(f"report: {write_report(workdir)}")
    return finished


def check(settings: LadderSettings, rungs: Sequence[RungSettings]) -> None:
    """Finds what is wrong with the acceptance metric or a rung before anything is loaded.

    Raises:
      ConfigError, EvaluationError, AdaptationError: naming the nearest where a name is unknown.
    """
    metric = definition(settings.acceptance.metric)
    if metric.interval == "simulation":
        raise ConfigError(
            f"config.acceptance.metric {metric.name!r} is simulated and has no paired difference;"
            " choose another"
        )
    for rung in rungs:
        cells.check_rung(rung)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Climbed:
    """A rung with all its cells run."""

    rung: RungSettings
    learning_rate: float | None
    tuning: list[dict[str, float]]
    cells: list[cells.Cell]
    seconds: float

    def tables(self) -> list[Predictions]:
        """One predictions table per seed."""
        return [cell.predictions for cell in self.cells]


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


def climb_rung(
    bench: cells.Workbench,
    rung: RungSettings,
    workdir: pathlib.Path,
    progress: console.LadderProgress,
) -> Climbed:
    """Runs what is missing of a rung's cells: trials of its learning rates, and every seed."""
    settings = bench.problem.settings
    rates = cells.rates_of(rung)
    trials = [
        _run(
            bench,
            rung,
            workdir,
            progress,
            rate=rate,
            seed=settings.tuning.seed,
            purpose="tune",
        )
        for rate in (rates if len(rates) > 1 else ())
    ]
    chosen = choose_rate(trials, rung, settings.acceptance.metric) if trials else None
    if not trials and rates:
        chosen = rates[0]
    runs = [
        _run(bench, rung, workdir, progress, rate=chosen, seed=seed, purpose="run")
        for seed in settings.seeds
    ]
    return Climbed(
        rung=rung,
        learning_rate=chosen,
        tuning=[
            {
                "learning_rate": trial.facts["learning_rate"],
                "value": trial.facts["tuning"]["value"],
                **({"diverged": trial.facts["diverged"]} if trial.facts["diverged"] else {}),
            }
            for trial in trials
        ],
        cells=runs,
        seconds=sum(cell.facts["wall_seconds"] for cell in [*runs, *trials]),
    )


def choose_rate(trials: Sequence[cells.Cell], rung: RungSettings, metric: str) -> float:
    """The learning rate of the best trial; among equals the smaller one, which moves less.

    Raises:
      TrainingError: if every rate diverged, with what the last one said.
    """
    sign = 1.0 if definition(metric).maximise else -1.0
    ranked = [
        (sign * trial.facts["tuning"]["value"], -trial.facts["learning_rate"])
        for trial in trials
        if trial.facts["tuning"]["value"] is not None
    ]
    if not ranked:
        raise TrainingError(
            f"every learning rate of rung {rung.name!r} diverged; the last one:"
            f" {trials[-1].facts['diverged']}"
        )
    return -max(ranked)[1]


def _run(
    bench: cells.Workbench,
    rung: RungSettings,
    workdir: pathlib.Path,
    progress: console.LadderProgress,
    *,
    rate: float | None,
    seed: int,
    purpose: str,
) -> cells.Cell:
    name = cells.cell_name(rung.name, rate, seed, purpose)
    directory = workdir / "cells" / name
    progress.start(name)
    cell = cells.load_cell(directory)
    state = "kept"
    if cell is None:
        began = time.perf_counter()
        cell = cells.run_cell(
            bench,
            rung,
            directory,
            learning_rate=rate,
            seed=seed,
            only_tune=purpose == "tune",
            saves_adapter=purpose == "run" and seed == bench.problem.settings.seeds[0],
        )
        state = f"{time.perf_counter() - began:.1f} s"
    value = cell.facts["tuning"]["value"]
    shown = "undefined" if value is None else f"{value:.3f}"
    if cell.facts["diverged"]:
        shown = f"diverged: {cell.facts['diverged']}"
    progress.finish(
        f"{name}: {cell.facts['tuning']['metric']} on the tuning half {shown} ({state})"
    )
    return cell


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


def cell_count(settings: LadderSettings, rung: RungSettings) -> int:
    """How many cells a rung has."""
    rates = cells.rates_of(rung)
    return (len(rates) if len(rates) > 1 else 0) + len(settings.seeds)


def _warn_of_few(problem: Problem, progress: console.LadderProgress) -> None:
    examples, challengers = problem.examples[ACCEPT], len(problem.settings.rungs) - 1
    labelled = Predictions(
        ids=examples.ids,
        labels=examples.labels.astype(np.int64),
        logits=np.zeros((len(examples), len(problem.classes)), np.float32),
        classes=problem.classes,
    )
    if challengers and not can_accept(labelled, challengers, problem.settings.acceptance):
        progress.say(
            f"warning: {len(examples)} examples decide, too few to accept even a flawless rung over the"
            f" majority class among {challengers}; enlarge config.splits.sizes.validation, name fewer"
            " config.rungs, or label more"
        )


def _splits(problem: Problem) -> dict[str, Any]:
    return {
        "seed": problem.settings.splits.seed,
        "hash": problem.hashes["splits"],
        "ids": {name: problem.table.ids[rows].tolist() for name, rows in problem.splits.items()},
        "indices": {name: rows.tolist() for name, rows in problem.splits.items()},
    }
