"""Draws matplotlib figures as inline SVG that follows the page: its font, light or dark.

Figures are painted in the placeholder colours below; `draw` replaces them by the CSS variables of
`style.py`, keeps text as text, and drops all that is not a shape (document type, metadata,
namespaces), so that nothing refers to a network.
One figure unit is one CSS pixel.
"""

import io
import re
import warnings
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

INK = "#a10001"
MUTED = "#a10002"
LINE = "#a10003"
ACCENT = "#a10004"
SECOND = "#a10005"
SURFACE = "#a10006"
BAND = "#a10007"

_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    ACCENT: "var(--accent)",
    SECOND: "var(--second)",
    SURFACE: "var(--surface)",
    BAND: "var(--band)",
}
_PLACEHOLDER = re.compile("|".join(_VARIABLES))
_DECIMAL = re.compile(r"-?\d+\.\d+")
_FONT_FAMILY = re.compile(r"\s*font-family:[^;]*;?")
_FONT_SHORTHAND = re.compile(r"\bfont:\s*(?P<weight>bold |\d00 )?(?P<size>[\d.]+px)[^;]*")
_NUMERIC = frozenset({"d", "x", "y", "width", "height", "transform", "points"})
_FONT_SIZE = 13

Painter = Callable[[Any], None]
"""Paints a `matplotlib.figure.Figure`."""


def draw(paint: Painter, *, key: str, label: str, width: int, height: int) -> str:
    """Paints a figure and returns it as an `<svg>` element.

    Args:
      paint: called with an empty transparent Figure of the size asked for.
      key: unique in the page; ids inside the figure derive from it.
      label: what a reader who cannot see the figure should know.
      width: in CSS pixels at natural size.
      height: in CSS pixels at natural size.

    Returns:
      The element with `role="img"` and the label, without fixed size: it takes its container's
      width, up to its own.
    """
    import matplotlib
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": key,
        "text.parse_math": False,
        "axes.unicode_minus": True,
        "font.size": _FONT_SIZE,
        "text.color": INK,
        "axes.labelcolor": MUTED,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "axes.edgecolor": LINE,
        "axes.linewidth": 1.0,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "xtick.major.pad": 6,
        "ytick.major.pad": 6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "lines.linewidth": 1.75,
        "lines.solid_capstyle": "round",
    }
    buffer = io.StringIO()
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # The browser's fonts draw the text: a glyph that matplotlib's font lacks is not missing.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        paint(figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    attributes = {
        "role": "img",
        "aria-label": label,
        "viewBox": f"0 0 {width} {height}",
        "style": f"max-width:{width}px",
    }
    return ElementTree.tostring(_clean(root, attributes), encoding="unicode")


def _clean(
    element: ElementTree.Element, attributes: dict[str, str] | None = None
) -> ElementTree.Element:
    tag = _local(element.tag)
    cleaned = ElementTree.Element(tag, attributes or _attributes(tag, element))
    cleaned.text = element.text if tag == "text" else None
    for child in element:
        if _local(child.tag) not in ("metadata", "style"):
            cleaned.append(_clean(child))
    return cleaned


def _attributes(tag: str, element: ElementTree.Element) -> dict[str, str]:
    kept = {}
    for name, value in element.items():
        name = _local(name)
        # Names of matplotlib's groups repeat between figures and nothing refers to them.
        if name == "id" and tag == "g":
            continue
        if name == "style":
            value = _FONT_FAMILY.sub("", _FONT_SHORTHAND.sub(_font, value))
            value = _PLACEHOLDER.sub(lambda match: _VARIABLES[match[0]], value).strip()
        elif name in _NUMERIC:
            value = _DECIMAL.sub(_round, value).replace("\n", "")
        kept[name] = value
    return kept


def _font(match: re.Match[str]) -> str:
    weight = f"font-weight: {match['weight'].strip()}; " if match["weight"] else ""
    return f"{weight}font-size: {match['size']}"


def _round(match: re.Match[str]) -> str:
    return f"{round(float(match[0]), 2) + 0.0:g}"


def _local(name: str) -> str:
    return name.rsplit("}", 1)[-1]
