"""Do the intervals cover what they claim, and do the paired tests err no more often than they claim?

    python experiments/studies/interval_coverage.py

prints the tables and writes them to `experiments/studies/results/interval_coverage.{json,md}`; about
six minutes on one core. Every interval and every test is the package's own function, called as a
user calls it, except that bootstraps have 500 replicates (BCa differences the default 2,000).
`--scale 0.1` runs a tenth of the trials.
"""

import argparse
import json
import math
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import stats

from jaxtransfer.evaluation.correction import benjamini_hochberg, holm
from jaxtransfer.evaluation.intervals import wilson
from jaxtransfer.evaluation.metrics import measure
from jaxtransfer.evaluation.paired import paired_difference
from jaxtransfer.evaluation.paired_bootstrap import bootstrap_difference, hierarchical_difference
from jaxtransfer.evaluation.permutation import mcnemar, permutation_test
from jaxtransfer.evaluation.sign_flip import sign_flip_seeds
from jaxtransfer.evaluation.table import Predictions

RESULTS = pathlib.Path(__file__).parent / "results"
REPLICATES = 500
NULLS = 1000
BALANCED, UNEVEN, FOUR = (0.5, 0.5), (0.9, 0.1), (0.4, 0.3, 0.2, 0.1)


def sample(
    rng: np.random.Generator, n: int, shares: tuple[float, ...], signal: float, is_fixed: bool
) -> Predictions:
    """Unit normal logits, the label's raised by the signal; class counts random or fixed."""
    classes = len(shares)
    if is_fixed:
        labels = np.repeat(np.arange(classes), np.round(n * np.array(shares)).astype(int))
    else:
        labels = rng.choice(classes, n, p=shares)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), labels] += signal
    return table(labels, logits)


def table(labels: np.ndarray, logits: np.ndarray) -> Predictions:
    names = tuple(map(str, range(logits.shape[1])))
    return Predictions(ids=np.arange(len(labels)), labels=labels, logits=logits, classes=names)


def true_macro_f1(shares: tuple[float, ...], signal: float) -> float:
    """Of the population: its confusion matrix is an integral over the label's logit."""
    classes, prior = len(shares), np.array(shares)
    grid = np.linspace(-10, 10 + signal, 200_001)
    density = stats.norm.pdf(grid - signal) * stats.norm.cdf(grid) ** (classes - 1)
    recall = float(density.sum() * (grid[1] - grid[0]))
    predicted = prior * recall + (1 - prior) * (1 - recall) / (classes - 1)
    return float(np.mean(2 * prior * recall / (predicted + prior)))


def true_auroc(shares: tuple[float, ...], signal: float) -> float:
    """Analytic for two classes; else the mean of four samples of a million examples."""
    if len(shares) == 2:
        return float(stats.norm.cdf(signal))
    rng = np.random.default_rng(99)
    return float(
        np.mean(
            [
                measure(
                    sample(rng, 1_000_000, shares, signal, True), ["auroc_ovr_macro"], replicates=0
                )["auroc_ovr_macro"].value
                for _ in range(4)
            ]
        )
    )


def accuracy_coverage() -> Iterator[dict[str, Any]]:
    """Exact: the sum of the binomial probabilities of the counts whose interval covers."""
    for n in (200, 2000):
        counts = np.arange(n + 1)
        intervals = {
            "wilson": np.array([wilson(int(k), n) for k in counts]),
            "clopper-pearson": np.array(
                [tuple(stats.binomtest(int(k), n).proportion_ci(0.95)) for k in counts]
            ),
        }
        for rate in (0.5, 0.9, 0.99):
            mass = stats.binom.pmf(counts, n, rate)
            row: dict[str, Any] = {"metric": "accuracy", "n": n, "true": rate}
            for name, bounds in intervals.items():
                row[name] = float(mass[(bounds[:, 0] <= rate) & (rate <= bounds[:, 1])].sum())
            yield row


