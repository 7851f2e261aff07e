"""The page and the figure of `ladder_by_labels.py`, made of its cells alone."""

import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from study_common import one_family, took

from jaxtransfer.evaluation.correction import correct
from jaxtransfer.evaluation.sign_flip import sign_flip

RUNGS = ("nearest_mean", "linear_probe", "bitfit", "lora", "lp_ft", "full")
TUNED = ("bitfit", "lora", "lp_ft", "full")
"""Rungs that change the encoder."""
FROZEN = ("nearest_mean", "linear_probe")


def best_rung(cell: Mapping[str, Any]) -> str:
    """The rung of the highest mean on the test split; among equals the one that the ladder tries first."""
    return max(cell["rungs"], key=lambda name: cell["rungs"][name]["value"])


def comparison(cell: Mapping[str, Any], a: str, b: str) -> dict[str, Any] | None:
    """A pair of a cell, or None where it was not compared."""
    return next((one for one in cell["comparisons"] if (one["a"], one["b"]) == (a, b)), None)


def verdict(cell: Mapping[str, Any], rung: str, base: str) -> str:
    """Whether a rung was worth its cost against a cheaper one, in a few words."""
    found = comparison(cell, rung, base)
    if found is None:
        return "is the same"
    shown = f"{points(found['value'], '+')} {interval(found['ci'])}"
    if not found["is_significant"]:
        return f"not shown: {shown}"
    return f"{'yes' if found['value'] > 0 else 'harm'}: {shown}"


def points(value: float, sign: str = "") -> str:
    """A share in percentage points."""
    return f"{100 * value:{sign}.1f}"


def interval(ci: Sequence[float] | None) -> str:
    """An interval in percentage points."""
    return "(no interval)" if ci is None else f"[{points(ci[0])}, {points(ci[1])}]"


def shown_of(families: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, int]:
    """Of the comparisons of all cells: gains and losses of tuned rungs to the probe, and all that is shown."""
    shown = [one for family in families for one in family if one["is_significant"]]
    values = [one["value"] for one in shown if one["b"] == "linear_probe" and one["a"] in TUNED]
    return {
        "gains": sum(value > 0 for value in values),
        "losses": sum(value < 0 for value in values),
        "all": len(shown),
    }


