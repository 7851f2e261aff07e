"""`record.json`: everything a ladder decided, and what it rests on.

The record is built from plain values alone, so that it can be checked and read without the run.
"""

import datetime
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer import json_text
from jaxtransfer.errors import WorkdirError
from jaxtransfer.protocol import account
from jaxtransfer.protocol.decision import Comparison, Verdict
from jaxtransfer.protocol.problem import Statement
from jaxtransfer.protocol.provenance import environment, revision, versions
from jaxtransfer.protocol.workdir import RESULTS, write_json

FILE = "record.json"
SCHEMA = 2
READABLE = (1, SCHEMA)
"""Schemas that the report and the index read; one of schema 1 has no question, rationale, limits and manifest."""

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
    problem: Statement,
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
      problem: settings, task, data card and hashes.
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
    document: dict[str, Any] = {
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
    return {
        **document,
        "question": account.question(document),
        "rationale": account.rationale(document),
        "limits": account.limits(document),
        "reproduce": account.reproduction(document, revision()),
    }


def write(record: Mapping[str, Any], workdir: pathlib.Path) -> pathlib.Path:
    """Writes `record.json`, whole or not at all."""
    write_json(workdir / FILE, record)
    return workdir / FILE


def read(workdir: pathlib.Path) -> dict[str, Any]:
    """The record of a decision's directory, as it stands.

    Raises:
      WorkdirError: if there is none, saying what the directory is instead, or it is no JSON object.
    """
    path = workdir / FILE
    if not path.is_file():
        raise WorkdirError(f"{workdir} holds no {FILE}: {_instead(workdir)}")
    try:
        found = json_text.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WorkdirError(f"{path} is damaged: {error}") from None
    if not isinstance(found, dict):
        raise WorkdirError(f"{path} is damaged: it holds no JSON object")
    return found


def check_schema(record: Mapping[str, Any], place: str, schemas: Sequence[int] = READABLE) -> None:
    """Refuses a record of a schema that is not among those given, naming the version that wrote it.

    Raises:
      WorkdirError: as said.
    """
    found = record.get("schema")
    if isinstance(found, int) and not isinstance(found, bool) and found in schemas:
        return
    writer = record.get("versions")
    by = writer.get("jaxtransfer") if isinstance(writer, Mapping) else None
    known = " and ".join(str(schema) for schema in schemas)
    way = "read it with the version that wrote it"
    if isinstance(found, int) and found in READABLE:
        way = "run its ladder again on its directory, which repeats no finished cell"
    raise WorkdirError(
        f"{place} has schema {found!r}, this version reads schema {known} here: {way} (jaxtransfer"
        f" {by or 'of unknown version'})"
    )


def _instead(workdir: pathlib.Path) -> str:
    if not workdir.is_dir():
        return "there is no such directory"
    try:
        verb = json.loads((workdir / "run.json").read_text(encoding="utf-8")).get("verb")
    except (OSError, ValueError, AttributeError):
        return "it is no decision's directory"
    if verb == "train":
        return "it is one rung's, trained by jaxtransfer train, and decides nothing"
    searched = search_of(workdir, verb)
    if searched is not None:
        return f"it holds {searched}"
    return "its ladder is not finished; the same command goes on"


def search_of(workdir: pathlib.Path, verb: Any) -> str | None:
    """What a directory of `sweep` or `ablate` holds, and how to read it; None of another verb.

    Args:
      workdir: the directory.
      verb: as its `run.json` has it.
    """
    if verb not in tuple(RESULTS):
        return None
    name, page = ("sweep", "sweep.json") if verb == "sweep" else ("ablation", "ablation.html")
    command = f"the same jaxtransfer {verb} command"
    if not (workdir / RESULTS[verb]).is_file():
        return f"an unfinished {name}: {command} goes on"
    return (
        f"a finished {name}, which decides nothing: read {page}, or print it again with {command}"
    )


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
