"""The figures of a report: each function returns the painter of one figure, for `drawing.draw`."""

from typing import Any

import numpy as np

from jaxtransfer.protocol.report import drawing
from jaxtransfer.protocol.report.axes import (
    draw_interval,
    focus,
    frame,
    shorten,
    ticks,
    write_off_scale,
)
from jaxtransfer.protocol.report.contents import ACCEPT, TEST, ReportData
from jaxtransfer.protocol.report.numbers import compact, measured, metric_title, share, signed
from jaxtransfer.protocol.report.series import Band, Bins


def ladder(data: ReportData, *, narrow: bool) -> drawing.Painter:
    """Each rung's metric, on acceptance and test examples, and its difference to the incumbent."""

    def paint(figure: Any) -> None:
        figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.06, wspace=0.03, hspace=0.06)
        if narrow:
            levels, differences = figure.subplots(2, 1)
        else:
            levels, differences = figure.subplots(1, 2, sharey=True, width_ratios=(1.25, 1))
        _levels(levels, data)
        _differences(differences, data, incumbents=not narrow)
        for axes in (levels, differences) if narrow else (levels,):
            _rung_axis(axes, data)

    return paint


def _rung_axis(axes: Any, data: ReportData) -> None:
    names = [rung["name"] for rung in data.rungs]
    axes.set_yticks(range(len(names)), [shorten(name) for name in names])
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(drawing.INK)
        label.set_fontweight("bold" if name == data.record["chosen"] else "normal")


