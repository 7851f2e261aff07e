"""Does the diagnosis predict the best rung, against the base rate?

    python experiments/studies/diagnosis.py

Every finished cell of `ladder_by_labels.py` (task, number of labels, draw of the splits) is diagnosed as `jaxtransfer
diagnose` does: the scores of the frozen features of the training split and the tuning half, and its rule
(`protocol.recommending`) for what it expects to win; nothing is trained. Left out are its estimate of wrong labels, its
distances between splits (random here, so that there is no shift to find) and its reading of the stages: the rule goes
without them. What it expects is compared with the rung of the highest test mean, and with five ways to choose without it:
the rung that won most often in the cells of the *other* tasks (the base rate), what won in the most similar cell of the
other tasks by the diagnosis's own numbers (labels a class, classes, probe, class means, LogME), full fine-tuning always,
the probe always, and the ladder. A choice is judged by whether it is the best rung, by what it loses to it (regret), and by
whether the best is shown to beat it on the test examples at all: with 400 of them, rungs a point apart cannot be told from
one another.

Several rungs may have won equally often in the other tasks: the base rate then takes the one of the fewest processor
seconds, and everything that is compared with it is given for every way to break the ties.

Resumes diagnosis by diagnosis. Run `ladder_by_labels.py` first, with `--splits 0 1 2` for more cells. Writes
`results/diagnosis.json`, `.md` and `.svg`; `--from-results` computes what follows from the cells of that JSON anew, and
writes the three.
"""

import argparse
import itertools
import json
import math
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import ladder_by_labels
import numpy as np
from diagnosis_page import draw, page
from ladder_by_labels_page import RUNGS, TUNED, best_rung
from study_common import Clock

from jaxtransfer import trees
from jaxtransfer.adapt import LinearProbe, adapt
from jaxtransfer.analyse.h_score import SHRUNK_NAME as SHRUNK
from jaxtransfer.analyse.logme import NAME as LOGME
from jaxtransfer.analyse.probes import LINEAR_PROBE, NEAREST_MEAN
from jaxtransfer.analyse.transferability import transferability
from jaxtransfer.data.examples import Examples
from jaxtransfer.evaluation.correction import correct
from jaxtransfer.evaluation.intervals import wilson
from jaxtransfer.evaluation.sign_flip import sign_flip
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol.decision import compare_family
from jaxtransfer.protocol.problem import TRAIN, TUNE, prepare
from jaxtransfer.protocol.provenance import environment, versions
from jaxtransfer.protocol.recommending import Facts, recommend
from jaxtransfer.train.predict import extract_features

RESULTS = pathlib.Path(__file__).parent / "results"
RUNS = ladder_by_labels.ROOT / "runs" / "studies" / "diagnosis"
SCORES = (NEAREST_MEAN, LINEAR_PROBE, LOGME, SHRUNK)


