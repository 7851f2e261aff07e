"""What a ladder will climb, in which order and why, and what it skips: fixed before anything runs.

The order and what preconditions skip are kept in `plan.json`, so that a resumed ladder climbs what it began.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from jaxtransfer.errors import ConfigError, WorkdirError
from jaxtransfer.protocol import past_records
from jaxtransfer.protocol.abstract_costs import check_rungs
from jaxtransfer.protocol.facts import Fact, facts_of, unmet, with_diagnosis
from jaxtransfer.protocol.problem import Problem
from jaxtransfer.protocol.report.contents import DIAGNOSIS, read_diagnosis
from jaxtransfer.protocol.rung_cost import RungCost, estimate, trainable_count
from jaxtransfer.protocol.sections import RungSettings
from jaxtransfer.protocol.serving_figures import kept, of_rung
from jaxtransfer.protocol.settings import train_settings
from jaxtransfer.protocol.training import statistics_of
from jaxtransfer.protocol.workdir import finished_cells, write_json

FILE = "plan.json"
BEGUN = ("rule", "because", "missing")
"""Keys that the file of a plan that was begun holds."""
LISTED = "as config.rungs lists them"
ROUGHLY = 2.0
"""Estimated operations over the budget's that rule a rung out; below it, what is counted as it runs decides."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What is climbed.

    Attributes:
      rungs: in the order in which they are climbed.
      because: rung to why it stands where it does.
      skipped: rung to why it is not climbed.
      facts: of the task.
      rule: how the order was found.
    """

    rungs: tuple[RungSettings, ...]
    because: Mapping[str, str]
    skipped: Mapping[str, str]
    facts: Mapping[str, Fact]
    rule: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for the record."""
        return {
            "order": self.rule,
            "positions": [
                {"rung": rung.name, "because": self.because[rung.name]} for rung in self.rungs
            ],
            "skipped": [{"rung": name, "reason": why} for name, why in self.skipped.items()],
            "facts": dict(self.facts),
        }


def make_plan(problem: Problem, workdir: pathlib.Path, *, is_dry: bool = False) -> Plan:
    """Plans a ladder.

    Args:
      problem: model, data and settings.
      workdir: where the plan is kept.
      is_dry: whether nothing may be written, nor measured: a rung whose latency is not known yet is
        then not skipped for it.

    Raises:
      ConfigError: if a precondition is about an unknown fact, the diagnosis is of something else, records cannot be read, nothing is left
        to climb, or the budget leaves no rung that trains.
      JaxTransferError: if a rung cannot act on the model, naming it.
      WorkdirError: if the plan that was begun, or the diagnosis that the report is to show, is damaged.
    """
    settings = problem.settings
    if settings.diagnosis is None:
        read_diagnosis(workdir / DIAGNOSIS)
    facts = with_diagnosis(facts_of(problem), settings.diagnosis, problem.hashes)
    missing = {
        rung.name: f"a precondition does not hold: {reason}"
        for rung in (*settings.rungs, *settings.references)
        if (reason := unmet(rung, facts, settings.diagnosis)) is not None
    }
    climbed = [rung for rung in settings.rungs if rung.name not in missing]
    if not [rung for rung in climbed if not rung.is_ensemble]:
        raise ConfigError(f"no rung is left to climb: {_listed(missing)}")
    begun = _begun(workdir)
    if begun is None:
        rule, because = _ordered(problem, climbed, facts, workdir)
        if not is_dry:
            write_json(workdir / FILE, {"rule": rule, "because": because, "missing": missing})
    else:
        rule, because = begun["rule"], begun["because"]
        if begun["missing"] != missing:
            raise WorkdirError(
                f"{workdir} was begun with other preconditions met: it skips {sorted(begun['missing'])}, and now"
                f" {sorted(missing)}; restore the diagnosis, or choose another --workdir"
            )
    _check_batches(problem)
    check_rungs(
        problem, [*climbed, *(one for one in settings.references if one.name not in missing)]
    )
    by_name = {rung.name: rung for rung in climbed}
    over = _over_budget(problem, [by_name[name] for name in because], workdir, is_dry=is_dry)
    trained = [rung for rung in climbed if not rung.is_baseline and not rung.is_ensemble]
    if trained and all(rung.name in over for rung in trained):
        raise ConfigError(
            f"no rung that trains fits config.budget: {_listed(over)}; enlarge it, or name cheaper rungs"
        )
    return Plan(
        rungs=tuple(by_name[name] for name in because if name not in over),
        because=because,
        skipped={**missing, **over},
        facts=facts,
        rule=rule,
    )


def _check_batches(problem: Problem) -> None:
    """Finds a batch that cannot be spread over the devices where batch statistics are updated."""
    for rung in (*problem.settings.rungs, *problem.settings.references):
        size = train_settings(problem.settings, rung).batch_size
        is_trained = not rung.is_baseline and not rung.is_ensemble
        if is_trained and size % jax.device_count() and statistics_of(problem, rung) == "updated":
            raise ConfigError(
                f"rung {rung.name!r} updates batch statistics, and {size} examples a batch are not divisible by"
                f" {jax.device_count()} devices: set config.methods.{rung.name}.batch_size, or"
                " config.negative_transfer=False"
            )


