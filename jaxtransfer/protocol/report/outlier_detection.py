"""How well detectors tell outliers from test examples, for each set of outliers."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.protocol.report.contents import ReportData
from jaxtransfer.protocol.report.examined import (
    card,
    folded,
    glyph,
    introduced,
    measured_cell,
    part,
    scale_of,
)
from jaxtransfer.protocol.report.html import Markup, column, details, element, join
from jaxtransfer.protocol.report.numbers import count
from jaxtransfer.protocol.report.outcome import Section

TITLES = {
    "auroc": "AUROC",
    "aupr_out": "AUPR, outliers",
    "aupr_in": "AUPR, inliers",
    "fpr95_in": "FPR95, inliers",
    "fpr95_out": "FPR95, outliers",
}


def outliers(data: ReportData) -> Section | None:
    """Detectors by sets of outliers, near sets first."""
    found = part(data, "outliers")
    if not found:
        return None
    sets = sorted(
        dict.fromkeys((row["distance"], row["outliers"]) for row in found),
        key=lambda one: one[0] != "near",
    )
    scale = scale_of([row["metrics"].get("auroc") for row in found])
    cards = [
        _set(
            distance,
            name,
            [row for row in found if (row["distance"], row["outliers"]) == (distance, name)],
            (min(0.5, scale[0]), max(1.0, scale[1])),
        )
        for distance, name in sets
    ]
    texts = {name: one["definition"] for name, one in found[0]["metrics"].items()}
    scores = {row["detector"]: row["definition"] for row in found}
    terms = element(
        "dl",
        *(
            element("div", element("dt", title.replace("_", " ")), element("dd", text))
            for title, text in [
                *((TITLES.get(name, name), text) for name, text in texts.items()),
                *scores.items(),
            ]
        ),
    )
    return Section(
        key="outliers",
        title="Inputs from elsewhere",
        introduction=introduced(
            data,
            "Each detector scores how far an input lies from the training examples it was fitted"
            " on; no outlier has tuned it. The line stands at an AUROC of 0.5, which is chance.",
        ),
        body=join(
            [
                *cards,
                element(
                    "div",
                    details("What is measured, and the detectors' scores", terms),
                    class_="card",
                ),
            ]
        ),
    )


def _set(
    distance: str, name: str, rows: Sequence[Mapping[str, Any]], limits: tuple[float, float]
) -> Markup:
    names = [key for key in TITLES if any(key in row["metrics"] for row in rows)]
    ranked = sorted(rows, key=lambda row: -(row["metrics"]["auroc"]["value"] or 0.0))
    cells = [
        [
            row["detector"].replace("_", " "),
            glyph(row["metrics"]["auroc"], limits, reference=0.5),
            *(measured_cell(row["metrics"].get(key)) for key in names),
        ]
        for row in ranked
    ]
    header = [
        "Detector",
        element("th", "AUROC", scope="col", class_="wide-only"),
        *(column(TITLES[key]) for key in names),
    ]
    sizes = f"{count(rows[0]['n_inliers'])} test examples, {count(rows[0]['n_outliers'])} outliers"
    return card(
        f"{name}, {distance} ({sizes})",
        folded(f"Detectors on {name}", header, cells, class_="wide"),
    )
