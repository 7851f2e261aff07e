"""The ladder at 10, 50 and 250 labels on three tasks: which rung wins, and was it worth its cost?

    python experiments/studies/ladder_by_labels.py

News (BBC, MiniLM, 64 tokens), movie sentiment (VADER's snippets rated at least 0.5 from neutral, MiniLM, 32 tokens) and
digits (MNIST, EfficientNet-Lite0, 48 pixels), each with 10, 50 and 250 labels in all, equally many a class. Every cell is
a whole ladder (`jaxtransfer.protocol.ladder.run`) with five seeds: 100 validation examples to tune, 100 to decide, 400 to
test. One seed draws the splits of a task, so that its three cells have the same examples to tune, decide and test, and
nested training labels; all rungs and seeds of a cell train on the same labels. Inputs are reduced: short texts, small
images, 20, 30 and 50 steps of 10 examples (the probe takes 200, LP-FT's first phase 100). Learning rates: one for each
tuned rung on texts, of the grid of its config except for BitFit, whose 2e-3 lies between the two of the grid; the grids
of two for the probe and for all rungs on digits, chosen on the tuning half. Those grids were found on other draws of the
same corpora, which may share examples with the 400 that test here.

A cell that stands in the work directory is not run again, and neither is a run within a cell, so that a killed study goes
on where it was. `--splits 0 1` draws the splits anew by each seed, `--tasks`, `--labels` and `--rungs` take fewer cells.
`--only-finished` writes what the work directory has, `--from-results` writes page and figure anew from the JSON. Writes
`results/ladder_by_labels.json`, `.md` and `.svg`; the page says what the cells took, and what three of the five seeds
would have shown.
"""

import argparse
import itertools
import json
import os
import pathlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from ladder_by_labels_page import RUNGS, draw, page, shown_of
from study_common import Clock

from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import cells, config_file, ladder
from jaxtransfer.protocol.decision import Comparison, compare_family
from jaxtransfer.protocol.problem import prepare
from jaxtransfer.protocol.provenance import environment, versions
from jaxtransfer.protocol.settings import LadderSettings, from_config
from jaxtransfer.protocol.workbench import Workbench
from jaxtransfer.train.cache import ActivationCache
from jaxtransfer.train.compiled import CompiledSteps

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = pathlib.Path(__file__).parent / "results"
RUNS = ROOT / "runs" / "studies" / "ladder_by_labels"
TASKS = {"news": "bbc_minilm", "sentiment": "movie_minilm", "digits": "digits_efficientnet"}
CLASSES = {"news": 5, "sentiment": 2, "digits": 10}
LABELS = (10, 50, 250)
STEPS = {10: 20, 50: 30, 250: 50}
TEXT_RATES = {"bitfit": (2e-3,), "lora": (1e-3,), "lp_ft": (1e-4,), "full": (1e-4,)}
RATES: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "news": TEXT_RATES,
    "sentiment": TEXT_RATES,
    # The config's own grids: at the upper rates alone, full tuning of 50 digits collapsed.
    "digits": {
        "bitfit": (1e-3, 1e-2),
        "lora": (1e-3, 3e-3),
        "lp_ft": (1e-4, 3e-4),
        "full": (3e-4, 1e-3),
    },
}
SIZES = {"validation": 200, "calibration": 0, "test": 400}
METRIC = "macro_f1"
PIXELS = 48
SEEDS = (0, 1, 2, 3, 4)
FEWER = 3
"""Seeds of the study's earlier run, the first of these; what any as many of them show is counted beside all."""


def settings_of(task: str, labels: int, split: int, rungs: Sequence[str] = RUNGS) -> LadderSettings:
    """The ladder of one cell: the task's config with this study's sizes, steps and rates."""
    config = config_file.read(str(ROOT / "configs" / f"{TASKS[task]}.py"))
    with config.unlocked():
        config.name = cell_name(task, labels, split)
        config.splits.sizes = SIZES
        config.splits.train_per_class = labels // CLASSES[task]
        config.splits.seed = split
        config.train.steps = STEPS[labels]
        config.train.batch_size = 10
        config.train.evaluate_every = 0
        config.rungs = tuple(rungs)
        config.seeds = SEEDS
        # Random weights would double what a cell costs, and are another question.
        config.negative_transfer = False
        if task == "digits":
            config.model.options.image_size = PIXELS
        for rung, rates in RATES[task].items():
            config.methods[rung].learning_rates = rates
    return from_config(config)


