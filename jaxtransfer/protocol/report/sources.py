"""What the record rests on: every metric measured, the data, and where everything came from."""

import json
from collections.abc import Mapping
from typing import Any

from jaxtransfer.protocol.report.contents import ReportData
from jaxtransfer.protocol.report.html import (
    Markup,
    breakable,
    column,
    definitions,
    details,
    element,
    join,
    number,
    table,
)
from jaxtransfer.protocol.report.numbers import (
    MISSING,
    compact,
    count,
    interval,
    metric_title,
    share,
)
from jaxtransfer.protocol.report.outcome import Section

MAX_CLASSES = 60
_SPLIT_TITLES = {
    "train": "Train",
    "rest": "Not used",
    "test": "Test",
    "accept": "Validation, acceptance half",
    "tune": "Validation, tuning half",
    "calibration": "Calibration",
}


def metrics(data: ReportData) -> Section:
    """All metrics of all rungs, by split."""
    splits = list(dict.fromkeys(split for rung in data.rungs for split in rung["metrics"]))
    splits.sort(
        key=lambda split: (
            list(_SPLIT_TITLES).index(split) if split in _SPLIT_TITLES else len(_SPLIT_TITLES)
        )
    )
    parts = [_metrics_of(data, split, open_=index == 0) for index, split in enumerate(splits)]
    meanings = {
        metric_title(name): entry["definition"]
        for name, entry in data.chosen["metrics"].get(splits[0], {}).items()
        if "definition" in entry
    }
    if meanings:
        parts.append(_part("Definitions", definitions(meanings)))
    return Section(
        key="metrics",
        title="All metrics",
        introduction=(
            f"Means over seeds with {100 * data.record['task']['confidence']:g} % intervals, where they are"
            " defined."
        ),
        body=element("div", *parts, class_="card flush"),
    )


def _metrics_of(data: ReportData, split: str, *, open_: bool) -> Markup:
    names = list(
        dict.fromkeys(name for rung in data.rungs for name in rung["metrics"].get(split, {}))
    )
    sizes = {
        entry.get("n") for rung in data.rungs for entry in rung["metrics"].get(split, {}).values()
    } - {None}
    title = _SPLIT_TITLES.get(split, split)
    summary = f"{title} ({count(max(sizes))} examples)" if sizes else title
    rows = [
        [breakable(rung["name"]), *(_cell(rung, split, name) for name in names)]
        for rung in data.rungs
    ]
    header = ["Rung", *(column(_capital(metric_title(name))) for name in names)]
    marked = [rung["name"] for rung in data.rungs].index(data.record["chosen"])
    grid = table(f"{title}: every metric of every rung", header, rows, class_="wide", marked=marked)
    return _part(summary, grid, open_=open_)


def _cell(rung: Mapping[str, Any], split: str, name: str) -> Markup:
    entry = rung["metrics"].get(split, {}).get(name)
    if entry is None:
        return number(MISSING)
    if entry.get("value") is None:
        return number(
            MISSING, element("small", entry.get("undefined") or "undefined", class_="reason")
        )
    return number(share(entry["value"]), element("small", interval(entry.get("ci"))))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _part(summary: Any, *children: Any, open_: bool = False) -> Markup:
    return details(summary, *children, open_=open_, class_="part")


def data_card(data: ReportData) -> Section:
    """The data: where from, how much, what was removed, how it was split."""
    card = data.record["data"]
    facts = {
        "source": card.get("source"),
        "left out beforehand": _left_out(card.get("left_out")),
        "examples found": card.get("total"),
        "exact duplicates removed": card.get("duplicates_removed"),
        "conflicting duplicates": card.get("conflicting_duplicates"),
        "duplicates": card.get("duplicates"),
        "cut by the encoder": _truncation(card.get("truncated")),
        f"{len(data.classes)} classes": _classes(data),
    }
    known = {key: value for key, value in facts.items() if value is not None}
    extra = {key: value for key, value in card.items() if key not in _KNOWN_DATA}
    rows = [
        [_SPLIT_TITLES.get(name, _capital(str(name))), number(count(size))]
        for name, size in card["splits"].items()
    ]
    return Section(
        key="data",
        title="Data",
        introduction="",
        body=element(
            "div",
            element("div", element("h3", "Source"), definitions({**known, **extra}), class_="card"),
            element(
                "div",
                element("h3", "Splits"),
                table("Sizes of the splits", ["Split", column("Examples")], rows),
                class_="card",
            ),
            class_="pair",
        ),
    )


def _left_out(reasons: Any) -> Any:
    if isinstance(reasons, Mapping):
        rows = [f"{count(rows)} rows with {reason}" for reason, rows in reasons.items()]
        return "; ".join(rows) or None
    return reasons


def _truncation(truncated: Any) -> Any:
    if isinstance(truncated, Mapping) and {"examples", "of"} <= set(truncated):
        return (
            f"{count(truncated['examples'])} of {count(truncated['of'])} are longer than it reads"
        )
    return truncated


def _classes(data: ReportData) -> str:
    counts = data.record["data"].get("classes")
    names = data.classes[:MAX_CLASSES]
    if isinstance(counts, Mapping):
        names = [f"{name}: {count(counts[name])}" if name in counts else name for name in names]
    rest = len(data.classes) - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest else "")


_KNOWN_DATA = frozenset(
    {
        *("source", "total", "duplicates_removed", "conflicting_duplicates", "duplicates"),
        *("classes", "truncated", "splits", "left_out"),
    }
)


def provenance(data: ReportData) -> Section:
    """Everything needed to run it again, and to check that it is the same."""
    record = data.record
    task = {key: value for key, value in record["task"].items() if key != "classes"}
    parts = [
        _part("Command", element("pre", element("code", record["command"])), open_=True),
        _part("Hashes", definitions(record["hashes"]), open_=True),
        _part(
            "Versions and machine",
            definitions(
                {**record["versions"], **record["environment"], "written": record["created"]}
            ),
        ),
        _part("Task and acceptance rule", definitions(task)),
        *(
            _part(join(["Rung: ", rung["name"]]), definitions(_rung_facts(rung)))
            for rung in data.rungs
        ),
        _part(
            "Configuration",
            element("pre", json.dumps(record["config"], indent=2, ensure_ascii=False)),
        ),
    ]
    return Section(
        key="provenance",
        title="Provenance",
        introduction="What it takes to run this again and to check that the result is the same.",
        body=element("div", *parts, class_="card flush"),
    )


def _rung_facts(rung: Mapping[str, Any]) -> dict[str, Any]:
    tried = "; ".join(
        ", ".join(f"{key.replace('_', ' ')} {_short(value)}" for key, value in trial.items())
        for trial in rung["tuning"]
    )
    rules = "; ".join(f"{pattern} → {group}" for pattern, group in rung["rules"])
    return {
        "method": rung["method"],
        "rules": rules or "none",
        **{f"{key}": _short(value) for key, value in rung["hyperparameters"].items()},
        "tuning": tried or "nothing to tune",
        "seeds": rung["seeds"],
        "trainable parameters": rung["trainable"],
        "computation": compact(rung["cost"].get("flops"), "FLOP"),
        "peak memory": compact(rung["cost"].get("peak_bytes"), "B"),
        "adjusted p": _short((rung["difference"] or {}).get("p_adjusted")),
    }


def _short(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value
