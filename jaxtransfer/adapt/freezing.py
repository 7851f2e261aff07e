"""Methods that add no leaves: they choose which of the base's leaves train."""

import dataclasses
import re
from collections.abc import Mapping
from typing import ClassVar

from jaxtransfer import trees
from jaxtransfer.adapt.method import (
    HEAD_PATTERN,
    Method,
    head_rules,
    matched_paths,
    parameter_paths,
)
from jaxtransfer.errors import AdaptationError
from jaxtransfer.models.model import Model
from jaxtransfer.partition import DELTA
from jaxtransfer.trees import Rule

BODY = "body"
BIAS = "bias"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearProbe(Method):
    """Trains the head alone.

    Attributes:
      head: pattern of the head's parameters.
    """

    head: str = HEAD_PATTERN
    name: ClassVar[str] = "linear_probe"
    suggested_learning_rates: ClassVar[tuple[float, ...]] = (1e-3, 1e-2)

    def rules(self, model: Model) -> tuple[Rule, ...]:
        """The head's leaves in group `head`."""
        return head_rules(model, self.head, self.name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Full(Method):
    """Trains every parameter; the head and the rest are groups of their own.

    Attributes:
      head: pattern of the head's parameters, or None if the network has none.
    """

    head: str | None = HEAD_PATTERN
    name: ClassVar[str] = "full"
    suggested_learning_rates: ClassVar[tuple[float, ...]] = (3e-5, 1e-4)
    suggested_multipliers: ClassVar[Mapping[str, float]] = {"head": 10.0}

    def rules(self, model: Model) -> tuple[Rule, ...]:
        """The head's leaves in group `head`, all other parameters in `body`."""
        return (*head_rules(model, self.head, self.name), Rule(f"(?!{DELTA}/).*", BODY))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TopStages(Method):
    """Trains the last stages and the head, and freezes what lies below.

    Attributes:
      count: how many stages below the head train; stages without parameters do not count.
      head: pattern of the head's parameters, or None if the network has none.
    """

    count: int = 2
    head: str | None = HEAD_PATTERN
    name: ClassVar[str] = "top_stages"
    suggested_learning_rates: ClassVar[tuple[float, ...]] = (1e-4, 3e-4)

    def __post_init__(self):
        super().__post_init__()
        if self.count < 1:
            raise AdaptationError(
                f"top_stages of {self.count} stages trains nothing; give at least 1"
            )

    def rules(self, model: Model) -> tuple[Rule, ...]:
        """The head's leaves in group `head`, those of the last `count` stages in `body`.

        Raises:
          AdaptationError: if the model has no stages, or fewer than `count` below the head.
        """
        if not model.stages:
            raise AdaptationError(
                f"method {self.name!r} needs stages, and model {model.name!r} has none; use"
                " full, bitfit or lora, or make the model with from_module(..., stages=...)"
            )
        head = head_rules(model, self.head, self.name)
        in_head = matched_paths(parameter_paths(model), self.head)
        body = [path for path in parameter_paths(model) if path not in in_head]
        stage_of = {path: model.stage_of(path) for path in body}
        blocks = [stage for stage in model.stages if stage in stage_of.values()]
        if not 0 < self.count <= len(blocks):
            raise AdaptationError(
                f"method {self.name!r} cannot train {self.count} stages of model"
                f" {model.name!r}: below the head it has {len(blocks)} with"
                f" parameters ({', '.join(blocks)})"
            )
        rules = []
        for stage in blocks[-self.count :]:
            path = next(path for path, owner in stage_of.items() if owner == stage)
            prefix = f"{path}/".split(f"{stage}/", 1)[0]
            rules.append(Rule(f"{re.escape(f'{prefix}{stage}')}/.*", BODY))
        return (*head, *rules)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BitFit(Method):
    """Trains every bias, those of the norms included, and the head (arXiv 2106.10199).

    Attributes:
      head: pattern of the head's parameters, or None if the network has none.
    """

    head: str | None = HEAD_PATTERN
    name: ClassVar[str] = "bitfit"
    suggested_learning_rates: ClassVar[tuple[float, ...]] = (1e-3, 1e-2)

    def rules(self, model: Model) -> tuple[Rule, ...]:
        """The head's leaves in group `head`, all other biases in `bias`.

        Raises:
          AdaptationError: if there is no bias outside the head.
        """
        head = head_rules(model, self.head, self.name)
        paths = parameter_paths(model)
        biases = {p for p in paths if p.split("/")[-1] == "bias"} - matched_paths(paths, self.head)
        if not biases:
            raise AdaptationError(
                f"method {self.name!r} trains biases, and model {model.name!r} has none outside"
                " the head; use lora"
            )
        return (*head, Rule(f"(?!{DELTA}/)(.*/)?bias", BIAS))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LPFT(Method):
    """Trains the head first, and then the rest from the head it found (arXiv 2202.10054).

    Attributes:
      head: pattern of the head's parameters.
      then: the method of the second phase.
    """

    head: str = HEAD_PATTERN
    then: Method = dataclasses.field(default_factory=Full)
    name: ClassVar[str] = "lp_ft"
    suggested_learning_rates: ClassVar[tuple[float, ...]] = (3e-5, 1e-4)

    def phases(self) -> tuple[Method, ...]:
        """A linear probe, and then the second method's phases."""
        return (LinearProbe(head=self.head), *self.then.phases())

    def rules(self, model: Model) -> tuple[Rule, ...]:
        """Refuses: each phase has its own.

        Raises:
          AdaptationError: always.
        """
        raise AdaptationError(
            f"method {self.name!r} has {len(self.phases())} phases; adapt model {model.name!r}"
            " to each of method.phases() in turn"
        )


def statistics_rules(model: Model, statistics: str) -> tuple[Rule, ...]:
    """Labels for what is neither parameter nor delta: running statistics, and constants.

    Raises:
      AdaptationError: if `statistics` is neither 'frozen' nor 'updated', or there is none to
        update.
    """
    if statistics not in ("frozen", "updated"):
        raise AdaptationError(f"statistics are 'frozen' or 'updated', not {statistics!r}")
    if statistics == "updated" and not trees.flatten(model.variables.get("batch_stats", {})):
        raise AdaptationError(
            f"model {model.name!r} has no batch statistics to update; leave them 'frozen'"
        )
    others = [name for name in model.variables if name != trees.PARAMS and model.variables[name]]
    return tuple(
        Rule(
            f"{name}/.*",
            "statistic" if name == "batch_stats" and statistics == "updated" else "frozen",
        )
        for name in others
    )