def cell_name(task: str, labels: int, split: int) -> str:
    """Directory of a cell."""
    return f"{task}-{labels}-split{split}"


def run_cell(
    task: str, labels: int, split: int, rungs: Sequence[str] = RUNGS, runs: pathlib.Path = RUNS
) -> dict[str, Any]:
    """One ladder, run or read: what each rung scored and cost, and how it compares."""
    settings = settings_of(task, labels, split, rungs)
    workdir = runs / settings.name
    kept = workdir / "study.json"
    if kept.is_file():
        found = json.loads(kept.read_text())
        if found["hash"] == settings.hash:
            return found
    # Of a cell that a killed study began, the rest alone would be measured.
    is_new, clock = not workdir.exists(), Clock()
    record = ladder.run(settings, workdir, command="python experiments/studies/ladder_by_labels.py")
    took = clock.read()
    found = {
        "task": task,
        "labels": labels,
        "split": split,
        "hash": settings.hash,
        "splits_hash": record["hashes"]["splits"],
        "load": took["load"],
        "took": took if is_new else None,
        "card": record["data"],
        "chosen": record["chosen"],
        "rungs": {rung["name"]: facts_of(rung) for rung in record["rungs"]},
        "comparisons": [
            comparison_json(one) for one in comparisons(settings, workdir, settings.seeds)
        ],
    }
    kept.write_text(json.dumps(found, indent=1) + "\n")
    return found


def cost_of(task: str, runs: pathlib.Path = RUNS) -> dict[str, Any]:
    """What one run of each trained rung takes at 50 labels, compiled beforehand and with nothing cached.

    Processor seconds are those of all cores, and hold on a machine that is shared; they and wall
    seconds include the predictions of the 100 examples that tune.
    """
    path = runs / f"cost-{task}.json"
    if path.is_file():
        return json.loads(path.read_text())
    settings = settings_of(task, 50, 0)
    problem, compiled = prepare(settings), CompiledSteps()
    found = {"load": os.getloadavg()[0], "rungs": {}}
    for rung in settings.rungs:
        if rung.is_baseline:
            continue
        for _ in ("to compile", "to measure"):
            bench = Workbench(problem=problem, compiled=compiled, cache=ActivationCache())
            with tempfile.TemporaryDirectory() as folder:
                wall, processor = time.perf_counter(), time.process_time()
                cells.run_cell(
                    bench,
                    rung,
                    pathlib.Path(folder),
                    learning_rate=rung.learning_rates[0],
                    seed=0,
                    only_tune=True,
                )
        found["rungs"][rung.name] = {
            "processor_seconds": time.process_time() - processor,
            "seconds": time.perf_counter() - wall,
        }
    path.write_text(json.dumps(found, indent=1) + "\n")
    return found


def facts_of(rung: Mapping[str, Any]) -> dict[str, Any]:
    """What a rung scored on the test split, what it cost, and what the ladder said of it."""
    test = rung["metrics"]["test"]
    return {
        "value": test[METRIC]["value"],
        "ci": test[METRIC]["ci"],
        "accuracy": test["accuracy"]["value"],
        "accept": rung["metrics"]["accept"][METRIC]["value"],
        "trainable": rung["trainable"],
        "flops": rung["cost"]["flops"],
        "decision": rung["decision"],
        "reason": rung["reason"],
    }


def comparisons(
    settings: LadderSettings, workdir: pathlib.Path, seeds: Sequence[int]
) -> list[Comparison]:
    """Test differences of a cell, one family under Holm: all against the probe, tuned ones against the means too."""
    names = [rung.name for rung in settings.rungs]
    tables = {
        name: [
            Predictions.load(workdir / "predictions" / f"{name}-seed{seed}.npz").select("test")
            for seed in seeds
        ]
        for name in names
    }
    pairs = [
        (name, base)
        for base in ("linear_probe", "nearest_mean")
        for name in names
        if name not in ("linear_probe", "nearest_mean") and base in names
    ]
    if {"linear_probe", "nearest_mean"} <= set(names):
        pairs.append(("linear_probe", "nearest_mean"))
    return compare_family(tables, pairs, settings.acceptance, two_sided=True)


