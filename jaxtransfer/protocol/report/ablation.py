"""The page of an ablation: one HTML file with a forest plot, its table and the whole `ablation.json`."""

import pathlib
from collections.abc import Mapping
from typing import Any

from jaxtransfer.protocol.report import drawing
from jaxtransfer.protocol.report.axes import draw_interval, frame, shorten
from jaxtransfer.protocol.report.html import (
    Markup,
    breakable,
    column,
    element,
    embedded_json,
    figure,
    number,
    table,
)
from jaxtransfer.protocol.report.numbers import (
    compact,
    count,
    interval,
    metric_title,
    probability,
    seconds,
    share,
    signed,
)
from jaxtransfer.protocol.report.outcome import responsive
from jaxtransfer.protocol.report.page import POLICY
from jaxtransfer.protocol.report.style import CSS
from jaxtransfer.protocol.workdir import write_text

FILE = "ablation.html"
ROW = 34
MODES = {"leave_one_out": "Each component left out", "one_factor": "One factor at a time"}


def write_page(found: Mapping[str, Any], workdir: pathlib.Path) -> pathlib.Path:
    """Writes `ablation.html`, whole or not at all.

    Args:
      found: of `ablation.json`.
      workdir: of the ablation.

    Raises:
      WorkdirError: if it cannot be written.
    """
    write_text(workdir / FILE, render(found))
    return workdir / FILE


def render(found: Mapping[str, Any]) -> str:
    """The page as one HTML document that needs neither a network nor a script."""
    title = f"{found['name']}: ablation of {found['base']['rung']}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Markup(CSS)),
    )
    first, *more = found["conclusion"]
    header = element(
        "header",
        element("p", f"{found['name']}, {MODES[found['mode']].lower()}", class_="eyebrow"),
        element("h1", f"Ablation of {found['base']['rung']}"),
        element("p", first, class_="lead"),
        *(element("p", sentence, class_="more") for sentence in more),
    )
    main = element(
        "main",
        element(
            "section",
            element("h2", "Effects"),
            element("p", _introduction(found)),
            element("div", figure(_forest(found), None), class_="card"),
        ),
        element(
            "section",
            element("h2", "Variants and their cost"),
            element(
                "p",
                "Each variant has the learning rate that was best for it on the tuning half. Training"
                " time and computation are of one seed; computation is XLA's count of the"
                " steps.",
            ),
            element("div", _table(found), class_="card flush"),
        ),
    )
    footer = element(
        "footer",
        f"Written by jaxtransfer {found['versions']['jaxtransfer']} by the command"
        f" “{found['command']}”. It holds ablation.json whole and loads nothing.",
    )
    body = element("body", header, main, footer, embedded_json(found, id_="ablation"))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _introduction(found: Mapping[str, Any]) -> str:
    return (
        f"{metric_title(found['metric'])} of each variant minus that of the base, on"
        f" {found['n']} examples and {len(found['seeds'])} seeds, paired; intervals are those"
        f" of Holm's steps at {100 * found['confidence']:g} %. A full mark is told from zero."
    )


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['component']}: {row['label']}"


def _forest(found: Mapping[str, Any]) -> Markup:
    rows = found["variants"]
    label = (
        f"Difference in {metric_title(found['metric'])} to {found['base']['rung']}: "
        + "; ".join(
            f"{_name(row)} {signed(row['difference']['value'])}"
            f" {interval(row['difference']['ci'], signed)}"
            for row in rows
        )
    )
    height = 60 + ROW * len(rows)

    def paint_for(narrow: bool) -> drawing.Painter:
        def paint(canvas: Any) -> None:
            canvas.set_layout_engine("constrained", w_pad=0.05, h_pad=0.06)
            _paint(canvas.subplots(), rows, narrow=narrow)

        return paint

    return responsive(
        paint_for, key="forest", label=label, wide=(820, height), narrow=(350, height)
    )


def _paint(axes: Any, rows: Any, *, narrow: bool) -> None:
    differences = [row["difference"] for row in rows]
    bounds = [
        bound
        for one in differences
        if one["value"] is not None
        for bound in (one["value"], *(one["ci"] or ()))
    ]
    frame(axes, [0.0, *bounds], sign=True)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    names = [_name(row) for row in rows]
    axes.set_yticks(range(len(rows)), [shorten(one) if narrow else one for one in names])
    for text in axes.get_yticklabels():
        text.set_color(drawing.INK)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=drawing.LINE, linewidth=1)
    axes.set_axisbelow(True)
    axes.axvline(0, color=drawing.MUTED, linewidth=1.2, zorder=1)
    for place, (row, one) in enumerate(zip(rows, differences)):
        told = row["distinguishable"]
        color = drawing.ACCENT if told else drawing.MUTED
        if one["value"] is None:
            axes.text(0.0, place, "undefined", color=drawing.MUTED, va="center_baseline")
        else:
            draw_interval(axes, one["value"], one["ci"], place, color, "o", filled=told)


def _table(found: Mapping[str, Any]) -> Markup:
    header = [
        "Variant",
        column(metric_title(found["metric"])),
        column("Difference"),
        column("p (Holm)"),
        column("Learning rate"),
        column("Trainable"),
        column("Computation"),
        column("Training"),
        column("Peak memory"),
        "Change",
    ]
    base = found["base"]
    rows = [[base["rung"], *_figures(base, None), element("td", "the base")]]
    rows += [
        [
            breakable(_name(row)),
            *_figures(row, row["difference"]),
            element(
                "td", ", ".join(f"{k} {old} → {new}" for k, (old, new) in row["changes"].items())
            ),
        ]
        for row in found["variants"]
    ]
    return table("Variants and their cost", header, rows, marked=0)


def _figures(row: Mapping[str, Any], difference: Mapping[str, Any] | None) -> list[Markup]:
    values = row["values"]
    known = [one for one in values if one is not None]
    mean = sum(known) / len(known) if len(known) == len(values) else None
    shown = [number("–"), number("–")]
    if difference is not None:
        note = interval(difference["ci"], signed) or difference["note"]
        shown = [
            number(signed(difference["value"]), element("small", note)),
            number(probability(difference["p_adjusted"])),
        ]
    return [
        number(share(mean)),
        *shown,
        number("–" if row["learning_rate"] is None else f"{row['learning_rate']:g}"),
        number(count(row["trainable"])),
        number(compact(row["cost"]["flops"], "FLOP")),
        number(seconds(row["cost"]["train_seconds"])),
        number(compact(row["cost"]["peak_bytes"], "B")),
    ]
