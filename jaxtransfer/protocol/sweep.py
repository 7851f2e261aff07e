"""A sweep over the parameters of one rung: chosen on the tuning half of validation, confirmed on fresh seeds.

The acceptance half and the test split are read by no trial, so that a ladder with the winner still
decides on examples that chose nothing.
"""

import contextlib
import dataclasses
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.errors import ConfigError
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.pretrained.cache import without_network
from jaxtransfer.protocol import (
    cells,
    console,
    ladder,
    planning,
    samplers,
    study,
    sweep_processes,
    trials,
)
from jaxtransfer.protocol.abstract_costs import check_rungs
from jaxtransfer.protocol.journal import Journal, is_begun, open_journal
from jaxtransfer.protocol.problem import TUNE, Problem, prepare
from jaxtransfer.protocol.search_space import SearchSpace, default_space, from_json
from jaxtransfer.protocol.sections import RungSettings
from jaxtransfer.protocol.settings import LadderSettings, train_settings
from jaxtransfer.protocol.sweep_asked import check_begun, drawn, trial_of
from jaxtransfer.protocol.sweep_choice import best, optimism
from jaxtransfer.protocol.sweep_plan import Plan, count_of, facts_of
from jaxtransfer.protocol.sweep_summary import introduction, outcome, sentences, table, words
from jaxtransfer.protocol.training import method_of, rates_of
from jaxtransfer.protocol.workbench import Workbench
from jaxtransfer.protocol.workdir import RESULTS, check_free, claim, write_json

FILE = RESULTS["sweep"]
SCHEMA = 1
Row = Mapping[str, Any]


def space_of(config: Mapping[str, Any], settings: LadderSettings, rung: str) -> SearchSpace:
    """The space that `config.sweep` gives a rung, or its method's own.

    A prior of the config that names no default takes what the rung has now.

    Raises:
      ConfigError: if the section is malformed, names a rung that the config has not, or a prior
        excludes its default.
    """
    plain = config.to_dict() if hasattr(config, "to_dict") else config
    sections = plain.get("sweep", {})
    for name in sections:
        settings.rung(name)
    chosen = settings.rung(rung)
    if chosen.is_baseline or chosen.is_ensemble:
        raise ConfigError(f"rung {rung!r} ({chosen.method}) trains nothing that could be tuned")
    now = trials.current(settings, chosen)
    if rung in sections:
        return from_json(sections[rung], place=f"config.sweep.{rung}", defaults=now)
    train = train_settings(settings, chosen)
    return default_space(
        method_of(chosen),
        learning_rates=chosen.learning_rates,
        weight_decay=train.weight_decay,
        batch_size=train.batch_size,
    )


def run(
    settings: LadderSettings,
    workdir: pathlib.Path,
    *,
    rung: str,
    space: SearchSpace,
    plan: Plan,
    command: str = "",
) -> dict[str, Any]:
    """Runs or resumes a sweep, prints it, and writes `sweep.json`.

    Args:
      settings: of the ladder that the rung belongs to.
      workdir: of this sweep alone.
      rung: name of the rung whose parameters are tried.
      space: see `space_of`.
      plan: how to search.
      command: how the sweep was called.

    Returns:
      What `sweep.json` holds.

    Raises:
      ConfigError: if the space does not fit the rung, or Optuna is asked for and missing.
      TrainingError: if every trial diverged.
      WorkdirError: if the work directory or its journal belongs to another sweep or version.
    """
    alone = alone_of(settings, rung=rung, space=space, plan=plan)
    (chosen,) = alone.rungs
    steps = train_settings(settings, chosen).steps
    check_free(workdir, alone)
    with contextlib.ExitStack() as closing:
        problem = prepare(alone)
        check_rungs(problem, trials.extremes(space, chosen))
        closing.enter_context(claim(workdir, problem, "sweep"))
        journal = open_journal(workdir, facts_of(problem, space, plan))
        progress = console.LadderProgress(count_of(plan, steps) + plan.confirm)
        closing.callback(progress.close)
        for line in problem.introduction():
            progress.say(line)
        progress.say(introduction(len(space.parameters), plan.sampler, plan.trials))
        search = _Search(
            bench=sweep_processes.bench_of(problem, workdir),
            rung=chosen,
            space=space,
            plan=plan,
            workdir=workdir,
            journal=journal,
            progress=progress,
        )
        search()
        winner = best(search.finalists(), settings.acceptance.metric)
        confirmed = _confirm(search, winner)
        for folder in ("cache", "saves"):
            shutil.rmtree(workdir / folder, ignore_errors=True)
    found = {
        "schema": SCHEMA,
        "rung": rung,
        "metric": settings.acceptance.metric,
        "read": f"the tuning half of validation ({len(problem.examples[TUNE])} examples)",
        "plan": dataclasses.asdict(plan),
        "space": space.to_json(),
        "hashes": dict(problem.hashes),
        "trials": journal.rows(),
        "winner": winner,
        **confirmed,
        "command": command,
    }
    write_json(workdir / FILE, found)
    print(table(found))
    for sentence in sentences(found):
        print(sentence)
    return found


