"""Search spaces as values: priors over the parameters of a rung, to JSON and back.

A space is constrained by what is known of the method: learning rates on a logarithmic scale around
those that work, ranks, widths and batches in powers of two.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.adapt.method import Method
from jaxtransfer.checking import check, check_section
from jaxtransfer.errors import ConfigError, nearest
from jaxtransfer.protocol.priors import (
    DIGITS,
    PRIORS,
    IntUniform,
    LogUniform,
    Prior,
    Uniform,
    Value,
    plain,
    powers_of_two,
)

RANGE = 10.0
"""Factor below the smallest and above the largest learning rate that is known to work."""

Point = Sequence[float]
"""A number in [0, 1) for each parameter of a space, those that do not apply included."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conditional:
    """A parameter that exists only where another has one of some values.

    Attributes:
      prior: of the parameter, where it exists.
      on: name of the other parameter, which stands before it in the space.
      values: those of the other under which this one exists.
    """

    prior: Prior
    on: str
    values: tuple[Value, ...]

    def to_json(self) -> dict[str, Any]:
        """The prior's plain values, and under `when` what it hangs on."""
        return {**self.prior.to_json(), "when": {self.on: list(self.values)}}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """Parameters of a rung and their priors, in an order in which each follows what it hangs on.

    Attributes:
      parameters: name to prior. A name is `learning_rate`, `method`, a key of `config.train`, or a
        path such as `options.rank`, `first_phase.steps` and `group_rates.head`.
    """

    parameters: Mapping[str, Prior | Conditional]

    def __post_init__(self):
        if not self.parameters:
            raise ConfigError("a search space needs at least one parameter")
        known: dict[str, Prior] = {}
        for name, parameter in self.parameters.items():
            if isinstance(parameter, Conditional):
                if parameter.on not in known:
                    raise ConfigError(
                        f"parameter {name!r} exists when {parameter.on!r} has some values, which"
                        f" must stand before it; nearest: {nearest(parameter.on, known)}"
                    )
                strange = [v for v in parameter.values if not known[parameter.on].contains(v)]
                if strange or not parameter.values:
                    raise ConfigError(
                        f"parameter {name!r} exists when {parameter.on!r} is in"
                        f" {list(parameter.values)}, but {known[parameter.on]} never gives"
                        f" {strange or 'one of these'}"
                    )
            known[name] = prior_of(parameter)

    def at(self, point: Point) -> dict[str, Any]:
        """The parameters at a point; those that do not exist there are left out."""
        return self._walk([prior_of(p).at(u) for p, u in zip(self.parameters.values(), point)])

    def defaults(self) -> dict[str, Any]:
        """Every parameter at its default."""
        return self._walk([prior_of(parameter).default for parameter in self.parameters.values()])

    def with_end(self, name: str, value: Any) -> dict[str, Any]:
        """The defaults with one parameter at a value, and what it hangs on such that it exists."""
        values = {key: prior_of(parameter).default for key, parameter in self.parameters.items()}
        values[name] = value
        parameter = self.parameters[name]
        while isinstance(parameter, Conditional):
            if values[parameter.on] not in parameter.values:
                values[parameter.on] = parameter.values[0]
            parameter = self.parameters[parameter.on]
        return self._walk(list(values.values()))

    def _walk(self, values: Sequence[Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for (name, parameter), value in zip(self.parameters.items(), values):
            if exists(parameter, found):
                found[name] = value
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values, which `from_json` reads back."""
        return {name: parameter.to_json() for name, parameter in self.parameters.items()}

    @property
    def hash(self) -> str:
        """SHA-256 of the space."""
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()


def prior_of(parameter: Prior | Conditional) -> Prior:
    """The prior of a parameter, whether or not it hangs on another."""
    return parameter.prior if isinstance(parameter, Conditional) else parameter


def exists(parameter: Prior | Conditional, found: Mapping[str, Any]) -> bool:
    """Whether a parameter exists beside the values of those before it."""
    return not isinstance(parameter, Conditional) or found.get(parameter.on) in parameter.values


def from_json(
    document: Mapping[str, Any],
    *,
    place: str = "space",
    defaults: Mapping[str, Any] | None = None,
) -> SearchSpace:
    """The space that `SearchSpace.to_json` wrote, or that a config gives in nested sections.

    A parameter that hangs on another may be given before it.

    Args:
      document: name to prior, or a section of them: `{"options": {"rank": {"prior": ...}}}`.
      place: how messages name it.
      defaults: values for priors that name no default of their own.

    Raises:
      ConfigError: if a prior is unknown, lacks a key, or excludes its default; the message names
        the parameter.
    """
    waiting = {
        name: _parameter(f"{place}.{name}", one, _default(place, name, one, defaults))
        for name, one in _flattened(place, document).items()
    }
    ordered: dict[str, Prior | Conditional] = {}
    while waiting:
        # A config's sections are in the order of the alphabet.
        free = [
            name
            for name, one in waiting.items()
            if not isinstance(one, Conditional) or one.on in ordered
        ]
        if not free and all(
            isinstance(one, Conditional) and one.on in waiting for one in waiting.values()
        ):
            raise ConfigError(
                f"{place}: each of {', '.join(map(repr, waiting))} exists when another of them, or itself, has some"
                " values: take a 'when' out"
            )
        ordered |= {name: waiting.pop(name) for name in free or list(waiting)}
    return SearchSpace(parameters=ordered)


def _flattened(place: str, document: Any, prefix: str = "") -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for name, value in check_section(place, document).items():
        inner = check_section(f"{place}.{name}", value)
        if "prior" in inner:
            found[f"{prefix}{name}"] = inner
        else:
            found |= _flattened(f"{place}.{name}", inner, f"{prefix}{name}.")
    return found


def _default(
    place: str, name: str, document: Mapping[str, Any], defaults: Mapping[str, Any] | None
) -> Any:
    """What the rung has now of a parameter; None where a prior names its own default, or nothing is known."""
    if defaults is None or "default" in document or name in defaults:
        return (defaults or {}).get(name)
    raise ConfigError(
        f"{place}.{name} names no default, and the rung has no {name!r} to take it from; nearest:"
        f" {nearest(name, defaults)}"
    )


def _parameter(place: str, document: Mapping[str, Any], default: Any) -> Prior | Conditional:
    kind = check(f"{place}.prior", document["prior"], str)
    if kind not in PRIORS:
        raise ConfigError(f"{place} has no prior {kind!r}; nearest: {nearest(kind, PRIORS)}")
    cls = PRIORS[kind]
    fields = [field.name for field in dataclasses.fields(cls)]
    values = check_section(place, document, {*fields, "prior", "when"})
    given = {"default": default, **{name: values[name] for name in fields if name in values}}
    missing = [name for name in fields if given.get(name) is None]
    if missing:
        raise ConfigError(f"{place}, a {kind} prior, lacks {', '.join(map(repr, missing))}")
    if "values" in given:
        given["values"] = check(f"{place}.values", given["values"], tuple[Any, ...])
    try:
        prior = cls(**given)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error
    if "when" not in values:
        return prior
    when = _condition(f"{place}.when", values["when"])
    if len(when) != 1:
        raise ConfigError(f"{place}.when names one parameter and its values, not {when!r}")
    ((on, allowed),) = when.items()
    return Conditional(prior=prior, on=on, values=allowed)


def _condition(place: str, given: Any) -> dict[str, tuple[Value, ...]]:
    """Name of a parameter to values of it; sections may stand for the dots of a name."""
    found: dict[str, tuple[Value, ...]] = {}
    for name, value in check_section(place, given).items():
        if isinstance(value, Mapping):
            inner = _condition(f"{place}.{name}", value)
            found |= {f"{name}.{key}": values for key, values in inner.items()}
        else:
            found[name] = plain(check(f"{place}.{name}", value, tuple[Any, ...]))
    return found


def default_space(
    method: Method,
    *,
    learning_rates: Sequence[float] = (),
    weight_decay: float = 0.01,
    batch_size: int = 16,
) -> SearchSpace:
    """The space of a method, around what is known to work and what a rung has now.

    Learning rates reach from a tenth of the smallest to ten times the largest of the method's
    suggestions and the rung's grid. Batches are the powers of two from half to twice the rung's
    (rounded on the logarithmic scale), LoRA's rank and the bottleneck's width from a quarter to four
    times the method's own; of the last stages, one up to those the rung trains.

    Args:
      method: what is tuned.
      learning_rates: the rung's grid; its first rate is the default.
      weight_decay: the rung's; the default.
      batch_size: the rung's.

    Raises:
      ConfigError: if neither the method nor the grid has a learning rate.
    """
    rates = (*learning_rates, *method.suggested_learning_rates)
    if not rates:
        raise ConfigError(
            f"method {method.name!r} suggests no learning rate: give its rung learning_rates"
        )
    middle = math.sqrt(min(rates) * max(rates))
    near = _power_near(batch_size)
    parameters: dict[str, Prior | Conditional] = {
        "learning_rate": LogUniform(
            low=min(rates) / RANGE,
            high=max(rates) * RANGE,
            default=learning_rates[0] if learning_rates else float(f"{middle:.{DIGITS}g}"),
        ),
        "weight_decay": LogUniform(
            low=min(1e-4, weight_decay), high=max(0.1, weight_decay), default=weight_decay
        )
        if weight_decay
        else Uniform(low=0.0, high=0.1, default=0.0),
        "batch_size": powers_of_two(max(1, near // 2), near * 2, near),
    }
    for name in ("rank", "width"):
        size = getattr(method, name, None)
        if isinstance(size, int):
            near = _power_near(size)
            parameters[f"options.{name}"] = powers_of_two(max(1, near // 4), near * 4, near)
    count = getattr(method, "count", None)
    if isinstance(count, int) and count > 1:
        parameters["options.count"] = IntUniform(low=1, high=count, default=count)
    return SearchSpace(parameters=parameters)


def _power_near(value: int) -> int:
    return 2 ** round(math.log2(value))
