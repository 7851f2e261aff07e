"""How often the intervals of a fitted power law, and of the labels saved, hold the truth that made the curves.

    python experiments/studies/power_law_coverage.py

Curves of accuracies 0.95 - 1.5 n^-0.6 at six sizes and five seeds, with normal noise that is the same at every size, or
falls with it. Laws are fitted with equal weights, with one over each size's own squared standard error, and as
`fit_power_law` does, with standard errors smoothed over the sizes. Labels saved are of two such curves whose seeds
share half of their variance; the truth is the interpolation of the true means at the same sizes.

Writes `results/power_law_coverage.md`. Takes about three minutes on two quiet cores.
"""

import argparse
import os
import pathlib
import sys
from collections.abc import Callable

import numpy as np

from jaxtransfer.evaluation.labels_saved import labels_saved
from jaxtransfer.evaluation.learning_curve import LearningCurve, curve_from_values
from jaxtransfer.evaluation.power_law import error_of, fit_many, fit_power_law

RESULTS = pathlib.Path(__file__).parent / "results"
SIZES = (10, 25, 50, 100, 250, 500)
TRUTH = (0.05, 1.5, 0.6)
BASELINE = (0.05, 2.2, 0.6)
SEEDS = 5
LEVEL = 0.8
NOISES: dict[str, Callable[[int], float]] = {
    "0.01": lambda size: 0.01,
    "0.06 n^-0.4": lambda size: 0.06 * size**-0.4,
}
PARTS = ("a", "b", "c", "error at 100")


def made(
    law: tuple[float, float, float], noise: Callable[[int], float], drawn: np.ndarray, method: str
) -> LearningCurve:
    """A curve of a law, with standard normal noise (sizes, seeds) scaled by size."""
    a, b, c = law
    values = {
        size: np.clip(1 - a - b * size**-c + noise(size) * row, 0, 1)
        for size, row in zip(SIZES, drawn)
    }
    return curve_from_values(values, method=method, metric="accuracy", n=500)


def inside(draws: np.ndarray, truth: float) -> bool:
    """Whether the percentile interval holds the truth."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return bool(low <= truth <= high)


def by_weights(curve: LearningCurve, weights: np.ndarray) -> np.ndarray:
    """The parameters of each replicate under other weights."""
    return fit_many(curve.train, error_of(curve, curve.replicates()).T, weights)


def laws(curves: int) -> list[str]:
    """Rows of coverage by noise and weights."""
    lines = []
    a, b, c = TRUTH
    values = (*TRUTH, a + b * 100**-c)
    for name, noise in NOISES.items():
        hits = {key: np.zeros(4) for key in ("equal", "own", "smoothed")}
        for index in range(curves):
            drawn = np.random.default_rng(index).normal(size=(len(SIZES), SEEDS))
            curve = made(TRUTH, noise, drawn, "m")
            found = {
                "equal": by_weights(curve, np.ones(len(SIZES))),
                "own": by_weights(curve, 1 / curve.variances),
                "smoothed": fit_power_law(curve).draws,
            }
            for key, draws in found.items():
                parts = [*draws.T, draws[:, 0] + draws[:, 1] * 100.0 ** -draws[:, 2]]
                hits[key] += [inside(part, value) for part, value in zip(parts, values)]
        for key, count in hits.items():
            shares = " | ".join(f"{100 * share:.1f}" for share in count / curves)
            lines.append(f"| {name} | {key} | {shares} |")
    return lines


def saved(curves: int) -> list[str]:
    """Rows of coverage of labels saved and their ratio, by noise."""
    lines = []
    for name, noise in NOISES.items():
        silent = np.zeros((len(SIZES), 1))
        (truth,) = labels_saved(
            made(TRUTH, noise, silent, "a"), made(BASELINE, noise, silent, "b"), [LEVEL]
        )
        hits = np.zeros(2)
        for index in range(curves):
            rng = np.random.default_rng([index, 1])
            shared, *own = rng.normal(size=(3, len(SIZES), SEEDS)) / np.sqrt(2)
            pair = [
                made(law, noise, shared + part, method)
                for law, part, method in zip((TRUTH, BASELINE), own, "ab")
            ]
            (found,) = labels_saved(*pair, [LEVEL])
            for part, attribute in enumerate(("difference", "ratio")):
                low, high = getattr(found, attribute).ci
                hits[part] += low <= getattr(truth, attribute).value <= high
        shares = " | ".join(f"{100 * share:.1f}" for share in hits / curves)
        lines.append(f"| {name} | {shares} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=int, default=500, help="simulated curves of each kind")
    curves = parser.parse_args().curves
    command = " ".join(["python experiments/studies/power_law_coverage.py", *sys.argv[1:]])
    error = 100 * np.sqrt(0.95 * 0.05 / curves)
    lines = [
        "# Coverage of power laws and labels saved",
        "",
        f"`{command}`, {os.cpu_count()} cores. Written by that command.",
        "",
        f"Per cent of {curves} curves whose nominal 95 % interval holds the truth (standard error"
        f" {error:.1f}); five seeds, six sizes, 1,000 replicates.",
        "",
        "| noise of a seed | weights | " + " | ".join(PARTS) + " |",
        "|---|---|---|---|---|---|",
        *laws(curves),
        "",
        f"Labels saved to reach {LEVEL} by interpolation, two methods whose seeds share half their variance:",
        "",
        "| noise of a seed | difference | ratio |",
        "|---|---|---|",
        *saved(curves),
        "",
    ]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "power_law_coverage.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
