"""Inputs and labels as a caller of the front door gives them, made a table."""

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer.data.source import Table, from_arrays
from jaxtransfer.errors import DataError

ClassLabel = str | int | float | bool


def checked(inputs: Any) -> Any:
    """The inputs, if they can be counted and read by position.

    Raises:
      DataError: if they cannot, or are one text.
    """
    if isinstance(inputs, str | bytes):
        raise DataError(f"inputs is one text, {inputs[:40]!r}; give a list of texts")
    if isinstance(inputs, Mapping):
        raise DataError(
            f"inputs is a {type(inputs).__name__}, whose keys are no positions; give a list"
        )
    if not hasattr(inputs, "__len__") or not hasattr(inputs, "__getitem__"):
        raise DataError(f"inputs is a {type(inputs).__name__}; give a list or an array")
    return inputs


def listed(labels: Any) -> list[ClassLabel]:
    """Labels as Python's own text or numbers, so that classes can be told, saved and given back."""
    if isinstance(labels, str | bytes) or not hasattr(labels, "__iter__"):
        raise DataError(f"labels is {labels!r}; give a list with a label for each input")
    return [_label(row, label) for row, label in enumerate(labels)]


def _label(row: int, label: Any) -> ClassLabel:
    if label is None or (isinstance(label, numbers.Real) and math.isnan(label)):
        raise DataError(f"the label of row {row} is {label!r}; give it a class, or drop the row")
    if np.ndim(label):
        raise DataError(f"the label of row {row} is {label!r}; give one class name or number")
    value = label.item() if hasattr(label, "item") else label
    return value if isinstance(value, ClassLabel) else str(value)


def labelled(
    inputs: Any, labels: Sequence[ClassLabel], classes: Sequence[str] | None = None
) -> Table:
    """A table of what the caller gave, in which labels are text."""
    return from_arrays(checked(inputs), [str(label) for label in labels], classes=classes)


def as_given(labels: Sequence[ClassLabel], names: Sequence[str]) -> tuple[ClassLabel, ...]:
    """The labels that the names stand for."""
    given: dict[str, ClassLabel] = {}
    for row, label in enumerate(labels):
        first = given.setdefault(str(label), label)
        if type(first) is not type(label):
            raise DataError(
                f"the label of row {row} is {label!r}, but an earlier one is {first!r}; give all of"
                " one class in one type"
            )
    return tuple(given[name] for name in names)
