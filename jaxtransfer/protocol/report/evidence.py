"""The evidence seen closer: learning curves; the chosen rung's errors, calibration, hard examples."""

import base64
import binascii
import re
from collections.abc import Mapping

import numpy as np

from jaxtransfer.errors import WorkdirError
from jaxtransfer.evaluation.errors import confused
from jaxtransfer.protocol.report import drawing, figures, series
from jaxtransfer.protocol.report.contents import TEST, ReportData
from jaxtransfer.protocol.report.html import (
    Markup,
    column,
    details,
    element,
    figure,
    join,
    number,
    table,
)
from jaxtransfer.protocol.report.numbers import count, interval, measured, metric_title, share
from jaxtransfer.protocol.report.outcome import Section, responsive

MAX_MATRIX = 16
BESIDE = 6
"""Classes whose confusion matrix fits beside the reliability diagram; a larger one stands above it."""
HARDEST = 9
SUREST = 3
"""Errors of the highest confidence that are shown, besides all of a confidence of `SURE`."""
PAIRS = 12
SURE = 0.9
"""Probability from which a wrong prediction is called confident."""
EXCERPT = 240
LONGEST = 4000
IMAGES_BYTES = 800_000
IMAGE_WIDTH = 168
_PNG = b"\x89PNG\r\n\x1a\n"


def learning(data: ReportData) -> Section | None:
    """Training loss and validation metric of every trained rung, on the same axes."""
    bands = {
        name: (series.band(histories, "loss"), series.band(histories, f"validation/{data.metric}"))
        for name, histories in data.histories.items()
    }
    drawn = {
        name: (loss, validation) for name, (loss, validation) in bands.items() if loss is not None
    }
    if not drawn:
        return None
    losses = [loss for loss, _ in drawn.values()]
    measures = [validation for _, validation in drawn.values() if validation is not None]
    limits = {
        "loss": _limits([(band.low, band.high) for band in losses], floor=0.0),
    }
    if measures:
        limits["validation"] = _limits([(band.low, band.high) for band in measures])
    panels = []
    for index, (name, (loss, validation)) in enumerate(drawn.items()):
        label = f"{name}: training loss from {loss.mean[0]:.3g} to {loss.mean[-1]:.3g}" + (
            f", validation from {share(validation.mean[0])} to {share(validation.mean[-1])}"
            if validation is not None
            else ""
        )
        svg = drawing.draw(
            figures.learning_curves(loss, validation, limits),
            key=f"curve-{index}",
            label=label,
            width=330,
            height=150,
        )
        panels.append(element("div", element("h3", name), figure(Markup(svg), None)))
    keys = element(
        "div",
        *(
            element("span", element("i", class_=f"key {mark}", aria_hidden="true"), text)
            for mark, text in (
                ("neutral", "training loss"),
                ("accept", f"validation {metric_title(data.metric)}, tuning half"),
            )[: len(limits)]
        ),
        class_="keys",
    )
    return Section(
        key="learning",
        title="Learning curves",
        introduction=(
            "Lines are means over seeds, bands run from the lowest to the highest seed, over"
            " optimizer steps. All rungs share their vertical axes."
            + ("" if measures else " Validation was not measured while they trained.")
        ),
        body=element("div", keys, element("div", *panels, class_="curves"), class_="card"),
    )


def _limits(
    ranges: list[tuple[np.ndarray, np.ndarray]], floor: float | None = None
) -> tuple[float, float]:
    low = min(float(low.min()) for low, _ in ranges) if floor is None else floor
    high = max(float(high.max()) for _, high in ranges)
    pad = 0.05 * (high - low) or 0.05
    return (low if floor is not None else low - pad), high + pad


def errors(data: ReportData) -> Section:
    """Confusion matrix and reliability diagram of the chosen rung on test."""
    tables = data.test_tables
    examples = len(tables[0].ids)
    spoken = f"{count(examples)} test examples" + (
        f" under each of {len(tables)} seeds" if len(tables) > 1 else ""
    )
    return Section(
        key="errors",
        title="Errors and calibration",
        introduction=f"Predictions of {data.record['chosen']} for {spoken}.",
        body=element(
            "div",
            _confusion(data),
            _calibration(data),
            class_="pair"
            if len(data.classes) <= BESIDE or len(data.classes) > MAX_MATRIX
            else "stack",
        ),
    )


