"""Lists of the index page beside its decisions: each directory with what there is to say of it, None where there is none."""

import pathlib
from collections.abc import Callable, Sequence

from jaxtransfer.protocol.entries import Search, Unfinished
from jaxtransfer.protocol.report.html import Markup, column, element, number, table
from jaxtransfer.protocol.report.numbers import count

Place = Callable[[pathlib.Path], str]
"""A directory as the page shows it."""


def searches(found: Sequence[Search], place: Place) -> Markup | None:
    """Sweeps and ablations, each with what it found."""
    if not found:
        return None
    rows = [
        [
            element("th", one.name, element("small", place(one.directory)), scope="row"),
            one.verb,
            one.found,
        ]
        for one in found
    ]
    grid = table("Sweeps and ablations", ["Run", "Verb", "What it found"], rows)
    return element("div", grid, class_="card flush")


def unfinished(found: Sequence[Unfinished], place: Place) -> Markup | None:
    """Runs whose end is missing, with the cells that are there."""
    if not found:
        return None
    rows = [
        [
            element("th", one.name, element("small", place(one.directory)), scope="row"),
            one.verb,
            number(count(one.cells)),
        ]
        for one in found
    ]
    header = ["Run", "Verb", column("Finished cells")]
    return element("div", table("Runs that are not finished", header, rows), class_="card flush")


def noted(
    found: Sequence[tuple[pathlib.Path, str]], title: str, header: str, place: Place
) -> Markup | None:
    """Directories, each with what there is to say of it."""
    if not found:
        return None
    rows = [
        [element("th", place(directory), scope="row", class_="place"), told]
        for directory, told in found
    ]
    return element("div", table(title, ["Directory", header], rows), class_="card flush")
