"""The page and the figure of `ladder_by_labels.py`, made of its cells alone."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer.evaluation.correction import correct
from jaxtransfer.evaluation.sign_flip import sign_flip

RUNGS = ("nearest_mean", "linear_probe", "bitfit", "lora", "lp_ft", "full")
TUNED = ("bitfit", "lora", "lp_ft", "full")
"""Rungs that change the encoder."""


def best_rung(cell: Mapping[str, Any]) -> str:
    """The rung of the highest mean on the test split; among equals the cheaper."""
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


def conclusions(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """What all cells together say, computed."""
    best = [best_rung(cell) for cell in cells]
    wins = {name: best.count(name) for name in RUNGS if name in best}
    gains = [
        one
        for cell in cells
        for one in cell["comparisons"]
        if one["b"] == "linear_probe" and one["a"] in TUNED
    ]
    helped = sum(one["is_significant"] and one["value"] > 0 for one in gains)
    harmed = sum(one["is_significant"] and one["value"] < 0 for one in gains)
    beaten = [
        cell
        for cell in cells
        if any(
            (one := comparison(cell, rung, "linear_probe"))
            and one["is_significant"]
            and one["value"] > 0
            for rung in TUNED
        )
    ]
    best_pooled = min(
        pooled(cells),
        key=lambda row: (row["p_adjusted"], -sum(gain for _, gain in row["gains"])),
    )
    overall = [gain for _, gain in best_pooled["gains"]]
    split_choice = sum(cell["chosen"] == best_rung(cell) for cell in cells)
    kept = sum(cell["chosen"] in ("nearest_mean", "linear_probe") for cell in cells)
    return [
        f"Highest test mean in {len(cells)} cells: "
        + ", ".join(f"{name} {count}" for name, count in wins.items())
        + ".",
        f"Of {len(gains)} comparisons of a tuned rung with the probe, {helped} show a gain and {harmed}"
        f" a loss (95 %, Holm within a cell); in {len(beaten)} of {len(cells)} cells at least one tuned"
        " rung is shown to beat the probe.",
        f"Over all cells together the gain least easily put down to chance is that of {best_pooled['rung']} over"
        f" {best_pooled['base']}: {points(float(np.mean(overall)), '+')} points on average, ahead in"
        f" {sum(gain > 0 for gain in overall)} of {len(overall)} (p = {best_pooled['p_adjusted']:.2g} after Holm"
        " over eight).",
        f"The ladder, deciding on 100 validation examples, stayed with a frozen encoder in {kept} cells and"
        f" took the rung of the highest test mean in {split_choice}.",
    ]


def page(cells: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    planned = facts["planned"]
    lines = [
        "# The ladder by number of labels",
        "",
        f"`{facts['command']}`; {len(cells)} of {planned} cells are finished. Written by that command.",
        "",
        *[f"- {sentence}" for sentence in conclusions(cells)],
        "",
        "![Macro-F1 by labels, and difference to the probe](ladder_by_labels.svg)",
        "",
        "Macro-F1 in percent on 400 test examples, mean over three seeds, with a 95 % interval over examples"
        " and seeds. **Bold**: the highest mean of its cell. *: what the ladder chose on 100 validation"
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
        "## What this does not say",
        "",
        "- One draw of the training labels a cell unless `--splits` says more: intervals cover test examples,"
        " heads and data order, not the luck of which labels were drawn.",
        "- Three seeds are few: where they differ, the first of nine comparisons needs 13.5 standard errors (t with"
        " two degrees of freedom), and five seeds would need 5.6. *Not shown* is then no evidence of equality.",
        "- One learning rate a tuned rung on texts, two on digits; a wider grid could lift each of them. Digits"
        " were first run at the upper rate alone, where full fine-tuning and LoRA collapsed at 50 labels; those"
        " cells were run again with both rates of the config. Steps are few by design.",
        f"- Texts are cut: {cut(cells)}. Images have 48 pixels where the encoder saw 224.",
        "",
    ]
    return "\n".join(lines)


def costs(cells: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> list[str]:
    """What a run costs at 50 labels, and the points that it buys over the probe."""
    lines = [
        "",
        "What one run costs at 50 labels: trainable parameters, operations of the training steps, and seconds"
        " of processor (all cores; 100 predictions included, compilation not), and what it gained over the"
        " probe. The class means cost one pass over the labels, and train nothing.",
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
        " table. Here a cell is one observation, so that the luck of its training labels counts; but cells of one"
        " task share texts or images, and three tasks have little to say about others.",
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


def draw(cells: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
    """Macro-F1 by labels above, corrected differences to the probe below, a column a task; first draw only."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"svg.fonttype": "none", "font.size": 10, "svg.hashsalt": "ladder"})
    tasks = list(dict.fromkeys(cell["task"] for cell in cells))
    first = min(cell["split"] for cell in cells)
    figure, axes = pyplot.subplots(
        2,
        len(tasks),
        figsize=(3.4 * len(tasks) + 0.6, 6),
        squeeze=False,
        sharex="col",
        layout="constrained",
    )
    for column, task in enumerate(tasks):
        own = [cell for cell in cells if cell["task"] == task and cell["split"] == first]
        own.sort(key=lambda cell: cell["labels"])
        sizes = [cell["labels"] for cell in own]
        top, bottom = axes[0][column], axes[1][column]
        for number, name in enumerate(RUNGS):
            shift = 1.055 ** (number - 2.5)
            having = [cell for cell in own if name in cell["rungs"]]
            where = [cell["labels"] * shift for cell in having]
            values = [100 * cell["rungs"][name]["value"] for cell in having]
            cis = [cell["rungs"][name]["ci"] for cell in having]
            style = {"color": COLORS[name], "label": name, "markersize": 4, "linewidth": 1.2}
            top.errorbar(where, values, errors(values, cis), marker="o", **style)
            if name in TUNED:
                found = [comparison(cell, name, "linear_probe") for cell in having]
                values = [100 * one["value"] for one in found]
                cis = [one["ci"] for one in found]
                bottom.errorbar(
                    where, values, errors(values, cis), marker="o", linestyle="", **style
                )
        bottom.axhline(0, color=COLORS["linear_probe"], linewidth=1)
        top.set_title(task)
        bottom.set_xscale("log")
        bottom.set_xticks(sizes, [str(size) for size in sizes])
        bottom.minorticks_off()
        bottom.set_xlabel("labels in all")
    axes[0][0].set_ylabel("test macro-F1, %")
    axes[1][0].set_ylabel("difference to the probe, points")
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(RUNGS), frameon=False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def errors(values: Sequence[float], cis: Sequence[Sequence[float]]) -> np.ndarray:
    """Lengths of error bars in points."""
    low = [max(0.0, value - 100 * ci[0]) for value, ci in zip(values, cis)]
    high = [max(0.0, 100 * ci[1] - value) for value, ci in zip(values, cis)]
    return np.array([low, high])
