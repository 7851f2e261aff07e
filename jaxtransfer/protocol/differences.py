"""Where two JSON documents differ, by the path of each place.

A run is told from another by it, and a record from what its tables give.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

ABSENT = object()
"""Stands for a key or an item that one of the two lacks."""
NEGLIGIBLE = 1e-13
"""A difference so small is none, whatever it is relative to: zeros may differ by rounding."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """A place, and what the two documents hold there; ABSENT where one holds nothing."""

    place: str
    first: Any
    second: Any


def differences(
    first: Any, second: Any, place: str = "", *, relative: float = 0.0
) -> Iterator[Difference]:
    """Each place at which two documents differ, in order of keys.

    Args:
      first: a JSON value.
      second: another.
      place: path of the two, which the paths found begin with.
      relative: how far, relative to the larger, two floating numbers may be apart. Integers, texts, truth values and
        lengths of lists are compared exactly.

    >>> [d.place for d in differences({"a": [1, {"b": 2.0}]}, {"a": [1, {"b": 2.5}], "c": 0})]
    ['a[1].b', 'c']
    """
    if isinstance(first, dict) and isinstance(second, dict):
        for key in sorted({*first, *second}):
            yield from differences(
                first.get(key, ABSENT),
                second.get(key, ABSENT),
                f"{place}.{key}" if place else key,
                relative=relative,
            )
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for index, (one, other) in enumerate(zip(first, second)):
            yield from differences(one, other, f"{place}[{index}]", relative=relative)
    elif not _is_same(first, second, relative):
        yield Difference(place=place, first=first, second=second)


def in_words(old: Any, new: Any, place: str) -> list[str]:
    """Where two documents differ, exactly, in words, each place with both values."""
    return [
        f"{one.place} is {shown(one.first)} there and {shown(one.second)} here"
        for one in differences(old, new, place)
    ]


def leaves(document: Any) -> int:
    """How many values a document holds.

    >>> leaves({"a": [1, 2], "b": {"c": None}})
    3
    """
    if isinstance(document, dict):
        return sum(leaves(value) for value in document.values())
    if isinstance(document, list):
        return sum(leaves(value) for value in document)
    return 1


def shown(value: Any) -> str:
    """A value in a message, shortened; of a list of named things, the names."""
    if value is ABSENT:
        return "nothing"
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        value = [item.get("name", item) for item in value]
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _is_same(first: Any, second: Any, relative: float) -> bool:
    numbers = [isinstance(v, int | float) and not isinstance(v, bool) for v in (first, second)]
    if all(numbers) and any(isinstance(v, float) for v in (first, second)):
        near = NEGLIGIBLE if relative else 0.0
        return math.isclose(first, second, rel_tol=relative, abs_tol=near)
    return type(first) is type(second) and first == second
