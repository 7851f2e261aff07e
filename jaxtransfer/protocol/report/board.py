"""The index page over many records: a table to search and sort, what was learnt across tasks, and each decision's own words.

One file without network; the script in it only filters and orders what is there without it.
"""

import os
import pathlib
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

from jaxtransfer.protocol.entries import (
    Decision,
    Entries,
    Rung,
    SingleRun,
)
from jaxtransfer.protocol.report.board_lessons import lead, learnt
from jaxtransfer.protocol.report.board_lists import noted, searches, unfinished
from jaxtransfer.protocol.report.board_script import CSS as OWN_CSS
from jaxtransfer.protocol.report.board_script import POLICY_SOURCE, SCRIPT
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
    seconds,
    share,
    signed,
)
from jaxtransfer.protocol.report.style import CSS
from jaxtransfer.version import __version__

GENERATOR = "jaxtransfer index"
"""Tells a page of ours, which may be replaced, from a file of the user's own."""
_POLICY = (
    f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {POLICY_SOURCE}"
)
Link = Callable[[pathlib.Path], str]


def render(entries: Entries, root: pathlib.Path, out: pathlib.Path) -> str:
    """The page as one HTML document.

    Args:
      entries: what the folder holds.
      root: the folder; places are shown relative to it.
      out: where the page will stand; links are relative to its folder.
    """

    def place(directory: pathlib.Path) -> str:
        return pathlib.Path(os.path.relpath(directory, root)).as_posix()

    def link(path: pathlib.Path) -> str:
        return urllib.parse.quote(pathlib.Path(os.path.relpath(path, out.parent)).as_posix())

    title = root.resolve().name or "records"
    copies = [(one.directory, place(one.of)) for one in entries.copies]
    damaged = [(one.directory, one.reason) for one in entries.damaged]
    parts = [
        _section("decisions", "Decisions", _INTRODUCTION, _decisions(entries.decisions, place)),
        _section("learnt", "What was learnt", *learnt(entries.decisions)),
        _section("details", "Each decision", "", _details(entries.decisions, place, link)),
        _section("runs", "Single runs", _RUNS, _runs(entries.runs, place, link)),
        _section("searches", "Sweeps and ablations", _SEARCHES, searches(entries.searches, place)),
        _section("unfinished", "Not finished", _UNFINISHED, unfinished(entries.unfinished, place)),
        _section(
            "copies",
            "Copies",
            _COPIES,
            noted(copies, "Copies of records", "Holds the record of", place),
        ),
        _section(
            "damaged", "Damaged", _DAMAGED, noted(damaged, "Damaged directories", "Reason", place)
        ),
    ]
    shown = [part for part in parts if part is not None]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content=GENERATOR),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("link", rel="icon", href="data:,"),
        element("title", f"{title}: {count(len(entries.decisions))} decisions"),
        element("style", Markup(CSS + OWN_CSS)),
    )
    body = element(
        "body",
        _header(entries, title),
        element(
            "nav",
            *(element("a", name, href=f"#{key}") for key, name, _ in shown),
            aria_label="Sections",
        ),
        element("main", *(section for _, _, section in shown)),
        element(
            "footer",
            f"Written by jaxtransfer {__version__} from the records and runs below this folder. It loads nothing; its"
            " links lead to the files beside it. A number here is as good as its record: jaxtransfer verify DIR checks"
            " one.",
        ),
        element("script", Markup(SCRIPT)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


_INTRODUCTION = (
    "One row a decision: the rung that was chosen, its value on the test split with its interval, and its paired"
    " difference to the linear probe there, positive where it is better. Values of different tasks are not comparable."
)
_RUNS = "One rung each, trained alone; the value is of the tuning half, and nothing was decided."
_SEARCHES = "Finished, of one rung each; none reads the test split, and none decides."
_UNFINISHED = "The same command goes on in these."
_COPIES = "Records that stand above already, in another directory; each is counted once."
_DAMAGED = "Listed and not counted: what is in them cannot be read, or is not what their manifest was written for."


def _section(
    key: str, title: str, introduction: str, body: Markup | None
) -> tuple[str, str, Markup] | None:
    if body is None:
        return None
    intro = element("p", introduction) if introduction else None
    return key, title, element("section", element("h2", title), intro, body, id=key)


def _header(entries: Entries, title: str) -> Markup:
    decisions = entries.decisions
    tasks = len({one.data_hash for one in decisions})
    tiles = [
        ("Decisions", count(len(decisions)), f"on {_several(tasks, 'data set')}"),
        ("Single runs", count(len(entries.runs)), "trained alone"),
        ("Not finished", count(len(entries.unfinished)), "the same command goes on"),
        ("Damaged", count(len(entries.damaged)), "listed below, not counted"),
    ]
    return element(
        "header",
        element("p", element("b", "Records"), class_="eyebrow"),
        element("h1", title),
        element("p", lead(decisions), class_="lead"),
        element(
            "dl",
            *(
                element("div", element("dt", name), element("dd", value, element("small", note)))
                for name, value, note in tiles
            ),
            class_="tiles",
        ),
        element(
            "div",
            element(
                "input",
                id="search",
                type="search",
                placeholder="Search names, classes, methods, hashes",
                aria_label="Search decisions and runs",
            ),
            element("output", id="found", for_="search"),
            class_="search",
            hidden=True,
        ),
    )


def _several(number_: int, noun: str) -> str:
    return f"{count(number_)} {noun}{'' if number_ == 1 else 's'}"


def _decisions(decisions: Sequence[Decision], place: Any) -> Markup | None:
    if not decisions:
        return None
    header = [
        "Decision",
        "Chosen",
        column("Test"),
        column("Over the probe"),
        column("Labels a class"),
        *(element("th", name, scope="col", class_="wide-only") for name in ("Input", "Model")),
        element("th", "Classes", scope="col", class_="wide-only number"),
        element("th", "Written", scope="col", class_="wide-only"),
    ]
    rows = [
        _row(one, place, index)
        for index, one in enumerate(
            sorted(decisions, key=lambda one: one.created, reverse=True), start=1
        )
    ]
    grid = table("Decisions", header, rows, class_="sortable")
    return element("div", grid, class_="card flush")


def _row(one: Decision, place: Any, index: int) -> list[Any]:
    chosen = one.chosen
    return [
        element(
            "th",
            element("a", one.name, href=f"#d{index}"),
            element("small", breakable(place(one.directory)), class_="place"),
            scope="row",
            data_value=one.name,
        ),
        element("td", breakable(chosen.name), data_value=chosen.name),
        _value(chosen.value, share(chosen.value), f"{metric_title(one.metric)} {_ci(chosen.ci)}"),
        _value(*_gain(chosen)),
        _value(one.labels_per_class, f"{one.labels_per_class:.4g}", f"{count(one.train)} in all"),
        element("td", one.input, class_="wide-only"),
        element("td", breakable(one.model), class_="wide-only"),
        number(count(one.classes), class_="wide-only"),
        element("td", one.created[:10], class_="wide-only", data_value=one.created),
    ]


def _value(value: float | None, text: str, note: str) -> Markup:
    """A figure that sorts by its value, an undefined one last."""
    shown = "" if value is None else repr(value)
    return element("td", text, element("small", note), class_="number", data_value=shown)


def _ci(ci: Any) -> str:
    return interval(ci) or "without interval"


def _gain(rung: Rung) -> tuple[float | None, str, str]:
    if rung.gain is None:
        return (None, MISSING, "is the probe" if rung.method == "linear_probe" else "not compared")
    return rung.gain, signed(rung.gain), interval(rung.gain_ci, signed)


def _details(decisions: Sequence[Decision], place: Any, link: Link) -> Markup | None:
    if not decisions:
        return None
    newest = sorted(decisions, key=lambda one: one.created, reverse=True)
    parts = [_detail(one, place, link, index) for index, one in enumerate(newest, start=1)]
    return element("div", *parts, class_="card flush")


def _detail(one: Decision, place: Any, link: Link, index: int) -> Markup:
    files = [
        (name, one.directory / file)
        for name, file in (
            ("Report", "report.html"),
            ("Record", "record.json"),
            ("Manifest", "manifest.json"),
            ("Examination", "examination.json"),
        )
        if (one.directory / file).is_file()
    ]
    seal = (
        "The record is the one that its manifest was written for."
        if one.is_sealed
        else "The record is of an older schema, and has no manifest."
    )
    rungs = [
        [
            breakable(rung.name),
            number(count(rung.trainable)),
            number(share(rung.value), element("small", interval(rung.ci))),
            number(_gain(rung)[1], element("small", _gain(rung)[2])),
            number(seconds(rung.seconds)),
            rung.decision,
        ]
        for rung in one.rungs
    ]
    header = [
        "Rung",
        column("Trainable"),
        column(f"Test {metric_title(one.metric)}"),
        column("Over the probe"),
        column("Time"),
        "Decision",
    ]
    marked = [rung.name for rung in one.rungs].index(one.chosen.name)
    facts: dict[str, Any] = {
        "seeds": one.seeds,
        "largest over smallest class": f"{one.imbalance:.3g}",
        "recommended": None if one.recommended is None else list(one.recommended),
        "command": one.command or "not recorded",
        "hashes": dict(one.hashes),
        "seal": seal,
    }
    body = element(
        "div",
        element("p", one.question),
        element("p", " ".join(one.conclusion)),
        element(
            "p", *(element("a", name, href=link(path)) for name, path in files), class_="links"
        ),
        table(f"Rungs of {one.name}", header, rungs, class_="wide", marked=marked),
        element("h3", "Why it was decided so"),
        element("p", " ".join(one.rationale)),
        element("h3", "What the evidence does not say"),
        _list(one.limits),
        *(
            (element("h3", "Examined"), _list(one.examination))
            if one.examination is not None
            else ()
        ),
        definitions({name: value for name, value in facts.items() if value is not None}),
        class_="body",
    )
    summary = join(
        [
            one.name,
            element("span", one.chosen.name, class_="pill accepted"),
            element("small", place(one.directory)),
        ]
    )
    return details(summary, body, class_="part", id_=f"d{index}")


def _list(sentences: Sequence[str]) -> Markup:
    return element("ul", *(element("li", text) for text in sentences), class_="findings")


def _runs(runs: Sequence[SingleRun], place: Any, link: Link) -> Markup | None:
    if not runs:
        return None
    header = [
        "Run",
        "Rung",
        column("Tuning half"),
        column("Rate"),
        column("Seed"),
        column("Trainable"),
        column("Time"),
    ]
    rows = [
        [
            element(
                "th",
                element("a", one.name, href=f"{link(one.directory)}/"),
                element("small", breakable(place(one.directory)), class_="place"),
                scope="row",
                data_value=one.name,
            ),
            breakable(one.rung),
            _value(one.tuning, share(one.tuning), metric_title(one.metric)),
            _value(
                one.learning_rate,
                MISSING if one.learning_rate is None else f"{one.learning_rate:g}",
                "",
            ),
            number(str(one.seed)),
            _value(one.trainable, compact(one.trainable), ""),
            _value(one.seconds, seconds(one.seconds), ""),
        ]
        for one in runs
    ]
    return element(
        "div", table("Single runs", header, rows, class_="sortable"), class_="card flush"
    )
