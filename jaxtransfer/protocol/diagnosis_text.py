"""A diagnosis as text for a terminal: every number with its definition's name, undefined ones with why."""

from collections.abc import Mapping, Sequence
from typing import Any


def card(found: Mapping[str, Any]) -> str:
    """The whole diagnosis, a section a subject."""
    sections = (
        _data(found),
        _inputs(found),
        _distances(found),
        _backbones(found),
        _layers(found),
        _recommended(found),
    )
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _data(found: Mapping[str, Any]) -> list[str]:
    facts, card_ = found["facts"], found["card"]
    classes = card_["data"]["classes"]
    shown = ", ".join(f"{name} {count}" for name, count in list(classes.items())[:12])
    more = f" and {len(classes) - 12} more" if len(classes) > 12 else ""
    near = [one for one in card_["leakage"]["overlaps"] if one["splits"][0] != one["splits"][1]]
    pairs = sum(one["exact"] + one["normalised"] + one["near"] for one in near)
    return [
        f"DATA {found['name']}: {facts['examples']} examples, {card_['data']['duplicates']}",
        f"  labels: {shown}{more}",
        f"  budget: {facts['train_labels']} to train ({facts['labels_per_class']} in the smallest"
        f" class), {facts['validation_labels']} to choose and decide",
        *(f"  {_score(score)}" for score in card_["scores"].values()),
        f"  pairs across splits that are equal or nearly so: {pairs}",
    ]


def _inputs(found: Mapping[str, Any]) -> list[str]:
    inputs = found["card"]["inputs"]
    quantiles = ", ".join(
        f"{100 * float(q):g} % {value:g}" for q, value in inputs["quantiles"].items()
    )
    beyond = ""
    if inputs["beyond"]:
        beyond = (
            f"; {inputs['beyond']} of {found['facts']['examples']} are larger and lose something"
        )
    return [
        f"INPUTS in {inputs['unit']}: {quantiles}; the backbone takes {inputs['takes']}{beyond}"
    ]


def _distances(found: Mapping[str, Any]) -> list[str]:
    lines = ["DISTANCES of inputs, from the training split and what is in no split"]
    for one in found["distances"]:
        kind = "domain" if one["is_domain"] else "split"
        told = "differs" if one["differs"] else "no difference shown"
        lines.append(f"  to {kind} {one['to']}: {told}")
        for measure in one["measures"]:
            if measure["value"] is None:
                lines.append(f"    {measure['name']} undefined: {measure['undefined']}")
            else:
                lines.append(
                    f"    {measure['name']} {measure['value']:.3g}, p={measure['p_value']:.3g},"
                    f" adjusted {measure['p_adjusted']:.3g}"
                )
    lines.append(f"  {_score(found['source']['distance'])}")
    return lines


def _backbones(found: Mapping[str, Any]) -> list[str]:
    lines = ["BACKBONES, each score on the labels that may be read"]
    for backbone in found["backbones"]:
        lines.append(f"  {backbone['uri']}")
        lines += [f"    {_score(score)}" for score in backbone["scores"]]
    if len(found["backbones"]) > 1:
        ranked = [f"{name}: {uri}" for name, uri in found["best_backbone"].items() if uri]
        lines.append(f"  ranked first by {'; '.join(ranked)}")
    return lines


def _layers(found: Mapping[str, Any]) -> list[str]:
    layers = found["layers"]
    if layers is None:
        return ["STAGES: the backbone can only be run whole"]
    lines = ["STAGES: probe accuracy, CKA with the labels, relative gradient norm, reading"]
    for stage in layers["stages"]:
        values = [_short(stage[name]) for name in ("probe", "target", "gradient")]
        reading = stage["reading"] or "not read"
        lines.append(f"  {stage['stage']:<14} {'  '.join(f'{v:>9}' for v in values)}  {reading}")
    lines.append(f"  {layers['unread'] or layers['rule']}")
    return lines


def _recommended(found: Mapping[str, Any]) -> list[str]:
    suggested = found["recommended"]
    return [
        "RECOMMENDED LADDER",
        *(f"  {name}: {suggested['reasons'][name]}" for name in suggested["rungs"]),
        *(f"  - {remark}" for remark in suggested["remarks"]),
    ]


def _score(score: Mapping[str, Any]) -> str:
    if score["value"] is None:
        return f"{score['name']} undefined: {score['undefined']}"
    around: Sequence[float] | None = score.get("interval")
    shown = f"{score['name']} {score['value']:.4g}"
    if around:
        shown += f" [{around[0]:.4g}, {around[1]:.4g}]"
    return f"{shown}; {score['note']}" if score.get("note") else shown


def _short(score: Mapping[str, Any]) -> str:
    return "undefined" if score["value"] is None else f"{score['value']:.3g}"
