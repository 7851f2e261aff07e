"""Learning curves made up for tests: predictions of known accuracy, and numbers of a known law."""

import numpy as np

from jaxtransfer.evaluation.learning_curve import curve_from_values
from jaxtransfer.evaluation.table import Predictions


def table(right, *, order=None):
    """A two-class table that is right where it says so; ids e0, e1, ..."""
    right = np.asarray(right, bool)
    n = len(right)
    labels = np.arange(n) % 2
    rows = np.arange(n) if order is None else order
    return Predictions(
        ids=np.array([f"e{i}" for i in range(n)])[rows],
        labels=labels[rows],
        logits=np.eye(2)[np.where(right, labels, 1 - labels)][rows],
        classes=("a", "b"),
    )


def tables(accuracies, *, seeds=3, n=200, seed=0):
    """Size to one table a seed, drawn so that examples are as hard for every size and seed."""
    rng = np.random.default_rng(seed)
    hardness = rng.random(n)
    return {
        size: [
            table(0.7 * hardness + 0.3 * rng.random(n) < accuracy + 0.02 * rng.normal())
            for _ in range(seeds)
        ]
        for size, accuracy in accuracies.items()
    }


def law_curve(a, b, c, sizes, *, noise=0.0, seeds=1, seed=0, method="m", **options):
    """A curve of accuracies 1 - a - b n^-c, with normal noise a seed."""
    rng = np.random.default_rng(seed)
    values = {n: 1 - a - b * n**-c + noise * rng.normal(size=seeds) for n in sizes}
    return curve_from_values(
        {n: np.clip(row, 0, 1) for n, row in values.items()},
        method=method,
        metric="accuracy",
        n=500,
        **options,
    )
