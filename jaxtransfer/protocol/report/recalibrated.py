"""Calibration of the examined rung before and after recalibration, and what its Brier score is made of."""

from collections.abc import Mapping
from typing import Any

from jaxtransfer.protocol.report import drawing
from jaxtransfer.protocol.report.contents import ReportData
from jaxtransfer.protocol.report.examined import card, change, introduced, measured_cell, part
from jaxtransfer.protocol.report.html import (
    Markup,
    column,
    element,
    figure,
    join,
    number,
    table,
)
from jaxtransfer.protocol.report.numbers import MISSING, count, metric_title, share
from jaxtransfer.protocol.report.outcome import Section
from jaxtransfer.protocol.report.reliability_figure import reliability_change

MEASURES = ("accuracy", "nll", "brier", "ece", "smooth_ece")
BEFORE = "before"


def recalibration(data: ReportData) -> Section | None:
    """Reliability before and after the scalings, what they change, and the parts of the Brier score."""
    found, diagrams, brier = (part(data, key) for key in ("recalibration", "reliability", "brier"))
    cards = []
    if diagrams:
        cards.append(_diagrams(diagrams))
    if found:
        cards.append(_changes(found))
    if brier:
        cards.append(_brier(brier))
    if not cards:
        return None
    return Section(
        key="recalibration",
        title="Reliability before and after recalibration",
        introduction=introduced(
            data,
            "Scalings are fitted on the calibration split and measured on test. Temperature scaling"
            " changes no prediction; vector and isotonic scaling may.",
        ),
        body=join(cards),
    )


def _diagrams(diagrams: Mapping[str, Any]) -> Markup:
    before = diagrams.get(BEFORE)
    panels: list[Markup] = []
    for name, diagram in diagrams.items():
        title = "Before" if name == BEFORE else f"After {name} scaling"
        bins = [
            f"confidence {confidence:.2f}, accuracy {accuracy:.2f} [{low:.2f}, {high:.2f}],"
            f" n {count(size)}"
            for size, confidence, accuracy, low, high in zip(
                *(diagram[key] for key in ("count", "confidence", "accuracy", "low", "high")),
                strict=True,
            )
            if size
        ]
        svg = drawing.draw(
            reliability_change(diagram, None if name == BEFORE else before),
            key=f"reliability-{len(panels)}",
            label=f"Reliability diagram, {title.lower()}: {'; '.join(bins)}",
            width=300,
            height=290,
        )
        panels.append(element("div", element("h3", title), figure(Markup(svg), None)))
    size = sum(next(iter(diagrams.values()))["count"])
    keys = element(
        "div",
        element("span", element("i", class_="key", aria_hidden="true"), "accuracy, 95 % interval"),
        element("span", element("i", class_="key line", aria_hidden="true"), "before"),
        element(
            "span", element("i", class_="key margin", aria_hidden="true"), "accuracy = confidence"
        ),
        class_="keys",
    )
    return card(
        None,
        keys,
        element("div", *panels, class_="curves four"),
        caption=(
            f"Accuracy over the confidence of the predicted class, first seed, {count(size)}"
            " examples; below, how many fall into each bin. Wilson intervals hold for each bin by"
            " itself."
        ),
    )


def _changes(found: Mapping[str, Any]) -> Markup:
    before = next(iter(found.values()))[BEFORE] if found else {}
    names = [name for name in MEASURES if name in before]
    rows: list[list[Any]] = [["before", *(measured_cell(before[name]) for name in names)]]
    for title, one in found.items():
        rows.append(
            [
                element("th", title, element("small", "and paired change"), scope="row"),
                *(
                    measured_cell(
                        one["after"].get(name), share, change(one["differences"].get(name))
                    )
                    for name in names
                ),
            ]
        )
    chance = {name: before.get(f"{name}_perfect") for name in names}
    if any(chance.values()):
        rows.append(
            [
                "if perfectly calibrated",
                *(
                    number(MISSING) if chance[name] is None else measured_cell(chance[name])
                    for name in names
                ),
            ]
        )
    n = next((one["n"] for one in before.values()), 0)
    notes = list(
        dict.fromkeys(
            f"{title}: {scaling['note']}."
            for title, one in found.items()
            for scaling in one.get("scalings", [])
            if scaling.get("note")
        )
    )
    return card(
        "What recalibration changes",
        table(
            "Metrics before and after recalibration",
            ["", *(column(metric_title(name)) for name in names)],
            rows,
            class_="wide",
        ),
        caption=(
            f"Means over seeds on {count(n)} test examples, with 95 % intervals; changes are paired."
            " A calibration error is never zero on few examples: the last row is what a perfectly"
            " calibrated model would show here. " + " ".join(notes)
        ),
    )


def _brier(found: Mapping[str, Any]) -> Markup:
    inside = found["within_variance"] - found["within_covariance"]
    terms = [
        ("", found["brier"], "Brier score"),
        ("=", found["reliability"], "reliability, 0 is calibrated"),
        ("−", found["resolution"], "resolution, larger is better"),
        ("+", found["uncertainty"], "uncertainty of the labels"),
        ("−" if inside < 0 else "+", abs(inside), "within bins"),
    ]
    return card(
        "Parts of the Brier score",
        element(
            "div",
            *(
                element(
                    "div",
                    element("b", f"{sign} {share(value)}".strip()),
                    element("span", title),
                )
                for sign, value, title in terms
            ),
            class_="figures",
        ),
        caption=(
            f"Murphy's decomposition, summed over classes; {found['bins']} bins of equal width,"
            f" first seed, n={count(found['n'])}."
        ),
    )
