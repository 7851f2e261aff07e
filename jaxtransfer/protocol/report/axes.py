"""Marks that several figures share: intervals, values off the scale, ticks, the range of an axis."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxtransfer.protocol.report import drawing

NAME_LENGTH = 22


def draw_interval(
    axes: Any,
    x: float,
    ci: Sequence[float] | None,
    y: float,
    color: str,
    marker: str,
    *,
    filled: bool = True,
) -> None:
    """A value as a marker on the line of its interval."""
    if ci is not None:
        axes.plot(ci, (y, y), color=color, zorder=3)
    axes.plot(
        [x],
        [y],
        marker=marker,
        markersize=7 if marker == "o" else 6,
        markerfacecolor=color if filled else drawing.SURFACE,
        markeredgecolor=color if not filled else drawing.SURFACE,
        markeredgewidth=1.5 if not filled else 1,
        zorder=4,
    )


def write_off_scale(axes: Any, y: float, text: str, color: str, *, left: bool) -> None:
    """Writes a value that lies beyond the axis at its edge."""
    axes.text(
        0.01 if left else 0.99,
        y,
        f"◂ {text}" if left else f"{text} ▸",
        transform=axes.get_yaxis_transform(),
        ha="left" if left else "right",
        va="center_baseline",
        color=color,
        fontsize=12,
    )


def frame(axes: Any, values: Sequence[float], *, sign: bool = False) -> None:
    """Gives the horizontal axis the range of some values, with a little air."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    pad = 0.06 * (high - low) or 0.01
    axes.set_xlim(low - pad, high + pad)
    ticks(axes.xaxis, sign=sign)


def ticks(axis: Any, *, sign: bool = False, count: int = 5) -> None:
    """Few round ticks, with true minus signs."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(
        FuncFormatter(
            lambda value, _: f"{value:{'+' if sign and value else ''}.4g}".replace("-", "−")
        )
    )


def focus(values: Sequence[float | None]) -> tuple[float, float]:
    """The range worth an axis: all values, or the larger group if a wide gap parts them in two.

    A gap is wide that takes over 70 % of the range. A majority-class baseline would otherwise
    press all other rungs into a corner; it is written at the edge instead.

    >>> focus([0.07, 0.86, 0.91, 0.92])
    (0.86, 0.92)
    >>> focus([0.6, 0.7, 0.9])
    (0.6, 0.9)
    """
    known = sorted(value for value in values if value is not None)
    if len(known) < 3:
        return (known[0], known[-1]) if known else (0.0, 1.0)
    gaps = np.diff(known)
    widest = int(np.argmax(gaps))
    below, above = known[: widest + 1], known[widest + 1 :]
    if gaps[widest] <= 0.7 * (known[-1] - known[0]) or len(below) == len(above):
        return known[0], known[-1]
    kept = above if len(above) > len(below) else below
    return kept[0], kept[-1]


def shorten(name: str) -> str:
    """A name that fits beside an axis."""
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"
