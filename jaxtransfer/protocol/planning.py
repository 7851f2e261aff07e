"""What a run would do and cost, before it does anything: cells, parameters, operations, time and memory.

Everything is counted on shapes: nothing is trained, compiled, fetched or written. A cell that stands
in the work directory is kept, and costs nothing.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import jax

from jaxtransfer.errors import NotFetchedError
from jaxtransfer.models import zoo
from jaxtransfer.pretrained.cache import without_network
from jaxtransfer.pretrained.uri import resolve
from jaxtransfer.protocol import cells
from jaxtransfer.protocol.abstract_costs import AbstractCosts, check_rungs
from jaxtransfer.protocol.console import align
from jaxtransfer.protocol.ladder import check, too_few
from jaxtransfer.protocol.plan import make_plan
from jaxtransfer.protocol.problem import prepare
from jaxtransfer.protocol.settings import LadderSettings, RungSettings
from jaxtransfer.protocol.workdir import check_free
from jaxtransfer.train.abstract_cost import (
    flop_rate,
)

FLOPS = "operations: XLA's count of the lowered functions, training and prediction"
MEMORY = (
    "memory: of a training step by arithmetic on shapes (arguments, and intermediate results while"
    " they are needed); what XLA takes may be from half to twice of it"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RungPlan:
    """What one rung would do.

    Attributes:
      name: of the rung.
      method: name of its method.
      trials: cells that choose a learning rate.
      runs: cells that are compared, one a seed.
      finished: of both, those that stand in the work directory.
      trainable: parameters that train, in the last phase; None where the model is not here.
      steps: of a cell, all phases together.
      step_flops: of a step of the last phase.
      train_flops: of the steps of all cells that are left.
      flops: of all cells that are left, frozen stages that run once for them included.
      seconds: of the same.
      seconds_from: where the seconds come from.
      peak_bytes: of a step, the largest of the phases.
    """

    name: str
    method: str
    trials: int
    runs: int
    finished: int
    trainable: int | None = None
    steps: int | None = None
    step_flops: float | None = None
    train_flops: float | None = None
    flops: float | None = None
    seconds: float | None = None
    seconds_from: str = ""
    peak_bytes: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do.

    Attributes:
      verb: of the command.
      name: of the config.
      workdir: where it would write.
      introduction: data, classes and splits; what would be fetched where something is not here.
      parameters: of the encoder; None where it is not here.
      rungs: in the order in which they would run.
      rate: operations a second that seconds are estimated with; None without an estimate.
    """

    verb: str
    name: str
    workdir: pathlib.Path
    introduction: tuple[str, ...]
    parameters: int | None
    rungs: tuple[RungPlan, ...]
    rate: float | None

    def __str__(self) -> str:
        total = sum(rung.trials + rung.runs for rung in self.rungs)
        finished = sum(rung.finished for rung in self.rungs)
        kept = f", {finished} of them finished and kept" if finished else ""
        place = "exists" if self.workdir.exists() else "would be made"
        lines = [
            f"dry run of {self.verb} {self.name}: {total} cells{kept}; nothing is written",
            f"work directory {self.workdir} {place}",
            *self.introduction,
        ]
        if self.parameters is not None:
            lines.append(f"encoder: {self.parameters:,} parameters")
        columns = ["rung", "method", "cells", "trainable", "steps", "FLOP a step", "FLOP", "time"]
        lines.append(align([[*columns, "memory"], *map(_row, self.rungs)]))
        if self.rate is not None:
            flops = sum(rung.flops or 0.0 for rung in self.rungs)
            seconds = sum(rung.seconds or 0.0 for rung in self.rungs)
            lines.append(f"in all: {flops:.3g} FLOP, {_time(seconds)}")
            lines += [FLOPS, *self._times(), MEMORY]
        return "\n".join(lines)

    def _times(self) -> list[str]:
        sources = dict.fromkeys(rung.seconds_from for rung in self.rungs if rung.seconds_from)
        return [f"time: {source}" for source in sources]


def plan(
    settings: LadderSettings,
    workdir: pathlib.Path,
    verb: str = "ladder",
    variants: Sequence[RungSettings] = (),
) -> Plan:
    """Counts what a run would do.

    Args:
      settings: as the run would take them.
      workdir: where it would write.
      verb: of the command.
      variants: rungs that must be able to act on the model, and are not counted.

    Raises:
      WorkdirError: if the work directory belongs to another run.
      JaxTransferError: what else the run would end with before it trains.
    """
    every = (*settings.rungs, *settings.references)
    check(settings, every)
    check_free(workdir, settings)
    with without_network():
        absent = _absent(settings)
        if absent:
            return Plan(
                verb=verb,
                name=settings.name,
                workdir=workdir,
                introduction=(
                    *(f"would be fetched: {uri}" for uri in absent),
                    "what cannot be read yet cannot be counted: fetch it once, and plan again",
                ),
                parameters=None,
                rungs=tuple(_counted(settings, rung, workdir) for rung in every),
                rate=None,
            )
        problem = prepare(settings)
    check_rungs(problem, variants)
    introduction = problem.introduction()
    if verb == "ladder":
        ordered = make_plan(problem, workdir, is_dry=True)
        every = (
            *ordered.rungs,
            *(rung for rung in settings.references if rung.name not in ordered.skipped),
        )
        introduction.append(f"order of the rungs: {ordered.rule}")
        introduction += [f"skips {name}: {why}" for name, why in ordered.skipped.items()]
        warning = too_few(problem, len(ordered.rungs) - 1)
        if warning is not None:
            introduction.append(warning)
    costs = AbstractCosts(problem)
    rate = flop_rate(settings.train.precision)
    rungs = [_costed(costs, rung, workdir, rate) for rung in every]
    leaves = jax.tree.leaves(problem.encoder.variables.get("params", {}))
    return Plan(
        verb=verb,
        name=settings.name,
        workdir=workdir,
        introduction=tuple(introduction),
        parameters=sum(leaf.size for leaf in leaves),
        rungs=tuple(rungs),
        rate=rate,
    )


