"""What was decided: the verdict, the ladder, the comparisons on test and the price of each rung."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.protocol.report import drawing, figures
from jaxtransfer.protocol.report.contents import ACCEPT, TEST, ReportData
from jaxtransfer.protocol.report.cost_figure import metric_against_parameters
from jaxtransfer.protocol.report.html import (
    Markup,
    breakable,
    column,
    element,
    figure,
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
    measured,
    metric_title,
    seconds,
    share,
    signed,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page.

    Attributes:
      key: anchor.
      title: heading, also in the list of contents.
      introduction: how to read it.
      body: its HTML.
    """

    key: str
    title: str
    introduction: str
    body: Markup


def verdict(data: ReportData) -> Markup:
    """The head of the page: which rung, why, and four figures."""
    record, chosen = data.record, data.chosen
    title = metric_title(data.metric)
    first, *rest = [str(sentence) for sentence in record["conclusion"]] or [chosen["reason"]]
    splits = record["data"]["splits"]
    eyebrow = join(
        [
            element("b", record["name"]),
            *(
                [f"{count(splits['train'])} labelled training examples"]
                if "train" in splits
                else []
            ),
            f"{len(data.classes)} classes",
            str(record["created"])[:10],
        ],
        " · ",
    )
    tiles = [_tile(f"Test {title}", *_value(chosen, TEST, data.metric))]
    if chosen["difference"] is not None:
        gain = chosen["difference"]
        tiles.append(
            _tile(
                "Validation gain",
                signed(gain["value"]),
                f"{interval(gain['ci'], signed)} over {gain['incumbent']}",
            )
        )
    tiles += [
        _tile("Trainable parameters", compact(chosen["trainable"]), _part_of_largest(data)),
        _tile(
            "Time",
            seconds(chosen["cost"]["seconds"]),
            f"of {seconds(_total_seconds(data))} for the whole ladder",
        ),
    ]
    return element(
        "header",
        element("p", eyebrow, class_="eyebrow"),
        element("p", "Chosen rung", class_="chosen"),
        element("h1", chosen["name"]),
        element("p", first, class_="lead"),
        element("p", " ".join(rest), class_="more") if rest else None,
        element("dl", *tiles, class_="tiles"),
    )


def _tile(name: str, value: str, note: str) -> Markup:
    return element("div", element("dt", name), element("dd", value, element("small", note)))


def _value(rung: Mapping[str, Any], split: str, metric: str) -> tuple[str, str]:
    value, ci = measured(rung, split, metric)
    return share(value), interval(ci)


def _part_of_largest(data: ReportData) -> str:
    largest = max(rung["trainable"] for rung in data.rungs)
    own = data.chosen["trainable"]
    if not largest or own == largest:
        return "the most of any rung" if largest else "no rung trains any"
    return f"{100 * own / largest:.2g} % of the largest rung’s"


def _total_seconds(data: ReportData) -> float:
    return sum(rung["cost"]["seconds"] or 0.0 for rung in data.rungs)


def ladder(data: ReportData) -> Section:
    """The rungs from the cheapest up, drawn and in a table."""
    task = data.record["task"]
    level = f"{100 * task['confidence']:g} %"
    title = metric_title(data.metric)
    order = [rung["name"] for rung in data.rungs]
    caption = (
        f"Left: {title} with {level} intervals. Right: paired difference to the incumbent on the"
        " acceptance half, with its corrected interval; a rung is accepted when the interval"
        f" clears the margin {data.margin:g}."
        " Values far from the rest are written at the edge."
    )
    drawn = responsive(
        lambda narrow: figures.ladder(data, narrow=narrow),
        key="ladder",
        label=f"{title} of each rung on acceptance and test examples. {_spoken_ladder(data)}",
        wide=(1020, 96 + 44 * len(order)),
        narrow=(350, 150 + 66 * len(order)),
    )
    keys = [
        ("accept", "validation, acceptance half"),
        ("test", "test, read once after the decision"),
        ("open", "difference, not accepted"),
        *([("margin", "margin")] if task["margin"] else []),
    ]
    rows = [_ladder_row(data, rung) for rung in data.rungs]
    header = [
        "Rung",
        column("Trainable parameters"),
        column(join(["Validation", element("br"), title])),
        column(join(["Test", element("br"), title])),
        column("Difference to incumbent"),
        column("Time"),
        "Decision and reason",
    ]
    grid = table(
        f"The ladder: {title} and decision of each rung",
        header,
        rows,
        class_="ladder",
        marked=order.index(data.record["chosen"]),
    )
    body = join(
        [
            element("div", figure(drawn, caption, keys=keys), class_="card"),
            element("div", grid, class_="card flush"),
        ]
    )
    return Section(key="ladder", title="Ladder", introduction=str(task["acceptance"]), body=body)


