"""What a rung will cost, before anything runs: trainable parameters, and operations of its steps from their shapes alone."""

import dataclasses

import numpy as np

from jaxtransfer import partition, trees
from jaxtransfer.protocol.abstract_costs import AbstractCosts
from jaxtransfer.protocol.problem import Problem
from jaxtransfer.protocol.sections import RungSettings
from jaxtransfer.protocol.training import rates_of, untrained


@dataclasses.dataclass(frozen=True, kw_only=True)
class RungCost:
    """An estimate.

    Attributes:
      trainable: parameters that the last phase trains.
      flops: of all trials and runs, their predictions included, as `abstract_costs` counts them for the
        rung alone.
      train_flops: of those, what the steps of training take, which is what a budget counts.
    """

    trainable: int
    flops: float
    train_flops: float = 0.0


def trainable_count(problem: Problem, rung: RungSettings) -> int:
    """Parameters that a rung trains; a baseline's are found without training."""
    if rung.is_baseline:
        return 0
    adapted = untrained(problem, rung)
    leaves, _ = partition.split(adapted.variables, adapted.labels)
    return sum(int(np.prod(leaf.shape)) for leaf in trees.flatten_variables(leaves).values())


def estimate(problem: Problem, rung: RungSettings) -> RungCost:
    """Estimates a rung's cost; nothing is compiled or computed."""
    if rung.is_baseline:
        return RungCost(trainable=0, flops=0.0)
    rates = rates_of(rung)
    flops, facts = AbstractCosts(problem).of_rung(
        rung, trials=len(rates) if len(rates) > 1 else 0, runs=len(problem.settings.seeds)
    )
    return RungCost(trainable=facts["trainable"], flops=flops, train_flops=facts["train_flops"])
