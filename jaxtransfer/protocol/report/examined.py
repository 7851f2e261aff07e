"""What `examine` has found, as sections: each is left out where its part was not examined."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer.protocol.report import figures
from jaxtransfer.protocol.report.contents import ReportData
from jaxtransfer.protocol.report.html import Markup, column, details, element, join, number, table
from jaxtransfer.protocol.report.numbers import count, metric_title, probability, share
from jaxtransfer.protocol.report.outcome import Section, responsive
from jaxtransfer.protocol.report.series import Bins

SHOWN = 12
"""Rows of a table before the rest is folded."""


def part(data: ReportData, name: str) -> Any:
    """A part of the examination, or None."""
    return None if data.examination is None else data.examination.get(name)


def value(found: Mapping[str, Any] | None) -> str:
    """A number with its interval, or why there is none."""
    if found is None:
        return "not measured"
    if found["value"] is None:
        return f"undefined: {found.get('undefined') or found.get('reason')}"
    return with_interval(found["value"], found.get("ci"))


def with_interval(value: float | None, ci: Sequence[float] | None) -> str:
    """A value with its interval in brackets."""
    if value is None:
        return "undefined"
    return f"{value:.3f}" + (f" [{ci[0]:.3f}, {ci[1]:.3f}]" if ci else "")


def card(*children: Any) -> Markup:
    """A box of its own."""
    return element("div", *children, class_="card")


def folded(caption: str, header: Sequence[Any], rows: list[list[Any]]) -> Markup:
    """A table whose rows beyond the first few open on demand."""
    first = table(caption, header, rows[:SHOWN])
    if len(rows) <= SHOWN:
        return first
    rest = table(f"{caption}, continued", header, rows[SHOWN:])
    return join([first, details(f"{len(rows) - SHOWN} more", rest)])


def learnt(data: ReportData) -> Section | None:
    """The sentences of the examination."""
    sentences = part(data, "summary")
    if not sentences or data.examination is None:
        return None
    return Section(
        key="learnt",
        title="What the examination says",
        introduction=(
            f"Of {data.examination['rung']}, first seed, on {data.examination['split']} examples."
            " How each number was found stands below."
        ),
        body=card(element("ul", *(element("li", sentence) for sentence in sentences))),
    )


def corruptions(data: ReportData) -> Section | None:
    """Heat map: corruptions by severities, coloured by how much of the metric is lost."""
    found = part(data, "robustness")
    if not found:
        return None
    severities = sorted({cell["severity"] for cell in found["cells"]})
    cells = {(cell["kind"], cell["severity"]): cell for cell in found["cells"]}

    def cell(kind: str, severity: int) -> Markup:
        one = cells.get((kind, severity))
        lost = None if one is None else one["relative"]["value"]
        if one is None or lost is None:
            return element("td", "–", class_="none")
        mark = "*" if one["degrades"] else ""
        return element(
            "td",
            f"{100 * lost:.1f} %{mark}",
            element("small", f"{one['value']:.3f}"),
            class_="wrong" if lost > 0 else "right",
            style=f"--share:{min(1.0, abs(lost)):.3f}",
            title=value(one["relative"]),
        )

    kinds = list(found["by_kind"])
    kinds.sort(key=lambda kind: -(found["by_kind"][kind]["value"] or 0.0))
    rows = [
        [
            kind.replace("_", " "),
            *(cell(kind, severity) for severity in severities),
            number(value(found["by_kind"][kind])),
        ]
        for kind in kinds
    ]
    header = [
        Markup('<th scope="col">Corruption, severity →</th>'),
        *(str(severity) for severity in severities),
        column("mean loss"),
    ]
    metric = metric_title(found["metric"])
    caption = (
        f"Share of the clean {metric} ({found['clean']:.3f}, n={found['n']}) that is lost, and the"
        f" {metric} left. On average {value(found['overall'])} of it is lost. A star: degraded"
        " after Holm's correction over all conditions."
    )
    return Section(
        key="corruptions",
        title="Corrupted inputs",
        introduction="Inputs are changed by rule, the same for every model; labels stay.",
        body=card(
            table("Loss under corruptions by severity", header, rows, class_="matrix"),
            element("figcaption", caption),
        ),
    )


def recalibration(data: ReportData) -> Section | None:
    """Reliability before and after the scalings, and what they change."""
    found, diagrams = part(data, "recalibration"), part(data, "reliability")
    if not found or not diagrams:
        return None
    drawn = []
    for name in ("before", "temperature"):
        if name not in diagrams:
            continue
        bins = _bins(diagrams[name])
        full = bins.counts > 0
        label = f"Reliability {name}: " + "; ".join(
            f"confidence {c:.2f}, accuracy {a:.2f}, {count(n)} predictions"
            for c, a, n in zip(bins.confidence[full], bins.accuracy[full], bins.counts[full])
        )
        drawn.append(
            element(
                "div",
                element("h3", "Before" if name == "before" else "After temperature scaling"),
                responsive(
                    lambda narrow, bins=bins: figures.reliability(bins, narrow=narrow),
                    key=f"recalibration-{name}",
                    label=label,
                    wide=(490, 410),
                    narrow=(350, 340),
                ),
                class_="card",
            )
        )
    before = next(iter(found.values()))["before"]
    rows = [["before", *(number(value(before.get(name))) for name in MEASURES)]]
    for name, one in found.items():
        rows.append([f"after {name}", *(number(value(one["after"].get(m))) for m in MEASURES)])
        rows.append(
            [
                "difference",
                *(number(value(one["differences"].get(metric))) for metric in MEASURES),
            ]
        )
    chance = before.get("ece_perfect")
    caption = (
        "Scalings are fitted on the calibration split; differences are paired, with 95 % intervals."
    )
    if chance is not None:
        caption += f" A perfectly calibrated model would show an ECE of {value(chance)} here."
    return Section(
        key="recalibration",
        title="Reliability before and after recalibration",
        introduction="Temperature scaling changes no prediction; vector and isotonic scaling may.",
        body=element(
            "div",
            element("div", *drawn, class_="pair"),
            card(
                table(
                    "Calibration before and after",
                    ["", *(column(metric_title(name)) for name in MEASURES)],
                    rows,
                ),
                element("figcaption", caption),
            ),
        ),
    )


MEASURES = ("accuracy", "nll", "brier", "ece")


def _bins(found: Mapping[str, Any]) -> Bins:
    def of(name: str) -> np.ndarray:
        return np.array([np.nan if v is None else v for v in found[name]], np.float64)

    return Bins(
        edges=of("edges"),
        counts=np.array(found["count"], np.int64),
        accuracy=of("accuracy"),
        confidence=of("confidence"),
    )


def outliers(data: ReportData) -> Section | None:
    """Detectors by sets of outliers."""
    found = part(data, "outliers")
    if not found:
        return None
    names = ("auroc", "fpr95_in", "fpr95_out")
    rows = [
        [
            f"{row['detector'].replace('_', ' ')}, {row['outliers']}",
            row["distance"],
            *(number(value(row["metrics"].get(name))) for name in names),
        ]
        for row in found
    ]
    texts = found[0]["metrics"]
    caption = "; ".join(f"{name}: {texts[name]['definition']}" for name in names if name in texts)
    header = ["Detector, outliers", "distance", *(column(name) for name in names)]
    return Section(
        key="outliers",
        title="Out-of-distribution inputs",
        introduction="Detectors are fitted on training examples; no outlier has tuned them.",
        body=card(folded("Detectors of outliers", header, rows), element("figcaption", caption)),
    )


def groups(data: ReportData) -> Section | None:
    """Groups with their metrics, the gaps between them, and slices."""
    found, slices = part(data, "groups"), part(data, "slices")
    if not found and not slices:
        return None
    cards = []
    for name, report in (found or {}).items():
        metrics = list(next(iter(report["groups"]))["metrics"]) if report["groups"] else []
        metrics = max((list(g["metrics"]) for g in report["groups"]), key=len, default=metrics)
        rows = [
            [
                group["name"],
                number(count(group["n"])),
                *(number(value(group["metrics"].get(metric))) for metric in metrics),
            ]
            for group in report["groups"]
        ]
        gaps = [
            gap for gap in report["gaps"] if gap["label"] == "macro" and gap["value"] is not None
        ] or [gap for gap in report["gaps"] if gap["value"] is not None][:2]
        notes = [
            f"{gap['name'].replace('_', ' ')} ({gap['label']}):"
            f" {with_interval(gap['value'], gap['ci'])}; {gap['expected']:.3f} expected of equal"
            f" groups, since a maximum is biased upward; p {probability(gap['p_value'])}"
            for gap in gaps
        ]
        notes += [
            f"worst {metric_title(w['metric'])}: {w['group']}, {with_interval(w['value'], w['ci'])};"
            f" {w['expected']:.3f} expected of equal groups, p {probability(w['p_value'])}"
            for w in report["worst"]
            if w["value"] is not None and w["expected"] is not None
        ]
        header = [name, column("n"), *(column(metric_title(metric)) for metric in metrics)]
        cards.append(
            card(
                element("h3", f"By {name}"),
                folded(f"Metrics by {name}", header, rows),
                element("ul", *(element("li", note) for note in notes)) if notes else None,
            )
        )
    if slices:
        cards.append(_slices(slices))
    return Section(
        key="groups",
        title="Groups and slices",
        introduction="Intervals are within groups. Small groups vary by chance alone: see what is expected.",
        body=element("div", *cards),
    )


def _slices(found: Mapping[str, Any]) -> Markup:
    said = (
        f"{found['searched']} slices of at least {found['minimum']} examples were searched in"
        f" {found['n_search']} examples; what was proposed is tested afresh on {found['n_confirm']}"
        f" others. {found['too_small']} were too small to search."
    )
    if not found["slices"]:
        return card(element("h3", "Slices"), element("p", f"{said} None was proposed."))
    header = [
        "Slice",
        column("n, confirming half"),
        column("inside"),
        column("outside"),
        column("p"),
        "",
    ]
    rows = [
        [
            one["description"],
            number(count(one.get("n_confirm"))),
            number(share(one.get("inside"))),
            number(share(one.get("outside"))),
            number(probability(one["p_confirm"])),
            "confirmed" if one["confirmed"] else "not confirmed",
        ]
        for one in found["slices"]
    ]
    return card(
        element("h3", "Slices"),
        folded(f"Slices by {found['measured']}", header, rows),
        element("figcaption", said),
    )


def doubts(data: ReportData) -> Section | None:
    """Labels that probes contradict, examples that splits share, and flips against another rung."""
    labels, leaks, flips = (part(data, name) for name in ("label_errors", "leakage", "flips"))
    cards = []
    if flips:
        cards.append(
            card(
                element("h3", f"Against {flips['of']}, example by example"),
                element(
                    "p",
                    f"Both right on {count(flips['both_right'])}, both wrong on"
                    f" {count(flips['both_wrong'])} of {count(flips['n'])};"
                    f" only {flips['of']} right on {count(flips['only_a'])}, only this rung on"
                    f" {count(flips['only_b'])}. McNemar's exact p {probability(flips['p_value'])}.",
                ),
            )
        )
    if labels:
        rows = [
            [one["id"], one["label"], one["suggested"], number(share(one["self_confidence"]))]
            for one in labels["candidates"]
        ]
        header = ["Example", "labelled", "probes say", column("probability of the label")]
        cards.append(
            card(
                element("h3", f"{len(rows)} labels to look at, of {count(labels['n'])}"),
                folded("Label-error candidates", header, rows) if rows else None,
                element("figcaption", labels["definition"]),
            )
        )
    if leaks:
        rows = [
            [
                join([*one["splits"]], " and "),
                *(number(count(one[kind])) for kind in ("exact", "normalised", "near")),
                number(count(one["conflicts"])),
            ]
            for one in leaks["overlaps"]
            if one["exact"] + one["normalised"] + one["near"]
        ]
        header = ["Splits", *map(column, ("exact", "but for case", "near", "other label"))]
        cards.append(
            card(
                element("h3", "Equal and similar examples within and across splits"),
                folded("Pairs of similar examples", header, rows)
                if rows
                else element("p", "None was found."),
                element("figcaption", leaks["method"]),
            )
        )
    if not cards:
        return None
    return Section(
        key="doubts",
        title="Labels, leakage and flips",
        introduction="What to look at before trusting the last percent.",
        body=element("div", *cards),
    )
