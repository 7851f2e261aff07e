"""What more labels would bring: learning curves of the cheap heads, and what their laws promise.

The curves end at the labels that there are; what lies beyond is the law's word, and drawn as such.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer.protocol.report import drawing
from jaxtransfer.protocol.report.axes import ticks
from jaxtransfer.protocol.report.contents import ReportData
from jaxtransfer.protocol.report.examined import card, part
from jaxtransfer.protocol.report.html import column, element, figure, join, number, table
from jaxtransfer.protocol.report.numbers import MISSING, count, interval, metric_title, share
from jaxtransfer.protocol.report.outcome import Section, responsive

_COLORS = (("neutral", drawing.MUTED, "s"), ("accept", drawing.ACCENT, "o"))
"""Key, colour and marker of each curve."""


def sample_efficiency(data: ReportData) -> Section | None:
    """Learning curves with seed bands, and the law's promise at more labels."""
    found = part(data, "sample_efficiency")
    if found is None:
        return None
    if found["reason"]:
        body: Any = card(
            None, element("p", f"No learning curve: {found['reason']}.", class_="note")
        )
    else:
        body = join([_drawn(found), element("div", _promises(found), class_="card flush")])
    return Section(
        key="sample-efficiency",
        title="Sample efficiency",
        introduction=(
            "Two heads on the frozen encoder, fitted to nested subsets of the training labels. What"
            " they gain from the last labels hints at what the next ones are worth, to them: a tuned"
            " network may gain more."
        ),
        body=body,
    )


def _drawn(found: Mapping[str, Any]) -> Any:
    title = metric_title(found["metric"])
    curves = found["curves"]
    label = f"Learning curves of {title}: " + "; ".join(
        f"{curve['method']} from {share(curve['points'][0]['value'])} with"
        f" {curve['points'][0]['train']} labels to {share(curve['points'][-1]['value'])} with"
        f" {curve['points'][-1]['train']}"
        for curve in curves
    )
    drawn = responsive(
        lambda narrow: _painter(found, narrow=narrow),
        key="sample-efficiency",
        label=label,
        wide=(1020, 330),
        narrow=(350, 300),
    )
    seeds = len(curves[0]["seeds"])
    return element(
        "div",
        figure(
            drawn,
            f"Means and ranges of {seeds} draws of the subsets, which share the largest; {title} of"
            f" {count(found['n'])} test examples against training labels. Dashed: the power law,"
            " with its interval beyond the labels that there are.",
            keys=[(key, curve["method"]) for curve, (key, _, _) in zip(curves, _COLORS)],
        ),
        class_="card",
    )


def _painter(found: Mapping[str, Any], *, narrow: bool) -> drawing.Painter:
    def paint(canvas: Any) -> None:
        canvas.set_layout_engine("constrained", w_pad=0.04, h_pad=0.04)
        axes = canvas.subplots()
        axes.set_xscale("log")
        positions = set()
        for place, (curve, (_, color, marker)) in enumerate(zip(found["curves"], _COLORS)):
            # Intervals of one size stand beside one another.
            beside = 0.98 if place == 0 else 1.02
            train = [point["train"] for point in curve["points"]]
            values = np.array([point["values"] for point in curve["points"]], float)
            axes.fill_between(
                train, values.min(axis=1), values.max(axis=1), color=color, alpha=0.2, linewidth=0
            )
            axes.plot(train, values.mean(axis=1), color=color, marker=marker, markersize=6)
            positions |= set(train)
            promises = found["laws"][curve["method"]]["promises"]
            if promises:
                beyond = [train[-1], *(one["train"] for one in promises)]
                means = [
                    values[-1].mean(),
                    *(one["metric"]["value"] for one in promises),
                ]
                axes.plot(beyond, means, color=color, linestyle=(0, (4, 3)), linewidth=1.4)
                for one in promises:
                    axes.plot([one["train"] * beside] * 2, one["metric"]["ci"], color=color)
                positions |= set(beyond)
        shown = sorted(positions)
        # Ticks closer than a label's width would overlap.
        kept: list[float] = []
        for position in reversed(shown):
            if not kept or position * (2.0 if narrow else 1.3) <= kept[-1]:
                kept.append(position)
        axes.set_xticks(kept, [f"{position:g}" for position in kept])
        axes.minorticks_off()
        axes.set_xlabel("training labels")
        axes.grid(axis="y", color=drawing.LINE)
        axes.spines["left"].set_visible(False)
        axes.set_axisbelow(True)
        ticks(axes.yaxis, count=6)

    return paint


def _promises(found: Mapping[str, Any]) -> Any:
    asked: Sequence[float] = next(
        (
            [one["train"] for one in law["promises"]]
            for law in found["laws"].values()
            if law["promises"]
        ),
        [],
    )
    rows = []
    for curve in found["curves"]:
        last, law = curve["points"][-1], found["laws"][curve["method"]]
        cells = (
            [_promise(one["metric"]) for one in law["promises"]]
            if law["promises"]
            else [number(MISSING, element("small", law["reason"], class_="reason")) for _ in asked]
        )
        rows.append(
            [
                curve["method"],
                number(share(last["value"]), element("small", interval(last["ci"]))),
                *cells,
            ]
        )
    largest = found["curves"][0]["points"][-1]["train"]
    header = [
        "Head",
        column(f"{count(largest)} labels, measured"),
        *(column(f"{count(size)} labels, by the law") for size in asked),
    ]
    return table("What more labels promise", header, rows)


def _promise(metric: Mapping[str, Any]) -> Any:
    return number(share(metric["value"]), element("small", interval(metric["ci"])))
