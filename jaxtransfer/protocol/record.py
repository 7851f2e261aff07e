"""`record.json`: everything a ladder decided, and what it rests on.

The record is built from plain values alone, so that it can be checked and read without the run.
"""

import datetime
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.protocol.decision import Comparison, Verdict
from jaxtransfer.protocol.problem import Problem
from jaxtransfer.protocol.provenance import environment, versions
from jaxtransfer.protocol.workdir import write_json

FILE = "record.json"
SCHEMA = 1

ACCEPTANCE = (
    "Learning rates are chosen by {metric} on one half of validation ({tune} examples) with seed"
    " {tuning_seed}. On the other half ({accept} examples), a rung replaces the incumbent when the"
    " difference in {metric}, paired over examples and over the seeds {seeds}, exceeds {margin:g}"
    " with p at most {alpha:.3g}, adjusted by Holm over {family}. Test predictions are read once, after the decision."
)
FAMILIES = {
    "incumbent": "the rungs above that incumbent; the rate is that of each incumbent's family",
    "all": "all pairs of rungs of the ladder; the rate is that of the whole ladder",
}


def build(
    problem: Problem,
    *,
    rungs: Sequence[Mapping[str, Any]],
    verdicts: Mapping[str, Verdict],
    comparisons: Sequence[Comparison],
    chosen: str,
    conclusion: Sequence[str],
    command: str,
    sections: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The record of a finished ladder.

    Args:
      problem: model, data and settings.
      rungs: what each rung did: name, method, rules, hyperparameters, tuning, seeds, trainable,
        metrics and cost, in ladder order.
      verdicts: rung to its verdict.
      comparisons: pairs of rungs on the test split.
      chosen: name of the rung that was chosen.
      conclusion: sentences.
      command: how to run the ladder again.
      sections: further plain values by their key, such as `criterion`, `plan` and `transfer`.
    """
    settings = problem.settings
    rule = settings.acceptance
    return {
        "schema": SCHEMA,
        "name": settings.name,
        "task": {
            **problem.task.describe(),
            "metric": rule.metric,
            "margin": rule.margin,
            "confidence": rule.confidence,
            "acceptance": ACCEPTANCE.format(
                metric=rule.metric,
                tune=problem.card["splits"]["tune"],
                accept=problem.card["splits"]["accept"],
                tuning_seed=settings.tuning.seed,
                seeds=list(settings.seeds),
                margin=rule.margin,
                alpha=1 - rule.confidence,
                family=FAMILIES[rule.family],
            ),
        },
        "data": dict(problem.card),
        "hashes": dict(problem.hashes),
        "rungs": [_rung(rung, verdicts[rung["name"]]) for rung in rungs],
        "comparisons": [_comparison(comparison) for comparison in comparisons],
        "chosen": chosen,
        "conclusion": list(conclusion),
        "versions": versions(),
        "environment": environment(),
        **(sections or {}),
        "command": command,
        "config": settings.to_json(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def write(record: Mapping[str, Any], workdir: pathlib.Path) -> pathlib.Path:
    """Writes `record.json`, whole or not at all."""
    write_json(workdir / FILE, record)
    return workdir / FILE


def _rung(rung: Mapping[str, Any], verdict: Verdict) -> dict[str, Any]:
    return {
        **rung,
        "difference": None if verdict.comparison is None else verdict.comparison.to_json(),
        "decision": verdict.decision,
        "reason": verdict.reason,
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    document = comparison.to_json()
    document.pop("incumbent")
    return {
        "a": comparison.first,
        "b": comparison.second,
        "split": "test",
        **document,
        "distinguishable": comparison.is_significant,
    }
