"""An adaptation method as a value: its new leaves, what trains, and how the new leaves act.

A method is a frozen dataclass of pure functions. New leaves live in the variable collection
`delta`, whose tree mirrors the module tree, so the base is never touched. They act through one of
three handles: *weights* (`effective`: base leaf and delta to effective leaf), *modules* and *sites*
(`interceptor`: Linen method interception, entered inside `Adapted.apply` alone).
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from jaxtyping import Array

from jaxtransfer import trees
from jaxtransfer.checking import check, kinds_of
from jaxtransfer.errors import AdaptationError, ConfigError, nearest
from jaxtransfer.models.model import Model
from jaxtransfer.partition import DELTA
from jaxtransfer.trees import Rule

HEAD = "head"
HEAD_PATTERN = "head/.*"
Interceptor = Callable[..., Any]
"""`interceptor(next_fun, args, kwargs, context)`, as `flax.linen.intercept_methods` takes it."""

_METHODS: dict[str, type["Method"]] = {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """Base of adaptation methods.

    Attributes:
      name: what the method is called in configurations and tables.
      suggested_learning_rates: a grid that worked, for Adam-like optimizers.
      suggested_multipliers: learning rate of a group relative to the others, where one is known to
        help.
    """

    name: ClassVar[str] = ""
    suggested_learning_rates: ClassVar[tuple[float, ...]] = ()
    suggested_multipliers: ClassVar[Mapping[str, float]] = {}

    def __post_init__(self) -> None:
        """Takes plain values as the fields' annotations want them: a list as a tuple, 16 as 16.0.

        Raises:
          AdaptationError: if a value is of another kind, naming the field.
        """
        for field, kind in _plain_fields(type(self)).items():
            try:
                value = check(
                    f"{self.name or type(self).__name__}.{field}", getattr(self, field), kind
                )
            except ConfigError as error:
                raise AdaptationError(str(error)) from None
            object.__setattr__(self, field, value)

    def __init_subclass__(cls) -> None:
        """Registers the method under its name, for `from_description`."""
        super().__init_subclass__()
        if cls.name:
            _METHODS[cls.name] = cls

    def phases(self) -> tuple["Method", ...]:
        """The methods to train one after another, each from where the last one ended."""
        return (self,)

    def init(self, rng: Array, model: Model) -> dict[str, Any]:
        """New leaves as a nested tree that mirrors the module tree; `{}` if there are none."""
        del rng, model
        return {}

    def rules(self, model: Model) -> tuple[Rule, ...]:
        """Which leaves train, in which optimizer group; a leaf that no rule matches is frozen."""
        raise AdaptationError(
            f"method {self.name!r} does not say what it trains on model {model.name!r}"
        )

    def effective(
        self, params: Mapping[str, Any], delta: Mapping[str, Any], model: Model
    ) -> Mapping[str, Any]:
        """The parameters that the network runs with: the weights handle.

        They are the same ones if nothing acts through it.
        """
        del delta, model
        return params

    def interceptor(self, model: Model, *, train: bool = False) -> Interceptor | None:
        """How new leaves act on modules and sites, or None."""
        del model, train
        return None

    def merge(self, variables: Mapping[str, Any], model: Model) -> dict[str, Any]:
        """Variables without `delta` whose network computes the same.

        Raises:
          AdaptationError: if the method cannot be folded into the base; the message says why.
        """
        if variables.get(DELTA):
            raise AdaptationError(
                f"method {self.name!r} cannot be merged into model {model.name!r}"
            )
        return {name: tree for name, tree in variables.items() if name != DELTA}

    def describe(self) -> dict[str, Any]:
        """The method as plain JSON values; `from_description` reads it back."""
        fields = {f.name: _encode(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {"method": self.name, **fields}

    def __or__(self, other: "Method") -> "Method":
        """Both methods at once."""
        from jaxtransfer.adapt.compose import compose  # compose.py subclasses Method

        if not isinstance(other, Method):
            return NotImplemented
        return compose(self, other)


def _plain_fields(cls: type[Method]) -> dict[str, Any]:
    """Fields of numbers, text, truth values, and tuples of them, to their annotations."""
    kinds = kinds_of(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    return {name: kinds[name] for name in names if _is_plain(kinds[name])}


def _is_plain(kind: Any) -> bool:
    parts = [part for part in typing.get_args(kind) if part is not ...]
    if typing.get_origin(kind) in (tuple, typing.Union, types.UnionType):
        return all(map(_is_plain, parts))
    return kind in (str, bool, int, float, types.NoneType)


def names() -> tuple[str, ...]:
    """Names of the methods there are."""
    return tuple(sorted(_METHODS))


def from_description(description: Mapping[str, Any]) -> Method:
    """The method that `Method.describe` described.

    Fields that are left out keep their defaults.

    Raises:
      AdaptationError: if the method or one of its fields is unknown.
    """
    name = description.get("method")
    if name not in _METHODS:
        raise AdaptationError(
            f"there is no method {name!r}; nearest: {nearest(str(name), _METHODS)}"
        )
    cls = _METHODS[name]
    known = [f.name for f in dataclasses.fields(cls)]
    given = {key: _decode(value) for key, value in description.items() if key != "method"}
    for field in given:
        if field not in known:
            raise AdaptationError(
                f"method {name!r} has no field {field!r}; nearest: {nearest(field, known)}"
            )
    return cls(**given)


def _encode(value: Any) -> Any:
    if isinstance(value, Method):
        return value.describe()
    if isinstance(value, Rule):
        return {"pattern": value.pattern, "value": value.value, "optional": value.optional}
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, Mapping) and "method" in value:
        return from_description(value)
    if isinstance(value, Mapping) and "pattern" in value:
        return Rule(value["pattern"], value["value"], value.get("optional", False))
    if isinstance(value, list | tuple):
        return tuple(_decode(item) for item in value)
    return value


def parameter_paths(model: Model) -> list[str]:
    """Paths of the model's parameters."""
    return list(trees.flatten(model.variables.get(trees.PARAMS, {})))


def head_rules(model: Model, head: str | None, method: str) -> tuple[Rule, ...]:
    """The rule that trains the head in full, or none if `head` is None.

    Raises:
      AdaptationError: if no parameter is matched by `head`.
    """
    if head is None:
        return ()
    rule = Rule(head, HEAD)
    paths = parameter_paths(model)
    if not any(rule.matches(path) for path in paths):
        raise AdaptationError(
            f"method {method!r} trains the head, but no parameter of model {model.name!r} matches"
            f" {head!r} (nearest: {nearest(head, paths)}); attach a head with with_head, or give"
            " the pattern of its parameters as `head`"
        )
    return (rule,)


def matched_paths(paths: Sequence[str], pattern: str | None) -> set[str]:
    """The paths that a pattern matches; none if there is no pattern."""
    return (
        set() if pattern is None else {path for path in paths if Rule(pattern, None).matches(path)}
    )
