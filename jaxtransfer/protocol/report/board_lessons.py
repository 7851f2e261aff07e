"""What was learnt across tasks, as the index page shows it: winners by condition, gains over the probe, recommendations."""

from collections.abc import Sequence

from jaxtransfer.protocol.conclusion import listed
from jaxtransfer.protocol.entries import Decision
from jaxtransfer.protocol.lessons import (
    CONDITIONS,
    Gain,
    Recommendations,
    Share,
    Wins,
    gains,
    recommendations,
    wins,
)
from jaxtransfer.protocol.report.html import Markup, breakable, column, element, join, number, table
from jaxtransfer.protocol.report.numbers import count, interval, metric_title, signed

_COUNTED = (
    "Counts of decisions, with Wilson's 95 % intervals; a method is counted where it stood in the ladder. To win is to be"
    " chosen, which favours the cheaper of two that cannot be told apart. Decisions on the same data are not independent:"
    " where there are fewer data sets than decisions, an interval is too narrow. Conditions are looked at one by one and"
    " uncorrected: they suggest what to try, and prove nothing."
)


def lead(decisions: Sequence[Decision]) -> str:
    """The page's first sentence: who won most often."""
    if not decisions:
        return "No decision here can be read."
    (found,) = wins(decisions)["All"]
    most = max(won.k for won in found.methods.values())
    first = {method: won for method, won in found.methods.items() if won.k == most}
    told = "; ".join(f"{method} {_of(won)} in which it stood" for method, won in first.items())
    how = "won most often" if len(first) == 1 else "won equally often"
    return (
        f"{listed(list(first))} {how}: {told}. {_plural(found.n, 'decision')} on"
        f" {_plural(found.tasks, 'data set')} in all."
    )


def learnt(decisions: Sequence[Decision]) -> tuple[str, Markup | None]:
    """Introduction and body of the section; no body without decisions."""
    if not decisions:
        return "", None
    found = wins(decisions)
    cards = [
        element(
            "div",
            element("h3", title),
            _winners(title, found[key]),
            class_="card",
        )
        for key, title in (("All", "All decisions"), *((name, name) for name in CONDITIONS))
    ]
    return _COUNTED, join(
        [
            element("div", *cards, class_="pair"),
            _gains(gains(decisions)),
            _recommended(recommendations(decisions)),
        ]
    )


def _winners(title: str, rows: Sequence[Wins]) -> Markup:
    cells: list[list[Markup]] = []
    for one in rows:
        note = f"{_plural(one.n, 'decision')}, {_plural(one.tasks, 'data set')}"
        where = element("th", one.condition, element("small", note), scope="rowgroup", colspan="4")
        cells.append([where])
        cells += [
            [
                element("td", breakable(method)),
                number(f"{won.k} of {won.n}"),
                element("td", _glyph(won)),
                number(element("small", _percent(won))),
            ]
            for method, won in one.methods.items()
        ]
    header = [
        "Won by",
        column("Decisions"),
        element("th", "Share", scope="col"),
        column("Interval"),
    ]
    return table(f"{title}: winners", header, cells, class_="winners")


def _glyph(won: Share) -> Markup:
    low, high = won.ci
    return element(
        "span",
        element("i", style=f"left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"),
        element("b", style=f"left:{100 * won.k / won.n:.1f}%"),
        class_="glyph",
        aria_hidden="true",
    )


def _gains(rows: Sequence[Gain]) -> Markup:
    if not rows:
        text = "No decision here compares a rung with a linear probe."
        return element(
            "div", element("h3", "Gain over the linear probe"), _note(text), class_="card"
        )
    header = [
        "Method",
        column("Mean gain"),
        column("95 % interval"),
        column("Better"),
        column("Distinguishably"),
        column("Data sets"),
    ]
    cells = [
        [
            element(
                "th", breakable(row.method), element("small", metric_title(row.metric)), scope="row"
            ),
            number(signed(row.mean)),
            number(
                interval(row.ci, signed) if row.ci else element("small", "one decision has none")
            ),
            number(f"{row.better.k} of {row.better.n}", element("small", _percent(row.better))),
            number(f"{row.distinct} of {row.n}"),
            number(count(row.tasks)),
        ]
        for row in rows
    ]
    note = (
        "Means over decisions of the paired difference to each decision's own probe on its test split, in units of the"
        " metric, positive where the method is better; a mean is taken within one metric only. The interval is Student's"
        " t over decisions. A baseline is compared with the probe only where it was chosen, which flatters it."
    )
    return element(
        "div",
        element("h3", "Gain over the linear probe"),
        table("Gain of each method over the linear probe", header, cells),
        _note(note),
        class_="card",
    )


def _recommended(found: Recommendations | None) -> Markup:
    if found is None:
        text = "No directory here has a diagnosis.json that recommends rungs, so nothing can be said of recommendations."
        return element("div", element("h3", "Recommendations"), _note(text), class_="card")
    sentences = [
        f"The first recommended rung was chosen in {_of(found.right)}.",
        f"Always recommending {found.base_method}, the most frequent winner of the same decisions, would have been right"
        f" in {_of(found.base)}. It is named with hindsight, which flatters it.",
        f"In {count(found.only_right)} the recommendation alone was right, in {count(found.only_base)} that rule alone.",
    ]
    return element(
        "div",
        element("h3", "Recommendations"),
        element("ul", *(element("li", text) for text in sentences), class_="findings"),
        class_="card",
    )


def _note(text: str) -> Markup:
    return element("p", text, class_="note")


def _of(one: Share) -> str:
    return f"{one.k} of the {_plural(one.n, 'decision')} ({_percent(one)})"


def _percent(one: Share) -> str:
    low, high = one.ci
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def _plural(number_: int, noun: str) -> str:
    return f"{count(number_)} {noun}{'' if number_ == 1 else 's'}"
