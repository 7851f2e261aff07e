"""The examined rung against another, example by example: what each alone gets right."""

from collections.abc import Mapping
from typing import Any

from jaxtransfer.protocol.report.contents import ReportData
from jaxtransfer.protocol.report.examined import card, folded, part
from jaxtransfer.protocol.report.html import column, details, element, number, table
from jaxtransfer.protocol.report.numbers import count, probability
from jaxtransfer.protocol.report.outcome import Section

MOST = 60


def flips(data: ReportData) -> Section | None:
    """Where two rungs differ, by class and by example."""
    found = part(data, "flips")
    if not found or data.examination is None:
        return None
    other, rung = found["of"], data.examination["rung"]
    apart = "can" if found["p_value"] < 0.05 else "cannot"
    return Section(
        key="flips",
        title=f"Against {other}, example by example",
        introduction=(
            f"{rung} and {other} on the same {count(found['n'])} test examples, first seed. Their"
            f" accuracies {apart} be told apart: McNemar's exact test gives p"
            f" {_p(found['p_value'])} on the {count(found['only_a'] + found['only_b'])} examples"
            " that one of them alone gets right."
        ),
        body=card(
            None,
            element(
                "div",
                _figure(count(found["both_right"]), "both right"),
                _figure(count(found["only_b"]), f"only {rung}"),
                _figure(count(found["only_a"]), f"only {other}"),
                _figure(count(found["both_wrong"]), "both wrong"),
                class_="figures",
            ),
            _classes(found, rung, other),
            _examples(found, rung, other),
        ),
    )


def _p(value: float) -> str:
    shown = probability(value)
    return shown if shown.startswith("<") else f"= {shown}"


def _figure(value: str, note: str) -> Any:
    return element("div", element("b", value), element("span", note))


def _classes(found: Mapping[str, Any], rung: str, other: str) -> Any:
    reach = max([one["only_a"] for one in found["per_class"]] + [1])
    reach = max([reach, *(one["only_b"] for one in found["per_class"])])
    rows = [
        [
            one["label"],
            number(count(one["n"])),
            element(
                "td",
                element(
                    "span",
                    element("i", class_="lost", style=f"width:{50 * one['only_a'] / reach:.1f}%"),
                    element("i", class_="won", style=f"width:{50 * one['only_b'] / reach:.1f}%"),
                    class_="seesaw",
                    aria_hidden="true",
                ),
                class_="wide-only",
            ),
            *(number(count(one[key])) for key in ("only_a", "only_b", "both_right", "both_wrong")),
        ]
        for one in sorted(found["per_class"], key=lambda one: one["only_b"] - one["only_a"])
    ]
    header = [
        "Class",
        column("n"),
        element("th", f"{other} | {rung}", scope="col", class_="wide-only middle"),
        column(f"Only {other}"),
        column(f"Only {rung}"),
        column("Both right"),
        column("Both wrong"),
    ]
    return folded("Right predictions of two rungs by class", header, rows)


def _examples(found: Mapping[str, Any], rung: str, other: str) -> Any:
    flipped = found["flipped"]
    if not flipped:
        return element("p", "Their predictions are the same.", class_="note")
    who = {"a": f"only {other}", "b": f"only {rung}", "neither": "neither"}
    rows = [
        [
            element("th", one["id"], scope="row", class_="id"),
            one["label"],
            f"{one['a']} ({100 * one['confidence_a']:.0f} %)",
            f"{one['b']} ({100 * one['confidence_b']:.0f} %)",
            who.get(one["right"], one["right"]),
        ]
        for one in flipped[:MOST]
    ]
    more = len(flipped) - len(rows)
    header = ["Example", "Labelled", f"{other} says", f"{rung} says", "Right"]
    return details(
        f"{count(len(flipped))} predictions that differ"
        + (f", the first {MOST} of them" if more else ""),
        table("Predictions that differ", header, rows),
        class_="more-rows",
    )
