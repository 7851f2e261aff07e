"""What is predicted: a task names the head's outputs, loss, metrics and the criterion of choice.

A task is a value that the layers above look up by kind; it computes nothing itself.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from jaxtransfer.errors import ConfigError, nearest


class Task(Protocol):
    """What the layers above read of a task of any kind.

    Attributes:
      kind: the name in TASKS.
      loss: name of the supervised term.
      metrics: names of the metrics reported by default.
      criterion: the metric that chooses learning rates and rungs.
    """

    kind: ClassVar[str]

    @property
    def loss(self) -> str: ...  # noqa: D102

    @property
    def metrics(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def criterion(self) -> str: ...  # noqa: D102

    @property
    def outputs(self) -> int:
        """Width of the head."""
        ...

    def describe(self) -> dict[str, Any]:
        """Plain values from which `from_config` makes the task again."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classification:
    """One of k classes for each example.

    Attributes:
      classes: their names in the order of the head's outputs, at least two.
      loss: name of the supervised term.
      metrics: what is reported by default.
      criterion: what chooses a model; one of the metrics.

    Raises:
      ConfigError: if there are fewer than two classes, a name repeats, or the criterion is not
        among the metrics.
    """

    kind: ClassVar[str] = "classification"

    classes: tuple[str, ...]
    loss: str = "cross_entropy"
    metrics: tuple[str, ...] = (
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "weighted_f1",
        "auroc_ovr_macro",
        "nll",
        "brier",
        "ece",
        "ece_perfect",
    )
    criterion: str = "macro_f1"

    def __post_init__(self):
        for name in ("classes", "metrics"):
            names = getattr(self, name)
            if isinstance(names, str) or not all(isinstance(item, str) for item in names):
                raise ConfigError(f"task.{name} must be a sequence of names, not {names!r}")
            object.__setattr__(self, name, tuple(names))
        if len(self.classes) < 2:
            raise ConfigError(
                f"a classification needs at least two classes, not {list(self.classes)}"
            )
        repeated = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if repeated:
            raise ConfigError(f"task.classes repeats {repeated}")
        if self.criterion not in self.metrics:
            raise ConfigError(
                f"task.criterion {self.criterion!r} is not among task.metrics;"
                f" nearest: {nearest(self.criterion, self.metrics)}"
            )

    @property
    def outputs(self) -> int:
        """Width of the head: one logit a class."""
        return len(self.classes)

    def describe(self) -> dict[str, Any]:
        """Plain values from which `from_config` makes the task again.

        >>> from_config(Classification(classes=("no", "yes")).describe()).classes
        ('no', 'yes')
        """
        plain = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }
        return {"kind": self.kind, **plain}


TASKS: dict[str, type] = {Classification.kind: Classification}
"""Task classes by kind."""


def from_config(config: Mapping[str, Any]) -> Task:
    """Makes a task from its `kind` and the fields of that kind.

    Raises:
      ConfigError: with the nearest names, if the kind or a field is unknown, or a field is missing.
    """
    fields = dict(config)
    kind = fields.pop("kind", None)
    if kind not in TASKS:
        raise ConfigError(f"task.kind {kind!r} is unknown; nearest: {nearest(str(kind), TASKS)}")
    known = [field.name for field in dataclasses.fields(TASKS[kind])]
    for name in fields:
        if name not in known:
            raise ConfigError(
                f"a {kind} task has no field {name!r}; nearest: {nearest(name, known)}"
            )
    missing = [
        field.name
        for field in dataclasses.fields(TASKS[kind])
        if field.default is dataclasses.MISSING and field.name not in fields
    ]
    if missing:
        raise ConfigError(f"a {kind} task needs {missing}")
    return TASKS[kind](**fields)
