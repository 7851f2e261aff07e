"""What the diagnosis said before training: how far inputs differ, what each stage knows, what was advised.

It stands in the report of a ladder whose work directory holds a `diagnosis.json`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.protocol.conclusion import listed
from jaxtransfer.protocol.report.contents import ReportData
from jaxtransfer.protocol.report.diagnosis_form import foreign
from jaxtransfer.protocol.report.examined import card, glyph, scale_of, spoken
from jaxtransfer.protocol.report.html import Markup, column, details, element, join, number, table
from jaxtransfer.protocol.report.numbers import MISSING, compact, probability, share
from jaxtransfer.protocol.report.outcome import Section

_READINGS = {
    "generic": "generic: what tells classes apart is not yet linear",
    "task": "holds what the task needs",
    "source": "specific to the source",
}


def diagnosis(data: ReportData) -> Section | None:
    """Distances, scores, stages and the recommended ladder."""
    found = data.diagnosis
    if found is None:
        return None
    layers = found["layers"]
    other = foreign(found, data.record["hashes"])
    warning = (
        f"This diagnosis is of {listed(other)}: what follows need not hold here." if other else ""
    )
    return Section(
        key="diagnosis",
        title="Diagnosis before training",
        introduction=(
            "Read from the inputs of all splits and from the labels of the training split and the"
            " tuning half alone, before anything was trained."
        ),
        body=join(
            [
                *([card("Not of this ladder", element("p", warning))] if warning else []),
                card(None, _advice(data, found["recommended"])),
                element("div", _scores(found["backbones"]), class_="card flush"),
                *([_stages(layers), _similarities(layers["cka"])] if layers else []),
                element("div", _distances(found["distances"]), class_="card flush"),
            ]
        ),
    )


def _advice(data: ReportData, suggested: Mapping[str, Any]) -> Markup:
    said = [f"{remark[0].upper()}{remark[1:]}." for remark in suggested["remarks"]]
    first, chosen = suggested["first"], data.record["chosen"]
    verdict = "as advised" if first == chosen else f"and the ladder chose {chosen}"
    return element(
        "div",
        element("p", f"The diagnosis expected {first} to win, {verdict}."),
        element("ul", *(element("li", text) for text in said), class_="findings"),
    )


def _scores(backbones: Sequence[Mapping[str, Any]]) -> Markup:
    names = [score["name"] for score in backbones[0]["scores"]]
    rows = []
    for place, name in enumerate(names):
        cells = [_value(backbone["scores"][place]) for backbone in backbones]
        rows.append([name, *cells])
    header = ["Score", *(column(backbone["uri"]) for backbone in backbones)]
    return table("Transferability of each backbone", header, rows)


def _value(score: Mapping[str, Any]) -> Markup:
    if score["value"] is None:
        return number(MISSING, element("small", score["undefined"], class_="reason"))
    around = score.get("interval")
    shown = f"{score['value']:.4g}".replace("-", "−")
    note = f"[{share(around[0])}, {share(around[1])}]" if around else score.get("note")
    return number(shown, element("small", note) if note else None)


def _stages(layers: Mapping[str, Any]) -> Markup:
    stages = layers["stages"]
    probes = [
        {"value": stage["probe"]["value"], "ci": stage["probe"].get("interval")} for stage in stages
    ]
    limits = scale_of(probes)
    rows = [
        [
            stage["stage"],
            number(compact(stage["parameters"])),
            glyph(probe, limits),
            number(spoken({**probe, "undefined": stage["probe"].get("undefined")})),
            _value(stage["target"]),
            _value(stage["gradient"]),
            _READINGS.get(stage["reading"], "not read"),
        ]
        for stage, probe in zip(stages, probes)
    ]
    header = [
        "Stage",
        column("Parameters"),
        element("th", "Probe", scope="col", class_="wide-only"),
        column("Probe accuracy"),
        column("CKA with labels"),
        column("Gradient / weights"),
        "Reading",
    ]
    why = layers["unread"] or layers["rule"]
    return card(
        "What each stage knows of the task",
        table("Stages of the backbone", header, rows, class_="wide"),
        caption=f"n={layers['n']}. {why[0].upper()}{why[1:]}",
    )


def _similarities(cka: Mapping[str, Any]) -> Markup:
    names, values = cka["names"], cka["values"]

    def cell(value: float | None) -> Markup:
        if value is None:
            return element("td", MISSING, class_="none")
        part = min(1.0, max(0.0, value))
        return element(
            "td", f"{value:.2f}".replace("-", "−"), class_="gain", style=f"--share:{part:.3f}"
        )

    rows = [[name, *(cell(value) for value in row)] for name, row in zip(names, values)]
    header = [Markup('<th scope="col">Stage</th>'), *names]
    grid = table("Debiased CKA between stages", header, rows, class_="matrix heatmap")
    return card(
        None,
        details(
            "How similar the stages are to one another (debiased CKA)", grid, class_="more-rows"
        ),
    )


def _distances(found: Sequence[Mapping[str, Any]]) -> Markup:
    rows = []
    for one in found:
        for place, measure in enumerate(one["measures"]):
            name = f"{'domain' if one['is_domain'] else 'split'} {one['to']}" if not place else ""
            if measure["value"] is None:
                shown = number(MISSING, element("small", measure["undefined"], class_="reason"))
            else:
                shown = number(f"{measure['value']:.3g}".replace("-", "−"))
            verdict = ("differs" if one["differs"] else "no difference shown") if not place else ""
            adjusted = number(probability(measure["p_adjusted"]))
            rows.append([name, measure["name"], shown, adjusted, verdict])
    header = ["Inputs of", "Distance from training", column("Value"), column("p, Holm"), "Verdict"]
    return table("Distances of inputs", header, rows)
