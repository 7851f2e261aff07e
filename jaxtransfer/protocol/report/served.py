"""Latency and memory of the served network, and the front of metric and cost."""

from collections.abc import Mapping
from typing import Any

from jaxtransfer.protocol.report.contents import ReportData
from jaxtransfer.protocol.report.examined import card, part, with_interval
from jaxtransfer.protocol.report.html import column, element, number, table
from jaxtransfer.protocol.report.numbers import compact, count, metric_title
from jaxtransfer.protocol.report.outcome import Section


def serving(data: ReportData) -> Section | None:
    """Latency and memory of the served network, and the front of metric and cost."""
    costs, front = part(data, "serving"), part(data, "pareto")
    if not costs and not front:
        return None
    cards = []
    for name, cost in (costs or {}).items():
        rows = []
        for batch in cost["batches"]:
            seconds = batch["latency"]["seconds"]["total"]
            rows.append(
                [
                    f"batch {batch['batch_size']}",
                    *(number(_milliseconds(seconds, level)) for level in ("p50", "p95")),
                    number(f"{batch['latency']['compile_seconds']:.2f} s"),
                    *(number(_bytes(batch[key])) for key in ("compiled_peak", "rss_peak")),
                ]
            )
        header = [
            name,
            *map(column, ("p50", "p95", "compilation", "compiled estimate", "RSS of a process")),
        ]
        sizes = (
            f"{compact(cost['parameters']['value'])} parameters, of which"
            f" {compact(cost['trainable_parameters']['value'])} trained;"
            f" {_bytes(cost['adapter_file_bytes'])} to share. {cost['device']}, {cost['precision']};"
            " warm and synchronised."
        )
        cards.append(card(table("Serving cost", header, rows), element("figcaption", sizes)))
    if front:
        names = list(front["candidates"][0]["costs"])
        rows = [
            [
                one["name"],
                number(with_interval(one["value"], one["ci"])),
                *(number(compact(one["costs"][key])) for key in names),
                number(f"{100 * one['probability']:.0f} %"),
                "on the front" if one["on_front"] else "dominated",
            ]
            for one in front["candidates"]
        ]
        header = [
            "Rung",
            column(metric_title(front["metric"])),
            *(column(key) for key in names),
            column("probability"),
            "",
        ]
        cards.append(
            card(
                element("h3", "Front of metric and cost"),
                table("Pareto front", header, rows),
                element(
                    "figcaption",
                    f"On the front: no other rung is as good at every cost. Probability: the share of"
                    f" {count(front['replicates'])} paired resamples in which the rung is on it.",
                ),
            )
        )
    return Section(
        key="serving",
        title="Serving cost and Pareto front",
        introduction="Measured on the machine that examined.",
        body=element("div", *cards),
    )


def _milliseconds(seconds: Mapping[str, Any], level: str) -> str:
    return f"{1000 * seconds[level]['value']:.1f} ms"


def _bytes(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"unknown ({figure.get('reason')})"
    return f"{figure['value'] / 2**20:,.1f} MiB"