def conclusions(cells: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> list[str]:
    """What all cells together say, computed."""
    from scipy.stats import binom

    best = [best_rung(cell) for cell in cells]
    wins = {name: best.count(name) for name in RUNGS if name in best}
    tuned = sum(name in TUNED for name in best)
    n, share = len(cells), len(TUNED) / len(RUNGS)
    closest = min(cells, key=lambda cell: lead(cell)[0])
    gap, first, second = lead(closest)
    gains = [
        (cell, one)
        for cell in cells
        for one in cell["comparisons"]
        if one["b"] == "linear_probe" and one["a"] in TUNED and one["is_significant"]
    ]
    compared = sum(
        comparison(cell, rung, "linear_probe") is not None for cell in cells for rung in TUNED
    )
    helped = [place_of(cell, one) for cell, one in gains if one["value"] > 0]
    harmed = [place_of(cell, one) for cell, one in gains if one["value"] < 0]
    return [
        f"Highest test mean in {n} cells: "
        + ", ".join(f"{name} {count}" for name, count in wins.items())
        + f". That is a tuned rung in {tuned}; but {len(TUNED)} of the {len(RUNGS)} rungs are tuned: were all"
        f" rungs equal, a tuned one would be highest in {n * share:.0f} of {n} on average, and in {tuned} or more"
        f" with a probability of {binom.sf(tuned - 1, n, share):.2f} if cells were independent. The closest cell is"
        f" {name_of(closest)}: {first} is {100 * gap:.2f} points ahead of {second}.",
        f"Of {compared} comparisons of a tuned rung with the probe, a gain is shown in {len(helped)}"
        f" ({'; '.join(helped) or 'none'}) and a loss in {len(harmed)} ({'; '.join(harmed) or 'none'}), at 95 % with"
        " Holm's correction within a cell.",
        together(cells),
        over_cells(cells),
        chosen(cells),
        fewer(cells, facts),
    ]


def fewer(cells: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    """What fewer of the seeds would have shown."""
    every, each = shown_of([cell["comparisons"] for cell in cells]), facts["by_fewer"]
    count, first = len(each[0]["seeds"]), each[0]

    def reach(name: str) -> str:
        values = [one[name] for one in each]
        return f"{min(values)} to {max(values)}"

    return (
        f"Differences to the probe that the {len(facts['seeds'])} seeds show: {every['gains']} up, {every['losses']} down;"
        f" of all comparisons: {every['all']}. Any {count} of them, in {len(each)} ways, show {reach('gains')} up,"
        f" {reach('losses')} down and {reach('all')} of all; the first {count}, which the study had before,"
        f" {first['gains']}, {first['losses']} and {first['all']}."
    )


def lead(cell: Mapping[str, Any]) -> tuple[float, str, str]:
    """By how much the first rung of a cell is ahead of the second, and their names."""
    values = {name: rung["value"] for name, rung in cell["rungs"].items()}
    first, second = sorted(values, key=values.__getitem__, reverse=True)[:2]
    return values[first] - values[second], first, second


def together(cells: Sequence[Mapping[str, Any]]) -> str:
    """What stays shown if the comparisons of all cells are one family."""
    families = one_family([cell["comparisons"] for cell in cells])
    stays, goes = [], []
    for cell, values in zip(cells, families, strict=True):
        for one, p in zip(cell["comparisons"], values, strict=True):
            if one["is_significant"]:
                text = f"{one['a']} over {one['b']} at {name_of(cell)} ({points(one['value'], '+')}, p = {p:.2g})"
                (stays if p <= 0.05 else goes).append((p, text))
    return (
        f"With all {sum(map(len, families))} comparisons as one family, {len(stays)} of {len(stays) + len(goes)} stay"
        f" shown: {'; '.join(text for _, text in sorted(stays)) or 'none'}. Shown no longer:"
        f" {'; '.join(text for _, text in sorted(goes)) or 'none'}."
    )


def over_cells(cells: Sequence[Mapping[str, Any]]) -> str:
    """The tuned rung that is least easily put down to chance over all cells, against both frozen ones."""
    rows = pooled(cells)
    first = min(rows, key=lambda row: (row["p_adjusted"], -sum(gain for _, gain in row["gains"])))
    shown = []
    for row in rows:
        if row["rung"] == first["rung"]:
            values = [gain for _, gain in row["gains"]]
            shown.append(
                f"{points(float(np.mean(values)), '+')} points over {row['base']} (ahead in"
                f" {sum(value > 0 for value in values)} of {len(values)}, p = {row['p_adjusted']:.2g})"
            )
    clear = sum(row["p_adjusted"] <= 0.05 for row in rows)
    text = f"{clear or 'no'} gain{'s are' if clear > 1 else ' is'} shown"
    return (
        f"Over the cells together, as if they were independent, {text}: {first['rung']} has {' and '.join(shown)};"
        f" {first['p_adjusted']:.2g} is the smallest of {len(rows)} p-values after Holm. The cells come from"
        f" {draws(cells)} draws; with a draw as one observation no p-value could be less than {smallest(cells):.2g}."
    )


def draws(cells: Sequence[Mapping[str, Any]]) -> int:
    """How many draws of examples the cells come from: one a task and split."""
    return len({(cell["task"], cell["split"]) for cell in cells})


def smallest(cells: Sequence[Mapping[str, Any]]) -> float:
    """The smallest p-value that flipping the signs of one gain a draw can give."""
    return 2.0 ** (1 - draws(cells))


def chosen(cells: Sequence[Mapping[str, Any]]) -> str:
    """What the ladder took, and what the test split says of it."""
    kept = sum(cell["chosen"] in FROZEN for cell in cells)
    highest = sum(cell["chosen"] == best_rung(cell) for cell in cells)
    moved = []
    for cell in cells:
        found = comparison(cell, "linear_probe", "nearest_mean")
        if cell["chosen"] == "linear_probe" and found is not None:
            word = "shown" if found["is_significant"] else "not shown"
            moved.append(
                f"{name_of(cell)} (on test {points(found['value'], '+')} {interval(found['ci'])}, {word})"
            )
    missed = [
        place_of(cell, one)
        for cell in cells
        for one in cell["comparisons"]
        if one["a"] in TUNED
        and one["b"] == cell["chosen"]
        and one["is_significant"]
        and one["value"] > 0
    ]
    return (
        f"The ladder, deciding on 100 validation examples and against the class means first, kept a frozen encoder"
        f" in {kept} of {len(cells)} cells; it moved from the class means to the probe in {len(moved)}:"
        f" {'; '.join(moved) or 'none'}. It took the rung of the highest test mean in {highest}. A tuned rung is"
        f" shown on test to be better than what it kept in {len(missed)} of"
        f" {len(cells) * len(TUNED)} comparisons: {'; '.join(missed) or 'none'}."
    )


def name_of(cell: Mapping[str, Any]) -> str:
    """A cell in words."""
    split = f", split {cell['split']}" if cell["split"] else ""
    return f"{cell['task']} with {cell['labels']} labels{split}"


def place_of(cell: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """A comparison and its cell in words."""
    return f"{one['a']} over {one['b']} at {name_of(cell)}, {points(one['value'], '+')} {interval(one['ci'])}"


def page(cells: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    planned = facts["planned"]
    steps = ", ".join(f"{steps} at {labels} labels" for labels, steps in facts["steps"].items())
    lines = [
        "# The ladder by number of labels",
        "",
        f"`{facts['command']}`; {len(cells)} of {planned} cells are finished. Written by that command.",
        "",
        *[f"- {sentence}" for sentence in conclusions(cells, facts)],
        "",
        "![Macro-F1 by labels, and difference to the probe](ladder_by_labels.svg)",
        "",
        "Both columns of the figure have one axis for all tasks. Bars are 95 % intervals: on the left of each rung by"
        " itself and uncorrected, as in the table below; on the right of paired differences, corrected by Holm over the"
        " nine comparisons of a cell. A bar that leaves the axis is cut, and ends in an arrow.",
        "",
        f"Macro-F1 in percent on 400 test examples, mean over {len(facts['seeds'])} seeds, with an uncorrected 95 % interval over"
        " examples and seeds. **Bold**: the highest mean of its cell. *: what the ladder chose on 100 validation"
        " examples.",
        "",
        "| task | labels | split | " + " | ".join(RUNGS) + " |",
        "|---|---|---|" + "---|" * len(RUNGS),
    ]
    for cell in cells:
        shown = []
        for name in RUNGS:
            rung = cell["rungs"].get(name)
            if rung is None:
                shown.append("")
                continue
            text = points(rung["value"])
            text = f"**{text}**" if name == best_rung(cell) else text
            mark = "*" if name == cell["chosen"] else ""
            shown.append(f"{text}{mark} {interval(rung['ci'])}")
        lines.append(f"| {place(cell)} | " + " | ".join(shown) + " |")
    lines += [
        "",
        "## Was it worth its cost?",
        "",
        "The tuned rung of the highest test mean against the probe and against the class means, in points of"
        " macro-F1 and corrected by Holm over all nine comparisons of the cell. *Yes* and *harm* where the"
        " interval excludes 0. The best of four is picked on the same test examples, so that its gain is"
        " flattered; the correction covers all four.",
        "",
        "| task | labels | split | best tuned | over the probe | over the class means |",
        "|---|---|---|---|---|---|",
    ]
    for cell in cells:
        tuned = {name: cell["rungs"][name] for name in TUNED if name in cell["rungs"]}
        rung = max(tuned, key=lambda name: tuned[name]["value"])
        lines.append(
            f"| {place(cell)} | {rung} | {verdict(cell, rung, 'linear_probe')}"
            f" | {verdict(cell, rung, 'nearest_mean')} |"
        )
    lines += costs(cells, facts)
    lines += across(cells)
    lines += [
        "",
        "## All differences to the probe",
        "",
        "Points of macro-F1, corrected as above.",
        "",
    ]
    lines += [
        "| task | labels | split | " + " | ".join(TUNED) + " |",
        "|---|---|---|" + "---|" * len(TUNED),
    ]
    for cell in cells:
        shown = []
        for name in TUNED:
            found = comparison(cell, name, "linear_probe")
            shown.append(
                "" if found is None else f"{points(found['value'], '+')} {interval(found['ci'])}"
            )
        lines.append(f"| {place(cell)} | " + " | ".join(shown) + " |")
    lines += [
        "",
        "## What was cut short",
        "",
        f"- Tuning takes few steps of 10 examples: {steps}. The probe takes 200, the first phase of LP-FT 100.",
        "- Texts are cut to 64 tokens (news) and 32 (sentiment), as in their configs; that shortens"
        f" {cut(cells)}. Images have 48 pixels where the encoder saw 224 and the config has 64.",
        f"- Learning rates: on texts one a tuned rung ({rates(facts['rates']['news'])}), on digits two"
        f" ({rates(facts['rates']['digits'])}), for the probe two everywhere. The rates on texts are of the grids of"
        " `configs/` except that of BitFit, which lies between the two of its grid; those on digits are the config's"
        " grid. The grids were found on other draws of the same corpora, which may share examples with the 400 that"
        " test here. A wider grid could lift each rung.",
        f"- {first_rates(cells)}",
        f"- {times(cells, facts)}",
        "",
        "## What this does not say",
        "",
        "- One draw of the training labels a task unless `--splits` says more: intervals cover test examples,"
        " heads and data order, not the luck of which labels were drawn.",
        f"- {few(cells, facts)}",
        "- The study was first run with the first three seeds, on the same draws. The other two were added after that"
        " result had been seen, and no p-value counts that look.",
        "",
    ]
    return "\n".join(lines)


def few(cells: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    """What so few seeds can show."""
    from scipy.stats import t

    seeds, family = len(facts["seeds"]), max(len(cell["comparisons"]) for cell in cells)
    own, twice = (t.ppf(1 - 0.05 / (2 * family), count - 1) for count in (seeds, 2 * seeds))
    return (
        f"{seeds} seeds are few: where they differ, the first of {family} comparisons needs {own:.1f} standard errors (t"
        f" with {seeds - 1} degrees of freedom), and {2 * seeds} seeds would need {twice:.1f}. *Not shown* is then no"
        " evidence of equality."
    )


def rates(grids: Mapping[str, Sequence[float]]) -> str:
    """The learning rates of each rung."""
    return ", ".join(
        f"{rung} {' or '.join(f'{rate:g}' for rate in grid)}" for rung, grid in grids.items()
    )


def first_rates(cells: Sequence[Mapping[str, Any]]) -> str:
    """How digits came to have two rates, and what that left."""
    text = (
        "Digits were first run at one rate each, with three seeds, where full fine-tuning and LoRA collapsed at 50"
        " labels. The grids of two rates were set after that was seen; the texts kept their one rate."
    )
    for cell in cells:
        rungs = cell["rungs"]
        if name_of(cell) == "digits with 50 labels" and {"lora", "full", "linear_probe"} <= set(
            rungs
        ):
            low = [
                f"{name} {points(rungs[name]['value'])} {interval(rungs[name]['ci'])}"
                f" ({shown_or_not(comparison(cell, name, 'linear_probe'))})"
                for name in ("lora", "full")
                if rungs[name]["value"] < rungs["linear_probe"]["value"]
            ]
            if low:
                text += (
                    f" That did not cure it: the means of {' and '.join(low)} are still below the probe's"
                    f" {points(rungs['linear_probe']['value'])}."
                )
    return text


def shown_or_not(found: Mapping[str, Any] | None) -> str:
    """Whether a difference is shown, in two words at most."""
    return "shown" if found is not None and found["is_significant"] else "not shown"


def times(cells: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    """What the cells ran on and took, or what is known of it."""
    count, code = len(cells), facts["revisions"]
    version = " and ".join(one[:7] + one[40:].replace("+", " with ") for one in code)
    text = f"The cells ran on {len(code)} version{'s' * (len(code) > 1)} of the code ({version})."
    found = took([cell.get("took") for cell in cells])
    if found is None:
        known = sum(cell.get("took") is not None for cell in cells)
        return f"{text} What a cell took is recorded of {known or 'none'} of the {count} cells."
    # The load average is renewed every few seconds: a process that starts anew does not meet the same one.
    if all(one["load"][1] == other["load"][0] for one, other in itertools.pairwise(cells)):
        text += " They ran one after another, each at the load at which the one before had ended."
    return f"{text} {found}"


def costs(cells: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> list[str]:
    """What a run costs at 50 labels, and the points that it buys over the probe."""
    lines = [
        "",
        "What one run costs at 50 labels: trainable parameters, operations of the training steps (of the probe"
        " without its pass through the frozen encoder, which its seconds include), and seconds of processor (all"
        " cores; 100 predictions included, compilation not), and what it gained over the probe. Seconds are of one"
        f" run each, at the first rate of the rung{measured_at(facts['cost'])}. The class means cost one pass of the"
        " labelled examples through the frozen encoder, and train nothing.",
        "",
        "| task | rung | trainable | TFLOP | processor seconds | over the probe |",
        "|---|---|---|---|---|---|",
    ]
    for cell in cells:
        if cell["labels"] != 50 or cell["split"] != min(one["split"] for one in cells):
            continue
        timed = facts["cost"].get(cell["task"], {"rungs": {}})["rungs"]
        for name in ("linear_probe", *TUNED):
            if name not in cell["rungs"]:
                continue
            rung, found = cell["rungs"][name], comparison(cell, name, "linear_probe")
            seconds = f"{timed[name]['processor_seconds']:.1f}" if name in timed else "not measured"
            gain = "" if found is None else f"{points(found['value'], '+')} {interval(found['ci'])}"
            lines.append(
                f"| {cell['task']} | {name} | {rung['trainable']:,} | {rung['flops'] / 1e12:.2g}"
                f" | {seconds} | {gain} |"
            )
    return lines


def measured_at(cost: Mapping[str, Mapping[str, Any]]) -> str:
    """The loads at which seconds were measured."""
    loads = [one["load"] for one in cost.values()]
    return f", begun at load averages of {min(loads):.1f} to {max(loads):.1f}" if loads else ""


def pooled(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean gains of the tuned rungs over cells, and sign flips over cells, one family under Holm."""
    rows = []
    for base in ("linear_probe", "nearest_mean"):
        for rung in TUNED:
            found = [(cell["labels"], comparison(cell, rung, base)) for cell in cells]
            known = [(labels, one["value"]) for labels, one in found if one is not None]
            if known:
                rows.append({"rung": rung, "base": base, "gains": known})
    tests = {
        f"{row['rung']} over {row['base']}": sign_flip([gain for _, gain in row["gains"]]).p_value
        for row in rows
    }
    adjusted = correct(tests).adjusted
    return [{**row, "p_adjusted": p} for row, p in zip(rows, adjusted.values(), strict=True)]


def across(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table of all cells together."""
    sizes = sorted({cell["labels"] for cell in cells})
    lines = [
        "",
        "## All cells together",
        "",
        "Mean gain in points of macro-F1 at each number of labels and over all cells, the number of cells in which"
        " the rung is ahead, and a p-value by flipping the signs of the cells' gains, corrected by Holm over the"
        " table. The three cells of a task share one draw: nested training labels and the same 400 test examples. The"
        " p-values, which take the cells as independent, are therefore too small; with a draw as one observation,"
        f" {draws(cells)} draws could not give less than {smallest(cells):.2g}.",
        "",
        "| rung | over | "
        + " | ".join(f"{size} labels" for size in sizes)
        + " | all | ahead | p |",
        "|---|---|" + "---|" * (len(sizes) + 3),
    ]
    for row in pooled(cells):
        gains = row["gains"]
        shown = [
            points(float(np.mean([gain for labels, gain in gains if labels == size])), "+")
            if any(labels == size for labels, _ in gains)
            else ""
            for size in sizes
        ]
        mean = points(float(np.mean([gain for _, gain in gains])), "+")
        ahead = sum(gain > 0 for _, gain in gains)
        lines.append(
            f"| {row['rung']} | {row['base']} | "
            + " | ".join(shown)
            + f" | {mean} | {ahead}/{len(gains)} | {row['p_adjusted']:.2g} |"
        )
    return lines


def place(cell: Mapping[str, Any]) -> str:
    """The first three columns of a row."""
    return f"{cell['task']} | {cell['labels']} | {cell['split']}"


def cut(cells: Sequence[Mapping[str, Any]]) -> str:
    """How many texts lose words to the length."""
    found = {
        cell["task"]: cell["card"]["truncated"] for cell in cells if cell["card"].get("truncated")
    }
    return ", ".join(f"{task} {one['examples']} of {one['of']}" for task, one in found.items())


COLORS = {
    "nearest_mean": "#8a8f98",
    "linear_probe": "#1f2933",
    "bitfit": "#b7791f",
    "lora": "#2b6cb0",
    "lp_ft": "#2f855a",
    "full": "#9b2c2c",
}


CUT = {0: (20, 100), 1: (-40, 40)}
"""Axes of the two columns of the figure: bars that leave them are cut."""


def draw(cells: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
    """A row a task: macro-F1 on the left, corrected differences to the probe on the right; first draw only."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"svg.fonttype": "none", "font.size": 12, "svg.hashsalt": "ladder"})
    tasks = list(dict.fromkeys(cell["task"] for cell in cells))
    sizes = sorted({cell["labels"] for cell in cells})
    split = min(cell["split"] for cell in cells)
    figure, axes = pyplot.subplots(
        len(tasks), 2, figsize=(7.6, 2.5 * len(tasks) + 1.6), squeeze=False, sharey="col"
    )
    figure.set_layout_engine("constrained")
    for row, task in enumerate(tasks):
        own = {
            cell["labels"]: cell for cell in cells if (cell["task"], cell["split"]) == (task, split)
        }
        for column, names in enumerate((RUNGS, TUNED)):
            axis = axes[row][column]
            for place, size in enumerate(sizes):
                for number, name in enumerate(names):
                    where = place + 0.14 * (number - (len(names) - 1) / 2)
                    if size in own and name in own[size]["rungs"]:
                        mark(axis, where, own[size], name, is_difference=column == 1)
            for place in range(1, len(sizes)):
                axis.axvline(place - 0.5, color="#e4e7eb", linewidth=1, zorder=0)
            axis.grid(axis="y", color="#e4e7eb", linewidth=0.8)
            axis.set_axisbelow(True)
            axis.set_xlim(-0.5, len(sizes) - 0.5)
            axis.set_ylim(*CUT[column])
            axis.set_xticks(range(len(sizes)), [str(size) for size in sizes])
            axis.tick_params(labelleft=True)
        axes[row][0].set_ylabel(task, fontsize=14, fontweight="bold")
        axes[row][1].axhline(0, color=COLORS["linear_probe"], linewidth=1.2)
    axes[0][0].set_title("test macro-F1, %\nbars: 95 %, uncorrected", fontsize=12)
    axes[0][1].set_title(
        "difference to the probe, points\nbars: 95 %, Holm within a cell", fontsize=12
    )
    for axis in axes[-1]:
        axis.set_xlabel("labels in all")
    handles = [
        pyplot.Line2D(
            [], [], color=COLORS[name], marker="o", linestyle="", markersize=7, label=name
        )
        for name in RUNGS
    ]
    grey = {"color": "#616e7c", "linestyle": "", "markersize": 7}
    handles += [
        pyplot.Line2D([], [], marker="o", **grey, label="difference shown"),
        pyplot.Line2D([], [], marker="o", **grey, mfc="white", label="not shown"),
        pyplot.Line2D([], [], marker="^", **grey, label="bar is cut"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def mark(
    axis: Any, where: float, cell: Mapping[str, Any], name: str, *, is_difference: bool
) -> None:
    """A point and its bar, cut with an arrow where it leaves the axis; hollow if a difference is not shown."""
    found = comparison(cell, name, "linear_probe") if is_difference else cell["rungs"][name]
    if found is None:
        return
    is_hollow = is_difference and not found["is_significant"]
    value, color = 100 * found["value"], COLORS[name]
    floor, ceiling = CUT[int(is_difference)]
    bounds = [value, value] if found["ci"] is None else [100 * bound for bound in found["ci"]]
    axis.plot(
        [where] * 2,
        np.clip(bounds, floor, ceiling),
        color=color,
        linewidth=1.8,
        solid_capstyle="butt",
        zorder=2,
    )
    edge = 0.012 * (ceiling - floor)
    if bounds[0] < floor:
        axis.plot(where, floor + edge, "v", color=color, markersize=6, clip_on=False)
    if bounds[1] > ceiling:
        axis.plot(where, ceiling - edge, "^", color=color, markersize=6, clip_on=False)
    face = "white" if is_hollow else color
    axis.plot(where, value, "o", color=color, mfc=face, markersize=5.5, mew=1.5, zorder=3)