def simulated_coverage(scale: float) -> Iterator[dict[str, Any]]:
    cases = [
        *(("macro_f1", *case) for case in ((BALANCED, 1.0), (UNEVEN, 1.5), (FOUR, 2.0))),
        *(
            ("auroc_ovr_macro", *case)
            for case in (
                (BALANCED, 0.6),
                (BALANCED, 1.0),
                (UNEVEN, 1.0),
                ((0.8, 0.2), 2.3),
                (FOUR, 1.0),
                (FOUR, 2.0),
            )
        ),
    ]
    for metric, shares, signal in cases:
        true = (true_macro_f1 if metric == "macro_f1" else true_auroc)(shares, signal)
        for n, wanted in ((200, 4000), (2000, 2000)):
            for is_fixed in (False, True):
                trials = max(20, int(scale * (wanted if not is_fixed else wanted // 2)))
                rng = np.random.default_rng(n + is_fixed)
                above = below = without = 0
                for trial in range(trials):
                    predictions = sample(rng, n, shares, signal, is_fixed)
                    found = measure(predictions, [metric], seed=trial, replicates=REPLICATES)
                    ci = found[metric].ci
                    if ci is None:
                        without += 1
                    else:
                        above += ci[0] > true
                        below += ci[1] < true
                yield {
                    "metric": metric,
                    "n": n,
                    "shares": list(shares),
                    "counts": "fixed" if is_fixed else "random",
                    "true": true,
                    "coverage": 1 - (above + below + without) / trials,
                    "interval_above": above / trials,
                    "interval_below": below / trials,
                    "no_interval": without,
                    "trials": trials,
                }


def equal_pair(rng: np.random.Generator, n: int = 200) -> tuple[Predictions, Predictions]:
    """Two models of equal skill that find the same examples hard."""
    labels = rng.choice(3, n, p=(0.5, 0.3, 0.2))
    shared = 1.2 * np.eye(3)[labels] + rng.normal(size=(n, 3)) * 0.7
    one, other = (table(labels, shared + rng.normal(size=(n, 3)) * 0.7) for _ in range(2))
    return one, other


def opposed_pair(rng: np.random.Generator, n: int = 200) -> tuple[Predictions, Predictions]:
    """Equal accuracy and macro-F1, but each model is better on another class."""
    labels = rng.integers(0, 2, n)
    logits = 1.5 * np.eye(2)[labels]
    tilt = np.array([1.0, 0.0])
    one, other = (table(labels, logits + rng.normal(size=(n, 2)) + t) for t in (tilt, tilt[::-1]))
    return one, other


def equal_methods(
    rng: np.random.Generator, seeds: int, n: int = 200, spread: float = 0.3
) -> tuple[list[Predictions], list[Predictions]]:
    """Two methods of equal skill: each seed has luck of its own, the examples are shared."""
    labels = rng.choice(3, n, p=(0.5, 0.3, 0.2))
    shared = rng.normal(size=(n, 3)) * 0.7

    def run() -> Predictions:
        signal = 1.2 + spread * rng.normal()
        return table(labels, signal * np.eye(3)[labels] + shared + rng.normal(size=(n, 3)) * 0.7)

    return [run() for _ in range(seeds)], [run() for _ in range(seeds)]


def tests() -> dict[str, Callable[[np.random.Generator, int], bool]]:
    """Name to one trial: whether a true null is rejected at 5 %."""

    def student(make: Callable, metric: str):
        def trial(rng: np.random.Generator, seed: int) -> bool:
            one, other = make(rng)
            one, other = ([one], [other]) if isinstance(one, Predictions) else (one, other)
            found = paired_difference(one, other, metric, seed=seed, replicates=REPLICATES)
            return found.p_value is not None and found.p_value < 0.05

        return trial

    def bootstrap(make: Callable, metric: str):
        # The default number of replicates: BCa reads its limits off their tails, which 500 leave
        # so uncertain that a true null is rejected up to 1 % more often.
        return lambda rng, seed: bootstrap_difference(*make(rng), metric, seed=seed).excludes_zero

    def permutation(make: Callable, metric: str):
        return lambda rng, seed: permutation_test(
            *make(rng), metric, seed=seed, permutations=999
        ).is_significant()

    def methods(seeds: int, spread: float = 0.3) -> Callable:
        return lambda rng: equal_methods(rng, seeds, spread=spread)

    def family(adjust: Callable):
        def trial(rng: np.random.Generator, seed: int) -> bool:
            labels = rng.choice(3, 200, p=(0.5, 0.3, 0.2))
            shared = 1.2 * np.eye(3)[labels] + rng.normal(size=(len(labels), 3)) * 0.7
            own = [shared + rng.normal(size=shared.shape) * 0.7 for _ in range(6)]
            reference, *others = (table(labels, logits) for logits in own)
            found = [
                paired_difference([t], [reference], "macro_f1", seed=seed, replicates=REPLICATES)
                for t in others
            ]
            return bool(
                (adjust([1.0 if d.p_value is None else d.p_value for d in found]) <= 0.05).any()
            )

        return trial

    all_tests: dict[str, Callable[[np.random.Generator, int], bool]] = {}
    for metric in ("accuracy", "macro_f1", "auroc_ovr_macro", "nll"):
        all_tests[f"t over examples, {metric}"] = student(equal_pair, metric)
        all_tests[f"BCa over examples, {metric}"] = bootstrap(equal_pair, metric)
        all_tests[f"permutation of examples, {metric}"] = permutation(equal_pair, metric)
    all_tests["McNemar, accuracy"] = lambda rng, _: mcnemar(*equal_pair(rng)).p_value <= 0.05
    for metric in ("accuracy", "macro_f1"):
        all_tests[f"t over examples, {metric}, opposed classes"] = student(opposed_pair, metric)
        all_tests[f"BCa over examples, {metric}, opposed classes"] = bootstrap(opposed_pair, metric)
    for seeds in (3, 5, 10):
        all_tests[f"t over {seeds} seeds and examples, macro_f1"] = student(
            methods(seeds), "macro_f1"
        )
    all_tests["t over 3 seeds of large spread, macro_f1"] = student(methods(3, 1.0), "macro_f1")
    for seeds in (5, 6, 10):
        all_tests[f"sign flip over {seeds} seeds, macro_f1"] = lambda rng, _, s=seeds: (
            sign_flip_seeds(*equal_methods(rng, s), "macro_f1").is_significant()
        )
    all_tests["Holm over 5 t tests, macro_f1"] = family(holm)
    all_tests["Benjamini-Hochberg over 5 t tests, macro_f1"] = family(benjamini_hochberg)
    return all_tests


def warned() -> dict[str, Callable[[np.random.Generator, int], bool]]:
    """What the package advises against in its notes or docstrings, measured to say how far off it is."""
    found: dict[str, Callable[[np.random.Generator, int], bool]] = {}
    for seeds in (3, 5, 10):
        found[f"hierarchical percentile over {seeds} seeds, macro_f1"] = lambda rng, i, s=seeds: (
            hierarchical_difference(
                *equal_methods(rng, s), "macro_f1", seed=i, replicates=REPLICATES
            ).excludes_zero
        )
    for seeds in (2,):
        found[f"t over {seeds} seeds of large spread, macro_f1"] = lambda rng, i, s=seeds: (
            paired_difference(
                *equal_methods(rng, s, spread=1.0), "macro_f1", seed=i, replicates=REPLICATES
            ).p_value
            < 0.05
        )
    return found


def false_positives(
    trials_of: dict[str, Callable[[np.random.Generator, int], bool]], scale: float
) -> Iterator[dict[str, Any]]:
    """The rate of each; one above its limit is measured again, on four times as many fresh nulls.

    A limit of 1.96 standard errors is passed by chance once in 40 rows at a true 5 %.
    """

    def rejected(trial: Callable[[np.random.Generator, int], bool], nulls: int, seed: int) -> float:
        rng = np.random.default_rng(seed)
        return sum(bool(trial(rng, index)) for index in range(nulls)) / nulls

    nulls = max(20, int(scale * NULLS))
    for index, (name, trial) in enumerate(trials_of.items()):
        rate, limit = rejected(trial, nulls, 1000 + index), largest(nulls)
        row = {"test": name, "rate": rate, "limit": limit, "nulls": nulls, "holds": rate <= limit}
        if rate > limit:
            again = rejected(trial, 4 * nulls, 2000 + index)
            row |= {"again": again, "again_nulls": 4 * nulls, "holds": again <= largest(4 * nulls)}
        yield row


def largest(nulls: int) -> float:
    """5 % and 1.96 Monte-Carlo standard errors."""
    return 0.05 + 1.96 * math.sqrt(0.05 * 0.95 / nulls)


def shown(row: dict[str, Any]) -> str:
    """A row's rate, and that of the second measurement if there was one."""
    text = f"{row['rate']:.3f} ± {error(row['rate'], row['nulls']):.3f}"
    if "again" in row:
        text += f"; again {row['again']:.3f} ± {error(row['again'], row['again_nulls']):.3f}"
    return text


def error(rate: float, trials: int) -> float:
    """Monte-Carlo standard error of a rate."""
    return math.sqrt(max(rate * (1 - rate), 1 / trials) / trials)


def markdown(results: dict[str, Any]) -> str:
    lines = [
        "# Coverage of the 95 % intervals, false positives of the paired tests",
        "",
        "Made by `python experiments/studies/interval_coverage.py`; the numbers are in"
        f" `interval_coverage.json`. Bootstraps have {REPLICATES} replicates, those of BCa differences 2,000. {results['seconds']:.0f} s"
        " on one core.",
        "",
        "## Accuracy: exact coverage (binomial, not simulated)",
        "",
        "| n | true | Wilson (ours) | Clopper-Pearson |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {r['n']} | {r['true']} | {r['wilson']:.4f} | {r['clopper-pearson']:.4f} |"
        for r in results["accuracy"]
    ]
    lines += [
        "",
        "Counts are discrete, so coverage oscillates with the true rate, and no interval without"
        " randomisation is at 95 % everywhere. At n = 200 the least of Wilson's for true rates from"
        f" .985 to .995 is {results['wilson_least']:.3f}, the mean {results['wilson_mean']:.3f};"
        " Clopper-Pearson's is never below .95, and at .99 it is 98.4 %. Wilson's is within 93-97 %"
        " at each rate of the table.",
        "",
        "## Macro-F1 (BCa) and AUROC (logit, DeLong's variance)",
        "",
        "Examples are a plain sample, class counts random. `above`, `below`: the interval lies above"
        " or below the true value. ± one Monte-Carlo standard error. A sample without an interval"
        " counts as not covered.",
    ]
    for counts, caption in (
        ("random", None),
        (
            "fixed",
            "The same with class counts fixed, as in a stratified split: the intervals allow for"
            " shares that vary, and are wider than need be where those matter.",
        ),
    ):
        if caption:
            lines += ["", caption]
        lines += [
            "",
            "| metric | classes' shares | true | n | coverage | above | below | none | trials |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for r in results["coverage"]:
            if r["counts"] == counts:
                spread = error(r["coverage"], r["trials"])
                lines.append(
                    f"| {r['metric']} | {' '.join(f'{s:g}' for s in r['shares'])} |"
                    f" {r['true']:.4f} | {r['n']} | {r['coverage']:.3f} ± {spread:.3f} |"
                    f" {r['interval_above']:.3f} | {r['interval_below']:.3f} |"
                    f" {r['no_interval']} | {r['trials']} |"
                )
    lines += [
        "",
        "## False positives at 5 %",
        "",
        f"{results['tests'][0]['nulls']} true nulls each, n = 200. Allowed: 5 % and 1.96"
        f" Monte-Carlo standard errors, {results['tests'][0]['limit']:.4f}; chance alone passes that in"
        " one row of 40, so a row above it is measured again on four times as many fresh nulls,"
        " which decides. Holm: any rejection in"
        " the family; Benjamini-Hochberg likewise, which is its false discovery rate where every"
        " null is true.",
        "",
        "| test | rate | at most 5 % + error |",
        "|---|---|---|",
    ]
    lines += [
        f"| {r['test']} | {shown(r)} | {'yes' if r['holds'] else 'NO'} |" for r in results["tests"]
    ]
    lines += [
        "",
        "Advised against by the package's own notes, and why:",
        "",
        "| procedure | rate |",
        "|---|---|",
    ]
    lines += [f"| {r['test']} | {shown(r)} |" for r in results["warned"]]
    return "\n".join(lines) + "\n"


def wilson_near_one() -> tuple[float, float]:
    """Least and mean exact coverage at n = 200 over true rates from .985 to .995."""
    counts = np.arange(201)
    bounds = np.array([wilson(int(k), 200) for k in counts])
    found = [
        stats.binom.pmf(counts, 200, p)[(bounds[:, 0] <= p) & (p <= bounds[:, 1])].sum()
        for p in np.linspace(0.985, 0.995, 1001)
    ]
    return float(min(found)), float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the trials to run")
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    start = time.perf_counter()
    results: dict[str, Any] = {"accuracy": list(accuracy_coverage())}
    results["wilson_least"], results["wilson_mean"] = wilson_near_one()
    for name, rows in (
        ("coverage", simulated_coverage(options.scale)),
        ("tests", false_positives(tests(), options.scale)),
        ("warned", false_positives(warned(), options.scale)),
    ):
        results[name] = []
        for row in rows:
            results[name].append(row)
            print(f"{time.perf_counter() - start:5.0f} s", row, flush=True)
    results["seconds"] = time.perf_counter() - start
    options.out.mkdir(parents=True, exist_ok=True)
    text = markdown(results)
    (options.out / "interval_coverage.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.out / "interval_coverage.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
