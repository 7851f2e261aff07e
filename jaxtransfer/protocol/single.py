"""One rung of a config, trained once: predictions, metrics, learning curve and adapter in a work directory."""

import dataclasses
import pathlib
import shutil
import sys

from jaxtransfer.errors import ConfigError
from jaxtransfer.evaluation.metrics import measure
from jaxtransfer.protocol import cells
from jaxtransfer.protocol.ladder import check
from jaxtransfer.protocol.problem import EVALUATED, TEST, prepare
from jaxtransfer.protocol.settings import LadderSettings, train_settings
from jaxtransfer.protocol.workdir import check_free, claim
from jaxtransfer.train.cache import ActivationCache
from jaxtransfer.train.compiled import CompiledSteps
from jaxtransfer.train.progress import make_progress

CHECKPOINTS = 10
"""Checkpoints in the course of one run."""


def run(
    settings: LadderSettings,
    workdir: pathlib.Path,
    *,
    rung: str,
    learning_rate: float | None = None,
    seed: int | None = None,
) -> cells.Cell:
    """Trains one rung and prints its metrics; the same call on the same work directory resumes.

    Args:
      settings: the ladder that the rung belongs to.
      workdir: holds `predictions/`, `history/` and `adapter/` afterwards.
      rung: its name.
      learning_rate: the first of the rung's grid if left out.
      seed: the first of the ladder's if left out.

    Raises:
      ConfigError: if the rung is unknown, or a learning rate is given to a baseline.
      WorkdirError: if the work directory belongs to another run, or is in use.
    """
    alone = alone_of(settings, rung=rung, learning_rate=learning_rate, seed=seed)
    number = alone.seeds[0]
    rate = next(iter(alone.rungs[0].learning_rates), None)
    check_free(workdir, alone)
    problem = prepare(alone)
    with claim(workdir, problem, "train"):
        for line in problem.introduction():
            print(line, file=sys.stderr, flush=True)
        name = f"{rung}-seed{number}"
        directory = workdir / "cells" / cells.cell_name(rung, rate, number, "run")
        cell = cells.load_cell(directory)
        if cell is None:
            bench = cells.Workbench(
                problem=problem,
                compiled=CompiledSteps(),
                cache=ActivationCache(directory=workdir / "cache"),
            )
            cell = cells.run_cell(
                bench,
                alone.rungs[0],
                directory,
                learning_rate=rate,
                seed=number,
                saves_adapter=True,
                checkpoint_every=max(1, train_settings(alone, alone.rungs[0]).steps // CHECKPOINTS),
                progress=make_progress(name),
            )
            shutil.rmtree(workdir / "cache", ignore_errors=True)
        for folder, suffix in (("predictions", "npz"), ("history", "jsonl")):
            (workdir / folder).mkdir(exist_ok=True)
            shutil.copyfile(directory / f"{folder}.{suffix}", workdir / folder / f"{name}.{suffix}")
        cells.copy_adapter(cell, workdir)
        table = cell.predictions
        # The test split is not printed: looked at after every run, it would begin to choose.
        for split in EVALUATED:
            if split in problem.splits and split != TEST:
                print(split)
                for value in measure(table.select(split)).values():
                    print(f"  {value}")
        print(f"test metrics, when all is decided: jaxtransfer evaluate {workdir} --split {TEST}")
    return cell


def alone_of(
    settings: LadderSettings,
    *,
    rung: str,
    learning_rate: float | None = None,
    seed: int | None = None,
) -> LadderSettings:
    """The settings of one rung with one learning rate and seed; arguments and errors as of `run`."""
    chosen = settings.rung(rung)
    if chosen.is_ensemble:
        raise ConfigError(
            f"rung {rung!r} averages the seeds of another one and trains nothing; train that one"
        )
    check(settings, (chosen,))
    rates = cells.rates_of(chosen)
    if learning_rate is not None and not rates:
        raise ConfigError(f"rung {rung!r} is a baseline: it has no learning rate")
    rate = learning_rate if learning_rate is not None else next(iter(rates), None)
    return dataclasses.replace(
        settings,
        rungs=(dataclasses.replace(chosen, learning_rates=() if rate is None else (rate,)),),
        seeds=(settings.seeds[0] if seed is None else seed,),
        negative_transfer=False,
        references=(),
    )
