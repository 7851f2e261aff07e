"""Classes cut from a number, such as a rating: each class is a band, and what lies in no band is left out.

A neutral zone between the bands keeps examples apart whose class would be a matter of noise.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.errors import DataError

Bands = Mapping[str, Sequence[float | None]]


def class_of_band(
    values: Sequence[Any], places: Sequence[str], bands: Bands
) -> tuple[list[str | None], tuple[str, ...]]:
    """The band in which each number lies.

    Args:
      values: (n,) numbers, or texts that are numbers.
      places: (n,) where each value stands, for the message.
      bands: name of each class to its (lowest, highest) value, both inside; None is open. Where two
        bands touch, the value belongs to the upper one.

    Returns:
      The class of each value, None for one that lies in no band; and the classes, by ascending band.

    Raises:
      DataError: if a value is no finite number, naming its place; a band is no pair in ascending
        order, overlaps another, or holds no value; or there are fewer than two.

    >>> class_of_band(["-2", ".1", "0.5"], "abc", {"good": (0.5, None), "bad": (None, -0.5)})
    (['bad', None, 'good'], ('bad', 'good'))
    """
    limits = _limits(bands)
    found = [
        _band(_number(value, place), limits) for value, place in zip(values, places, strict=True)
    ]
    for name in limits:
        if name not in found:
            raise DataError(
                f"none of {len(values)} values lies in the band {name!r}, {list(bands[name])}; move"
                " its bounds, or drop it"
            )
    return found, tuple(limits)


def _limits(bands: Bands) -> dict[str, tuple[float, float]]:
    """The bounds of each band, the highest band last."""
    if len(bands) < 2:
        raise DataError(f"bands {dict(bands)} make {len(bands)} classes; give at least two")
    limits = {}
    for name, pair in bands.items():
        bounds = [pair] if isinstance(pair, str | int | float) or pair is None else list(pair)
        is_number = [
            bound is None or (isinstance(bound, int | float) and not math.isnan(bound))
            for bound in bounds
        ]
        if len(bounds) != 2 or not all(is_number):
            raise DataError(
                f"band {name!r} is {pair!r}; give its lowest and highest value, None where it is open"
            )
        low = -math.inf if bounds[0] is None else float(bounds[0])
        high = math.inf if bounds[1] is None else float(bounds[1])
        if low > high:
            raise DataError(f"band {name!r} goes from {low:g} down to {high:g}; turn it round")
        limits[name] = low, high
    order = sorted(limits, key=limits.__getitem__)
    for below, above in itertools.pairwise(order):
        if limits[below][1] > limits[above][0]:
            raise DataError(
                f"bands {below!r} and {above!r} overlap: {limits[below]} and {limits[above]}"
            )
    return {name: limits[name] for name in order}


def _number(value: Any, place: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{place} is {value!r}, which is no number that a band could hold")
    return number


def _band(value: float, limits: Mapping[str, tuple[float, float]]) -> str | None:
    inside = [name for name, (low, high) in limits.items() if low <= value <= high]
    return inside[-1] if inside else None