def _spoken_ladder(data: ReportData) -> str:
    return "; ".join(
        f"{rung['name']}: validation {share(measured(rung, ACCEPT, data.metric)[0])},"
        f" test {share(measured(rung, TEST, data.metric)[0])}, {rung['decision']}"
        for rung in data.rungs
    )


def _ladder_row(data: ReportData, rung: Mapping[str, Any]) -> list[Any]:
    difference = rung["difference"]
    pills = (
        [element("span", "chosen", class_="pill chosen")]
        if rung["name"] == data.record["chosen"]
        else []
    )
    pills.append(element("span", rung["decision"], class_=f"pill {_word(rung['decision'])}"))
    return [
        breakable(rung["name"]),
        number(count(rung["trainable"])),
        _measured_cell(rung, ACCEPT, data.metric),
        _measured_cell(rung, TEST, data.metric),
        number(MISSING)
        if difference is None
        else number(
            signed(difference["value"]),
            element("small", interval(difference["ci"], signed)),
            element("small", f"against {difference['incumbent']}"),
        ),
        number(seconds(rung["cost"]["seconds"])),
        element("td", *pills, element("br"), rung["reason"]),
    ]


def _word(text: str) -> str:
    return "".join(character for character in text if character.isalnum())


def _measured_cell(rung: Mapping[str, Any], split: str, metric: str) -> Markup:
    value, ci = _value(rung, split, metric)
    undefined = rung["metrics"].get(split, {}).get(metric, {}).get("undefined")
    note = element("small", undefined, class_="reason") if undefined else element("small", ci)
    return number(value, note)


def comparisons(data: ReportData) -> Section | None:
    """Paired differences between tuned rungs on test."""
    pairs = data.record["comparisons"]
    if not pairs:
        return None
    bounds = [bound for pair in pairs for bound in (pair["ci"] or (pair["value"] or 0.0,))]
    reach = max((abs(bound) for bound in bounds), default=0.0) * 1.05 or 1.0
    told_apart = sum(1 for pair in pairs if pair["distinguishable"])
    summary = f"{told_apart or 'None'} of {len(pairs)} pairs can be told apart."
    if len(pairs) == 1:
        summary = f"The pair can{'' if told_apart else 'not'} be told apart."
    elif told_apart == len(pairs):
        summary = f"All {len(pairs)} pairs can be told apart."
    rows = [
        [
            element("th", f"{pair['a']} − {pair['b']}", scope="row"),
            element("td", _glyph(pair, reach), class_="wide-only"),
            number(signed(pair["value"])),
            number(interval(pair["ci"], signed)),
            element(
                "td",
                "distinguishable" if pair["distinguishable"] else "not distinguishable",
                class_="clear" if pair["distinguishable"] else "quiet",
            ),
        ]
        for pair in pairs
    ]
    level = f"{100 * data.record['task']['confidence']:g} %"
    header = [
        "Pair",
        element("th", "Beside zero", scope="col", class_="wide-only"),
        column("Difference"),
        column(f"{level} interval"),
        "Verdict",
    ]
    splits = ", ".join(dict.fromkeys(str(pair["split"]) for pair in pairs))
    return Section(
        key="comparisons",
        title="Pairwise comparisons",
        introduction=(
            f"Differences in {metric_title(data.metric)} on {splits}, paired over examples and"
            f" seeds, corrected for the number of pairs. They describe; they decided"
            f" nothing. {summary}"
        ),
        body=element(
            "div", table("Pairwise comparisons of tuned rungs", header, rows), class_="card flush"
        ),
    )


