"""The transfer ladder: climb from the cheapest rung, tune on one half of validation, decide on the other, then read the test.

The order of events is the evidence: every cell is run and its predictions written; the acceptance half decides; the
decision is written; only then are test predictions read.
"""

import contextlib
import dataclasses
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer.errors import ConfigError, TrainingError
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import cells, console, manifest
from jaxtransfer.protocol.budget import BudgetSpent, Ledger
from jaxtransfer.protocol.climbing import cell_count, climb_rung
from jaxtransfer.protocol.criterion import check_groups
from jaxtransfer.protocol.deciding import Ascent, decide, is_met
from jaxtransfer.protocol.decision import can_accept
from jaxtransfer.protocol.frozen import freeze, sentence
from jaxtransfer.protocol.plan import LISTED, Plan, make_plan
from jaxtransfer.protocol.problem import ACCEPT, Problem, prepare
from jaxtransfer.protocol.report import write_report
from jaxtransfer.protocol.report.contents import DIAGNOSIS, read_diagnosis
from jaxtransfer.protocol.sections import RungSettings
from jaxtransfer.protocol.serving_figures import is_needed, of_rung
from jaxtransfer.protocol.settings import LadderSettings
from jaxtransfer.protocol.workbench import Workbench
from jaxtransfer.protocol.workdir import check_free, claim, write_json, write_text
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
    check(settings, (*settings.rungs, *settings.references))
    check_free(workdir, settings)
    every = (*settings.rungs, *settings.references)
    total = sum(cell_count(settings, rung) for rung in every)
    with contextlib.ExitStack() as closing:
        progress = console.LadderProgress(total)
        closing.callback(progress.close)
        progress.say(f"ladder {settings.name}: {len(every)} rungs, {total} runs")
        problem = prepare(settings)
        check_groups(settings.acceptance, problem.table.metadata)
        closing.enter_context(claim(workdir, problem, "ladder"))
        for line in problem.introduction():
            progress.say(line)
        criterion = freeze(workdir, settings)
        plan = make_plan(problem, workdir)
        for line in _announced(criterion, plan):
            progress.say(line)
        warning = too_few(problem, len(plan.rungs) - 1)
        if warning is not None:
            progress.say(warning)
        manifest.remove(workdir)
        _keep_diagnosis(settings, workdir)
        write_json(workdir / "splits.json", _splits(problem))
        ascent = _ascend(problem, plan, criterion, workdir, progress)
        progress.close()
        shutil.rmtree(workdir / "cache", ignore_errors=True)
        finished = decide(problem, ascent, workdir, command)
        print(console.table(finished))
        for said in finished["conclusion"]:
            print(said)
        print(f"report: {write_report(workdir)}")
        manifest.write(workdir)
    return finished


def _keep_diagnosis(settings: LadderSettings, workdir: pathlib.Path) -> None:
    """Copies the diagnosis that preconditions were read from, for the report; of plain facts, the record holds them."""
    path = None if settings.diagnosis is None else pathlib.Path(settings.diagnosis)
    own = workdir / DIAGNOSIS
    if path is None or read_diagnosis(path) is None:
        return
    if path.resolve() != own.resolve():
        write_text(own, path.read_text(encoding="utf-8"))


def _ascend(
    problem: Problem,
    plan: Plan,
    criterion: Mapping[str, Any],
    workdir: pathlib.Path,
    progress: console.LadderProgress,
) -> Ascent:
    """Climbs until the ladder ends, the criterion is met or the budget is spent; then the references.

    A rung of which every learning rate, or a run, diverges is left out, with what was said.

    Raises:
      ConfigError: if the budget is spent before the first rung is whole.
      TrainingError: if the first rung diverges.
    """
    settings = problem.settings
    bench = Workbench(
        problem=problem,
        compiled=CompiledSteps(),
        cache=ActivationCache(directory=workdir / "cache"),
    )
    ledger = Ledger(workdir, settings.budget)
    ascent = Ascent(
        plan=plan,
        criterion=criterion,
        climbed=(),
        references=(),
        not_run={},
        serving={},
        spent={},
    )
    stopped: str | None = None
    for rung in plan.rungs:
        if stopped is None and not rung.is_ensemble:
            serving = dict(ascent.serving)
            if is_needed(settings):
                serving[rung.name] = of_rung(problem, rung, workdir)
            try:
                found = climb_rung(bench, rung, workdir, progress, ledger)
            except BudgetSpent as spent:
                stopped = str(spent)
                if not ascent.climbed:
                    raise ConfigError(
                        f"{spent} before the first rung, {rung.name!r}, was whole: enlarge config.budget"
                    ) from spent
            except TrainingError as diverged:
                # That is an answer about the rung, and no reason to lose what the others have shown.
                if not ascent.climbed:
                    raise
                not_run = {**ascent.not_run, rung.name: str(diverged)}
                ascent = dataclasses.replace(ascent, not_run=not_run)
                progress.say(f"{rung.name} is left out: {diverged}")
                continue
            else:
                climbed = (*ascent.climbed, found)
                ascent = dataclasses.replace(ascent, climbed=climbed, serving=serving)
                if settings.acceptance.stop_when_met and is_met(problem, ascent):
                    stopped = f"the criterion was met by the rungs up to {rung.name}"
                continue
        if stopped is not None:
            not_run = {**ascent.not_run, rung.name: stopped}
            ascent = dataclasses.replace(ascent, not_run=not_run)
    for rung in settings.references:
        if rung.name in plan.skipped:
            continue
        try:
            found = climb_rung(bench, rung, workdir, progress, ledger)
            ascent = dataclasses.replace(ascent, references=(*ascent.references, found))
        except (BudgetSpent, TrainingError) as spent:
            not_run = {**ascent.not_run, rung.name: str(spent)}
            ascent = dataclasses.replace(ascent, not_run=not_run)
    spent_in_all = {"seconds": ledger.seconds, "flops": ledger.flops}
    return dataclasses.replace(ascent, spent=spent_in_all)


def _announced(criterion: Mapping[str, Any], plan: Plan) -> list[str]:
    """What is fixed before anything runs, as lines."""
    lines = [f"criterion {criterion['sha256'][:12]}, frozen {criterion['frozen']}"]
    changed = sentence(criterion)
    if changed is not None:
        lines.append(changed)
    if plan.rule != LISTED:
        lines.append(f"order: {plan.rule}")
        lines += [f"  {rung.name}: {plan.because[rung.name]}" for rung in plan.rungs]
    lines += [f"skipped {name}: {why}" for name, why in plan.skipped.items()]
    return lines


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


def too_few(problem: Problem, challengers: int) -> str | None:
    """A warning, if the deciding examples are too few for any of so many challengers to be accepted."""
    examples = problem.examples[ACCEPT]
    labelled = Predictions(
        ids=examples.ids,
        labels=examples.labels.astype(np.int64),
        logits=np.zeros((len(examples), len(problem.classes)), np.float32),
        classes=problem.classes,
    )
    if not challengers or can_accept(labelled, challengers, problem.settings.acceptance):
        return None
    return (
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
