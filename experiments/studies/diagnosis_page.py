"""The page and the figure of `diagnosis.py`, made of its results alone."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

DIAGNOSIS, BASE = "the diagnosis", "base rate of the other tasks"


def conclusions(results: Mapping[str, Any]) -> list[str]:
    """What the cells say, computed."""
    cells, choosers = results["cells"], results["choosers"]
    own, base = choosers[DIAGNOSIS], choosers[BASE]
    n, tasks = len(cells), len({cell["task"] for cell in cells})
    low, high = own["hit_rate"]
    saved = own["saved_by_task"]
    p_value = own["p_value"]
    known = p_value is not None and p_value <= 0.05
    side = "less" if own["saved"] > 0 else "more"
    return [
        f"The diagnosis names the best rung in {own['hits']} of {n} cells (95 % interval"
        f" {100 * low:.0f} to {100 * high:.0f} %, as if cells were independent), the base rate in"
        f" {base['hits']}.",
        f"What it names loses {points(own['regret'])} points of macro-F1 to the best on average, the base"
        f" rate's choice {points(base['regret'])}: {points(abs(own['saved']))} {side}"
        f" (sign flips over cells, p = {p_value:.2g}; by task"
        f" {', '.join(f'{task} {points(value, chr(43))}' for task, value in saved.items())}).",
        f"{'That is a difference' if known else 'That is too few to tell'}: {n} cells come from {tasks} tasks,"
        " and cells of one task share its texts or images, so that even this p-value is too small.",
    ]


def points(value: float, sign: str = "") -> str:
    """A share in percentage points."""
    return f"{100 * value:{sign}.1f}"


def rate(bounds: Sequence[float]) -> str:
    """An interval in percent."""
    return f"[{100 * bounds[0]:.0f}, {100 * bounds[1]:.0f}]"


def page(results: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    cells = results["cells"]
    lines = [
        "# Does the diagnosis predict the best rung?",
        "",
        f"`{results['command']}`, on {len(cells)} cells of `ladder_by_labels.py`. Written by that command.",
        "",
        *[f"- {sentence}" for sentence in conclusions(results)],
        "",
        "![Regret of each way to choose](diagnosis.svg)",
        "",
        "## Ways to choose",
        "",
        "*Best*: cells whose rung of the highest test mean is named. *Tenable*: cells where the best rung is"
        " not shown to beat the named one (95 %, Holm over the other five). *Regret*: points of macro-F1 lost"
        " to the best, mean and worst. *Saved*: mean regret less than the base rate's, with a sign-flip p-value"
        " over cells. Best rungs are read off the same 400 test examples, so that every regret is flattered in"
        " the same way; the ladder itself has seen 100 validation examples more.",
        "",
        "| choice | best | tenable | regret (worst) | saved | p |",
        "|---|---|---|---|---|---|",
    ]
    n = len(cells)
    for name, one in results["choosers"].items():
        p_value = "" if one["p_value"] is None else f"{one['p_value']:.2g}"
        lines.append(
            f"| {name} | {one['hits']}/{n} {rate(one['hit_rate'])}"
            f" | {one['tenable']}/{n} {rate(one['tenable_rate'])}"
            f" | {points(one['regret'])} ({points(one['worst_regret'])})"
            f" | {points(one['saved'], '+')} | {p_value} |"
        )
    lines += [
        "",
        "## Cells",
        "",
        "| task | labels | split | labels a class | probe | LogME | expected | best | shown worse than it |"
        " expected loses |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for cell in cells:
        scores = cell["scores"]
        probe, logme = (
            "undefined" if scores[name] is None else f"{scores[name]:.3f}"
            for name in ("linear-probe accuracy", "LogME")
        )
        lost = cell["values"][cell["best"]] - cell["values"][cell["expected"]]
        lines.append(
            f"| {cell['task']} | {cell['labels']} | {cell['split']} | {cell['labels_per_class']} | {probe}"
            f" | {logme} | {cell['expected']} | {cell['best']} | {', '.join(cell['shown_worse']) or 'none'}"
            f" | {points(lost)} |"
        )
    lines += [
        "",
        "## Does a score say what tuning will gain?",
        "",
        "Kendall's tau of each number with the gain of the best tuned rung over the probe, over cells, and a"
        " percentile bootstrap over cells. Scores are compared across tasks, which they were not made for.",
        "",
        "| number | cells | tau |",
        "|---|---|---|",
    ]
    for name, one in results["correlations"].items():
        shown = "too few" if one["tau"] is None else f"{one['tau']:+.2f}"
        if one["ci"] is not None:
            shown += f" [{one['ci'][0]:+.2f}, {one['ci'][1]:+.2f}]"
        lines.append(f"| {name} | {one['n']} | {shown} |")
    return "\n".join([*lines, ""])


def draw(results: Mapping[str, Any], path: pathlib.Path) -> None:
    """Regret of each way to choose, a dot a cell and a bar for the mean."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"svg.fonttype": "none", "font.size": 10, "svg.hashsalt": "diagnosis"})
    cells, choosers = results["cells"], results["choosers"]
    tasks = list(dict.fromkeys(cell["task"] for cell in cells))
    colors = dict(zip(tasks, ("#2b6cb0", "#b7791f", "#2f855a"), strict=False))
    figure, axes = pyplot.subplots(figsize=(7.5, 3.4), layout="constrained")
    for row, one in enumerate(choosers.values()):
        for place, (cell, choice) in enumerate(zip(cells, one["choices"], strict=True)):
            lost = 100 * (cell["values"][cell["best"]] - cell["values"][choice])
            height = row + 0.3 * (place / max(1, len(cells) - 1) - 0.5)
            axes.plot(lost, height, "o", color=colors[cell["task"]], markersize=4)
        axes.plot([100 * one["regret"]] * 2, [row - 0.28, row + 0.28], color="#1f2933", linewidth=2)
    for task in tasks:
        axes.plot([], [], "o", color=colors[task], label=task)
    axes.plot([], [], color="#1f2933", linewidth=2, label="mean")
    axes.set_yticks(range(len(choosers)), list(choosers))
    axes.invert_yaxis()
    axes.set_xlabel("macro-F1 lost to the best rung of the cell, points")
    axes.set_xlim(left=-0.5)
    figure.legend(frameon=False, loc="outside lower center", ncols=len(tasks) + 1)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
