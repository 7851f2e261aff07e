"""Values from outside against the annotations of a dataclass: the message names key, value and what is wanted.

Limits stand in the annotation (`Annotated[int, Interval(1)]`). A bool is no number, a number is finite.
"""

import contextlib
import dataclasses
import math
import numbers
import os
import pathlib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from jaxtransfer.errors import ConfigError, nearest

LONGEST = 80
"""Characters of a value that a message shows."""

_NOUNS = {
    str: "text",
    bool: "True or False",
    int: "an integer",
    float: "a finite number",
    types.NoneType: "None",
}
T = typing.TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Interval:
    """The numbers from `low` to `high`; an end that is open is left out.

    >>> str(Interval(1)), str(Interval(0, open_low=True)), str(Interval(0, 1, open_high=True))
    ('at least 1', 'above 0', 'in [0, 1)')
    """

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"{'above' if self.open_low else 'at least'} {self.low}"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"in {left}{self.low}, {self.high}{right}"


def check(place: str, value: Any, kind: Any) -> Any:
    """A value as its annotation wants it.

    Args:
      place: how messages name it, such as `config.train.steps`.
      value: as the user gave it.
      kind: str, bool, int, float, None, Any (plain values, nested at will), Literal, `Mapping[str, X]`,
        `tuple[X, ...]`, one of these Annotated with an `Interval`, or a union, of which the first that
        takes the value counts.

    Returns:
      The value; a path as text, an integer as a float where that is wanted, a list as a tuple.

    Raises:
      ConfigError: if it is none, naming place, value and what is wanted.

    >>> check("steps", 3, int), check("rates", [1], tuple[float, ...])
    (3, (1.0,))
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        checked = check(place, value, arguments[0])
        if not all(checked in limit for limit in arguments[1:]):
            raise _wrong(place, value, _wanted(kind))
        return checked
    if origin in (typing.Union, types.UnionType):
        for alternative in arguments:
            with contextlib.suppress(ConfigError):
                return check(place, value, alternative)
        raise _wrong(place, value, ", or ".join(map(_wanted, arguments)))
    if origin is typing.Literal:
        if not isinstance(value, str) or value not in arguments:
            close = f"; nearest: {nearest(value, arguments)}" if isinstance(value, str) else ""
            raise _wrong(place, value, f"one of {', '.join(map(repr, arguments))}", close)
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong(place, value, "a sequence, such as (a, b)")
        return tuple(check(f"{place}[{i}]", item, arguments[0]) for i, item in enumerate(value))
    if kind is Any:
        return _plain(place, value)
    if origin is not None:
        items = check_section(place, value)
        return {key: check(f"{place}.{key}", item, arguments[1]) for key, item in items.items()}
    return _scalar(place, value, kind)


def check_path(place: str, value: Any) -> pathlib.Path:
    """A path from a caller of the front door.

    Raises:
      ConfigError: if it is none, or empty.
    """
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise _wrong(place, value, "a path")
    return pathlib.Path(os.fspath(value))


def check_section(place: str, value: Any, known: Iterable[str] | None = None) -> dict[str, Any]:
    """A mapping with text for keys, as a dict.

    Raises:
      ConfigError: if it is no mapping, or has a key that is not among the known ones (naming the
        nearest).
    """
    names = None if known is None else sorted(known)
    if not isinstance(value, Mapping):
        keys = "" if names is None else f"; its keys are among {names}"
        raise _wrong(place, value, "a section", keys)
    for key in value:
        if not isinstance(key, str):
            raise ConfigError(f"{place} has the key {key!r}; a key must be text")
        if names is not None and key not in names:
            raise ConfigError(f"{place} has no key {key!r}; nearest: {nearest(key, names)}")
    return dict(value)


def check_fields(place: str, values: Any, kind: type[T]) -> T:
    """A dataclass made of a section, each key checked against the field's annotation.

    Raises:
      ConfigError: if a key is unknown or missing, or a value is not of its field's kind.
    """
    kinds = kinds_of(kind)
    section = check_section(place, values, kinds)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        defaults = (field.default, field.default_factory)
        if field.name not in section and all(d is dataclasses.MISSING for d in defaults):
            raise ConfigError(f"{place} lacks {field.name!r}")
    return kind(**{key: check(f"{place}.{key}", item, kinds[key]) for key, item in section.items()})


def check_document(
    document: Any, kinds: Mapping[str, Any], place: str = "", *, partial: bool = False
) -> None:
    """A JSON document that was written by a run, against a tree of annotations; keys beyond the tree may be there.

    Args:
      document: as it was read.
      kinds: key to its annotation, to the tree of a section, or to the tree of each section of a list, in a list.
      place: path of the document, which messages begin with.
      partial: whether keys of the tree may be missing.

    Raises:
      ConfigError: naming the key, and what it must be.

    >>> check_document({"a": {"b": 1}, "c": "x"}, {"a": {"b": int}})
    """
    section = check_section(place or "the document", document)
    for key, kind in kinds.items():
        inner = f"{place}.{key}" if place else key
        if key not in section:
            if partial:
                continue
            raise ConfigError(f"the key {inner!r} is missing")
        if isinstance(kind, list):
            items = check(inner, section[key], tuple[Any, ...])
            for index, item in enumerate(items):
                check_document(item, kind[0], f"{inner}[{index}]", partial=partial)
        elif isinstance(kind, dict):
            check_document(section[key], kind, inner, partial=partial)
        else:
            check(inner, section[key], kind)


def kinds_of(kind: type) -> dict[str, Any]:
    """Field name to annotation of a dataclass, limits included."""
    return typing.get_type_hints(kind, include_extras=True)


def _scalar(place: str, value: Any, kind: type) -> Any:
    if kind is types.NoneType and value is None:
        return None
    if kind is str:
        value = os.fspath(value) if isinstance(value, os.PathLike) else value
        if isinstance(value, str):
            return value
    elif isinstance(value, bool):
        if kind is bool:
            return value
    elif kind is int and isinstance(value, numbers.Integral):
        return int(value)
    elif kind is float and isinstance(value, numbers.Real) and math.isfinite(value):
        return float(value)
    raise _wrong(place, value, _NOUNS[kind])


def _plain(place: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, os.PathLike):
        return _scalar(place, value, str)
    if isinstance(value, numbers.Real):
        return _scalar(place, value, int if isinstance(value, numbers.Integral) else float)
    if isinstance(value, list | tuple):
        return type(value)(_plain(f"{place}[{i}]", item) for i, item in enumerate(value))
    if isinstance(value, Mapping):
        items = check_section(place, value)
        return {key: _plain(f"{place}.{key}", item) for key, item in items.items()}
    raise _wrong(
        place, value, "text, a number, True, False, None, or a sequence or section of these"
    )


def _wanted(kind: Any) -> str:
    """A number or a text as a message asks for it, with its limits."""
    plain, *limits = typing.get_args(kind) or (kind,)
    return " ".join([_NOUNS.get(plain, "a value"), *map(str, limits)])


def _wrong(place: str, value: Any, wanted: str, more: str = "") -> ConfigError:
    shown = repr(value)
    shown = shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 3]}..."
    return ConfigError(f"{place} must be {wanted}, not {shown}{more}")
