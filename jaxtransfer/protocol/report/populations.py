"""Where the examined rung does worse: groups of the data's own columns, and slices found by search."""

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
    several,
    spoken,
)
from jaxtransfer.protocol.report.html import Markup, column, details, element, join, number, table
from jaxtransfer.protocol.report.numbers import count, metric_title, probability, share, signed
from jaxtransfer.protocol.report.outcome import Section

NAMED = 6
"""Groups that were left out and are named."""


def groups(data: ReportData) -> Section | None:
    """Groups with their metrics, the worst of them and the gaps between them; and slices."""
    found, slices = part(data, "groups"), part(data, "slices")
    if not found and not slices:
        return None
    cards = [_column(name, report) for name, report in (found or {}).items()]
    if slices:
        cards.append(_slices(slices))
    return Section(
        key="groups",
        title="Groups and slices",
        introduction=introduced(
            data,
            "Intervals are each group's own. The worst of several groups, and the largest gap"
            " between them, look bad by chance too: beside each stands what equal groups would"
            " show.",
        ),
        body=join(cards),
    )


def _column(name: str, report: Mapping[str, Any]) -> Markup:
    members: Sequence[Mapping[str, Any]] = report["groups"]
    metrics = list(dict.fromkeys(key for group in members for key in group["metrics"]))
    first = metrics[0] if metrics else ""
    limits = scale_of([group["metrics"].get(first) for group in members])
    rows = [
        [
            element(
                "th",
                group["name"],
                element("small", "too small to compare") if group.get("note") else None,
                scope="row",
            ),
            number(count(group["n"])),
            glyph(group["metrics"].get(first), limits),
            *(
                measured_cell(
                    group["metrics"].get(metric),
                    absent=f"n below {report['minimum']}" if group.get("note") else "not measured",
                )
                for metric in metrics
            ),
        ]
        for group in members
    ]
    header = [
        name,
        column("n"),
        element("th", f"{limits[0]:.2f} to {limits[1]:.2f}", scope="col", class_="wide-only"),
        *(column(metric_title(metric)) for metric in metrics),
    ]
    return card(
        f"By {name}",
        folded(f"Metrics by {name}", header, rows, class_="wide"),
        _worst(name, report["worst"]),
        _gaps(name, report["gaps"]),
    )


def _worst(name: str, found: Sequence[Mapping[str, Any]]) -> Markup | None:
    defined = [one for one in found if one["value"] is not None]
    if not defined:
        reasons = dict.fromkeys(one["caveat"] for one in found)
        return (
            element("p", f"Worst group: {'; '.join(reasons)}.", class_="note") if reasons else None
        )
    rows = [
        [
            f"Worst {metric_title(one['metric'])}",
            one["group"],
            number(count(one["n"])),
            measured_cell(one),
            number(share(one["expected"])),
            number(probability(one["p_value"])),
        ]
        for one in defined
    ]
    header = [
        "",
        "Group",
        column("n"),
        column("Value"),
        column("Expected of equal groups"),
        column("p"),
    ]
    return join(
        [
            table(f"Worst groups by {name}", header, rows, class_="second"),
            _left_out(defined),
        ]
    )


def _gaps(name: str, found: Sequence[Mapping[str, Any]]) -> Markup | None:
    if not found:
        return None
    header = [
        "Gap between groups",
        "Class",
        column("Largest difference"),
        column("Expected of equal groups"),
        column("p"),
    ]
    macro = [gap for gap in found if gap["label"] == "macro"]
    # Of two classes one is the other's complement, and there is no mean.
    first = macro or [gap for gap in found if gap["label"] == found[-1]["label"]]
    rest = [gap for gap in found if gap not in first]
    if all(gap["value"] is None for gap in found):
        reasons = "; ".join(dict.fromkeys(str(gap.get("undefined")) for gap in found))
        return element("p", f"Gaps between groups are undefined: {reasons}.", class_="note")
    return join(
        [
            table(f"Gaps by {name}", header, [_gap(gap) for gap in first], class_="second"),
            _left_out(first),
            details(
                f"{several(len(rest), 'gap')} of single classes",
                table(f"Gaps by {name} and class", header, [_gap(gap) for gap in rest]),
                class_="more-rows",
            )
            if rest
            else None,
        ]
    )


def _gap(gap: Mapping[str, Any]) -> list[Any]:
    title = gap["name"].replace("_", " ")
    return [
        f"{title[0].upper()}{title[1:]}",
        "mean of classes" if gap["label"] == "macro" else gap["label"],
        measured_cell(gap),
        number(share(gap["expected"])),
        number(probability(gap["p_value"])),
    ]


def _left_out(found: Sequence[Mapping[str, Any]]) -> Markup | None:
    reasons: dict[str, str] = {}
    for one in found:
        reasons.update(one["left_out"])
    if not reasons:
        return None
    said = [
        # A mean over classes has a reason for each of them.
        f"{group} (too few of several classes)" if ";" in reason else f"{group} ({reason})"
        for group, reason in list(reasons.items())[:NAMED]
    ]
    more = f" and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    return element("p", f"Left out, at least once: {', '.join(said)}{more}.", class_="note")


def _slices(found: Mapping[str, Any]) -> Markup:
    said = (
        f"{count(found['searched'])} slices of at least {found['minimum']} examples were searched"
        f" on {count(found['n_search'])} examples, and {count(found['too_small'])} smaller ones were"
        f" not; those proposed are tested afresh on {count(found['n_confirm'])} others, with Holm's"
        " correction."
    )
    if not found["slices"]:
        return card("Slices", element("p", f"None was proposed. {said}", class_="note"))
    rows = [
        [
            one["description"],
            element(
                "td",
                "confirmed" if one["confirmed"] else "not confirmed",
                class_="clear" if one["confirmed"] else "quiet",
            ),
            number(count(one["n_confirm"])),
            number(share(one["inside"])),
            number(share(one["outside"])),
            number(
                signed(one["difference"]),
                element(
                    "small",
                    spoken({"value": one["difference"], "ci": one["ci"]}, signed).split(" ", 1)[-1]
                    if one["difference"] is not None and one["ci"]
                    else "no example of it there",
                ),
            ),
            number(probability(one["p_confirm"])),
        ]
        for one in found["slices"]
    ]
    header = [
        "Slice",
        "Verdict",
        column("n"),
        column(f"{found['measured']} inside"),
        column("Outside"),
        column("Difference"),
        column("p, confirming half"),
    ]
    confirmed = sum(one["confirmed"] for one in found["slices"])
    return card(
        f"Slices: {len(rows)} proposed, {confirmed} confirmed",
        folded("Slices with more errors than the rest", header, rows),
        caption=f"All numbers are of the confirming half. {said}",
    )
