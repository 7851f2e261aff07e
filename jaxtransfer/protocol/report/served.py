"""Latency and memory of the served network, and the front of metric and cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.protocol.report.contents import ReportData
from jaxtransfer.protocol.report.examined import card, part
from jaxtransfer.protocol.report.html import (
    Markup,
    column,
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
    likely,
    metric_title,
    share,
)
from jaxtransfer.protocol.report.outcome import Section


def serving(data: ReportData) -> Section | None:
    """What serving the network costs, and which rungs are on the front of metric and cost."""
    costs, front = part(data, "serving"), part(data, "pareto")
    if not costs and not front:
        return None
    cards = [_cost(name, cost) for name, cost in (costs or {}).items()]
    if front:
        cards.append(_front(front))
    return Section(
        key="serving",
        title="Serving cost and Pareto front",
        introduction=(
            "From raw examples to outputs, warm and synchronised, on the machine that examined;"
            " another machine gives other figures."
        ),
        body=join(cards),
    )


def _cost(name: str, cost: Mapping[str, Any]) -> Markup:
    rows = []
    for batch in cost["batches"]:
        seconds = batch["latency"]["seconds"]
        total = seconds.get("total", {})
        rows.append(
            [
                f"batch of {batch['batch_size']}",
                *(_latency(total.get(level)) for level in ("p50", "p95")),
                _rate(batch["latency"].get("examples_per_second")),
                number(f"{batch['latency']['compile_seconds']:.2f} s"),
                *(_amount(batch[key], "FLOP") for key in ("flops",)),
                *(_amount(batch[key], "B") for key in ("compiled_peak", "rss_peak")),
            ]
        )
    header = [
        "Call",
        *map(
            column,
            (
                "Median",
                "95th percentile",
                "Examples a second",
                "Compilation",
                "Computation",
                "Memory, compiled estimate",
                "Memory of a process",
            ),
        ),
    ]
    latency = cost["batches"][0]["latency"] if cost["batches"] else {}
    notes = list(
        dict.fromkeys(note for batch in cost["batches"] for note in batch["latency"]["notes"])
    )
    sizes = [
        f"{compact(cost['parameters']['value'])} parameters",
        f"{compact(cost['variables_bytes']['value'], 'B')} in memory",
    ]
    if cost["adapter_file_bytes"]["value"] is not None:
        sizes.append(f"{compact(cost['adapter_file_bytes']['value'], 'B')} to share")
    repetitions = latency.get("repetitions")
    return card(
        f"Serving {name}",
        table(f"Serving cost of {name}", header, rows, class_="wide"),
        caption=(
            f"{', '.join(sizes)}; {cost['device']}, {cost['precision']}."
            + (f" {count(repetitions)} timed calls of each batch size" if repetitions else "")
            + (
                f", {100 * latency['confidence']:g} % intervals of the quantiles."
                if latency.get("confidence")
                else "."
            )
            + "".join(f" {note[0].upper()}{note[1:]}." for note in notes if note)
        ),
    )


def _latency(found: Mapping[str, Any] | None) -> Markup:
    if found is None or found["value"] is None:
        return number(MISSING)
    low, high = found["ci"] or (None, None)
    # The largest of few calls is no upper bound of a high quantile.
    if low is not None and high is not None:
        around = f"[{_digits(low)}, {_digits(high)}]"
    elif low is not None:
        around = f"≥ {_milliseconds(low)}"
    else:
        around = "no interval" if high is None else f"≤ {_milliseconds(high)}"
    return number(_milliseconds(found["value"]), element("small", around))


def _digits(seconds: float) -> str:
    return f"{1000 * seconds:.3g}"


def _milliseconds(seconds: float) -> str:
    return f"{_digits(seconds)} ms"


def _rate(value: float | None) -> Markup:
    return number(MISSING if value is None else f"{value:,.3g}")


def _amount(figure: Mapping[str, Any], unit: str) -> Markup:
    if figure["value"] is None:
        reason = f"unknown: {figure.get('reason')}"
        return number(MISSING, element("small", reason, class_="reason"))
    return number(compact(figure["value"], unit))


def _front(found: Mapping[str, Any]) -> Markup:
    candidates: Sequence[Mapping[str, Any]] = found["candidates"]
    names = list(candidates[0]["costs"]) if candidates else []
    rows = [
        [
            one["name"],
            element(
                "td",
                element(
                    "span",
                    "on the front" if one["on_front"] else "dominated",
                    class_="pill accepted" if one["on_front"] else "pill",
                ),
                element("small", f"by {', '.join(one['dominated_by'])}")
                if one["dominated_by"]
                else None,
                class_="standing",
            ),
            number(likely(one["probability"])),
            number(share(one["value"]), element("small", interval(one["ci"]))),
            *(number(_amount_of(key, one["costs"].get(key))) for key in names),
        ]
        for one in candidates
    ]
    header = [
        "Rung",
        "Point estimate",
        column("Probability of being on it"),
        column(metric_title(found["metric"])),
        *(column(f"{key[0].upper()}{key[1:]}") for key in names),
    ]
    notes = "".join(f" {note[0].upper()}{note[1:]}." for note in found["notes"])
    return card(
        "Front of metric and cost",
        table("Pareto front", header, rows, class_="wide"),
        caption=(
            "A rung is dominated when another is at least as good in metric and every cost, and"
            f" better in one. The probability is the share of {count(found['replicates'])} paired"
            f" resamples of the {count(found['n'])} test examples, and of seeds, in which the rung is"
            f" on the front.{notes}"
        ),
    )


def _amount_of(name: str, value: float | None) -> str:
    if value is None:
        return MISSING
    return f"{value:.3g} s" if "seconds" in name else compact(value)
