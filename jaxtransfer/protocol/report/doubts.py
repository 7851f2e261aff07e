"""What to look at before trusting the last percent: labels that probes contradict, examples that splits share."""

from collections.abc import Mapping
from typing import Any

from jaxtransfer.protocol.report.contents import ReportData
from jaxtransfer.protocol.report.examined import card, folded, part, several
from jaxtransfer.protocol.report.html import Markup, column, details, element, join, number, table
from jaxtransfer.protocol.report.numbers import count, share
from jaxtransfer.protocol.report.outcome import Section

MOST = 60
"""Rows of candidates and pairs at all; the file of the examination has the rest."""


def doubts(data: ReportData) -> Section | None:
    """Doubtful labels of the test split, and what its splits share."""
    labels, leaks = part(data, "label_errors"), part(data, "leakage")
    cards = []
    if labels:
        cards.append(_labels(labels))
    if leaks:
        cards.append(_leakage(leaks))
    if not cards:
        return None
    return Section(
        key="doubts",
        title="Labels and leakage",
        introduction="What to look at before trusting the last percent.",
        body=join(cards),
    )


def _labels(found: Mapping[str, Any]) -> Markup:
    candidates, definition = found["candidates"], found["definition"]
    caption = (
        f"Of {count(found['n'])} examples, {count(found['estimated'])} labels are estimated to be"
        f" wrong, whichever they are. {definition[:1].upper()}{definition[1:]}."
    )
    if not candidates:
        return card(
            "Doubtful labels",
            element("p", "No label is contradicted by held-out probabilities.", class_="note"),
            caption=caption,
        )
    rows = [
        [
            element("th", one["id"], scope="row", class_="id"),
            one["label"],
            one["suggested"],
            number(share(one["self_confidence"])),
        ]
        for one in candidates[:MOST]
    ]
    header = ["Example", "Labelled", "More probable", column("Probability of the label")]
    return card(
        f"Doubtful labels: {count(len(candidates))} of {count(found['n'])}",
        folded("Examples whose label may be wrong", header, rows),
        caption=caption + _left(len(candidates)),
    )


def _leakage(found: Mapping[str, Any]) -> Markup:
    kinds = ("exact", "normalised", "near")
    overlaps = [one for one in found["overlaps"] if any(one[kind] for kind in kinds)]
    method = f"Near: {found['method']}." if found["method"] else "Near duplicates were not sought."
    if found["recall"] is not None:
        method += f" A pair at the threshold is found with probability {share(found['recall'])}."
    sizes = ", ".join(f"{name} {count(size)}" for name, size in found["sizes"].items())
    caption = f"Examples of each split: {sizes}. {method}"
    if not overlaps:
        return card(
            "Equal and similar examples",
            element("p", "None within or across splits.", class_="note"),
            caption=caption,
        )
    rows = [
        [
            _splits(one),
            *(number(count(one[kind])) for kind in kinds),
            number(_concerned(one)),
            number(count(one["conflicts"])),
        ]
        for one in sorted(overlaps, key=lambda one: one["splits"][0] == one["splits"][1])
    ]
    header = [
        "Splits",
        *map(column, ("Exact", "Equal but for case", "Near", "Examples", "Labels differ")),
    ]
    pairs = [
        [
            element("th", f"{one['split_a']}: {one['id_a']}", scope="row", class_="id"),
            element("td", f"{one['split_b']}: {one['id_b']}", class_="id"),
            one["kind"],
            number(share(one["similarity"])),
        ]
        for one in found["pairs"][:MOST]
    ]
    return card(
        "Equal and similar examples",
        folded("Pairs of equal and similar examples by splits", header, rows),
        details(
            several(len(found["pairs"]), "pair"),
            table("Pairs", ["One", "Other", "Kind", column("Similarity")], pairs),
            class_="more-rows",
        ),
        caption=caption + _left(len(found["pairs"])),
    )


def _splits(one: Mapping[str, Any]) -> str:
    a, b = one["splits"]
    return f"within {a}" if a == b else f"{a} and {b}"


def _concerned(one: Mapping[str, Any]) -> str:
    a, b = one["examples"]
    same = one["splits"][0] == one["splits"][1]
    return count(a) if same else f"{count(a)} and {count(b)}"


def _left(found: int) -> str:
    return "" if found <= MOST else f" {count(found - MOST)} more are in examination.json."