def _absent(settings: LadderSettings) -> list[str]:
    """What a run would fetch, in the order in which it would."""
    uri = settings.model.uri
    wanted = [str(settings.data["path"])] if "path" in settings.data else []
    wanted.append(zoo.ZOO[uri].uri if uri in zoo.ZOO else uri)
    found = []
    for one in wanted:
        try:
            resolve(one)
        except NotFetchedError:
            found.append(one)
    return found


def _counted(settings: LadderSettings, rung: RungSettings, workdir: pathlib.Path) -> RungPlan:
    if rung.is_ensemble:
        return RungPlan(name=rung.name, method=rung.method, trials=0, runs=0, finished=0)
    rates = cells.rates_of(rung)
    trials = rates if len(rates) > 1 else ()
    return RungPlan(
        name=rung.name,
        method=rung.method,
        trials=len(trials),
        runs=len(settings.seeds),
        finished=len(_finished(settings, rung, workdir)),
    )


def _finished(
    settings: LadderSettings, rung: RungSettings, workdir: pathlib.Path
) -> list[cells.Cell]:
    """The cells of a rung that stand; of a run, whichever learning rate was chosen."""
    rates = cells.rates_of(rung)
    names = [
        cells.cell_name(rung.name, rate, settings.tuning.seed, "tune")
        for rate in (rates if len(rates) > 1 else ())
    ]
    names += [
        cells.cell_name(rung.name, rate, seed, "run")
        for seed in settings.seeds
        for rate in (rates or (None,))
    ]
    found = [cells.load_cell(workdir / "cells" / name) for name in names]
    return [cell for cell in found if cell is not None]


def _costed(
    costs: AbstractCosts, rung: RungSettings, workdir: pathlib.Path, rate: float
) -> RungPlan:
    settings = costs.problem.settings
    counted = _counted(settings, rung, workdir)
    if rung.is_ensemble:
        # It averages predictions that stand; to serve it takes as many networks as there are seeds.
        return dataclasses.replace(counted, trainable=0, steps=0, flops=0.0, seconds=0.0)
    done = _finished(settings, rung, workdir)
    tuned = sum(cell.directory.name.startswith("tune") for cell in done)
    trials, runs = counted.trials - tuned, counted.runs - (len(done) - tuned)
    flops, facts = costs.of_rung(rung, trials=trials, runs=runs)
    seconds = flops / rate
    source = (
        f"roughly, at the {rate / 1e9:.3g} GFLOP/s that a matrix product reaches on this device; steps"
        " reach a part of it, and compiling, reading and saving come on top"
    )
    if done and trials + runs:
        seconds = sum(cell.facts["wall_seconds"] for cell in done) / len(done) * (trials + runs)
        source = "of rungs with finished cells, their mean"
    return dataclasses.replace(
        counted,
        flops=flops,
        seconds=seconds,
        seconds_from=source if trials + runs and flops else "",
        **facts,
    )


def _row(rung: RungPlan) -> list[str]:
    parts = [f"{rung.trials} trials"] if rung.trials else []
    parts.append(f"{rung.runs} runs" if rung.runs != 1 else "1 run")
    kept = f" ({rung.finished} kept)" if rung.finished else ""
    return [
        rung.name,
        rung.method,
        f"{' + '.join(parts)}{kept}",
        _shown(rung.trainable, ","),
        _shown(rung.steps, ","),
        "?" if rung.trainable is None else _shown(rung.step_flops or 0.0, ".3g"),
        _shown(rung.flops, ".3g"),
        "?" if rung.seconds is None else _time(rung.seconds),
        "?" if rung.trainable is None else _memory(rung.peak_bytes),
    ]


def _shown(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)


def _memory(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**20:,.1f} MiB"


def _time(seconds: float) -> str:
    """Seconds to two digits, or minutes where they are many.

    >>> _time(0.031), _time(47.3), _time(480)
    ('0.031 s', '47 s', '8 min')
    """
    if seconds >= 120:
        return f"{seconds / 60:,.0f} min"
    return f"{seconds:.2g} s"
