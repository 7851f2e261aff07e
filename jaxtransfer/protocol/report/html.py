"""HTML by construction: plain strings are always escaped, `Markup` never is.

Only this module and `drawing.py` write tags, so that no name or text of a record can become one.
"""

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_VOID = frozenset({"meta", "link", "br", "img", "wbr", "input"})


class Markup(str):
    """Text that is HTML already."""


def escape(value: Any) -> Markup:
    """A value as HTML text; `Markup` stays as it is, None is empty.

    >>> escape("<b>")
    '&lt;b&gt;'
    """
    if value is None:
        return Markup("")
    return value if isinstance(value, Markup) else Markup(html.escape(str(value), quote=True))


def element(tag: str, *children: Any, **attributes: Any) -> Markup:
    """An element.

    Underscores in attribute names become hyphens, a trailing one is dropped; None leaves it
    out.

    >>> element("td", "a < b", class_="number")
    '<td class="number">a &lt; b</td>'
    """
    pairs = "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(value)}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in _VOID:
        return Markup(f"<{tag}{pairs}>")
    return Markup(f"<{tag}{pairs}>{''.join(escape(child) for child in children)}</{tag}>")


def join(parts: Iterable[Any], separator: str = "") -> Markup:
    """Joins values as HTML."""
    return Markup(escape(separator).join(escape(part) for part in parts))


def breakable(name: str) -> Markup:
    """A name that may be broken after its underscores and hyphens.

    >>> breakable("lp_ft")
    'lp_<wbr>ft'
    """
    return join(re.split(r"(?<=[_/-])", name), element("wbr"))


def table(
    caption: str,
    header: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    *,
    class_: str = "",
    marked: int | None = None,
) -> Markup:
    """A table in a container of its own, which scrolls sideways where the page is narrow.

    Args:
      caption: names the table for readers who cannot see it.
      header: column titles.
      rows: cells; the first of each row is its title. A cell that is a complete `<td>` or
        `<th>` is taken as it is.
      class_: CSS class of the table.
      marked: index of a row to highlight.
    """

    def cell(value: Any, first: bool) -> Markup:
        if isinstance(value, Markup) and value.startswith(("<td", "<th")):
            return value
        return element("th", value, scope="row") if first else element("td", value)

    body = [
        element(
            "tr",
            *(cell(value, place == 0) for place, value in enumerate(row)),
            class_="marked" if index == marked else None,
        )
        for index, row in enumerate(rows)
    ]
    head = element(
        "tr",
        *(
            title if str(title).startswith("<th") else element("th", title, scope="col")
            for title in header
        ),
    )
    grid = element(
        "table",
        element("caption", caption, class_="hidden"),
        element("thead", head),
        element("tbody", *body),
        class_=class_ or None,
    )
    return element("div", grid, class_="scroll", tabindex="0", role="region", aria_label=caption)


def number(*children: Any, class_: str = "") -> Markup:
    """A table cell of figures, aligned right."""
    return element("td", *children, class_=f"number {class_}".strip())


def column(title: Any) -> Markup:
    """The title of a column of figures."""
    return element("th", title, scope="col", class_="number")


def details(
    summary: Any,
    *children: Any,
    open_: bool = False,
    class_: str = "",
    id_: str | None = None,
) -> Markup:
    """A part that opens on demand, without script."""
    return element(
        "details", element("summary", summary), *children, id=id_, class_=class_ or None, open=open_
    )


def figure(svg: Any, caption: Any, *, keys: Sequence[tuple[str, str]] = ()) -> Markup:
    """A drawing with its legend above and its caption below.

    Args:
      svg: Markup of one or more `<svg>` elements.
      caption: what the figure shows and how to read it.
      keys: (CSS class, text) of each mark.
    """
    legend = [
        element("span", element("i", class_=f"key {mark}", aria_hidden="true"), text)
        for mark, text in keys
    ]
    return element(
        "figure",
        element("div", *legend, class_="keys") if legend else None,
        svg,
        element("figcaption", caption) if caption else None,
    )


def definitions(values: Mapping[str, Any]) -> Markup:
    """Names and values, nested mappings flattened to dotted names."""
    flat = _flatten(values)
    return element(
        "dl",
        *(
            element("div", element("dt", name), element("dd", value))
            for name, value in flat.items()
        ),
    )


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Markup):
            flat[name] = value
        elif isinstance(value, Mapping):
            flat.update(_flatten(value, f"{name} · "))
        elif isinstance(value, list | tuple):
            flat[name] = ", ".join(str(item) for item in value) or "none"
        elif isinstance(value, int) and not isinstance(value, bool):
            flat[name] = f"{value:,}"
        else:
            flat[name] = "–" if value is None else str(value)
    return flat


def embedded_json(value: Any, *, id_: str) -> Markup:
    """A value as an inert JSON script element; no text in it can end the element."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(f'<script type="application/json" id="{escape(id_)}">{text}</script>')
