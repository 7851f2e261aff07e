"""What the sections of an examination share: its parts, numbers with intervals, folded tables.

Its sentences stand first, as a section of their own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.protocol.report.contents import ReportData
from jaxtransfer.protocol.report.html import Markup, details, element, join, number, table
from jaxtransfer.protocol.report.numbers import MISSING, interval, share, signed
from jaxtransfer.protocol.report.outcome import Section

SHOWN = 12
"""Rows of a table before the rest is folded."""


def part(data: ReportData, name: str) -> Any:
    """A part of the examination, or None."""
    return None if data.examination is None else data.examination.get(name)


def learnt(data: ReportData) -> Section | None:
    """The sentences of the examination."""
    sentences = part(data, "summary")
    if not sentences or data.examination is None:
        return None
    return Section(
        key="learnt",
        title="What the examination found",
        introduction=(
            f"Of {data.examination['rung']} on {data.examination['split']} examples, after the"
            " decision and without a part in it. The sections below say how each number was found."
        ),
        body=element(
            "div",
            element("ul", *(element("li", sentence) for sentence in sentences), class_="findings"),
            class_="card",
        ),
    )


def introduced(data: ReportData, text: str) -> str:
    """An introduction that says which rung was examined, if it is not the chosen one."""
    rung = (data.examination or {}).get("rung")
    if rung == data.record["chosen"]:
        return text
    return f"Of {rung}, not of the chosen {data.record['chosen']}. {text}"


def card(title: str | None, *children: Any, caption: Any = None) -> Markup:
    """A box of its own, with a heading above and a caption below."""
    return element(
        "div",
        element("h3", title) if title else None,
        *children,
        element("figcaption", caption) if caption else None,
        class_="card",
    )


def why(found: Mapping[str, Any]) -> str:
    """Why a number or its interval is missing, in the words of what measured it."""
    return str(found.get("undefined") or found.get("reason") or found.get("note") or "no reason")


def spoken(found: Mapping[str, Any] | None, form: Any = share) -> str:
    """A number with its interval, or why there is none, as text.

    >>> spoken({"value": 0.5, "ci": [0.4, 0.6]}), spoken({"value": None, "undefined": "no example"})
    ('0.500 [0.400, 0.600]', 'undefined: no example')
    """
    if found is None:
        return "not measured"
    if found["value"] is None:
        return f"undefined: {why(found)}"
    return f"{form(found['value'])} {interval(found.get('ci'), form)}".rstrip()


def measured_cell(
    found: Mapping[str, Any] | None, form: Any = share, *notes: Any, absent: str = "not measured"
) -> Markup:
    """A cell of figures: the value above its interval, or why one of them is missing."""
    if found is None:
        return number(MISSING, element("small", absent, class_="reason"))
    if found["value"] is None:
        reason = f"undefined: {why(found)}"
        return number(MISSING, element("small", reason, class_="reason"), *notes)
    ci = found.get("ci")
    around = (
        element("small", interval(ci, form))
        if ci is not None
        else element("small", why(found), class_="reason")
    )
    return number(form(found["value"]), around, *notes)


def several(number: int, noun: str) -> str:
    """A number of things.

    >>> several(1, "pair"), several(1200, "pair")
    ('1 pair', '1,200 pairs')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(value: float | None) -> str:
    """A share in per cent, with a true minus sign.

    >>> percent(0.0893), percent(-0.02)
    ('8.9 %', '−2.0 %')
    """
    return MISSING if value is None else f"{100 * value:.1f} %".replace("-", "−")


def change(found: Mapping[str, Any] | None) -> Markup | None:
    """A paired difference as the last line of a cell, coloured where its interval clears zero."""
    if found is None:
        return None
    clear = found["ci"] is not None and (found["ci"][0] > 0 or found["ci"][1] < 0)
    text = spoken(found, signed)
    return element(
        "small", text, class_="clear" if clear else "reason" if not found["ci"] else None
    )


def scale_of(rows: Sequence[Mapping[str, Any] | None]) -> tuple[float, float]:
    """The range that the values and intervals of a column of glyphs take."""
    bounds = [
        bound
        for row in rows
        if row is not None and row["value"] is not None
        for bound in (row["value"], *(row.get("ci") or ()))
        if bound is not None
    ]
    return (min(bounds), max(bounds)) if bounds else (0.0, 1.0)


def glyph(
    found: Mapping[str, Any] | None, limits: tuple[float, float], reference: float | None = None
) -> Markup:
    """A cell with a value on the line of its interval; the numbers stand in the cell beside it.

    Args:
      found: the value and its interval.
      limits: ends of the scale, see `scale_of`.
      reference: where an upright line stands, such as the value of all examples.
    """
    if found is None or found["value"] is None:
        return element("td", class_="wide-only")
    low, high = limits
    span = (high - low) or 1.0

    def place(value: float) -> float:
        return 4 + 92 * (min(max(value, low), high) - low) / span

    value = found["value"]
    left, right = found.get("ci") or (value, value)
    left, right = place(low if left is None else left), place(high if right is None else right)
    mark = None if reference is None else element("i", class_="zero", style=_left(place(reference)))
    return element(
        "td",
        element(
            "span",
            mark,
            element("i", style=f"{_left(left)};width:{right - left:.1f}%"),
            element("b", style=_left(place(value))),
            class_="glyph",
            aria_hidden="true",
        ),
        class_="wide-only",
    )


def _left(place: float) -> str:
    return f"left:{place:.1f}%"


def folded(
    caption: str, header: Sequence[Any], rows: Sequence[Sequence[Any]], *, class_: str = ""
) -> Markup:
    """A table whose rows beyond the first few open on demand."""
    first = table(caption, header, rows[:SHOWN], class_=class_)
    if len(rows) <= SHOWN:
        return first
    rest = table(f"{caption}, continued", header, rows[SHOWN:], class_=class_)
    return join([first, details(several(len(rows) - SHOWN, "more row"), rest, class_="more-rows")])
