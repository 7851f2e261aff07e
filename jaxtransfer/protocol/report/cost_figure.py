"""Metric against trainable parameters: upright on a wide page, on its side on a narrow one."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.protocol.report import drawing
from jaxtransfer.protocol.report.axes import focus, shorten, ticks
from jaxtransfer.protocol.report.contents import TEST, ReportData
from jaxtransfer.protocol.report.numbers import compact, likely, measured, metric_title, share


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Spot:
    """A rung's place: log10 of its trainable parameters, and its metric."""

    name: str
    place: float
    value: float
    ci: Sequence[float] | None
    inside: bool
    color: str
    on_front: bool = True
    title: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Scale:
    """Where the parameters' axis begins and ends, its ticks, and its break if some rung trains none."""

    low: float
    high: float
    gap: float | None
    ticks: list[float]
    labels: list[str]


def metric_against_parameters(data: ReportData, *, narrow: bool) -> drawing.Painter:
    """Test metric against trainable parameters; rungs that train none stand before the log axis."""

    def paint(figure: Any) -> None:
        figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
        axes = figure.subplots()
        scale, spots = _lay_out(data, dodge=0.6 if narrow else 0.13, dodge_all=narrow)
        bounds = [
            bound for spot in spots if spot.inside for bound in (spot.value, *(spot.ci or ()))
        ] or [0.0, 1.0]
        pad = 0.08 * (max(bounds) - min(bounds)) or 0.01
        limits = (min(bounds) - pad, max(bounds) + pad)
        title = f"Test {metric_title(data.metric)}"
        if narrow:
            title += ", by trainable parameters"
        axes.set_title(
            title, loc="left", color=drawing.INK, fontsize=13.5, fontweight="bold", pad=10
        )
        (_lying if narrow else _upright)(axes, data, scale, spots, limits)
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)

    return paint


def _lay_out(data: ReportData, *, dodge: float, dodge_all: bool) -> tuple[_Scale, list[_Spot]]:
    decades = [math.log10(rung["trainable"]) for rung in data.rungs if rung["trainable"]] or [
        0.0,
        1.0,
    ]
    first, last = math.floor(min(decades)), max(decades)
    has_zero = any(rung["trainable"] == 0 for rung in data.rungs)
    zero = first - 0.9 - dodge * max(0, sum(rung["trainable"] == 0 for rung in data.rungs) - 1)
    points = [measured(rung, TEST, data.metric) for rung in data.rungs]
    low, high = focus([value for value, _ in points])
    taken: dict[float, int] = {}
    front = _front(data)
    spots = []
    for rung, (value, ci) in zip(data.rungs, points, strict=True):
        if value is None:
            continue
        place = math.log10(rung["trainable"]) if rung["trainable"] else zero
        inside = low <= value <= high
        standing = front.get(rung["name"])
        if inside or dodge_all:
            # Rungs of one size (full tuning and LP-FT) would hide each other.
            key = round(place, 1)
            taken[key] = taken.get(key, -1) + 1
            place += dodge * taken[key]
        spots.append(
            _Spot(
                name=rung["name"],
                place=place,
                value=value,
                ci=ci,
                inside=inside,
                color=drawing.ACCENT if rung["name"] == data.record["chosen"] else drawing.MUTED,
                on_front=standing is None or standing["on_front"],
                title=shorten(rung["name"])
                if standing is None
                else f"{shorten(rung['name'])} · {likely(standing['probability'])}",
            )
        )
    places: list[float] = list(range(first, math.floor(last + 0.5) + 1))
    labels = [compact(10**place) for place in places]
    scale = _Scale(
        low=zero - 0.5 if has_zero else first - 0.2,
        high=max([last, *(spot.place for spot in spots)]) + 0.5,
        gap=first - 0.35 if has_zero else None,
        ticks=[zero, *places] if has_zero else places,
        labels=["0", *labels] if has_zero else labels,
    )
    return scale, spots


def _front(data: ReportData) -> dict[str, Mapping[str, Any]]:
    """Where each rung stands on the front, if that was examined."""
    found = (data.examination or {}).get("pareto") or {"candidates": []}
    return {one["name"]: one for one in found["candidates"]}


