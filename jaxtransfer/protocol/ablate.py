"""An ablation: a rung, and the same rung with one component changed at a time, paired over seeds and examples.

It describes on the acceptance half of validation, and never reads the test split; learning rates are
chosen on the tuning half, for each variant by itself, as in a ladder.
"""

import contextlib
import dataclasses
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer.data.examples import Examples
from jaxtransfer.errors import TrainingError
from jaxtransfer.evaluation.metrics import value
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import console, frozen, ladder
from jaxtransfer.protocol.ablation import Ablation, Variant
from jaxtransfer.protocol.abstract_costs import check_rungs
from jaxtransfer.protocol.budget import Ledger
from jaxtransfer.protocol.climbing import Climbed, cell_count, climb_rung
from jaxtransfer.protocol.decision import Comparison, compare_family
from jaxtransfer.protocol.problem import ACCEPT, TUNE, Problem, prepare
from jaxtransfer.protocol.provenance import environment, versions
from jaxtransfer.protocol.report.ablation import write_page
from jaxtransfer.protocol.workbench import Workbench
from jaxtransfer.protocol.workdir import RESULTS, check_free, claim, write_json
from jaxtransfer.train.cache import ActivationCache
from jaxtransfer.train.compiled import CompiledSteps

FILE = RESULTS["ablate"]
SCHEMA = 1
READ = (
    "Differences are on the acceptance half of validation; the test split was not read. A ladder"
    " that is to decide after what is learnt here needs other examples to decide on."
)


def run(ablation: Ablation, workdir: pathlib.Path, *, command: str = "") -> dict[str, Any]:
    """Runs or resumes an ablation, prints its table, and writes `ablation.json` and `ablation.html`.

    Args:
      ablation: what is changed of what.
      workdir: where everything is written.
      command: how it was called.

    Returns:
      What `ablation.json` holds.

    Raises:
      WorkdirError: if the work directory belongs to another run.
      TrainingError: if the base diverges, or every variant; one that does is left out, with what was said.
      JaxTransferError: whatever else is wrong with settings, data or model.
    """
    settings = ablation.settings
    ladder.check(settings, ablation.rungs)
    check_free(workdir, settings)
    with contextlib.ExitStack() as closing:
        progress = console.LadderProgress(
            sum(cell_count(settings, rung) for rung in ablation.rungs)
        )
        closing.callback(progress.close)
        problem = _without_test(prepare(settings))
        check_rungs(problem, ablation.rungs)
        closing.enter_context(claim(workdir, problem, "ablate"))
        criterion = frozen.freeze(workdir, settings)
        for line in problem.introduction():
            progress.say(line)
        bench = Workbench(
            problem=problem,
            compiled=CompiledSteps(),
            cache=ActivationCache(directory=workdir / "cache"),
        )
        ledger = Ledger(workdir, settings.budget)
        climbed: dict[str, Climbed] = {}
        diverged: dict[str, str] = {}
        for rung in ablation.rungs:
            try:
                climbed[rung.name] = climb_rung(bench, rung, workdir, progress, ledger)
            except TrainingError as error:
                # That is an answer about a variant; without the base there is nothing to compare.
                if rung.name == ablation.base:
                    raise TrainingError(f"rung {rung.name!r}, the base: {error}") from error
                diverged[rung.name] = str(error)
                progress.say(f"{rung.name} is left out: {error}")
        if len(climbed) == 1:
            raise TrainingError(f"every variant diverged; {'; '.join(diverged.values())}")
        shutil.rmtree(workdir / "cache", ignore_errors=True)
        found = _result(ablation, problem, climbed, diverged, criterion, command)
        write_json(workdir / FILE, found)
        page = write_page(found, workdir)
    print(table(found))
    for sentence in found["conclusion"]:
        print(sentence)
    print(f"page: {page}")
    return found


def _without_test(problem: Problem) -> Problem:
    """The problem with the two halves of validation alone to predict."""
    halves = [problem.splits[name] for name in (TUNE, ACCEPT)]
    examples = Examples(problem.table.take(np.concatenate(halves)), problem.encoder.preprocess)
    names = [np.full(len(rows), name) for rows, name in zip(halves, (TUNE, ACCEPT))]
    return dataclasses.replace(problem, evaluated=examples, evaluated_splits=np.concatenate(names))