def _confusion(data: ReportData) -> Markup:
    classes = data.classes
    matrix = series.confusion(data.test_tables)
    totals = matrix.sum(axis=1)
    if len(classes) > MAX_MATRIX:
        return element(
            "div",
            element("h3", "Most frequent confusions"),
            _worst_pairs(data),
            class_="card",
        )

    def cell(true: int, predicted: int) -> Markup:
        hits = int(matrix[true, predicted])
        part = hits / totals[true] if totals[true] else 0.0
        if not hits:
            return element("td", "0", class_="none")
        kind = "right" if true == predicted else "wrong"
        return element(
            "td",
            count(hits),
            element("small", f"{100 * part:.1f} %"),
            class_=kind,
            style=f"--share:{part:.3f}",
        )

    rows = [
        [name, *(cell(true, predicted) for predicted in range(len(classes)))]
        for true, name in enumerate(classes)
    ]
    header = [Markup('<th scope="col">True, predicted →</th>'), *classes]
    return element(
        "div",
        element("h3", "Confusion matrix"),
        table(
            "Confusion matrix: true classes in rows, predicted classes in columns",
            header,
            rows,
            class_="matrix",
        ),
        element("figcaption", "Counts over all seeds, and their share of the true class."),
        details("Most frequent confusions, with intervals", _worst_pairs(data), class_="more-rows")
        if any(confused(data.test_tables[0], 1))
        else None,
        class_="card",
    )


def _worst_pairs(data: ReportData) -> Markup:
    # Seeds see the same examples: counts over all of them would make the intervals too narrow.
    first = data.test_tables[0]
    level = data.record["task"]["confidence"]
    rows = [
        [
            element("th", f"{pair.label} taken for {pair.predicted}", scope="row"),
            number(f"{count(pair.count)} of {count(pair.n)}"),
            number(
                f"{100 * pair.count / pair.n:.1f} %",
                element("small", f"[{100 * pair.ci[0]:.1f}, {100 * pair.ci[1]:.1f}]"),
            ),
        ]
        for pair in confused(first, PAIRS, confidence=level)
    ]
    note = (
        f"Predictions of the first seed, {100 * level:g} % Wilson intervals of each pair by itself:"
        " the most frequent of many is likely to be overstated."
    )
    return join(
        [
            table(
                "Most frequent confusions",
                ["Confusion", column("Examples"), column("Share of the true class")],
                rows,
            ),
            element("p", note, class_="note"),
        ]
    )


def _calibration(data: ReportData) -> Markup:
    bins = series.reliability_bins(data.test_tables)
    value, ci = measured(data.chosen, TEST, "ece")
    perfect, spread = measured(data.chosen, TEST, "ece_perfect")
    figures_ = [
        _figure_of("ECE", share(value), interval(ci)),
        _figure_of("ECE under perfect calibration", share(perfect), interval(spread)),
    ]
    filled = bins.counts > 0
    label = "Reliability diagram: " + "; ".join(
        f"confidence {confidence:.2f}, accuracy {accuracy:.2f}, {count(size)} predictions"
        for confidence, accuracy, size in zip(
            bins.confidence[filled], bins.accuracy[filled], bins.counts[filled], strict=True
        )
    )
    drawn = responsive(
        lambda narrow: figures.reliability(bins, narrow=narrow),
        key="reliability",
        label=label,
        wide=(490, 410),
        narrow=(350, 340),
    )
    caption = (
        f"{len(bins.counts)} bins of equal width, all seeds together. On the dashed line confidence"
        " equals accuracy; even a perfectly calibrated model strays from it on so few examples."
    )
    return element(
        "div",
        element("h3", "Reliability"),
        element("div", *figures_, class_="figures"),
        figure(drawn, caption),
        class_="card",
    )


def _figure_of(name: str, value: str, note: str) -> Markup:
    return element("div", element("b", value), element("span", f"{name} {note}".strip()))


