"""The page itself: sections in order, style, and the record embedded; and the function that writes it.

To add a section, write a function from `ReportData` to `Section` (or None where the record has nothing for
it) and name it in `SECTIONS`.
"""

import os
from collections.abc import Callable
from pathlib import Path

from jaxtransfer.errors import WorkdirError
from jaxtransfer.protocol import manifest
from jaxtransfer.protocol.report import (
    account,
    criterion,
    diagnosed,
    doubts,
    evidence,
    examined,
    flipped,
    heatmap,
    label_curves,
    outcome,
    outlier_detection,
    populations,
    recalibrated,
    served,
    sources,
)
from jaxtransfer.protocol.report.contents import ReportData, read
from jaxtransfer.protocol.report.html import Markup, element, embedded_json, escape
from jaxtransfer.protocol.report.outcome import Section
from jaxtransfer.protocol.report.style import CSS

SECTIONS: tuple[Callable[[ReportData], Section | None], ...] = (
    outcome.ladder,
    criterion.criterion,
    outcome.comparisons,
    criterion.transfer,
    outcome.cost,
    account.account,
    evidence.learning,
    evidence.errors,
    evidence.examples,
    diagnosed.diagnosis,
    examined.learnt,
    label_curves.sample_efficiency,
    recalibrated.recalibration,
    heatmap.corruptions,
    outlier_detection.outliers,
    populations.groups,
    flipped.flips,
    doubts.doubts,
    served.serving,
    criterion.plan,
    sources.metrics,
    sources.data_card,
    sources.provenance,
)

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""The browser itself then refuses every script and every request, whatever the record holds."""


def write_report(workdir: Path) -> Path:
    """Writes `report.html` into a ladder's work directory, from what the directory holds.

    Returns:
      The file's path. An earlier report is replaced in one step, and entered in the manifest if there is one.

    Raises:
      WorkdirError: if a file or key that the report shows is missing, or the report cannot be
        written.
    """
    path = Path(workdir) / "report.html"
    text = render(read(Path(workdir)))
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise WorkdirError(f"{path} cannot be written: {error.strerror}") from error
    manifest.renew(path.parent, [path.name])
    return path


def render(data: ReportData) -> str:
    """The whole report as one HTML document that needs neither a network nor a script."""
    sections = [section for build in SECTIONS if (section := build(data)) is not None]
    name = data.record["name"]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("link", rel="icon", href="data:,"),
        element("title", f"{name}: {data.record['chosen']} chosen"),
        element("style", Markup(CSS)),
    )
    body = element(
        "body",
        outcome.verdict(data),
        element(
            "nav",
            *(element("a", part.title, href=f"#{part.key}") for part in sections),
            aria_label="Sections",
        ),
        element("main", *(_section(part) for part in sections)),
        element(
            "footer",
            f"Written by jaxtransfer {data.record['versions'].get('jaxtransfer', '')} from"
            " record.json, which this file holds whole in its script element “record”. It loads"
            " nothing.",
        ),
        embedded_json(data.record, id_="record"),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _section(part: Section) -> Markup:
    return element(
        "section",
        element("h2", part.title),
        element("p", part.introduction) if part.introduction else None,
        escape(part.body),
        id=part.key,
    )
