"""What follows the climb: the decision is written, then the test split is read, then the record and its evidence are written."""

import dataclasses
import itertools
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import cells, frozen, judging, record
from jaxtransfer.protocol.climbing import Climbed
from jaxtransfer.protocol.conclusion import conclude
from jaxtransfer.protocol.criterion import Part, check_groups
from jaxtransfer.protocol.decision import (
    REFERENCE,
    Comparison,
    Verdict,
    climb,
    compare_family,
)
from jaxtransfer.protocol.ensemble import average_seeds
from jaxtransfer.protocol.judging import Judge
from jaxtransfer.protocol.plan import Plan
from jaxtransfer.protocol.problem import ACCEPT, TEST, Problem, Statement
from jaxtransfer.protocol.report import series
from jaxtransfer.protocol.rung_facts import facts_of_ensemble, facts_of_rung
from jaxtransfer.protocol.serving_figures import Serving
from jaxtransfer.protocol.transfer import measure_transfer
from jaxtransfer.protocol.workdir import examples_of, write_json

HARDEST = 12
"""Test examples whose text or picture the report shows."""
Tables = dict[str, list[Predictions]]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Ascent:
    """What was climbed, and what was not.

    Attributes:
      plan: what was to be climbed.
      criterion: as it is frozen, with its history.
      climbed: rungs in the order in which they were climbed, an ensemble left out.
      references: rungs that start from random weights.
      not_run: rung to why it was planned and not run.
      serving: rung to what it costs to serve it, where something bounds that.
      spent: seconds and FLOPs of all cells.
    """

    plan: Plan
    criterion: Mapping[str, Any]
    climbed: Sequence[Climbed]
    references: Sequence[Climbed]
    not_run: Mapping[str, str]
    serving: Mapping[str, Serving]
    spent: Mapping[str, float]

    @property
    def planned(self) -> list[str]:
        """Names of the planned rungs, an ensemble included."""
        return [rung.name for rung in self.plan.rungs]

    @property
    def ensemble(self) -> str | None:
        """Name of the ensemble that is to be tried, if there is one."""
        names = [rung.name for rung in self.plan.rungs if rung.is_ensemble]
        return names[0] if names and names[0] not in self.not_run else None

    def judge(self, problem: Statement) -> Judge:
        """What the criterion is applied with."""
        return Judge(
            rule=problem.settings.acceptance,
            budget=problem.settings.budget,
            serving=self.serving,
            trainable={item.rung.name: item.cells[0].facts["trainable"] for item in self.climbed},
            ensemble=self.ensemble,
            members=len(problem.settings.seeds),
        )


def tables_of(problem: Problem, climbed: Sequence[Climbed]) -> Tables:
    """Rung to its tables, with the groups that guards name."""
    metadata = problem.table.metadata
    columns = check_groups(problem.settings.acceptance, metadata)
    ids = problem.table.ids.tolist()
    groups = {column: dict(zip(ids, map(str, metadata[column].tolist()))) for column in columns}
    return {item.rung.name: item.tables(groups) for item in climbed}


def only(tables: Mapping[str, Sequence[Predictions]], split: str) -> Tables:
    """The tables of one split."""
    return {name: [table.select(split) for table in each] for name, each in tables.items()}


def is_met(problem: Problem, ascent: Ascent) -> bool:
    """Whether the incumbent of what was climbed up to now meets the criterion on the acceptance half."""
    judge = dataclasses.replace(ascent.judge(problem), ensemble=None)
    tables = only(tables_of(problem, ascent.climbed), ACCEPT)
    verdicts, chosen = climb(tables, judge.rule, planned=ascent.planned, veto=judge.veto)
    return judge.is_met(chosen, next(iter(tables)), tables, verdicts)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Decided:
    """What the acceptance half decided.

    Attributes:
      verdicts: rung to its verdict.
      chosen: the chosen rung.
      members_of: the rung whose seeds a chosen ensemble averages; else the chosen one.
      parts: rung to target and guards on the acceptance half.
    """

    verdicts: Mapping[str, Verdict]
    chosen: str
    members_of: str
    parts: Mapping[str, Sequence[Part]]

    def to_json(self, problem: Statement, ascent: Ascent) -> dict[str, Any]:
        """What `decision.json` holds."""
        return {
            "chosen": self.chosen,
            "verdicts": {name: [v.decision, v.reason] for name, v in self.verdicts.items()},
            "criterion": ascent.criterion["sha256"],
            "hashes": dict(problem.hashes),
        }


