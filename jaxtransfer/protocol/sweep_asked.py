"""The trials that a sweep asks for, and whether the journal of one that has begun holds no others."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.errors import WorkdirError
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.protocol import samplers, study
from jaxtransfer.protocol.journal import Journal
from jaxtransfer.protocol.search_space import SearchSpace
from jaxtransfer.protocol.sections import RungSettings
from jaxtransfer.protocol.settings import LadderSettings, train_settings
from jaxtransfer.protocol.sweep_plan import Plan
from jaxtransfer.protocol.trials import Trial, configured


def drawn(
    settings: LadderSettings, rung: RungSettings, space: SearchSpace, plan: Plan
) -> list[Trial]:
    """Every trial of a sampler that asks for all at once; of halving, each at every stage.

    The first has the defaults.
    """
    points = samplers.points(plan.sampler, plan.trials - 1, len(space.parameters), plan.seed)
    every = [space.defaults(), *(space.at(point) for point in points.tolist())]
    if plan.sampler != samplers.HALVING:
        return [trial_of(settings, rung, number, one) for number, one in enumerate(every)]
    stages = samplers.halving(plan.trials, train_settings(settings, rung).steps)
    return [
        Trial(number=number, parameters=parameters, steps=stage.steps)
        for number, parameters in enumerate(every)
        for stage in stages
    ]


def trial_of(
    settings: LadderSettings, rung: RungSettings, number: int, parameters: Mapping[str, Any]
) -> Trial:
    """A trial to the last step of its own."""
    changed, _ = configured(rung, parameters)
    return Trial(
        number=number, parameters=parameters, steps=train_settings(settings, changed).steps
    )


def check_begun(journal: Journal, asked: Sequence[Trial], plan: Plan, metric: str) -> None:
    """Compares a journal with what a sweep asks for.

    Raises:
      WorkdirError: if it holds more trials, or as `Journal.check` does.
    """
    finished = len({row["trial"] for row in journal.rows()})
    if finished > plan.trials:
        raise WorkdirError(
            f"{journal.path} has {finished} trials, and --trials is {plan.trials}: give at least"
            f" {finished}, or choose another --workdir"
        )
    is_told = plan.sampler == samplers.OPTUNA
    journal.check(
        {(one.number, one.steps): one.parameters for one in asked},
        study.FILE if is_told else f"the sampler ({plan.sampler}, --trials {plan.trials})",
        definition(metric),
    )