def diagnosed(cell: Mapping[str, Any], runs: pathlib.Path) -> dict[str, Any]:
    """The diagnosis of a cell, read or made: what it expects to win, and its numbers."""
    settings = ladder_by_labels.settings_of(
        cell["task"], cell["labels"], cell["split"], list(cell["rungs"])
    )
    path = runs / f"{settings.name}.json"
    if path.is_file():
        found = json.loads(path.read_text())
        if found["splits_hash"] == cell["splits_hash"]:
            return found
    clock = Clock()
    problem = prepare(settings)
    if problem.hashes["splits"] != cell["splits_hash"]:
        raise SystemExit(
            f"{settings.name} has other splits than its ladder had: run the ladder again"
        )
    rows = np.concatenate([problem.splits[name] for name in (TRAIN, TUNE)])
    labelled = Examples(problem.table.take(rows), problem.encoder.preprocess)
    probe = adapt(problem.model(0), LinearProbe(), rng=jax.random.key(0))
    leaves = trees.flatten(problem.encoder.variables[trees.PARAMS]).values()
    scores = transferability(
        extract_features(probe, probe.variables, labelled, batch_size=50),
        labelled.labels.astype(np.int64),
        len(problem.classes),
        parameters=int(sum(np.prod(leaf.shape) for leaf in leaves)),
    )
    named = {score.name: score for score in scores}
    train = problem.examples[TRAIN].labels
    facts = Facts(
        labels_per_class=int(np.bincount(train, minlength=len(problem.classes)).min()),
        train=len(train),
        probe=named[LINEAR_PROBE].value,
        probe_interval=named[LINEAR_PROBE].interval,
        nearest_mean=named[NEAREST_MEAN].value,
        noise=None,
        shifted=(),
        readings={},
        has_statistics="batch_stats" in problem.encoder.variables,
    )
    found = {
        "splits_hash": problem.hashes["splits"],
        "classes": len(problem.classes),
        "labels_per_class": facts.labels_per_class,
        "scores": {name: score.value for name, score in named.items()},
        "expected": recommend(facts, model=settings.model.uri).first,
        "took": clock.read(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    return found


def facts_of(cell: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What the study keeps of a cell and its diagnosis."""
    values = {name: rung["value"] for name, rung in cell["rungs"].items()}
    best = best_rung(cell)
    tuned = max((name for name in values if name in TUNED), key=values.__getitem__)
    return {
        "task": cell["task"],
        "labels": cell["labels"],
        "split": cell["split"],
        "values": values,
        "best": best,
        "shown_worse": shown_worse(cell, best),
        "chosen_by_ladder": cell["chosen"],
        "gain": values[tuned] - values["linear_probe"],
        "expected": found["expected"],
        "labels_per_class": found["labels_per_class"],
        "classes": found["classes"],
        "scores": {name: found["scores"].get(name) for name in SCORES},
        "took": found.get("took"),
    }


def of_the_ladder(cell: Mapping[str, Any], cost: Mapping[str, Any]) -> dict[str, Any]:
    """What else the study reads of a ladder's cell: labels that are scored, its own probe, seconds of its rungs."""
    return {
        "scored": cell["card"]["splits"]["train"] + cell["card"]["splits"]["tune"],
        "probe_accuracy": cell["rungs"]["linear_probe"]["accuracy"],
        "processor_seconds": {
            name: one["processor_seconds"]
            for name, one in cost.get(cell["task"], {"rungs": {}})["rungs"].items()
        },
    }


def shown_worse(cell: Mapping[str, Any], best: str) -> list[str]:
    """Rungs that the best is shown to beat on the test split, one family of five; that it was picked is not counted."""
    settings = ladder_by_labels.settings_of(
        cell["task"], cell["labels"], cell["split"], list(cell["rungs"])
    )
    folder = ladder_by_labels.RUNS / settings.name / "predictions"
    tables = {
        name: [
            Predictions.load(folder / f"{name}-seed{seed}.npz").select("test")
            for seed in settings.seeds
        ]
        for name in cell["rungs"]
    }
    others = [name for name in tables if name != best]
    family = compare_family(
        tables, [(best, name) for name in others], settings.acceptance, two_sided=True
    )
    return [one.second for one in family if one.is_significant]


def others_of(cell: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]):
    """The cells of other tasks: those of the same one are no evidence of their own."""
    return [other for other in cells if other["task"] != cell["task"]]


def tied(cell: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """The rungs that won most often in other tasks."""
    counts = Counter(other["best"] for other in others_of(cell, cells))
    return [name for name in RUNGS if counts[name] == max(counts.values())]


def base_rate(cell: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> str:
    """The rung that won most often in other tasks; among equals that of the fewest processor seconds in this one."""
    seconds = cell["processor_seconds"]
    return min(tied(cell, cells), key=lambda name: (seconds.get(name, 0.0), RUNGS.index(name)))


def base_rates(cells: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """The base rate's choices under every way to break its ties, a rung a task."""
    ties = {cell["task"]: tied(cell, cells) for cell in cells}
    for picks in itertools.product(*ties.values()):
        of_task = dict(zip(ties, picks, strict=True))
        yield [of_task[cell["task"]] for cell in cells]


def nearest_cell(cell: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> str:
    """What won in the most similar cell of other tasks, on standardised numbers; a missing one is the mean."""
    others = others_of(cell, cells)
    rows = np.array([numbers_of(one) for one in [cell, *others]])
    centre, scale = np.nanmean(rows[1:], axis=0), np.nanstd(rows[1:], axis=0)
    z = np.nan_to_num((rows - centre) / np.where(scale > 0, scale, 1.0))
    return others[int(np.argmin(np.square(z[1:] - z[0]).sum(axis=1)))]["best"]


def numbers_of(cell: Mapping[str, Any]) -> list[float]:
    """The diagnosis as a vector."""
    scores = [cell["scores"][name] for name in (LINEAR_PROBE, NEAREST_MEAN, LOGME)]
    return [
        math.log(cell["labels_per_class"]),
        math.log(cell["classes"]),
        *(math.nan if score is None else score for score in scores),
    ]


Chooser = Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], str]
CHOOSERS: dict[str, Chooser] = {
    "the diagnosis": lambda cell, cells: cell["expected"],
    "most similar diagnosis of another task": nearest_cell,
    "base rate of the other tasks": base_rate,
    "always full": lambda cell, cells: "full",
    "always the probe": lambda cell, cells: "linear_probe",
    "the ladder itself": lambda cell, cells: cell["chosen_by_ladder"],
}
BASE = "base rate of the other tasks"


def judged(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Hits and regret of each way to choose, and what it saves against the base rate under every way to break ties."""
    bases = [regrets(cells, choices) for choices in base_rates(cells)]
    found: dict[str, Any] = {}
    for name, chooser in CHOOSERS.items():
        choices = [chooser(cell, cells) for cell in cells]
        own = regrets(cells, choices)
        hits, tenable = counted(cells, choices)
        saved = [[a - b for a, b in zip(base, own, strict=True)] for base in bases]
        found[name] = {
            "choices": choices,
            "hits": hits,
            "hit_rate": wilson(hits, len(cells)),
            "tenable": tenable,
            "tenable_rate": wilson(tenable, len(cells)),
            "regret": float(np.mean(own)),
            "worst_regret": float(max(own)),
            "saved": None if name == BASE else reach(float(np.mean(one)) for one in saved),
            "p_value": None if name == BASE else reach(sign_flip(one).p_value for one in saved),
        }
    counts = [counted(cells, choices) for choices in base_rates(cells)]
    found[BASE]["ties"] = {
        "ways": len(bases),
        "hits": reach(hits for hits, _ in counts),
        "tenable": reach(tenable for _, tenable in counts),
        "regret": reach(float(np.mean(base)) for base in bases),
        "worst_regret": reach(float(max(base)) for base in bases),
    }
    return found


def reach(values: Iterable[Any]) -> list[Any]:
    """The lowest and the highest."""
    known = list(values)
    return [min(known), max(known)]


def regrets(cells: Sequence[Mapping[str, Any]], choices: Sequence[str]) -> list[float]:
    """What each choice loses to the best rung of its cell."""
    return [
        cell["values"][cell["best"]] - cell["values"][choice]
        for cell, choice in zip(cells, choices, strict=True)
    ]


def counted(cells: Sequence[Mapping[str, Any]], choices: Sequence[str]) -> tuple[int, int]:
    """How many choices are the best rung, and how many it is not shown to beat."""
    pairs = list(zip(cells, choices, strict=True))
    hits = sum(choice == cell["best"] for cell, choice in pairs)
    return hits, sum(choice not in cell["shown_worse"] for cell, choice in pairs)


def correlations(cells: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Kendall's tau-b of each number of the diagnosis with what tuning gains over the probe, over cells.

    Of the gain of the best tuned rung, which is picked by its test mean, and of that of full fine-tuning, which is not;
    p-values are adjusted by Holm over all of them.
    """
    gains = {
        "the best tuned rung": [cell["gain"] for cell in cells],
        "full": [cell["values"]["full"] - cell["values"]["linear_probe"] for cell in cells],
    }
    columns = {"labels per class": [cell["labels_per_class"] for cell in cells]}
    for name in SCORES:
        columns[name] = [cell["scores"][name] for cell in cells]
    found = {
        of: {name: correlation(column, gain) for name, column in columns.items()}
        for of, gain in gains.items()
    }
    p_values = {f"{of} {name}": one["p_value"] for of in found for name, one in found[of].items()}
    adjusted = correct(p_values).adjusted
    for of in found:
        for name, one in found[of].items():
            one["p_adjusted"] = adjusted[f"{of} {name}"]
    return found


def correlation(column: Sequence[float | None], gains: Sequence[float]) -> dict[str, Any]:
    """Tau-b of a number with a gain, a percentile bootstrap over cells and a p-value."""
    from scipy.stats import kendalltau

    known = [(v, gain) for v, gain in zip(column, gains, strict=True) if v is not None]
    if len(known) < 4 or len({v for v, _ in known}) < 2:
        return {"n": len(known), "tau": None, "ci": None, "p_value": None}
    whole = kendalltau(*zip(*known))
    rng = np.random.default_rng(0)
    rows = rng.integers(len(known), size=(2000, len(known)))
    pairs = np.array(known)
    drawn = [kendalltau(*pairs[row].T).statistic for row in rows]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return {
        "n": len(known),
        "tau": float(whole.statistic),
        "ci": [float(low), float(high)],
        "p_value": float(whole.pvalue),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=pathlib.Path, default=RUNS, help="where the diagnoses are")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    parser.add_argument(
        "--from-results", action="store_true", help="compute anew from the cells of the JSON"
    )
    arguments = parser.parse_args()
    jax.config.update("jax_compilation_cache_dir", str(ladder_by_labels.ROOT / "runs" / "compiled"))
    document = json.loads((RESULTS / "ladder_by_labels.json").read_text())
    path = arguments.results / "diagnosis.json"
    stated = {"versions": versions(), "environment": environment()}
    if arguments.from_results:
        kept = json.loads(path.read_text())
        stated = {name: kept[name] for name in stated}
        found = kept["cells"]
    else:
        found = [facts_of(cell, diagnosed(cell, arguments.runs)) for cell in document["cells"]]
    cost = document["facts"]["cost"]
    ladders = {(cell["task"], cell["labels"], cell["split"]): cell for cell in document["cells"]}
    cells = [
        {**one, **of_the_ladder(ladders[one["task"], one["labels"], one["split"]], cost)}
        for one in found
    ]
    results = {
        "command": "python experiments/studies/diagnosis.py",
        "cells": cells,
        "choosers": judged(cells),
        "correlations": correlations(cells),
        **stated,
    }
    arguments.results.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(results))
    draw(results, path.with_suffix(".svg"))
    print(page(results))


if __name__ == "__main__":
    main()
