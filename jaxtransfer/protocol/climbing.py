"""Climbs one rung: a trial of each learning rate, then a run of each seed; what is finished is kept."""

import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence

import numpy as np

from jaxtransfer.errors import TrainingError
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import cells, console
from jaxtransfer.protocol.budget import Ledger
from jaxtransfer.protocol.sections import RungSettings
from jaxtransfer.protocol.settings import LadderSettings


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Climbed:
    """A rung with all its cells run."""

    rung: RungSettings
    learning_rate: float | None
    tuning: list[dict[str, float]]
    cells: list[cells.Cell]
    seconds: float

    def tables(self, groups: Mapping[str, Mapping[str, str]] | None = None) -> list[Predictions]:
        """One predictions table per seed, with groups by column and id if they are given."""
        tables = [cell.predictions for cell in self.cells]
        return [
            dataclasses.replace(
                table,
                groups={
                    column: np.array([members[name] for name in table.ids.tolist()])
                    for column, members in (groups or {}).items()
                },
            )
            for table in tables
        ]


def climb_rung(
    bench: cells.Workbench,
    rung: RungSettings,
    workdir: pathlib.Path,
    progress: console.LadderProgress,
    ledger: Ledger,
) -> Climbed:
    """Runs what is missing of a rung's trials and runs.

    Raises:
      BudgetSpent: if something is missing, and the budget is spent.
      TrainingError: if every learning rate, or a run, diverges.
    """
    settings = bench.problem.settings
    rates = cells.rates_of(rung)
    trials = [
        _run(
            bench,
            rung,
            workdir,
            progress,
            ledger,
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
        _run(bench, rung, workdir, progress, ledger, rate=chosen, seed=seed, purpose="run")
        for seed in settings.seeds
    ]
    return gather(rung, chosen, trials, runs)


def gather(
    rung: RungSettings,
    learning_rate: float | None,
    trials: Sequence[cells.Cell],
    runs: Sequence[cells.Cell],
) -> Climbed:
    """A rung as its finished cells show it: trials of learning rates, and a run a seed at the chosen one."""
    return Climbed(
        rung=rung,
        learning_rate=learning_rate,
        tuning=[
            {
                "learning_rate": trial.facts["learning_rate"],
                "value": trial.facts["tuning"]["value"],
                **({"diverged": trial.facts["diverged"]} if trial.facts["diverged"] else {}),
            }
            for trial in trials
        ],
        cells=list(runs),
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
    ledger: Ledger,
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
        ledger.check()
        settings = bench.problem.settings
        # An ensemble is used through the adapters of all its seeds.
        saved = settings.seeds[:1] if settings.ensemble is None else settings.seeds
        began = time.perf_counter()
        with ledger.running():
            cell = cells.run_cell(
                bench,
                rung,
                directory,
                learning_rate=rate,
                seed=seed,
                only_tune=purpose == "tune",
                saves_adapter=purpose == "run" and seed in saved,
                progress=ledger.progress,
            )
        ledger.add(cell.facts)
        state = f"{time.perf_counter() - began:.1f} s"
    value = cell.facts["tuning"]["value"]
    shown = "undefined" if value is None else f"{value:.3f}"
    if cell.facts["diverged"]:
        shown = f"diverged: {cell.facts['diverged']}"
    progress.finish(
        f"{name}: {cell.facts['tuning']['metric']} on the tuning half {shown} ({state})"
    )
    return cell


def cell_count(settings: LadderSettings, rung: RungSettings) -> int:
    """Trials and runs of a rung; an ensemble has none of its own."""
    if rung.is_ensemble:
        return 0
    rates = cells.rates_of(rung)
    return (len(rates) if len(rates) > 1 else 0) + len(settings.seeds)