def _rows(axes: Any, data: ReportData, title: str) -> None:
    count = len(data.rungs)
    axes.set_ylim(count - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title(title, loc="left", color=drawing.INK, fontsize=13.5, fontweight="bold", pad=10)
    axes.grid(axis="x", color=drawing.LINE, linewidth=1)
    axes.set_axisbelow(True)
    chosen = [rung["name"] for rung in data.rungs].index(data.record["chosen"])
    axes.axhspan(chosen - 0.46, chosen + 0.46, color=drawing.BAND, linewidth=0, zorder=0)


def _levels(axes: Any, data: ReportData) -> None:
    _rows(axes, data, metric_title(data.metric))
    points = {
        split: [measured(rung, split, data.metric) for rung in data.rungs]
        for split in (ACCEPT, TEST)
    }
    low, high = focus([value for column in points.values() for value, _ in column])
    inside = [
        bound
        for column in points.values()
        for value, ci in column
        if value is not None and low <= value <= high
        for bound in (value, *(ci or ()))
    ]
    frame(axes, inside)
    for split, shift, color, marker in (
        (ACCEPT, -0.15, drawing.ACCENT, "o"),
        (TEST, 0.15, drawing.SECOND, "D"),
    ):
        for row, (value, ci) in enumerate(points[split]):
            if value is None:
                continue
            if not low <= value <= high:
                write_off_scale(axes, row + shift, share(value), color, left=value < low)
                continue
            draw_interval(axes, value, ci, row + shift, color, marker)


def _differences(axes: Any, data: ReportData, *, incumbents: bool) -> None:
    _rows(axes, data, "Difference to the incumbent")
    rows = [rung["difference"] for rung in data.rungs]
    defined = [row for row in rows if row and row["value"] is not None]
    margin = data.margin
    low, high = focus([row["value"] for row in defined])
    inside = [
        bound
        for row in defined
        if low <= row["value"] <= high
        for bound in (row["value"], *(row["ci"] or ()))
    ]
    frame(axes, [0.0, margin, *inside], sign=True)
    axes.axvline(0, color=drawing.MUTED, linewidth=1.2, zorder=1)
    if margin:
        axes.axvline(margin, color=drawing.MUTED, linewidth=1.2, linestyle=(0, (3, 3)), zorder=1)
    for row, (rung, difference) in enumerate(zip(data.rungs, rows, strict=True)):
        if difference is None or difference["value"] is None:
            continue
        accepted = rung["decision"] == "accepted"
        color = drawing.ACCENT if accepted else drawing.MUTED
        value = difference["value"]
        if low <= value <= high:
            draw_interval(axes, value, difference["ci"], row, color, "o", filled=accepted)
        else:
            write_off_scale(axes, row, signed(value), color, left=value < low)
    if incumbents:
        twin = axes.secondary_yaxis("right")
        twin.set_yticks(
            range(len(rows)),
            ["" if row is None else f"against {shorten(row['incumbent'])}" for row in rows],
        )
        twin.tick_params(axis="y", length=0, labelsize=12)
        twin.spines["right"].set_visible(False)


def learning_curves(
    loss: Band, validation: Band | None, limits: dict[str, tuple[float, float]]
) -> drawing.Painter:
    """One rung's training loss and validation metric over steps: mean and range of the seeds.

    Args:
      loss: training loss by step.
      validation: tuning metric by step, where it was measured.
      limits: vertical ranges of `loss` and, if any rung measured it, of `validation`; the same
        for all rungs.
    """

    def paint(figure: Any) -> None:
        figure.set_layout_engine("constrained", w_pad=0.04, h_pad=0.04, wspace=0.06)
        panels = figure.subplots(1, 2 if "validation" in limits else 1, squeeze=False)[0]
        for axes, (band, name, color) in zip(
            panels,
            ((loss, "loss", drawing.MUTED), (validation, "validation", drawing.ACCENT)),
            strict=False,
        ):
            axes.set_ylim(*limits[name])
            axes.grid(axis="y", color=drawing.LINE)
            axes.spines["left"].set_visible(False)
            axes.set_axisbelow(True)
            ticks(axes.yaxis, count=4)
            ticks(axes.xaxis, count=3)
            if band is None:
                axes.set_xticks([])
                axes.text(
                    0.5,
                    0.5,
                    "not measured",
                    transform=axes.transAxes,
                    ha="center",
                    color=drawing.MUTED,
                )
                continue
            axes.fill_between(band.steps, band.low, band.high, color=color, alpha=0.22, linewidth=0)
            axes.plot(
                band.steps, band.mean, color=color, marker="o" if len(band.steps) == 1 else None
            )
            axes.margins(x=0.02)

    return paint


def reliability(bins: Bins, *, narrow: bool) -> drawing.Painter:
    """Observed accuracy against mean confidence in each bin, above the bin's predictions."""

    def paint(figure: Any) -> None:
        figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05, hspace=0.04)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
        filled = bins.counts > 0
        centres = (bins.edges[:-1] + bins.edges[1:]) / 2
        width = float(bins.edges[1] - bins.edges[0]) * 0.86
        top.bar(
            centres[filled],
            bins.accuracy[filled],
            width,
            color=drawing.ACCENT,
            alpha=0.28,
            linewidth=0,
        )
        top.plot((0, 1), (0, 1), color=drawing.MUTED, linewidth=1.2, linestyle=(0, (3, 3)))
        top.plot(
            bins.confidence[filled],
            bins.accuracy[filled],
            "o-",
            color=drawing.ACCENT,
            markersize=5.5,
        )
        top.set_ylim(0, 1.02)
        top.set_title(
            "Accuracy", loc="left", color=drawing.INK, fontsize=13.5, fontweight="bold", pad=8
        )
        bottom.bar(centres, bins.counts, width, color=drawing.MUTED, alpha=0.45, linewidth=0)
        for centre, count in zip(centres[filled], bins.counts[filled], strict=True):
            bottom.annotate(
                f"{count:d}" if count < 10_000 else compact(int(count)),
                (centre, count),
                (0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=8.5 if narrow else 10.5,
                color=drawing.MUTED,
            )
        bottom.set_ylim(0, max(int(bins.counts.max()), 1) * 1.3)
        bottom.set_yticks([])
        bottom.set_title(
            "Predictions", loc="left", color=drawing.INK, fontsize=13.5, fontweight="bold", pad=6
        )
        bottom.set_xlabel("confidence of the predicted class")
        bottom.set_xlim(-0.01, 1.01)
        bottom.set_xticks(np.linspace(0, 1, 6), [f"{tick:.1f}" for tick in np.linspace(0, 1, 6)])
        for axes in (top, bottom):
            axes.spines["left"].set_visible(False)
        top.grid(axis="y", color=drawing.LINE)
        top.set_axisbelow(True)

    return paint