def decide(problem: Problem, ascent: Ascent, workdir: pathlib.Path, command: str) -> dict[str, Any]:
    """Decides on the acceptance half, writes the decision, reads the test split, and writes the record."""
    tables = tables_of(problem, ascent.climbed)
    decided = settle(problem, ascent, tables)
    write_json(workdir / frozen.DECISION, decided.to_json(problem, ascent))
    every = with_all(ascent, decided, tables, tables_of(problem, ascent.references))
    finished = assemble(problem, ascent, decided, every, command)
    _write_evidence(problem, ascent, every, decided.chosen, decided.members_of, workdir)
    record.write(finished, workdir)
    return finished


def settle(problem: Statement, ascent: Ascent, tables: Tables) -> Decided:
    """Decides on the acceptance half of the tables of what was climbed."""
    judge, accept = ascent.judge(problem), only(tables, ACCEPT)
    verdicts, chosen = climb(
        accept, judge.rule, planned=ascent.planned, ensemble=ascent.ensemble, veto=judge.veto
    )
    members_of = _members_of(chosen, ascent.ensemble, verdicts)
    if ascent.ensemble is not None:
        accept[ascent.ensemble] = average_seeds(accept[members_of])
    return Decided(
        verdicts=verdicts,
        chosen=chosen,
        members_of=members_of,
        parts={name: judge.parts(name, members_of, own) for name, own in accept.items()},
    )


def with_all(ascent: Ascent, decided: Decided, tables: Tables, references: Tables) -> Tables:
    """The tables of what was climbed, then of the ensemble if there is one, then of the references."""
    found = dict(tables)
    if ascent.ensemble is not None:
        found[ascent.ensemble] = average_seeds(tables[decided.members_of])
    return {**found, **references}


def assemble(
    problem: Statement, ascent: Ascent, decided: Decided, tables: Tables, command: str
) -> dict[str, Any]:
    """Reads the test split and builds the record of a decision that stands; it writes nothing.

    Args:
      problem: as stated.
      ascent: what was climbed.
      decided: on the acceptance half.
      tables: of every rung, as `with_all` gives them.
      command: how to run the ladder again.
    """
    rule, judge = problem.settings.acceptance, ascent.judge(problem)
    verdicts, chosen, members_of = decided.verdicts, decided.chosen, decided.members_of
    references = [item.rung.name for item in ascent.references]
    test = only(tables, TEST)
    comparisons = _comparisons(test, ascent, chosen, members_of, problem)
    outcome, final = judge.verdict(chosen, next(iter(tables)), members_of, test, verdicts)
    transfer = measure_transfer(
        test, chosen, references, rule, untested=_untested(problem, ascent, members_of)
    )
    rungs = _rungs(problem, ascent, tables, members_of)
    return record.build(
        problem,
        rungs=rungs,
        verdicts={**verdicts, **{name: _reference(name) for name in references}},
        comparisons=comparisons,
        chosen=chosen,
        conclusion=_conclusion(
            problem,
            ascent,
            chosen,
            verdicts,
            comparisons,
            {rung["name"]: rung["metrics"][TEST][rule.metric] for rung in rungs},
            judging.sentence(outcome, final, TEST),
            transfer["sentence"],
        ),
        command=command,
        sections={
            "criterion": {
                **ascent.criterion,
                "accept": {
                    name: [part.to_json() for part in found]
                    for name, found in decided.parts.items()
                },
                **judging.to_json(outcome, final, TEST),
            },
            "plan": {
                **ascent.plan.to_json(),
                "not_run": [{"rung": name, "reason": why} for name, why in ascent.not_run.items()],
                "spent": dict(ascent.spent),
            },
            "transfer": transfer,
        },
    )


def _members_of(chosen: str, ensemble: str | None, verdicts: Mapping[str, Verdict]) -> str:
    """The rung whose seeds an ensemble averages: the last incumbent."""
    comparison = verdicts[chosen].comparison
    return comparison.second if chosen == ensemble and comparison is not None else chosen


def _comparisons(
    test: Tables, ascent: Ascent, chosen: str, members_of: str, problem: Statement
) -> list[Comparison]:
    """Pairs of rungs on the test split: the later one minus the earlier one, and any one minus the probe."""
    baselines = {item.rung.name for item in ascent.climbed if item.rung.is_baseline}
    # A baseline that was not chosen is in question no longer, nor is an ensemble of one.
    tested = [
        item.rung.name for item in ascent.climbed if item.rung.name not in baselines - {chosen}
    ]
    if ascent.ensemble is not None and (chosen == ascent.ensemble or members_of not in baselines):
        tested.append(ascent.ensemble)
    probe = _probe(ascent)
    pairs = [(a, b) if b == probe else (b, a) for a, b in itertools.combinations(tested, 2)]
    rule = problem.settings.acceptance
    return compare_family(test, pairs, rule, two_sided=True) if pairs else []


