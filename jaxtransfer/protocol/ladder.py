"""The transfer ladder: climb from the cheapest rung, tune on one half of validation, decide on the other, then read the test.

The order of events is the evidence: every cell is run and its predictions written; the acceptance half decides; the
decision is written; only then are test predictions read.
"""

import contextlib
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxtransfer.errors import ConfigError
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import cells, console
from jaxtransfer.protocol.climbing import cell_count, climb_rung
from jaxtransfer.protocol.deciding import decide
from jaxtransfer.protocol.decision import can_accept
from jaxtransfer.protocol.problem import ACCEPT, Problem, prepare
from jaxtransfer.protocol.report import write_report
from jaxtransfer.protocol.sections import RungSettings
from jaxtransfer.protocol.settings import LadderSettings
from jaxtransfer.protocol.workdir import check_free, claim, write_json
from jaxtransfer.train.cache import ActivationCache
from jaxtransfer.train.compiled import CompiledSteps


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