def comparison_json(one: Comparison) -> dict[str, Any]:
    """Plain values of a comparison."""
    return {
        "a": one.first,
        "b": one.second,
        "value": one.difference.value,
        "ci": None if one.ci is None else list(one.ci),
        "p_adjusted": one.p_adjusted,
        "is_significant": one.is_significant,
    }


def by_fewer(cells: Sequence[Mapping[str, Any]], runs: pathlib.Path = RUNS) -> list[dict[str, Any]]:
    """How many differences every few of the seeds show, corrected within a cell as those of all seeds are."""
    found = []
    for seeds in itertools.combinations(SEEDS, FEWER):
        families = []
        for cell in cells:
            settings = settings_of(cell["task"], cell["labels"], cell["split"], list(cell["rungs"]))
            family = comparisons(settings, runs / settings.name, seeds)
            families.append([comparison_json(one) for one in family])
        found.append({"seeds": seeds, **shown_of(families)})
    return found


def revisions(cells: Sequence[Mapping[str, Any]], runs: pathlib.Path = RUNS) -> list[str]:
    """The versions of the code that the cells ran on, as their run files state them."""
    folders = [runs / cell_name(cell["task"], cell["labels"], cell["split"]) for cell in cells]
    found = [json.loads((folder / "run.json").read_text())["revision"] for folder in folders]
    return list(dict.fromkeys(found))


def write(
    cells: Sequence[Mapping[str, Any]], facts: Mapping[str, Any], folder: pathlib.Path
) -> None:
    """The three files of results."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ladder_by_labels.json"
    path.write_text(json.dumps({"facts": facts, "cells": cells}, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(cells, facts))
    draw(cells, path.with_suffix(".svg"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--labels", nargs="+", type=int, choices=LABELS, default=list(LABELS))
    parser.add_argument("--splits", nargs="+", type=int, default=[0])
    parser.add_argument("--rungs", nargs="+", choices=RUNGS, default=list(RUNGS))
    parser.add_argument("--runs", type=pathlib.Path, default=RUNS, help="where the ladders are")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    parser.add_argument(
        "--only-finished", action="store_true", help="write what is there; run nothing"
    )
    parser.add_argument(
        "--from-results", action="store_true", help="write page and figure anew from the JSON"
    )
    arguments = parser.parse_args()
    if arguments.from_results:
        document = json.loads((arguments.results / "ladder_by_labels.json").read_text())
        write(document["cells"], document["facts"], arguments.results)
        return
    # Ladders of one task differ in numbers alone: what one has compiled, the next one reads.
    jax.config.update("jax_compilation_cache_dir", str(ROOT / "runs" / "compiled"))
    wanted = [
        (task, labels, split)
        for split in arguments.splits
        for labels in arguments.labels
        for task in arguments.tasks
    ]
    began, finished, cost = time.perf_counter(), [], {}
    for task, labels, split in wanted:
        kept = arguments.runs / cell_name(task, labels, split) / "study.json"
        if kept.is_file() or not arguments.only_finished:
            finished.append(run_cell(task, labels, split, arguments.rungs, arguments.runs))
            print(f"{time.perf_counter() - began:.0f} s: {task} {labels} {split}", flush=True)
    for task in dict.fromkeys(cell["task"] for cell in finished):
        if (arguments.runs / f"cost-{task}.json").is_file() or not arguments.only_finished:
            cost[task] = cost_of(task, arguments.runs)
    facts = {
        "command": "python experiments/studies/ladder_by_labels.py",
        "planned": len(wanted),
        "cost": cost,
        "steps": STEPS,
        "rates": RATES,
        "sizes": SIZES,
        "seeds": SEEDS,
        "by_fewer": by_fewer(finished, arguments.runs),
        "revisions": revisions(finished, arguments.runs),
        "versions": versions(),
        "environment": environment(),
    }
    write(finished, facts, arguments.results)
    print(page(finished, facts))


if __name__ == "__main__":
    main()