def _probe(ascent: Ascent) -> str | None:
    return next(
        (item.rung.name for item in ascent.climbed if item.rung.method == "linear_probe"), None
    )


def _conclusion(
    problem: Statement,
    ascent: Ascent,
    chosen: str,
    verdicts: Mapping[str, Verdict],
    comparisons: Sequence[Comparison],
    measured: Mapping[str, Mapping[str, Any]],
    verdict: str,
    transfer: str,
) -> list[str]:
    rule = problem.settings.acceptance
    first, *rest = conclude(
        chosen=chosen,
        verdicts=verdicts,
        comparisons=comparisons,
        measured=measured,
        metric=rule.metric,
        margin=rule.margin,
        confidence=rule.confidence,
        accept_count=problem.card["splits"][ACCEPT],
        tuned=[
            item.rung.name
            for item in ascent.climbed
            if not item.rung.is_baseline and item.rung.method != "linear_probe"
        ],
        probe=_probe(ascent),
    )
    said = [first, verdict, *rest, transfer]
    left = {**ascent.plan.skipped, **ascent.not_run}
    if left:
        said.append(f"Not climbed: {'; '.join(f'{name} ({why})' for name, why in left.items())}.")
    changed = frozen.sentence(ascent.criterion)
    return said if changed is None else [*said, changed]


def _untested(problem: Statement, ascent: Ascent, members_of: str) -> str | None:
    """Why the chosen rung is not compared with random weights, if it is not."""
    chosen = next(item.rung for item in ascent.climbed if item.rung.name == members_of)
    if chosen.method == "majority_class":
        return f"{members_of} takes nothing from the pretrained network"
    if ascent.references:
        return None
    left = {**ascent.plan.skipped, **ascent.not_run}
    reasons = [left[rung.name] for rung in problem.settings.references if rung.name in left]
    if reasons:
        return reasons[0]
    return "config.negative_transfer is False"


def _reference(name: str) -> Verdict:
    return Verdict(
        rung=name,
        decision=REFERENCE,
        reason="starts from random weights: it measures what pretraining is worth, and cannot be chosen",
        comparison=None,
    )


def _rungs(
    problem: Statement, ascent: Ascent, tables: Tables, members_of: str
) -> list[dict[str, Any]]:
    climbed = [facts_of_rung(problem, item, tables[item.rung.name]) for item in ascent.climbed]
    if ascent.ensemble is not None:
        own = next(rung for rung in climbed if rung["name"] == members_of)
        climbed.append(facts_of_ensemble(problem, ascent.ensemble, own, tables[ascent.ensemble]))
    return [
        *climbed,
        *(facts_of_rung(problem, item, tables[item.rung.name]) for item in ascent.references),
    ]


def shown_examples(tables: Sequence[Predictions]) -> list[str]:
    """Ids of the test examples that the report shows, of one table a seed of the chosen rung."""
    test = [table.select(TEST) for table in tables]
    return [example.id for example in series.gallery(test, HARDEST)]


def _write_evidence(
    problem: Problem,
    ascent: Ascent,
    tables: Tables,
    chosen: str,
    members_of: str,
    workdir: pathlib.Path,
) -> None:
    for folder in ("predictions", "history"):
        (workdir / folder).mkdir(exist_ok=True)
    for item in (*ascent.climbed, *ascent.references):
        for cell, table in zip(item.cells, tables[item.rung.name]):
            name = f"{item.rung.name}-seed{cell.facts['seed']}"
            table.save(workdir / "predictions" / f"{name}.npz")
            shutil.copyfile(cell.directory / "history.jsonl", workdir / "history" / f"{name}.jsonl")
    if ascent.ensemble is not None:
        for seed, table in zip(problem.settings.seeds, tables[ascent.ensemble]):
            name = f"{ascent.ensemble}-seed{seed}"
            table.save(workdir / "predictions" / f"{name}.npz")
            (workdir / "history" / f"{name}.jsonl").write_text("")
    write_json(workdir / "examples.json", examples_of(problem, shown_examples(tables[chosen])))
    best = next(item for item in ascent.climbed if item.rung.name == members_of)
    if chosen == ascent.ensemble:
        found = {f"adapters/seed{cell.facts['seed']}": cell for cell in best.cells}
        cells.copy_adapters(found, workdir)
    else:
        cells.copy_adapter(best.cells[0], workdir)