def alone_of(
    settings: LadderSettings, *, rung: str, space: SearchSpace, plan: Plan
) -> LadderSettings:
    """The settings of a sweep: one rung, and the seeds that confirm; raises as `run` does."""
    chosen = settings.rung(rung)
    ladder.check(settings, (chosen,))
    trials.check_space(space, chosen)
    if plan.sampler == samplers.OPTUNA:
        study.check(space)
    steps = train_settings(settings, chosen).steps
    if plan.sampler == samplers.HALVING:
        samplers.halving(plan.trials, steps)
        if "steps" in space.parameters:
            raise ConfigError("successive halving sets the steps: take 'steps' out of the space")
    fresh = tuple(settings.tuning.seed + 1 + number for number in range(plan.confirm))
    # Its grid is not searched: the space is.
    one = dataclasses.replace(chosen, learning_rates=rates_of(chosen)[:1])
    return dataclasses.replace(
        settings, rungs=(one,), seeds=fresh, negative_transfer=False, references=()
    )


def preview(
    settings: LadderSettings, workdir: pathlib.Path, *, rung: str, space: SearchSpace, plan: Plan
) -> planning.Plan:
    """Counts what a sweep would do, each trial at the cost of the rung as it is; arguments as for `run`."""
    alone = alone_of(settings, rung=rung, space=space, plan=plan)
    counted = planning.plan(alone, workdir, "sweep", trials.extremes(space, alone.rungs[0]))
    if counted.parameters is not None and is_begun(workdir):
        with without_network():
            _check_begun(prepare(alone), workdir, space, plan)
    (row,) = counted.rungs
    count = count_of(plan, train_settings(settings, alone.rungs[0]).steps)
    share = (count + row.runs) / row.runs
    row = dataclasses.replace(
        row,
        trials=count,
        flops=None if row.flops is None else row.flops * share,
        seconds=None if row.seconds is None else row.seconds * share,
    )
    said = (*counted.introduction, introduction(len(space.parameters), plan.sampler, plan.trials))
    return dataclasses.replace(counted, rungs=(row,), introduction=said)