def examples(data: ReportData) -> Section | None:
    """The test examples of highest loss, with their text or image."""
    ranked = series.hardest(data.test_tables, list(data.examples), len(data.examples))
    if not ranked:
        return None
    # With many classes the surest errors are not always those of the highest loss.
    wrong = [example for example in ranked if example.predicted != example.label]
    surest = sorted(wrong, key=lambda example: -example.chance)[:SUREST]
    found = [
        example
        for place, example in enumerate(ranked)
        if place < HARDEST or _is_sure(example) or example in surest
    ]
    doubted = _doubted(data)
    seeds = len(data.test_tables)
    cards, left_out, spent = [], 0, 0
    for example in found:
        content = data.examples[example.id]
        spent += len(content.get("png", ""))
        if spent > IMAGES_BYTES:
            left_out += 1
            continue
        label, predicted = data.classes[example.label], data.classes[example.predicted]
        title = (
            join(["Said ", element("em", predicted), f", labelled {label}"])
            if predicted != label
            else join(["Said ", predicted, ", rightly"])
        )
        facts = (
            f"{_percent(example.chance)} sure · {_percent(example.chance_of_label)} for the label"
            f" · wrong under {example.wrong} of {seeds} seeds · {example.id}"
        )
        cards.append(
            element(
                "article",
                element("h3", title),
                _marks(example, doubted, data.classes[example.predicted]),
                element("p", facts, class_="facts"),
                _content(example, content, label),
                class_="example",
            )
        )
    pictures = all("png" in data.examples[example.id] for example in found)
    note = f" {left_out} more are left out to keep this file small." if left_out else ""
    return Section(
        key="examples",
        title="Hardest examples",
        introduction=(
            "The test examples on which the chosen rung loses most, averaged over seeds, and its"
            " most confident errors. Wrong labels gather here as well as hard cases: read them before"
            " trusting the last"
            f" percent. {sum(map(_is_sure, found)) or 'None'} of these {len(found)} are wrong at"
            f" {100 * SURE:.0f} % confidence or more.{note}"
        ),
        body=element("div", *cards, class_="examples pictures" if pictures else "examples"),
    )


def _is_sure(example: series.HardExample) -> bool:
    return example.predicted != example.label and example.chance >= SURE


def _doubted(data: ReportData) -> dict[str, str]:
    """Id to the class that held-out probabilities prefer, of the labels that they contradict."""
    found = (data.examination or {}).get("label_errors") or {"candidates": []}
    return {one["id"]: one["suggested"] for one in found["candidates"]}


def _marks(example: series.HardExample, doubted: Mapping[str, str], said: str) -> Markup | None:
    marks = ["confidently wrong"] if _is_sure(example) else []
    if example.id in doubted:
        other = doubted[example.id]
        marks.append("label doubted" if other == said else f"label doubted, {other}?")
    if not marks:
        return None
    return element("p", *(element("span", mark, class_="pill") for mark in marks))


def _content(example: series.HardExample, content: Mapping[str, str], label: str) -> Markup:
    if "png" in content:
        try:
            image = base64.b64decode(content["png"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise WorkdirError(
                f"examples.json: the image of {example.id!r} is not base64: {error}"
            ) from None
        if not image.startswith(_PNG):
            raise WorkdirError(f"examples.json: the image of {example.id!r} is not a PNG")
        source = f"data:image/png;base64,{base64.b64encode(image).decode()}"
        # A PNG's width stands at bytes 16 to 20; images below the size shown keep their pixels.
        is_small = int.from_bytes(image[16:20], "big") < IMAGE_WIDTH
        return element(
            "img",
            src=source,
            alt=f"Test image {example.id}, labelled {label}",
            class_="small" if is_small else None,
        )
    if "text" not in content:
        raise WorkdirError(f"examples.json: {example.id!r} has neither 'text' nor 'png'")
    text = re.sub(r"\n\s*\n", "\n\n", content["text"].strip())
    if len(text) <= EXCERPT:
        return element("p", text, class_="text")
    kept = text[:LONGEST]
    rest = len(text) - len(kept)
    full = f"{kept}… ({count(rest)} more characters)" if rest else kept
    excerpt = " ".join(_paragraphs_joined(text[:EXCERPT]).split(" ")[:-1]) or text[:EXCERPT]
    return details(f"{excerpt}…", element("div", full))


def _percent(value: float) -> str:
    return "under 1 %" if value < 0.01 else f"{100 * value:.0f} %"


def _paragraphs_joined(text: str) -> str:
    """One line of text, with a wide space where a paragraph ends."""
    return re.sub(r"[^\S\u2003]+", " ", text.replace("\n\n", "\u2003"))
