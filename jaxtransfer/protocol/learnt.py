"""What an examination says, in sentences with their numbers."""

from collections.abc import Mapping
from typing import Any


def sentences(parts: Mapping[str, Any]) -> list[str]:
    """A sentence for each part that was examined.

    Args:
      parts: of `examination.json`.
    """
    found = [
        _robustness(parts),
        _outliers(parts),
        _slices(parts),
        _calibration(parts),
        _more_labels(parts),
        _labels(parts),
        _leakage(parts),
    ]
    return [sentence for sentence in found if sentence]


def _interval(document: Mapping[str, Any]) -> str:
    value, ci = document["value"], document.get("ci")
    if value is None:
        return f"undefined ({document.get('undefined')})"
    shown = f"{value:.3f}" + (f" [{ci[0]:.3f}, {ci[1]:.3f}]" if ci else "")
    return shown.replace("-", "\N{MINUS SIGN}")


def _robustness(parts: Mapping[str, Any]) -> str | None:
    found = parts.get("robustness")
    if not found:
        return None
    known = {k: v for k, v in found["by_kind"].items() if v["value"] is not None}
    if not known:
        return f"Robustness: the relative degradation is undefined, n={found['n']}."
    worst = max(known, key=lambda kind: known[kind]["value"])
    least = min(known, key=lambda kind: known[kind]["value"])
    harmful = sum(bool(cell["degrades"]) for cell in found["cells"])
    return (
        f"Under corruptions, {found['metric']} (clean {found['clean']:.3f}, n={found['n']}) loses"
        f" {_interval(found['overall'])} of itself on average; most under {worst}"
        f" ({_interval(known[worst])}), least under {least} ({_interval(known[least])});"
        f" {harmful} of {len(found['cells'])} conditions degrade it after Holm's correction."
    )


def _outliers(parts: Mapping[str, Any]) -> str | None:
    found = parts.get("outliers")
    if not found:
        return None
    told = []
    for name in dict.fromkeys(row["outliers"] for row in found):
        told.append(_best_detector(found, name))
    return " ".join(told) or None


def _best_detector(rows: list[Mapping[str, Any]], name: str) -> str:
    own = [row for row in rows if row["outliers"] == name]
    known = [row for row in own if row["metrics"]["auroc"]["value"] is not None]
    if not known:
        return f"No detector has an AUROC on {name}."
    best = max(known, key=lambda row: row["metrics"]["auroc"]["value"])
    worst = min(known, key=lambda row: row["metrics"]["auroc"]["value"])
    return (
        f"Of {len(own)} detectors, {best['detector']} tells {name} ({best['distance']}) best: AUROC"
        f" {_interval(best['metrics']['auroc'])}; {worst['detector']} least,"
        f" {_interval(worst['metrics']['auroc'])}."
    )


def _slices(parts: Mapping[str, Any]) -> str | None:
    found = parts.get("slices")
    if not found:
        return None
    confirmed = [one for one in found["slices"] if one["confirmed"]]
    text = (
        f"Of {found['searched']} slices searched in one half, {len(found['slices'])} were proposed"
        f" and {len(confirmed)} confirmed on the other half"
    )
    if not confirmed:
        return f"{text} (n={found['n_confirm']})."
    names = [one["description"] for one in confirmed[:3]]
    return f"{text}: {'; '.join(names)}."


def _calibration(parts: Mapping[str, Any]) -> str | None:
    found = (parts.get("recalibration") or {}).get("temperature")
    if not found:
        return None
    chance = found["before"].get("ece_perfect")
    beside = f" (a perfectly calibrated model: {_interval(chance)})" if chance else ""
    change = found["differences"]["nll"]
    return (
        f"ECE is {found['before']['ece']['value']:.3f}{beside} and, with a temperature fitted on the"
        f" calibration split, {found['after']['ece']['value']:.3f}; the NLL changes by"
        f" {_interval(change)}."
    )


def _more_labels(parts: Mapping[str, Any]) -> str | None:
    found = parts.get("sample_efficiency")
    if not found or not found["curves"]:
        return None
    curve = found["curves"][-1]
    last, promises = curve["points"][-1], found["laws"][curve["method"]]["promises"]
    said = f"A {curve['method']} on the frozen encoder has {found['metric']} {_interval(last)} with {last['train']} labels"
    if not promises:
        return f"{said}."
    first = promises[0]
    return f"{said}; its power law promises {_interval(first['metric'])} with {first['train']:g}."


def _labels(parts: Mapping[str, Any]) -> str | None:
    found = parts.get("label_errors")
    if not found:
        return None
    return (
        f"{len(found['candidates'])} of {found['n']} test labels are contradicted by probes that"
        " have not seen them: look at those before trusting differences of that size."
    )


def _leakage(parts: Mapping[str, Any]) -> str | None:
    found = parts.get("leakage")
    if not found:
        return None
    across = [one for one in found["overlaps"] if one["splits"][0] != one["splits"][1]]
    pairs = sum(one["exact"] + one["normalised"] + one["near"] for one in across)
    if not pairs:
        return "No example of one split is nearly another's."
    most = max(across, key=lambda one: one["exact"] + one["normalised"] + one["near"])
    return (
        f"{pairs} pairs of examples are equal or nearly so across splits, most of them between"
        f" {most['splits'][0]} and {most['splits'][1]}."
    )
