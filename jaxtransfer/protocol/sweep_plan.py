"""How a sweep searches: sampler, number of trials, seed; and what its journal depends on."""

import dataclasses
from typing import Any

from jaxtransfer.errors import ConfigError
from jaxtransfer.protocol import samplers
from jaxtransfer.protocol.problem import Problem
from jaxtransfer.protocol.search_space import SearchSpace


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How to search.

    Attributes:
      sampler: one of `samplers.SAMPLERS`.
      trials: how many; of successive halving, in its first stage.
      seed: of the sampler.
      processes: that run trials at once, those that cannot share their steps.
      confirm: fresh seeds for the winner.
    """

    sampler: str = samplers.RANDOM
    trials: int = 32
    seed: int = 0
    processes: int = 1
    confirm: int = 5

    def __post_init__(self):
        for name, least in (("trials", 1), ("seed", 0), ("processes", 1), ("confirm", 2)):
            value = getattr(self, name)
            if value < least:
                raise ConfigError(f"--{name} {value}: give at least {least}")


def facts_of(problem: Problem, space: SearchSpace, plan: Plan) -> dict[str, Any]:
    """What the trials depend on; more of them may be asked for later, unless stages depend on it."""
    stages = {"trials": plan.trials} if plan.sampler == samplers.HALVING else {}
    return {
        "space": space.hash,
        "sampler": plan.sampler,
        "seed": plan.seed,
        **stages,
        "tuning_seed": problem.settings.tuning.seed,
        "config": problem.settings.hash,
        **{name: problem.hashes[name] for name in ("data", "splits", "base")},
    }


def count_of(plan: Plan, steps: int) -> int:
    """How many trials are trained, those of every stage counted."""
    if plan.sampler != samplers.HALVING:
        return plan.trials
    return sum(stage.trials for stage in samplers.halving(plan.trials, steps))
