"""What a run would do and cost, before it does anything: cells, parameters, operations, time and memory.

Everything is counted on shapes: nothing is trained, compiled, fetched or written. A cell that stands
in the work directory is kept, and costs nothing.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from jaxtransfer.adapt.adapted import Adapted
from jaxtransfer.errors import NotFetchedError
from jaxtransfer.models import zoo
from jaxtransfer.pretrained.cache import without_network
from jaxtransfer.pretrained.uri import resolve
from jaxtransfer.protocol import cells
from jaxtransfer.protocol.ablate import without_test
from jaxtransfer.protocol.ablation import Ablation
from jaxtransfer.protocol.console import align
from jaxtransfer.protocol.ladder import check
from jaxtransfer.protocol.plan import make_plan
from jaxtransfer.protocol.problem import TRAIN, TUNE, Problem, prepare
from jaxtransfer.protocol.rung_cost import count_trainable, inputs_at, phases_of, prefix_flops
from jaxtransfer.protocol.sections import RungSettings
from jaxtransfer.protocol.settings import LadderSettings, train_settings
from jaxtransfer.protocol.training import BATCH, untrained
from jaxtransfer.protocol.workdir import check_free
from jaxtransfer.train.abstract_cost import flop_rate, predict_cost

Counts = Mapping[str, tuple[float, int]]
"""Rung to its trials and runs, where they are not the ladder's."""
ROUGHLY = (
    "roughly, at the {:.3g} GFLOP/s that a matrix product reaches on this device; steps reach a part"
    " of it, and compiling, reading and saving come on top"
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
      trials: cells that choose a learning rate, or search; stages count as what they come to.
      runs: cells that are compared, one a seed.
      finished: of both, those that stand in the work directory.
      trainable: parameters that train, in the last phase; None where the model is not here.
      steps: of a cell, all phases together.
      step_flops: of a step of the last phase.
      flops: of all cells that are left, frozen stages that run once for them included.
      seconds: of the same.
      seconds_from: where the seconds come from.
      peak_bytes: of a step, the largest of the phases.
    """

    name: str
    method: str
    trials: float
    runs: int
    finished: int
    trainable: int | None = None
    steps: int | None = None
    step_flops: float | None = None
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
            f"dry run of {self.verb} {self.name}: {total:.4g} cells{kept}; nothing is written",
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


def of_ladder(settings: LadderSettings, workdir: pathlib.Path) -> Plan:
    """Counts what a ladder would do: the rungs in its order, and the references to random weights.

    Raises:
      WorkdirError: if the work directory belongs to another run.
      JaxTransferError: what else the ladder would end with before it trains.
    """

    def ordered(problem: Problem) -> tuple[Sequence[RungSettings], list[str]]:
        found = make_plan(problem, workdir, dry=True)
        references = [rung for rung in settings.references if rung.name not in found.skipped]
        said = [f"order: {found.rule}"]
        said += [f"not climbed: {name}: {reason}" for name, reason in found.skipped.items()]
        limits = {k: v for k, v in dataclasses.asdict(settings.budget).items() if v is not None}
        if limits:
            said.append(f"budget: {limits}; what does not fit is not begun")
        return [*found.rungs, *references], said

    every = (*settings.rungs, *settings.references)
    return _plan("ladder", settings, workdir, every, ordered=ordered)


def of_training(settings: LadderSettings, workdir: pathlib.Path) -> Plan:
    """Counts what one training would do; settings as of `single.alone_of`, errors as of `of_ladder`."""
    return _plan("train", settings, workdir, settings.rungs)


def of_ablation(ablation: Ablation, workdir: pathlib.Path) -> Plan:
    """Counts what an ablation would do; errors as of `of_ladder`."""
    return _plan("ablate", ablation.settings, workdir, ablation.rungs, narrowed=without_test)


def of_sweep(settings: LadderSettings, workdir: pathlib.Path, *, trials: float, said: str) -> Plan:
    """Counts what a sweep would do, each trial costing what the rung does as it stands.

    Args:
      settings: of the one rung, with the fresh seeds of the winner.
      workdir: of the sweep.
      trials: whole trials that the search comes to; stages of a trial are parts of it.
      said: of the search, in words.

    Raises:
      WorkdirError, JaxTransferError: as `of_ladder`.
    """
    (rung,) = settings.rungs
    counts = {rung.name: (trials, len(settings.seeds))}
    return _plan("sweep", settings, workdir, settings.rungs, counts=counts, said=(said,))


def _plan(
    verb: str,
    settings: LadderSettings,
    workdir: pathlib.Path,
    rungs: Sequence[RungSettings],
    *,
    ordered: Callable[[Problem], tuple[Sequence[RungSettings], list[str]]] | None = None,
    narrowed: Callable[[Problem], Problem] = lambda problem: problem,
    counts: Counts | None = None,
    said: Sequence[str] = (),
) -> Plan:
    check(settings, rungs)
    check_free(workdir, settings)
    counted = {rung.name: _counted(settings, rung, workdir, counts) for rung in rungs}
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
                rungs=tuple(counted.values()),
                rate=None,
            )
        problem = narrowed(prepare(settings))
        lines = [*problem.introduction(), *said]
        if ordered is not None:
            rungs, more = ordered(problem)
            lines += more
    costs = _Costs(problem)
    rate = flop_rate(settings.train.precision)
    leaves = jax.tree.leaves(problem.encoder.variables.get("params", {}))
    return Plan(
        verb=verb,
        name=settings.name,
        workdir=workdir,
        introduction=tuple(lines),
        parameters=sum(leaf.size for leaf in leaves),
        rungs=tuple(_costed(costs, counted[r.name], r, workdir, rate) for r in rungs),
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


def _counted(
    settings: LadderSettings, rung: RungSettings, workdir: pathlib.Path, counts: Counts | None
) -> RungPlan:
    rates = cells.rates_of(rung)
    trials: float = len(rates) if len(rates) > 1 else 0
    runs = len(settings.seeds)
    if counts is not None:
        trials, runs = counts[rung.name]
    return RungPlan(
        name=rung.name,
        method=rung.method,
        trials=0 if rung.is_ensemble else trials,
        runs=0 if rung.is_ensemble else runs,
        finished=0 if counts is not None else len(_finished(settings, rung, workdir)),
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
    costs: "_Costs", counted: RungPlan, rung: RungSettings, workdir: pathlib.Path, rate: float
) -> RungPlan:
    done = _finished(costs.problem.settings, rung, workdir) if counted.finished else []
    tuned = sum(cell.directory.name.startswith("tune") for cell in done)
    trials, runs = counted.trials - tuned, counted.runs - (len(done) - tuned)
    flops, facts = costs.of_rung(rung, trials=trials, runs=runs)
    seconds, source = flops / rate, ROUGHLY.format(rate / 1e9)
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


class _Costs:
    """Costs of a problem's rungs; the frozen stages, which rungs share, are counted once."""

    def __init__(self, problem: Problem):
        self.problem = problem
        self._prefixes: set[int] = set()

    def of_rung(
        self, rung: RungSettings, *, trials: float, runs: int
    ) -> tuple[float, Mapping[str, Any]]:
        """Operations of so many cells, and the facts of one."""
        examples = len(self.problem.examples[TRAIN])
        if rung.is_ensemble or rung.is_baseline:
            reads = rung.method == "nearest_mean" and runs > 0
            flops = self._prefix(untrained(self.problem, rung), examples) if reads else 0.0
            return flops, {"trainable": 0, "steps": 0}
        train = train_settings(self.problem.settings, rung)
        # Each seed of random weights has frozen stages of its own; trials share one seed.
        encoders = (min(1, trials) + runs) if rung.is_reference else 1
        tuning, flops = len(self.problem.examples[TUNE]), 0.0
        phases = phases_of(self.problem, rung)
        for phase in phases:
            recipe = phase.recipe
            looks = recipe.steps // recipe.evaluate_every if recipe.evaluate_every else 0
            looked = looks * (runs + (trials if train.patience else 0)) * tuning
            flops += recipe.steps * (trials + runs) * phase.step.flops
            flops += self._predicting(phase.adapted, looked)
            if trials + runs:
                read = examples if phase.start else 0
                flops += self._prefix(phase.adapted, read, rung, encoders)
        last = phases[-1]
        predicted = trials * tuning + runs * len(self.problem.evaluated)
        return flops + self._predicting(last.adapted, predicted), {
            "trainable": count_trainable(last.adapted),
            "steps": sum(phase.recipe.steps for phase in phases),
            "step_flops": last.step.flops,
            "peak_bytes": max(phase.step.peak_bytes for phase in phases),
        }

    def _predicting(self, adapted: Adapted, examples: float) -> float:
        """Operations from the frozen stages on, which are cached, for so many examples."""
        if not examples:
            return 0.0
        start = adapted.frozen_prefix
        inputs = inputs_at(self.problem, adapted, start)
        cost = predict_cost(adapted, inputs, batch_size=BATCH, start=start)
        return examples / BATCH * cost.flops

    def _prefix(
        self,
        adapted: Adapted,
        train_examples: int,
        rung: RungSettings | None = None,
        encoders: float = 1,
    ) -> float:
        """Operations of the frozen stages, once for every example, boundary and set of weights."""
        stop, is_own = adapted.frozen_prefix, rung is not None and rung.is_reference
        if not stop or (not is_own and stop in self._prefixes):
            return 0.0
        if not is_own:
            self._prefixes.add(stop)
        examples = train_examples + len(self.problem.evaluated)
        return encoders * examples * prefix_flops(self.problem, adapted)


def _row(rung: RungPlan) -> list[str]:
    parts = [f"{rung.trials:.4g} trials"] if rung.trials else []
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
