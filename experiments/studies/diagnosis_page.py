"""The page and the figure of `diagnosis.py`, made of its results alone."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from study_common import took

from jaxtransfer.protocol.recommending import FEW, HEADROOM, MANY

DIAGNOSIS, BASE = "the diagnosis", "base rate of the other tasks"
PROBE = "linear-probe accuracy"


def conclusions(results: Mapping[str, Any]) -> list[str]:
    """What the cells say, computed."""
    cells, choosers = results["cells"], results["choosers"]
    own, ties = choosers[DIAGNOSIS], choosers[BASE]["ties"]
    n, tasks = len(cells), len({cell["task"] for cell in cells})
    low, high = own["hit_rate"]
    smallest, largest = own["p_value"]
    verdict = "That is a difference" if largest <= 0.05 else "That is too few to tell"
    worse = [len(cell["shown_worse"]) for cell in cells]
    others = [len(cell["values"]) - 1 for cell in cells]
    beats_all = sum(a == b for a, b in zip(worse, others, strict=True))
    tau = strongest(results)
    return [
        f"The diagnosis names the best rung in {own['hits']} of {n} cells (95 % interval {100 * low:.0f} to"
        f" {100 * high:.0f} %, as if cells were independent), the base rate of the other tasks in"
        f" {span(ties['hits'], '{}')}, depending on how its ties are broken ({ties['ways']} ways).",
        f"What the diagnosis names loses {points(own['regret'])} points of macro-F1 to the best on average, the base"
        f" rate's choice {span(ties['regret'], '{:.1f}', 100)} (sign flips over cells,"
        f" p = {span((smallest, largest), '{:.2g}')}).",
        f"{verdict}: {n} cells come from {tasks} tasks, and the cells of a task share one draw, with nested training"
        " labels and the same 400 test examples. The p-values, which take the cells as independent, are too small.",
        f"In {beats_all or 'no'} cell{'s' if beats_all > 1 else ''} is the best rung shown to beat all the others; in"
        f" {sum(count > 0 for count in worse)} of {n} it is shown to beat some.",
        f"{'A' if tau['p_adjusted'] <= 0.05 else 'No'} score is shown to say what tuning gains. The strongest, {tau['name']}"
        f" with the gain of {tau['of']}, has a tau of {tau['tau']:+.2f} [{tau['ci'][0]:+.2f}, {tau['ci'][1]:+.2f}]"
        f" (p = {tau['p_value']:.2g}, and {tau['p_adjusted']:.2g} after Holm over all {tau['family']}).",
    ]


def strongest(results: Mapping[str, Any]) -> dict[str, Any]:
    """The correlation of the smallest p-value, and of how many."""
    known = [
        {**one, "name": name, "of": of}
        for of, each in results["correlations"].items()
        for name, one in each.items()
        if one["tau"] is not None
    ]
    return {**min(known, key=lambda one: one["p_value"]), "family": len(known)}


def points(value: float, sign: str = "") -> str:
    """A share in percentage points."""
    return f"{100 * value:{sign}.1f}"


def rate(bounds: Sequence[float]) -> str:
    """An interval in percent."""
    return f"[{100 * bounds[0]:.0f}, {100 * bounds[1]:.0f}]"


def span(bounds: Sequence[float], form: str, factor: float = 1) -> str:
    """The lowest and the highest of several values, once where they are equal."""
    low, high = (form.format(bound if factor == 1 else factor * bound) for bound in bounds)
    return low if low == high else f"{low} to {high}"


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
        "A mark is a cell: its colour says the task, its shape the number of labels. Black lines are means; the grey band"
        " of the base rate holds its means under all ways to break its ties, and its marks those of the rung of the"
        " fewest processor seconds.",
        "",
        "## Ways to choose",
        "",
        "*Best*: cells whose rung of the highest test mean is named. *Not shown worse*: cells where the best rung is not"
        " shown to beat the named one (95 %, Holm over the other five). *Regret*: points of macro-F1 lost to the best,"
        " mean and worst. *Saved*: mean regret less than the base rate's, with a sign-flip p-value over cells, from the"
        " lowest to the highest over the ways to break the base rate's ties; these p-values are not corrected.",
        "",
        "- The best rung is picked by its test mean and then tested on the same examples. That it was picked is not"
        " counted: any of 15 pairs could have been the one tested. A pair may therefore be shown here and not in"
        " [`ladder_by_labels.md`](ladder_by_labels.md), whose families are fixed beforehand.",
        "- The highest of six noisy means is too high, so that every regret is exaggerated; differences between ways to"
        " choose are not.",
        "- The ladder itself has seen 100 validation examples more, of the same trained networks that the test measures.",
        "",
        "| choice | best | not shown worse | regret (worst) | saved | p |",
        "|---|---|---|---|---|---|",
    ]
    n = len(cells)
    for name, one in results["choosers"].items():
        if "ties" in one:
            ties = one["ties"]
            lines.append(
                f"| {name} | {span(ties['hits'], '{}')} of {n} | {span(ties['tenable'], '{}')} of {n}"
                f" | {span(ties['regret'], '{:.1f}', 100)} ({span(ties['worst_regret'], '{:.1f}', 100)}) | | |"
            )
            continue
        lines.append(
            f"| {name} | {one['hits']} of {n} {rate(one['hit_rate'])}"
            f" | {one['tenable']} of {n} {rate(one['tenable_rate'])}"
            f" | {points(one['regret'])} ({points(one['worst_regret'])})"
            f" | {span(one['saved'], '{:+.1f}', 100)} | {span(one['p_value'], '{:.2g}')} |"
        )
    lines += [
        "",
        "## Cells",
        "",
        *rule(cells),
        "",
        "*Probe* (cross-fitted accuracy) and LogME are the diagnosis's own, over the labels of the training split and the"
        " tuning half together; *probe of the ladder* is the test accuracy of the probe that has the training labels"
        " alone.",
        "",
        "| task | labels | split | labels a class | labels scored | probe | probe of the ladder | LogME | expected | best"
        " | shown worse than it | expected loses |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for cell in cells:
        scores = cell["scores"]
        probe, logme = (
            "undefined" if scores[name] is None else f"{scores[name]:.3f}"
            for name in (PROBE, "LogME")
        )
        lost = cell["values"][cell["best"]] - cell["values"][cell["expected"]]
        lines.append(
            f"| {cell['task']} | {cell['labels']} | {cell['split']} | {cell['labels_per_class']} | {cell['scored']}"
            f" | {probe} | {cell['probe_accuracy']:.3f} | {logme} | {cell['expected']} | {cell['best']}"
            f" | {', '.join(cell['shown_worse']) or 'none'} | {points(lost)} |"
        )
    lines += [
        "",
        "## Does a score say what tuning will gain?",
        "",
        "Kendall's tau over cells of each number with two gains over the probe, a percentile bootstrap over cells, and a"
        " p-value corrected by Holm over the table. The best tuned rung is picked by its test mean out of four, so that"
        " its gain is flattered; full fine-tuning is fixed beforehand. Scores are compared across tasks, which they were"
        " not made for, and cells that share a task are no independent ones.",
        "",
        "| number | cells | "
        + " | ".join(f"gain of {of} | p" for of in results["correlations"])
        + " |",
        "|---|---|" + "---|---|" * len(results["correlations"]),
    ]
    first, *_ = results["correlations"].values()
    for name in first:
        row = [name, str(first[name]["n"])]
        for each in results["correlations"].values():
            one = each[name]
            if one["tau"] is None:
                row += ["too few", ""]
            else:
                low, high = one["ci"]
                row += [f"{one['tau']:+.2f} [{low:+.2f}, {high:+.2f}]", f"{one['p_adjusted']:.2g}"]
        lines.append(f"| {' | '.join(row)} |")
    lines += [
        "",
        "## What was left out",
        "",
        "- The diagnosis's estimate of wrong labels, its distances between splits or domains, and its reading of the"
        " stages are not computed. The splits are random, so that there is no shift to find; wrong labels would change"
        " label smoothing alone, and the stages a rung that these ladders do not have.",
        "- Everything that `ladder_by_labels.md` cuts short, and its one draw a task, holds here too.",
        f"- {times(cells)}",
    ]
    return "\n".join([*lines, ""])


def rule(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the expectation depends on in these cells."""
    text = (
        f"The rule expects the class means below {FEW / 2:g} training labels a class, BitFit below {FEW}, LoRA below"
        f" {MANY} and full fine-tuning from there; of the scores it reads the probe's alone, where that leaves less than"
        f" {HEADROOM:g}."
    )
    scores = [cell["scores"][PROBE] for cell in cells]
    if all(score is None or score <= 1 - HEADROOM for score in scores):
        text += " It never does here: in these cells the rule depends on the labels a class alone."
    return [text]