def _glyph(pair: Mapping[str, Any], reach: float) -> Markup:
    if pair["value"] is None:
        return element("span", MISSING)
    low, high = pair["ci"] or (pair["value"], pair["value"])
    bar = f"left:{_percent(low, reach)};width:{100 * (high - low) / (2 * reach):.1f}%"
    return element(
        "span",
        element("i", class_="zero", style="left:50%"),
        element("i", style=bar),
        element("b", style=f"left:{_percent(pair['value'], reach)}"),
        class_="glyph clear" if pair["distinguishable"] else "glyph",
        aria_hidden="true",
    )


def _percent(value: float, reach: float) -> str:
    return f"{50 + 50 * value / reach:.1f}%"


def cost(data: ReportData) -> Section:
    """Test metric against the number of trainable parameters."""
    title = metric_title(data.metric)
    front = (data.examination or {}).get("pareto")
    standings = {one["name"]: one for one in front["candidates"]} if front else {}
    label = f"Test {title} against trainable parameters: " + "; ".join(
        f"{rung['name']} {count(rung['trainable'])} parameters,"
        f" {share(measured(rung, TEST, data.metric)[0])}{_standing(standings.get(rung['name']))}"
        for rung in data.rungs
    )
    caption, keys = None, []
    if front:
        keys = [("neutral", "on the Pareto front"), ("open", "dominated")]
        caption = (
            f"The front is of {title}, {' and '.join(front['candidates'][0]['costs'])}. In per cent,"
            f" the share of {count(front['replicates'])} paired resamples of test examples and"
            " seeds in which a rung is on it."
        )
    drawn = responsive(
        lambda narrow: metric_against_parameters(data, narrow=narrow),
        key="cost",
        label=label,
        wide=(1020, 400),
        narrow=(350, 470),
    )
    header = [
        "Rung",
        column("Trainable parameters"),
        column("Time in all"),
        column("Training, one seed"),
        column("Computation, one seed"),
        column("Peak memory"),
    ]
    rows = [
        [
            rung["name"],
            number(count(rung["trainable"])),
            number(seconds(rung["cost"]["seconds"])),
            number(seconds(rung["cost"].get("train_seconds"))),
            number(compact(rung["cost"].get("flops"), "FLOP")),
            number(compact(rung["cost"].get("peak_bytes"), "B")),
        ]
        for rung in data.rungs
    ]
    marked = [rung["name"] for rung in data.rungs].index(data.record["chosen"])
    return Section(
        key="cost",
        title="Cost",
        introduction=(
            "The cheapest rung that reaches the same height is the better buy. Rungs that train"
            " nothing stand before the log axis. Time in all includes tuning, every seed and prediction;"
            " what a frozen encoder computes once for several rungs is in that of the first that needs it. Computation and"
            " memory are those of training steps."
        ),
        body=join(
            [
                element("div", figure(drawn, caption, keys=keys), class_="card"),
                element(
                    "div",
                    table("Cost of each rung", header, rows, marked=marked),
                    class_="card flush",
                ),
            ]
        ),
    )


def _standing(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    place = "on the front" if found["on_front"] else "dominated"
    return f", {place}, probability of being on it {likely(found['probability'])}"


def responsive(
    paint: Any, *, key: str, label: str, wide: Sequence[int], narrow: Sequence[int]
) -> Markup:
    """A figure drawn twice, for wide and for narrow pages; the style sheet shows one of them.

    Args:
      paint: function from `narrow` to a painter.
      key: unique in the page.
      label: what a reader who cannot see the figure should know.
      wide: width and height in CSS pixels.
      narrow: the same for narrow pages.
    """
    return join(
        element(
            "div",
            Markup(
                drawing.draw(
                    paint(is_narrow),
                    key=f"{key}-{place}",
                    label=label,
                    width=size[0],
                    height=size[1],
                )
            ),
            class_=place,
        )
        for is_narrow, place, size in ((False, "wide-figure", wide), (True, "narrow", narrow))
    )