def _begun(workdir: pathlib.Path) -> dict[str, Any] | None:
    path = workdir / FILE
    if not path.is_file() or not finished_cells(workdir):
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it holds no JSON object")
        lacking = [name for name in BEGUN if name not in found]
        if lacking:
            raise ValueError(f"it lacks the key {lacking[0]!r}")
    except ValueError as error:
        raise WorkdirError(f"{path} is damaged ({error}); choose another --workdir") from error
    return {name: found[name] for name in BEGUN}


def _ordered(
    problem: Problem,
    rungs: Sequence[RungSettings],
    facts: Mapping[str, Fact],
    workdir: pathlib.Path,
) -> tuple[str, dict[str, str]]:
    """The rule in words, and each rung's reason in the order of the climb; an ensemble stays last."""
    settings = problem.settings
    if settings.order == "listed":
        return LISTED, {
            rung.name: f"position {place} in config.rungs" for place, rung in enumerate(rungs, 1)
        }
    costs = {
        rung.name: RungCost(trainable=0, flops=0.0) if rung.is_ensemble else estimate(problem, rung)
        for rung in rungs
    }

    def price(rung: RungSettings) -> tuple[bool, float, int]:
        return rung.is_ensemble, costs[rung.name].flops, costs[rung.name].trainable

    said = {
        name: f"estimated {cost.flops:.3g} FLOPs, {cost.trainable:,} trainable"
        for name, cost in costs.items()
    }
    if settings.order == "cost":
        ordered = sorted(rungs, key=price)
        return "estimated cost, the cheapest first", {
            rung.name: "an ensemble of what is below it" if rung.is_ensemble else said[rung.name]
            for rung in ordered
        }
    assert settings.records is not None
    past = past_records.read(settings.records, facts, workdir)
    count = sum(not rung.is_ensemble for rung in rungs)

    def promise(rung: RungSettings) -> tuple[bool, bool, float, tuple[bool, float, int]]:
        rate = past.rate(rung.method, count)
        return rung.is_ensemble, not rung.is_baseline, -rate, price(rung)

    ordered = sorted(rungs, key=promise)
    rule = (
        f"what trains nothing first, then by the share of wins in {past.similar} similar of {past.found} records"
        f" ({past_records.SIMILAR}), drawn towards one in {count}; at equal shares by estimated cost"
    )
    return rule, {rung.name: _promise(rung, past, said[rung.name]) for rung in ordered}


def _promise(rung: RungSettings, past: past_records.PastRecords, cost: str) -> str:
    if rung.is_ensemble:
        return "an ensemble of what is below it"
    tried, won = past.tried.get(rung.method, 0), past.won.get(rung.method, 0)
    first = "it trains nothing; " if rung.is_baseline else ""
    if not tried:
        return f"{first}no similar record has {rung.method}, so by cost: {cost}"
    return f"{first}{rung.method} was chosen in {won} of {tried} similar records; {cost}"


def _over_budget(
    problem: Problem, rungs: Sequence[RungSettings], workdir: pathlib.Path, *, is_dry: bool
) -> dict[str, str]:
    """Rungs that cannot fit whatever they find, and why; an ensemble is judged by its members, later."""
    budget = problem.settings.budget
    over = {}
    for rung in rungs:
        if rung.is_ensemble:
            continue
        if budget.trainable is not None:
            count = trainable_count(problem, rung)
            if count > budget.trainable:
                over[rung.name] = (
                    f"it trains {count:,} parameters, and the budget is {budget.trainable:,.0f}"
                )
                continue
        if budget.flops is not None and not rung.is_baseline and not _has_run(rung, workdir):
            flops = estimate(problem, rung).train_flops
            if flops > ROUGHLY * budget.flops:
                over[rung.name] = (
                    f"its steps take an estimated {flops:.3g} FLOPs, and the budget is {budget.flops:.3g}"
                )
                continue
        if budget.latency_p95_ms is not None:
            serving = kept(rung, workdir) if is_dry else of_rung(problem, rung, workdir)
            if serving is None:
                continue
            value, (low, _) = serving.latency_p95_ms(problem.settings.acceptance.confidence)
            if low is not None and low > budget.latency_p95_ms:
                over[rung.name] = (
                    f"serving one example takes {value:.3g} ms (95th percentile, at least {low:.3g}), and the budget"
                    f" is {budget.latency_p95_ms:g} ms"
                )
    return over


def _has_run(rung: RungSettings, workdir: pathlib.Path) -> bool:
    """Whether a run of the rung stands: what it took is then known, and what it showed is not to be dropped."""
    return any((workdir / "cells" / rung.name).glob("run-*/cell.json"))


def _listed(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