def times(cells: Sequence[Mapping[str, Any]]) -> str:
    """What the diagnoses took, or that it is not known."""
    found = took([cell.get("took") for cell in cells])
    return (
        found or "What the diagnoses took, and the load of the machine meanwhile, are not recorded."
    )


COLORS = ("#6b46c1", "#0e7490", "#c2410c")
"""Of tasks: none of those that rungs have in the other figures."""
SHAPES = ("o", "s", "^")


def draw(results: Mapping[str, Any], path: pathlib.Path) -> None:
    """Regret of each way to choose, a mark a cell, each on a line of its own, and a black line for the mean."""
    import textwrap

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"svg.fonttype": "none", "font.size": 12, "svg.hashsalt": "diagnosis"})
    cells, choosers = results["cells"], results["choosers"]
    tasks = list(dict.fromkeys(cell["task"] for cell in cells))
    sizes = sorted({cell["labels"] for cell in cells})
    colors = dict(zip(tasks, COLORS, strict=False))
    shapes = dict(zip(sizes, SHAPES, strict=False))
    order = sorted(
        range(len(cells)), key=lambda row: (tasks.index(cells[row]["task"]), cells[row]["labels"])
    )
    figure, axis = pyplot.subplots(figsize=(7.6, 1.05 * len(choosers) + 1.4))
    figure.set_layout_engine("constrained")
    for row, one in enumerate(choosers.values()):
        if row % 2:
            axis.axhspan(row - 0.5, row + 0.5, color="#f5f7fa", linewidth=0, zorder=0)
        if "ties" in one:
            low, high = (100 * bound for bound in one["ties"]["regret"])
            axis.fill_betweenx(
                [row - 0.42, row + 0.42], low, high, color="#cbd2d9", linewidth=0, zorder=1
            )
        axis.plot([100 * one["regret"]] * 2, [row - 0.42, row + 0.42], color="#1f2933", linewidth=2)
        for place, index in enumerate(order):
            cell, choice = cells[index], one["choices"][index]
            lost = 100 * (cell["values"][cell["best"]] - cell["values"][choice])
            height = row + 0.76 * (place / max(1, len(cells) - 1) - 0.5)
            axis.plot(
                lost,
                height,
                shapes[cell["labels"]],
                color=colors[cell["task"]],
                markersize=6.5,
                zorder=3,
            )
    grey = {"color": "#616e7c", "linestyle": "", "markersize": 7}
    line = pyplot.Line2D
    handles = [
        line([], [], **{**grey, "color": colors[task]}, marker="o", label=task) for task in tasks
    ]
    handles += [line([], [], **grey, marker=shapes[size], label=f"{size} labels") for size in sizes]
    handles += [
        line([], [], color="#1f2933", linewidth=2, label="mean"),
        line([], [], color="#cbd2d9", linewidth=8, label="mean, all tie-breaks"),
    ]
    axis.set_yticks(range(len(choosers)), [textwrap.fill(name, 18) for name in choosers])
    axis.set_ylim(len(choosers) - 0.5, -0.5)
    axis.set_xlabel("macro-F1 lost to the best rung of the cell, points")
    axis.set_xlim(left=-0.5)
    axis.grid(axis="x", color="#e4e7eb", linewidth=0.8)
    axis.set_axisbelow(True)
    figure.legend(handles=handles, frameon=False, loc="outside lower center", ncols=3)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
