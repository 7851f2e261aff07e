"""What the record says of a rung: what it did, what it cost, and every metric of every split."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer.evaluation.seeds import measure_seeds
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol.climbing import Climbed
from jaxtransfer.protocol.problem import EVALUATED, Statement
from jaxtransfer.protocol.sections import ENSEMBLE, TrainSettings
from jaxtransfer.protocol.settings import train_settings


def facts_of_rung(
    problem: Statement, item: Climbed, tables: Sequence[Predictions]
) -> dict[str, Any]:
    """A rung that was run: method, rules, hyperparameters, tuning, seeds, metrics of every split, and cost."""
    facts = item.cells[0].facts
    costs = [cell.facts["cost"] for cell in item.cells]
    train = train_settings(problem.settings, item.rung)
    return {
        "name": item.rung.name,
        "method": facts["method"],
        "rules": facts["rules"],
        "hyperparameters": _hyperparameters(item, train, facts["steps"]),
        "tuning": item.tuning,
        "seeds": [cell.facts["seed"] for cell in item.cells],
        "trainable": facts["trainable"],
        "metrics": _metrics(problem, tables),
        "cost": {
            "seconds": item.seconds,
            "train_seconds": float(np.mean([cost["seconds"] for cost in costs])),
            "flops": max(cost["flops"] for cost in costs),
            "peak_bytes": max(cost["peak_bytes"] for cost in costs),
        },
    }


def _hyperparameters(item: Climbed, train: TrainSettings, steps: int) -> dict[str, Any]:
    if item.rung.is_baseline:
        return {"learning_rate": None, "steps": 0}
    shared = {key: value for key, value in dataclasses.asdict(train).items() if key != "steps"}
    first = {"first_phase": dict(item.rung.first_phase)} if item.rung.first_phase else {}
    return {"learning_rate": item.learning_rate, "steps": steps, **shared, **first}


def facts_of_ensemble(
    problem: Statement, name: str, members: Mapping[str, Any], tables: Sequence[Predictions]
) -> dict[str, Any]:
    """An ensemble of a rung's seeds: it costs what all of them cost, and nothing more in this ladder.

    Args:
      problem: what it was climbed on.
      name: of the ensemble.
      members: the facts of the rung whose seeds it averages.
      tables: of the ensemble, as often as there are seeds.
    """
    count, cost = len(members["seeds"]), members["cost"]
    return {
        "name": name,
        "method": {"method": ENSEMBLE, "of": members["name"], "members": count},
        "rules": [],
        "hyperparameters": {"learning_rate": None, "steps": 0},
        "tuning": [],
        "seeds": members["seeds"],
        "trainable": count * members["trainable"],
        "metrics": _metrics(problem, tables),
        "cost": {
            "seconds": 0.0,
            "train_seconds": count * cost["train_seconds"],
            "flops": count * cost["flops"],
            "peak_bytes": cost["peak_bytes"],
        },
    }


def _metrics(problem: Statement, tables: Sequence[Predictions]) -> dict[str, Any]:
    assert tables[0].split is not None
    present = set(tables[0].split.tolist())
    return {
        split: {
            name: value.to_json()
            for name, value in measure_seeds(
                [table.select(split) for table in tables],
                problem.task.metrics,
                confidence=problem.settings.acceptance.confidence,
            ).items()
        }
        for split in EVALUATED
        if split in present
    }