def _result(
    ablation: Ablation,
    problem: Problem,
    climbed: Mapping[str, Climbed],
    diverged: Mapping[str, str],
    criterion: Mapping[str, Any],
    command: str,
) -> dict[str, Any]:
    settings, rule = ablation.settings, ablation.settings.acceptance
    tables = {name: [one.select(ACCEPT) for one in item.tables()] for name, item in climbed.items()}
    variants = [variant for variant in ablation.variants if variant.rung in climbed]
    family = compare_family(
        tables,
        [(variant.rung, ablation.base) for variant in variants],
        rule,
        two_sided=True,
        left_out=len(diverged),
    )
    rows = [
        _row(variant, comparison, climbed, tables, rule.metric)
        for variant, comparison in zip(variants, family)
    ]
    found = {
        "schema": SCHEMA,
        "name": settings.name,
        "mode": ablation.mode,
        "metric": rule.metric,
        "maximise": family[0].difference.maximise,
        "confidence": rule.confidence,
        "n": len(tables[ablation.base][0]),
        "seeds": list(settings.seeds),
        "read": READ,
        "criterion": dict(criterion),
        "base": {
            "rung": ablation.base,
            **_facts(climbed[ablation.base], tables[ablation.base], rule.metric),
        },
        "variants": rows,
        "diverged": [
            {
                "component": variant.component,
                "label": variant.label,
                "reason": diverged[variant.rung],
            }
            for variant in ablation.variants
            if variant.rung in diverged
        ],
        "hashes": dict(problem.hashes),
        "versions": versions(),
        "environment": environment(),
        "config": settings.to_json(),
        "command": command,
    }
    return {**found, "conclusion": conclude(found)}


def _row(
    variant: Variant,
    comparison: Comparison,
    climbed: Mapping[str, Climbed],
    tables: Mapping[str, Sequence[Predictions]],
    metric: str,
) -> dict[str, Any]:
    return {
        "component": variant.component,
        "label": variant.label,
        "changes": {key: list(pair) for key, pair in variant.changes.items()},
        "rung": variant.rung,
        **_facts(climbed[variant.rung], tables[variant.rung], metric),
        "difference": comparison.to_json(),
        "distinguishable": comparison.is_significant,
    }


def _facts(item: Climbed, tables: Sequence[Predictions], metric: str) -> dict[str, Any]:
    """What a rung came to: its metric of each seed, learning rate, parameters and cost."""
    costs = [cell.facts["cost"] for cell in item.cells]
    return {
        "values": [value(one, metric) for one in tables],
        "learning_rate": item.learning_rate,
        "trainable": item.cells[0].facts["trainable"],
        "cost": {
            "seconds": item.seconds,
            "train_seconds": float(np.mean([cost["seconds"] for cost in costs])),
            "flops": max(cost["flops"] for cost in costs),
            "peak_bytes": max(cost["peak_bytes"] for cost in costs),
        },
    }


def table(found: Mapping[str, Any]) -> str:
    """The ablation as text: the base, and a row a variant."""
    base = found["base"]
    header = [
        "variant",
        found["metric"],
        "difference",
        "p (Holm)",
        "rate",
        "trainable",
        "FLOPs",
        "seconds",
        "change",
    ]
    rows = [header]
    for row in (base, *found["variants"]):
        is_base = row is base
        cost = row["cost"]
        rows.append(
            [
                base["rung"] if is_base else f"{row['component']}: {row['label']}",
                _mean(row["values"]),
                "" if is_base else console.signed_interval(row["difference"]),
                "" if is_base else f"{row['difference']['p_adjusted']:.2g}",
                "" if row["learning_rate"] is None else f"{row['learning_rate']:g}",
                f"{row['trainable']:,}",
                f"{cost['flops']:.2g}",
                f"{cost['train_seconds']:.1f}",
                "" if is_base else changes(row),
            ]
        )
    return console.align(rows)


def changes(row: Mapping[str, Any]) -> str:
    """What a variant changes, in words.

    >>> changes({"changes": {"options.rank": [8, 2]}})
    'options.rank 8 to 2'
    """
    return ", ".join(f"{key} {old} to {new}" for key, (old, new) in row["changes"].items())


def _mean(values: Sequence[float | None]) -> str:
    known = [one for one in values if one is not None]
    return f"{np.mean(known):.3f}" if len(known) == len(values) else "undefined"


def conclude(found: Mapping[str, Any]) -> list[str]:
    """What the intervals support, and what was read.

    Args:
      found: of `ablation.json`.
    """
    told, open_, diverged = [], [], found.get("diverged", ())
    for row in found["variants"]:
        difference = row["difference"]
        name = f"{row['component']} ({row['label']})"
        if row["distinguishable"]:
            better = (difference["value"] > 0) == found["maximise"]
            told.append(
                f"{name} is {'better' if better else 'worse'}:"
                f" {console.signed_interval(difference)}"
            )
        else:
            open_.append(f"{name} {console.signed_interval(difference)}")
    family = (
        f"in {found['metric']} on {found['n']} examples and {len(found['seeds'])} seeds, paired, at"
        f" {100 * found['confidence']:g} % corrected for {len(found['variants']) + len(diverged)} variants"
    )
    said = [
        f"Told from the base {family}: {'; '.join(told)}."
        if told
        else f"No variant can be told from the base {family}."
    ]
    if open_:
        said.append(
            f"Not told from the base: {'; '.join(open_)}. An interval that holds 0 is no proof of"
            " no effect: its ends say how large one may be."
        )
    said += [
        f"{one['component']} ({one['label']}) is left out: {one['reason']}." for one in diverged
    ]
    changed = frozen.sentence(found["criterion"])
    return [*said, *([] if changed is None else [changed]), found["read"]]