def _check_begun(problem: Problem, workdir: pathlib.Path, space: SearchSpace, plan: Plan) -> None:
    """Checks what a sweep that has begun left, as `run` does, but for the later stages of halving."""
    settings = problem.settings
    (rung,) = settings.rungs
    journal = open_journal(workdir, facts_of(problem, space, plan))
    if plan.sampler == samplers.OPTUNA:
        told = study.told(workdir).items()
        asked = [trial_of(settings, rung, *one) for one in told]
    else:
        asked = drawn(settings, rung, space, plan)
    check_begun(journal, asked, plan, settings.acceptance.metric)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Search:
    """A sweep with everything in its place; a call runs what the journal lacks."""

    bench: Workbench
    rung: RungSettings
    space: SearchSpace
    plan: Plan
    workdir: pathlib.Path
    journal: Journal
    progress: console.LadderProgress

    def __call__(self) -> None:
        if self.plan.sampler == samplers.OPTUNA:
            self._ask_optuna()
            return
        every = drawn(self._settings, self.rung, self.space, self.plan)
        self._go_on(every)
        if self.plan.sampler != samplers.HALVING:
            self._finish(every)
            return
        metric = definition(self._settings.acceptance.metric)
        stages = samplers.halving(self.plan.trials, train_settings(self._settings, self.rung).steps)
        alive, reached = list(range(self.plan.trials)), 0
        for stage in stages:
            if reached:
                values = {row["trial"]: row["value"] for row in self._rows_at(reached)}
                ranked = [values[number] for number in alive]
                kept = samplers.promoted(ranked, stage.trials, maximise=metric.maximise)
                alive = [alive[place] for place in kept]
            reached = stage.steps
            every = [one for one in every if one.steps != reached or one.number in alive]
            check_begun(self.journal, every, self.plan, metric.name)
            self._finish(
                [one for one in every if one.steps == reached], saves=self.workdir / "saves"
            )

    def _go_on(self, asked: Sequence[trials.Trial]) -> None:
        """Checks what the journal has, and counts it."""
        check_begun(self.journal, asked, self.plan, self._settings.acceptance.metric)
        for row in self.journal.rows():
            self.seen(row, kept=True)

    def finalists(self) -> list[dict[str, Any]]:
        """Finished trials, but for those that successive halving stopped early."""
        if self.plan.sampler != samplers.HALVING:
            return self.journal.rows()
        return self._rows_at(train_settings(self._settings, self.rung).steps)

    @property
    def _settings(self) -> LadderSettings:
        return self.bench.problem.settings

    def _rows_at(self, steps: int) -> list[dict[str, Any]]:
        return [row for row in self.journal.rows() if row["steps"] == steps]

    def _finish(self, asked: Sequence[trials.Trial], saves: pathlib.Path | None = None) -> None:
        """Runs the trials that the journal lacks."""
        left = self._left(asked)
        if saves is None:
            tuning = self._settings.tuning.seed
            for rows in trials.run_together(self.bench, self.rung, left, seed=tuning):
                self.journal.append(rows)
                for row in rows:
                    self.seen(row)
            left = self._left(left)
        if left:
            self._carry_out(trials=left, saves=saves)

    def _left(self, asked: Sequence[trials.Trial]) -> list[trials.Trial]:
        done = {(row["trial"], row["steps"]) for row in self.journal.rows()}
        return [trial for trial in asked if (trial.number, trial.steps) not in done]

    def _ask_optuna(self) -> None:
        metric = definition(self._settings.acceptance.metric)
        study.mend(self.workdir)
        asking = study.open_study(self.workdir, maximise=metric.maximise, seed=self.plan.seed)
        told = study.parameters(asking).items()
        self._go_on([trial_of(self._settings, self.rung, *one) for one in told])
        rows = self.journal.rows()
        study.recover(asking, self.space, rows)
        if len(rows) < self.plan.trials:
            self._carry_out(asked=self.plan.trials - len(rows))

    def _carry_out(self, **ordered: Any) -> None:
        order = sweep_processes.Order(
            settings=self._settings,
            rung=self.rung,
            space=self.space,
            workdir=self.workdir,
            seed=self.plan.seed,
            **ordered,
        )
        if min(self.plan.processes, max(len(order.trials), order.asked)) > 1:
            sweep_processes.carry_out_at_once(order, self.plan.processes, self.journal, self.seen)
            return
        for row in sweep_processes.carry_out(order, self.bench, self.journal):
            self.seen(row)

    def seen(self, row: Row, *, kept: bool = False) -> None:
        """Says how a trial ended."""
        took = "kept" if kept else f"{row['seconds']:.1f} s"
        self.progress.finish(
            f"trial {row['trial']}, {row['steps']} steps, {words(row['parameters'])}:"
            f" {outcome(row)} ({took})"
        )


def _confirm(search: _Search, winner: Row) -> dict[str, Any]:
    """The winner's values on fresh seeds, on the same examples, and its optimism."""
    rung, rate = trials.configured(search.rung, winner["parameters"])
    settings = search.bench.problem.settings
    values = []
    for seed in settings.seeds:
        name = f"confirm-trial{winner['trial']}-seed{seed}"
        directory = search.workdir / "cells" / rung.name / name
        cell = cells.load_cell(directory)
        if cell is None:
            cell = cells.run_cell(
                search.bench, rung, directory, learning_rate=rate, seed=seed, only_tune=True
            )
        value = cell.facts["tuning"]["value"]
        search.progress.finish(f"{name}: {outcome({**cell.facts, 'value': value})}")
        values.append(value)
    rule = settings.acceptance
    return {
        "confirmed": {"seeds": list(settings.seeds), "values": values},
        "optimism": optimism(
            winner["value"],
            values,
            maximise=definition(rule.metric).maximise,
            confidence=rule.confidence,
        ),
    }
