"""The heat map of corruptions: kinds by severities, coloured by the share of the metric lost.

It is a table, so that it reads aloud, is searched, and scrolls by itself on a narrow page.
"""

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
    percent,
    scale_of,
    spoken,
    why,
)
from jaxtransfer.protocol.report.html import Markup, column, details, element, number, table
from jaxtransfer.protocol.report.numbers import MISSING, count, metric_title, probability, share
from jaxtransfer.protocol.report.outcome import Section

DEEPEST = 0.5
"""Loss from which a cell is coloured as deeply as any."""


def corruptions(data: ReportData) -> Section | None:
    """What corrupted inputs cost the metric, by kind and severity."""
    found = part(data, "robustness")
    if not found or not found["cells"]:
        return None
    metric = metric_title(found["metric"])
    clean = share(found["clean"])
    degraded = sum(cell["degrades"] for cell in found["cells"])
    level = f"{100 * found['confidence']:g} %"
    seeds = found["seeds"]
    definition = found["relative_definition"].replace("-", "−")
    head = element(
        "div",
        _figure(spoken(found["overall"], percent), f"of the clean {metric} lost on average"),
        _figure(f"{clean}", f"{metric} on clean inputs, n={count(found['n'])}"),
        _figure(f"{degraded} of {len(found['cells'])}", "conditions shown to degrade it (*)"),
        *(
            [_figure(spoken(found["mean_corruption_error"]), "mean corruption error, mCE")]
            if found["mean_corruption_error"]
            else []
        ),
        class_="figures",
    )
    undefined = sorted(
        {why(cell["relative"]) for cell in found["cells"] if cell["relative"]["value"] is None}
    )
    caption = (
        f"In each cell the relative degradation, {definition}, above the {metric}"
        f" left; the stronger the colour, the worse. A star: worse than clean after Holm's correction over all"
        f" {len(found['cells'])} conditions. Means over severities and kinds with {level}"
        f" intervals; {seeds} seed{'s' if seeds > 1 else ''}."
        + (f" {MISSING}: undefined, {'; '.join(undefined)}." if undefined else "")
    )
    return Section(
        key="corruptions",
        title="Corrupted inputs",
        introduction=introduced(
            data, "Inputs are changed by rule, the same for every model; their labels stay."
        ),
        body=card(None, head, _map(found), _every(found), caption=caption),
    )


def _figure(value: str, note: str) -> Markup:
    return element("div", element("b", value), element("span", note))


def _map(found: Mapping[str, Any]) -> Markup:
    cells = {(cell["kind"], cell["severity"]): cell for cell in found["cells"]}
    severities = sorted({severity for _, severity in cells})
    margins = found["by_kind"]
    kinds = sorted(margins, key=lambda kind: -(margins[kind]["value"] or 0.0))
    limits = scale_of([*margins.values(), {"value": 0.0, "ci": None}])
    errors = found["corruption_error"]
    rows: list[Sequence[Any]] = [
        [
            kind.replace("_", " "),
            *(_cell(cells.get((kind, severity))) for severity in severities),
            glyph(margins[kind], limits, reference=0.0),
            measured_cell(margins[kind], percent),
            *([measured_cell(errors.get(kind))] if errors else []),
        ]
        for kind in kinds
    ]
    by_severity = [found["by_severity"].get(str(severity)) for severity in severities]
    means: Sequence[Any] = [
        element("th", "all kinds", scope="row"),
        *(_margin(one) for one in by_severity),
        glyph(found["overall"], limits, reference=0.0),
        measured_cell(found["overall"], percent),
        *([measured_cell(found["mean_corruption_error"])] if errors else []),
    ]
    header = [
        Markup('<th scope="col">Corruption, severity →</th>'),
        *(str(severity) for severity in severities),
        element("th", "Beside zero", scope="col", class_="wide-only"),
        column("Mean loss"),
        *([column("CE")] if errors else []),
    ]
    # The means stand above: they stay in sight where the kinds are folded.
    return folded(
        "Relative degradation by corruption and severity",
        header,
        [means, *rows],
        class_="matrix heatmap",
    )


def _cell(cell: Mapping[str, Any] | None) -> Markup:
    if cell is None:
        return element("td", MISSING, element("small", "not run"), class_="none")
    lost = cell["relative"]["value"]
    if lost is None:
        return element("td", MISSING, element("small", share(cell["value"])), class_="none")
    star = (
        element("b", "*", element("span", " degrades", class_="hidden"))
        if cell["degrades"]
        else None
    )
    return element(
        "td",
        percent(lost),
        star,
        element("small", share(cell["value"])),
        class_="loss" if lost > 0 else "gain",
        style=f"--share:{min(1.0, abs(lost) / DEEPEST):.3f}",
    )


def _margin(found: Mapping[str, Any] | None) -> Markup:
    if found is None or found["value"] is None:
        return element("td", MISSING, class_="none")
    low_high = found.get("ci")
    around = f"{percent(low_high[0])} to {percent(low_high[1])}" if low_high else why(found)
    return element("td", percent(found["value"]), element("small", around), class_="mean")


def _every(found: Mapping[str, Any]) -> Markup:
    rows = []
    for cell in found["cells"]:
        moved = cell["flips"] or {}
        rows.append(
            [
                f"{cell['kind'].replace('_', ' ')} {cell['severity']}",
                number(share(cell["value"])),
                measured_cell(cell["relative"], percent),
                number(probability(cell["p_adjusted"])),
                *(number(percent(moved.get(key))) for key in ("changed", "broken", "mended")),
            ]
        )
    header = [
        "Condition",
        column(metric_title(found["metric"])),
        column("Loss"),
        column("p, Holm"),
        column("Changed"),
        column("Broken"),
        column("Mended"),
    ]
    return details(
        f"All {len(rows)} conditions with intervals, and how predictions moved",
        table("Every condition", header, rows),
        class_="more-rows",
    )