def _upright(
    axes: Any, data: ReportData, scale: _Scale, spots: Sequence[_Spot], limits: tuple[float, float]
) -> None:
    axes.set_xlim(scale.low, scale.high)
    axes.set_ylim(*limits)
    axes.set_xticks(scale.ticks, scale.labels)
    axes.set_xlabel("trainable parameters (log scale)")
    axes.grid(axis="y", color=drawing.LINE)
    ticks(axes.yaxis)
    if scale.gap is not None:
        axes.axvline(scale.gap, color=drawing.LINE, linewidth=1, linestyle=(0, (2, 3)))
    for spot in spots:
        if spot.inside:
            _mark(axes, spot, upright=True)
            continue
        below = spot.value < limits[0]
        axes.text(
            spot.place,
            0.015 if below else 0.985,
            f"{shorten(spot.name)} {share(spot.value)} {'▾' if below else '▴'}",
            transform=axes.get_xaxis_transform(),
            va="bottom" if below else "top",
            ha="center",
            color=spot.color,
            fontsize=12,
        )
    _name_points(axes, [spot for spot in spots if spot.inside], data.record["chosen"])


def _lying(
    axes: Any, data: ReportData, scale: _Scale, spots: Sequence[_Spot], limits: tuple[float, float]
) -> None:
    axes.set_ylim(scale.high - 0.1, scale.low)
    axes.set_xlim(*limits)
    axes.set_yticks(scale.ticks, scale.labels)
    axes.grid(axis="x", color=drawing.LINE)
    ticks(axes.xaxis, count=4)
    if scale.gap is not None:
        axes.axhline(scale.gap, color=drawing.LINE, linewidth=1, linestyle=(0, (2, 3)))
    for spot in spots:
        chosen = spot.name == data.record["chosen"]
        if not spot.inside:
            below = spot.value < limits[0]
            axes.text(
                0.01 if below else 0.99,
                spot.place,
                f"◂ {shorten(spot.name)} {share(spot.value)}"
                if below
                else f"{shorten(spot.name)} {share(spot.value)} ▸",
                transform=axes.get_yaxis_transform(),
                ha="left" if below else "right",
                va="center_baseline",
                color=spot.color,
                fontsize=12,
            )
            continue
        _mark(axes, spot, upright=False)
        axes.annotate(
            spot.title,
            (spot.value, spot.place),
            (0, 6),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=12,
            color=drawing.ACCENT if chosen else drawing.INK,
            fontweight="bold" if chosen else "normal",
        )


def _mark(axes: Any, spot: _Spot, *, upright: bool) -> None:
    def plot(places: Sequence[float], values: Sequence[float], *style: Any, **options: Any) -> None:
        axes.plot(
            *((places, values) if upright else (values, places)),
            *style,
            color=spot.color,
            **options,
        )

    if spot.ci is not None:
        plot((spot.place, spot.place), tuple(spot.ci), zorder=2)
    plot(
        [spot.place],
        [spot.value],
        "o",
        markersize=8,
        markerfacecolor=spot.color if spot.on_front else drawing.SURFACE,
        markeredgecolor=drawing.SURFACE if spot.on_front else spot.color,
        markeredgewidth=1 if spot.on_front else 1.5,
        zorder=3,
    )


_SIDES = (
    (10, 0),
    (-10, 0),
    (8, 13),
    (-8, 13),
    (8, -13),
    (-8, -13),
    (8, 26),
    (-8, 26),
    (8, -26),
    (-8, -26),
)


def _name_points(axes: Any, points: Sequence[_Spot], chosen: str) -> None:
    """Writes each name beside its point, on the side where it covers the least."""
    figure = axes.figure
    figure.draw_without_rendering()
    spots = [tuple(axes.transData.transform((spot.place, spot.value))) for spot in points]
    frame = axes.get_window_extent()
    points_taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in spots]
    bars = [(x - 3, frame.y0, x + 3, frame.y1) for x, _ in spots]
    names_taken: list[tuple[float, float, float, float]] = []
    for (x, y), spot in zip(spots, points, strict=True):
        text = spot.title
        width = 7.2 * len(text)

        def box(
            side: tuple[int, int], x: float = x, y: float = y, width: float = width
        ) -> tuple[float, ...]:
            left = x + side[0] - (width if side[0] < 0 else 0)
            return left, y + side[1] - 7, left + width, y + side[1] + 7

        def cost(side: tuple[int, int]) -> float:
            mine = box(side)
            outside = mine[0] < frame.x0 - 30 or mine[2] > frame.x1 + 4
            hidden = sum(_overlap(mine, other) for other in (*points_taken, *names_taken))
            return 100 * outside + 10 * hidden + sum(_overlap(mine, bar) for bar in bars)

        best = min(_SIDES, key=cost)
        left, bottom, right, top = box(best)
        names_taken.append((left, bottom, right, top))
        right_side = best[0] > 0
        place = axes.transData.inverted().transform(
            (left if right_side else right, (bottom + top) / 2)
        )
        axes.text(
            *place,
            text,
            ha="left" if right_side else "right",
            va="center_baseline",
            color=drawing.ACCENT if spot.name == chosen else drawing.INK,
            fontweight="bold" if spot.name == chosen else "normal",
            zorder=5,
        ).set_in_layout(False)


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
