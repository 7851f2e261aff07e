"""The criterion in the report: the verdict part by part, how it was frozen, what was not climbed, and what pretraining is worth."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.protocol.report.contents import ReportData
from jaxtransfer.protocol.report.html import (
    Markup,
    column,
    definitions,
    details,
    element,
    join,
    number,
    table,
)
from jaxtransfer.protocol.report.numbers import MISSING, interval, seconds, signed
from jaxtransfer.protocol.report.outcome import Section


def criterion(data: ReportData) -> Section | None:
    """The criterion and its verdict; None for a record that has none."""
    found = data.record.get("criterion")
    if found is None:
        return None
    header = ["Part", "Verdict", column("Value"), column("Interval"), "What would settle it"]
    tables = [
        element(
            "div",
            table(
                "The criterion on the test split", header, [_row(part) for part in found["parts"]]
            ),
            class_="card flush",
        )
    ]
    on_accept = [
        details(
            f"{name}, on the acceptance half",
            table(f"The criterion for {name}", header, [_row(part) for part in parts]),
            class_="part",
        )
        for name, parts in found["accept"].items()
        if parts
    ]
    if on_accept:
        tables.append(element("div", *on_accept, class_="card flush"))
    return Section(
        key="criterion",
        title=f"Criterion: {found['verdict']}",
        introduction=(
            f"Frozen {found['frozen']} with the hash {found['sha256'][:12]}. A part passes or fails where its whole"
            " interval, corrected for the number of parts, says so. The verdict is that of the chosen rung on the test"
            f" split, which took no part in the choice.{_history(found['history'])}"
        ),
        body=join(tables),
    )


def plan(data: ReportData) -> Section | None:
    """The order of the rungs with its reasons, and what was not climbed."""
    found = data.record.get("plan")
    if found is None:
        return None
    left = [*found["skipped"], *found["not_run"]]
    rows = [[one["rung"], one["because"]] for one in found["positions"]]
    body = [
        element(
            "div",
            table("Why rungs stand where they do", ["Rung", "Because"], rows),
            class_="card flush",
        )
    ]
    if left:
        missing = table(
            "Rungs that were not climbed",
            ["Rung", "Why not"],
            [[one["rung"], one["reason"]] for one in left],
        )
        body.append(element("div", missing, class_="card flush"))
    body.append(
        element(
            "div",
            details("Facts of the task", definitions(_shown(found["facts"])), class_="part"),
            class_="card flush",
        )
    )
    return Section(
        key="plan",
        title="Plan",
        introduction=(
            f"Order: {found['order']}. All runs took {seconds(found['spent']['seconds'])} together, those of killed"
            " processes included."
        ),
        body=join(body),
    )


def transfer(data: ReportData) -> Section | None:
    """The chosen rung against the same network from random weights."""
    found = data.record.get("transfer")
    if found is None:
        return None
    rows = [
        [
            f"{found['chosen']} − {one['reference']}",
            number(signed(one["value"])),
            number(interval(one["ci"], signed)),
            one["verdict"],
        ]
        for one in found["against"]
    ]
    header = ["Pair", column("Difference"), column("Interval"), "Pretraining"]
    body = (
        element(
            "div",
            table("The chosen rung against random weights", header, rows),
            class_="card flush",
        )
        if rows
        else Markup("")
    )
    return Section(
        key="transfer",
        title="What pretraining is worth",
        introduction=found["sentence"],
        body=body,
    )


def _row(part: Mapping[str, Any]) -> list[Any]:
    more = "; ".join(str(part[key]) for key in ("settle", "note") if part[key])
    value = MISSING if part["value"] is None else f"{part['value']:.3g}"
    return [part["wanted"], part["verdict"], number(value), number(_ends(part["ci"])), more]


def _ends(ci: Sequence[float | None] | None) -> str:
    if ci is None:
        return MISSING
    low, high = ("?" if end is None else f"{end:.3g}" for end in ci)
    return f"[{low}, {high}]"


def _history(history: Sequence[Mapping[str, Any]]) -> str:
    said = [
        f" Changed {one['when']}, when {one['cells_finished']} runs were finished and test predictions"
        f" {'could have been' if one['test_read'] else 'had not been'} read: {'; '.join(one['changed'])}."
        for one in history
    ]
    return "".join(said)


def _shown(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: "undefined" if value is None else value for name, value in facts.items()}
