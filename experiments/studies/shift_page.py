"""The page and the figure of `shift.py`, made of its results alone."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from study_common import one_family, took

HERE, AWAY = "home", "away"
"""The test split of the domain trained on, and all foreign examples together."""
CLAIMS = (
    (HERE, "full", "linear_probe", "in distribution, full fine-tuning beats the probe"),
    (HERE, "lp_ft", "linear_probe", "in distribution, LP-FT beats the probe"),
    (AWAY, "linear_probe", "full", "out of it, the probe beats full fine-tuning"),
    (HERE, "lp_ft", "full", "in distribution, LP-FT beats full fine-tuning"),
    (AWAY, "lp_ft", "full", "out of it, LP-FT beats full fine-tuning"),
    (AWAY, "lp_ft", "linear_probe", "out of it, LP-FT beats the probe"),
)
"""What follows from the order that arXiv 2202.10054 reports, as averages over its data sets."""


def standing(found: Mapping[str, Any], where: str, a: str, b: str) -> str:
    """Whether a setting shows that `a` beats `b`, shows the reverse, or cannot tell."""
    one = next(
        one
        for one in found["comparisons"]
        if one["where"] == where and {one["a"], one["b"]} == {a, b}
    )
    sign = 1 if one["a"] == a else -1
    low, high = sorted(sign * bound for bound in one["ci"])
    word = "no telling"
    if one["is_significant"]:
        word = "holds" if low > 0 else "reversed"
    return f"{word}: {points(sign * one['value'], '+')} [{points(low)}, {points(high)}]"


def points(value: float, sign: str = "") -> str:
    """A share in percentage points."""
    return f"{100 * value:{sign}.1f}"


def conclusions(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """How often each published statement holds here, computed."""
    lines = []
    for where, a, b, text in CLAIMS:
        shown = [standing(found, where, a, b) for found in settings]
        words = [one.partition(":")[0] for one in shown]
        counts = ", ".join(
            f"{word} in {words.count(word)}" for word in ("holds", "reversed", "no telling")
        )
        ahead = sum(one.partition(": ")[2].startswith("+") for one in shown)
        lines.append(
            f"*{text[0].upper()}{text[1:]}*: {counts} of {len(settings)} settings; the mean is on its"
            f" side in {ahead}."
        )
    return [*lines, together(settings)]


def together(settings: Sequence[Mapping[str, Any]]) -> str:
    """What stays shown if the comparisons of all settings are one family."""
    families = one_family([found["comparisons"] for found in settings])
    stays, goes = [], []
    for found, values in zip(settings, families, strict=True):
        for one, p in zip(found["comparisons"], values, strict=True):
            if one["is_significant"]:
                text = (
                    f"{one['a']} over {one['b']} {'at home' if one['where'] == HERE else 'away'}, {name_of(found)}"
                    f" ({points(one['value'], '+')}, p = {p:.2g})"
                )
                (stays if p <= 0.05 else goes).append((p, text))
    return (
        f"With all {sum(map(len, families))} comparisons as one family, {len(stays)} of {len(stays) + len(goes)} stay"
        f" shown: {'; '.join(text for _, text in sorted(stays)) or 'none'}. Shown no longer:"
        f" {'; '.join(text for _, text in sorted(goes)) or 'none'}."
    )


def name_of(found: Mapping[str, Any]) -> str:
    """A setting in words."""
    return f"{found['shift']} with {found['labels']} labels"


def falls(found: Mapping[str, Any]) -> list[str]:
    """A row: what each rung loses from home to the mean of the foreign domains, and what the choice of rung makes out."""
    scores = {
        rung: {domain: one["value"] for domain, one in domains.items()}
        for rung, domains in found["scores"].items()
    }
    cells = [name_of(found)]
    for domains in scores.values():
        home, *away = domains.values()
        cells.append(points(home - float(np.mean(away))))
    domains = [domain for domain in next(iter(scores.values())) if domain != "test"]
    single = [
        (each["test"] - each[domain], f"{rung} to {domain}")
        for rung, each in scores.items()
        for domain in domains
    ]
    cells += [f"{points(value)} ({text})" for value, text in (min(single), max(single))]
    spread = []
    for domain in domains:
        order = sorted(scores, key=lambda rung: scores[rung][domain])
        gap = scores[order[-1]][domain] - scores[order[0]][domain]
        spread.append((gap, f"{domain}: {order[-1]} over {order[0]}"))
    gap, text = max(spread)
    return [*cells, f"{points(gap)} ({text})"]


def page(settings: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "# Probe, LP-FT and full fine-tuning under shift",
        "",
        f"`{facts['command']}`; {facts['finished']} of {facts['planned']} runs of seeds are finished. Written by"
        " that command.",
        "",
        *[f"- {sentence}" for sentence in conclusions(settings)],
        "",
        "*Holds* and *reversed* where the 95 % interval of the paired difference, over examples and seeds and"
        " corrected by Holm over the six of a setting, excludes 0; *no telling* is no evidence of equality. Away are all"
        " foreign domains of a setting together.",
        "",
        "![Macro-F1 at home and away, and paired differences to the probe](shift.svg)",
        "",
        "All scores of the figure have one axis, and so have all differences. Bars are 95 % intervals: above, of each"
        " score by itself and uncorrected, as in the table below; in the last row of the paired differences to the"
        " probe, corrected by Holm over the six of a setting.",
        "",
        "## Scores",
        "",
        f"Macro-F1 in percent, mean over seeds, uncorrected 95 % interval over examples and seeds; {facts['home']} examples at home,"
        f" {facts['foreign']} of each foreign domain.",
        "",
        "| shift | labels | seeds | rung (rate) | domain: score |",
        "|---|---|---|---|---|",
    ]
    for found in settings:
        for rung in found["scores"]:
            shown = "; ".join(
                f"{'home' if domain == 'test' else domain} {points(one['value'])}"
                f" [{points(one['ci'][0])}, {points(one['ci'][1])}]"
                for domain, one in found["scores"][rung].items()
            )
            lines.append(
                f"| {found['shift']} | {found['labels']} | {len(found['seeds'])}"
                f" | {rung} ({found['rates'][rung]:g}) | {shown} |"
            )
    lines += [
        "",
        "## What the shift takes, and what the choice of rung",
        "",
        "Points of macro-F1: the fall of each rung from home to the mean of its foreign domains (below 0, a gain), the"
        " smallest and the largest fall to one domain, and the largest difference between two rungs in one foreign"
        " domain. These are means, without intervals.",
        "",
        "| setting | "
        + " | ".join(f"{rung} falls" for rung in COLORS)
        + " | smallest fall | largest fall | largest difference of rungs |",
        "|---|" + "---|" * (len(COLORS) + 3),
        *[f"| {' | '.join(falls(found))} |" for found in settings],
        "",
        "## The published statements, setting by setting",
        "",
        "Difference in points of macro-F1, foreign domains together.",
        "",
        "| statement | " + " | ".join(f"{f['shift']}, {f['labels']}" for f in settings) + " |",
        "|---|" + "---|" * len(settings),
    ]
    for where, a, b, text in CLAIMS:
        shown = [standing(found, where, a, b) for found in settings]
        lines.append(f"| {text} | " + " | ".join(shown) + " |")
    lines += [
        "",
        "## What this does not say",
        "",
        "- The paper's networks were far larger, its shifts others, and its probes were trained to the end;"
        " here a probe takes 200 steps, LP-FT's first phase 100, tuning 40 or 80 steps of 10 examples.",
        "- Texts are cut to 32 tokens, and images have 48 pixels where the encoder saw 224.",
        "- Rates are chosen at home, as in the paper, from two, by one seed of tuning a setting and rung. The intervals"
        " take the chosen rate as given.",
        "- UCI's digits were 8 x 8: what is lost in enlarging them is part of the shift.",
        "- Differences in a single foreign domain have no interval here.",
        f"- {times(settings)}",
        "",
    ]
    return "\n".join(lines)


COLORS = {"linear_probe": "#1f2933", "lp_ft": "#2f855a", "full": "#9b2c2c"}


def times(settings: Sequence[Mapping[str, Any]]) -> str:
    """What the cells took, or that it is not known."""
    found = took([found.get("took") for found in settings])
    return (
        found
        or "What the cells took, in wall or processor time, and the load of the machine while they ran are not recorded."
    )


def draw(settings: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
    """A column a number of labels: scores at home and in each foreign domain, and paired differences to the probe."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"svg.fonttype": "none", "font.size": 12, "svg.hashsalt": "shift"})
    shifts = list(dict.fromkeys(found["shift"] for found in settings))
    sizes = sorted({found["labels"] for found in settings})
    by_place = {(found["shift"], found["labels"]): found for found in settings}
    rows = len(shifts) + 1
    figure, axes = pyplot.subplots(
        rows, len(sizes), figsize=(3.8 * len(sizes), 2.6 * rows + 1.2), squeeze=False, sharey="row"
    )
    figure.set_layout_engine("constrained")
    for column, size in enumerate(sizes):
        for row, shift in enumerate(shifts):
            if (shift, size) in by_place:
                draw_scores(axes[row][column], by_place[shift, size])
            axes[row][column].set_ylim(15, 95)
        own = [by_place[shift, size] for shift in shifts if (shift, size) in by_place]
        draw_differences(axes[-1][column], own)
        axes[0][column].set_title(f"{size} labels", fontsize=14, fontweight="bold")
    for row, shift in enumerate(shifts):
        axes[row][0].set_ylabel(f"{shift}: macro-F1, %\nbars: 95 %, uncorrected", fontsize=11)
    axes[-1][0].set_ylabel("difference to probe, points\nbars: 95 %, Holm over six", fontsize=11)
    for axis in axes.flat:
        axis.grid(axis="y", color="#e4e7eb", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.tick_params(labelleft=True)
    handles = [
        pyplot.Line2D([], [], color=color, marker="o", linestyle="", markersize=7, label=rung)
        for rung, color in COLORS.items()
    ]
    grey = {"color": "#616e7c", "linestyle": "", "markersize": 7, "marker": "o"}
    handles += [
        pyplot.Line2D([], [], **grey, label="difference shown"),
        pyplot.Line2D([], [], **grey, mfc="white", label="not shown"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def draw_scores(axis: Any, found: Mapping[str, Any]) -> None:
    """The scores of a setting, domain by domain."""
    domains = list(next(iter(found["scores"].values())))
    for number, (rung, color) in enumerate(COLORS.items()):
        for place, domain in enumerate(domains):
            bar(axis, place + 0.2 * (number - 1), found["scores"][rung][domain], color)
    axis.set_xticks(range(len(domains)), ["home", *domains[1:]])
    axis.set_xlim(-0.5, len(domains) - 0.5)
    axis.axvline(0.5, color="#9aa5b1", linewidth=1, zorder=0)


def draw_differences(axis: Any, settings: Sequence[Mapping[str, Any]]) -> None:
    """The differences of the tuned rungs to the probe, at home and in all foreign domains together."""
    names = []
    for found in settings:
        for where in (HERE, AWAY):
            for number, rung in enumerate(("lp_ft", "full")):
                one = next(
                    one
                    for one in found["comparisons"]
                    if (one["where"], one["a"], one["b"]) == (where, rung, "linear_probe")
                )
                x = len(names) + 0.24 * (number - 0.5)
                bar(axis, x, one, COLORS[rung], is_hollow=not one["is_significant"])
            names.append(where)
        axis.text(
            len(names) - 1.5,
            -0.16,
            found["shift"],
            transform=axis.get_xaxis_transform(),
            ha="center",
            va="top",
        )
    axis.axhline(0, color=COLORS["linear_probe"], linewidth=1.2)
    axis.set_xticks(range(len(names)), names)
    axis.set_xlim(-0.5, len(names) - 0.5)
    for place in range(2, len(names), 2):
        axis.axvline(place - 0.5, color="#9aa5b1", linewidth=1, zorder=0)


def bar(
    axis: Any, where: float, one: Mapping[str, Any], color: str, *, is_hollow: bool = False
) -> None:
    """A point with its interval."""
    if one["ci"] is not None:
        bounds = [100 * bound for bound in one["ci"]]
        axis.plot([where] * 2, bounds, color=color, linewidth=1.8, solid_capstyle="butt", zorder=2)
    face = "white" if is_hollow else color
    axis.plot(
        where, 100 * one["value"], "o", color=color, mfc=face, markersize=5.5, mew=1.5, zorder=3
    )
