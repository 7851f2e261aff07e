"""Runs the trials of a sweep in this process, or in several at once that share its journal.

Each process prepares the problem for itself and appends what it has finished.
"""

import dataclasses
import multiprocessing
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jaxtransfer.errors import JaxTransferError, TrainingError
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.protocol import study
from jaxtransfer.protocol.journal import Journal
from jaxtransfer.protocol.problem import Problem, prepare
from jaxtransfer.protocol.search_space import SearchSpace
from jaxtransfer.protocol.sections import RungSettings
from jaxtransfer.protocol.settings import LadderSettings, train_settings
from jaxtransfer.protocol.trials import Trial, configured, run_one
from jaxtransfer.protocol.workbench import Workbench
from jaxtransfer.train.cache import ActivationCache
from jaxtransfer.train.compiled import CompiledSteps

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """What one process is to do.

    Attributes:
      settings: of the sweep.
      rung: whose parameters are tried.
      space: of the parameters.
      workdir: the sweep's.
      trials: to run, unless Optuna chooses.
      asked: number of trials that Optuna is asked for.
      seed: of the sampler.
      saves: where trials are saved to go on, or None.
      process: number of the process.
      parent: id of the process that ordered it.
    """

    settings: LadderSettings
    rung: RungSettings
    space: SearchSpace
    workdir: pathlib.Path
    trials: Sequence[Trial] = ()
    asked: int = 0
    seed: int = 0
    saves: pathlib.Path | None = None
    process: int = 0
    parent: int = 0


def bench_of(problem: Problem, workdir: pathlib.Path) -> Workbench:
    """What the trials of one process share."""
    return Workbench(
        problem=problem,
        compiled=CompiledSteps(),
        cache=ActivationCache(directory=workdir / "cache"),
    )


def carry_out(order: Order, bench: Workbench, journal: Journal) -> Iterator[Row]:
    """Runs what is ordered, one trial after another, and yields each row when it is on disk."""
    tuning = order.settings.tuning.seed
    if not order.asked:
        for trial in order.trials:
            row = run_one(bench, order.rung, trial, seed=tuning, saves=order.saves)
            journal.append([row])
            yield row
        return
    metric = definition(order.settings.acceptance.metric)
    asking = study.open_study(
        order.workdir, maximise=metric.maximise, seed=order.seed, process=order.process
    )
    for number, parameters in study.ask(asking, order.space, order.asked):
        changed, _ = configured(order.rung, parameters)
        trial = Trial(
            number=number,
            parameters=parameters,
            steps=train_settings(order.settings, changed).steps,
        )
        row = run_one(bench, order.rung, trial, seed=tuning)
        journal.append([row])
        study.tell(asking, number, row)
        yield row


def carry_out_at_once(
    order: Order, processes: int, journal: Journal, seen: Callable[[Row], None]
) -> None:
    """Shares an order among several processes and waits for them.

    Args:
      order: what is to be done in all.
      processes: at least 2; no more are started than there are trials.
      journal: that all append to.
      seen: called with each row that is new.

    Raises:
      TrainingError: if a process ends before its time; what is finished is in the journal.
    """
    count = min(processes, max(len(order.trials), order.asked))
    context = multiprocessing.get_context("spawn")
    known = {(row["trial"], row["steps"]) for row in journal.rows()}
    workers = []
    for number in range(count):
        own = dataclasses.replace(
            order,
            trials=order.trials[number::count],
            asked=order.asked // count + (number < order.asked % count),
            process=number,
            parent=os.getpid(),
        )
        workers.append(context.Process(target=_work, args=(own, journal), daemon=True))
    try:
        for worker in workers:
            worker.start()
        while True:
            ended = [worker for worker in workers if not worker.is_alive()]
            for row in journal.rows():
                if (row["trial"], row["steps"]) not in known:
                    known.add((row["trial"], row["steps"]))
                    seen(row)
            if len(ended) == len(workers) or any(worker.exitcode for worker in ended):
                break
            for worker in workers:
                worker.join(timeout=0.2)
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
            worker.join()
    bad = [worker.exitcode for worker in workers if worker.exitcode]
    if bad:
        raise TrainingError(
            f"a process of the sweep ended with status {bad[0]}; finished trials are kept, the same"
            " command goes on from there"
        )


def _work(order: Order, journal: Journal) -> None:
    try:
        bench = bench_of(prepare(order.settings), order.workdir)
        for _ in carry_out(order, bench, journal):
            if os.getppid() != order.parent:
                return  # the sweep was killed, and another one may have begun in its place
    except JaxTransferError as error:
        print(f"error: process {order.process}: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
