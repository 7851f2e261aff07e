"""What more labels would bring: learning curves of two cheap heads within the training split.

Heads on frozen features cost nothing to refit, so several seeds each see nested subsets of the labels
that there are; a power law fitted to each curve says what the next doublings promise.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.data.splits import nested_subsets
from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation import baselines
from jaxtransfer.evaluation.cross_fitting import fit_probe, standardisation
from jaxtransfer.evaluation.features import Features
from jaxtransfer.evaluation.labels_saved import labels_saved
from jaxtransfer.evaluation.learning_curve import LearningCurve, learning_curve
from jaxtransfer.evaluation.power_law import fit_power_law
from jaxtransfer.evaluation.table import Predictions

SEEDS = 5
SIZES = 6
MULTIPLES = (2, 4)
"""How many times the labels at hand the law is asked about."""
PROBE, MEAN = "linear probe", "nearest mean"


def sample_efficiency(
    train: Features, test: Features, *, classes: Sequence[str], metric: str, confidence: float
) -> dict[str, Any]:
    """Learning curves of nearest mean and linear probe on frozen features, and what they promise.

    The probe is multinomial logistic regression with an L2 penalty of 1 on standardised features
    (`evaluation.cross_fitting.fit_probe`): nothing of it is tuned, so no label is spent on that. All
    seeds share the largest subset, which is the whole training split.

    Args:
      train: labelled features (n, d) that the frozen encoder gives the training split.
      test: those of the examples to measure on.
      classes: names of the classes.
      metric: name of the deciding metric.
      confidence: nominal coverage of the intervals.

    Returns:
      Plain values: `metric`, `n`, `curves`, `laws` by method (a law with its `promises`, none of
      them where there is a `reason`), and `saved`, what the probe saves against the nearest mean.
      No curves, and the `reason`, where the training split is too small for one.
    """
    assert train.labels is not None
    sizes = sizes_within(train.labels, len(classes))
    if len(sizes) < 2:
        reason = (
            f"{len(train.ids)} training labels of {len(classes)} classes hold no two subset sizes"
            " with every class in each"
        )
        empty: dict[str, Any] = {"curves": [], "laws": {}, "saved": None}
        return {"metric": metric, "n": len(test.ids), "reason": reason, **empty}
    curves = [
        _curve(name, head, train, test, sizes, classes, metric, confidence)
        for name, head in ((MEAN, _nearest_mean), (PROBE, _probe))
    ]
    return {
        "metric": metric,
        "n": len(test.ids),
        "reason": None,
        "curves": [curve.to_json() for curve in curves],
        "laws": {curve.method: _law(curve, confidence) for curve in curves},
        "saved": _saved(curves, confidence),
    }


def sizes_within(labels: Int[np.ndarray, "n"], classes: int) -> list[int]:
    """Up to `SIZES` subset sizes, evenly spaced in logarithm, that hold every class for every seed.

    >>> sizes_within(np.arange(50) % 5, 5)
    [10, 15, 20, 25, 35, 50]
    """
    wanted = np.geomspace(2 * classes, max(len(labels), 2 * classes), SIZES)
    rounded = np.unique(np.round(wanted / classes).astype(int) * classes)
    candidates = [int(size) for size in rounded if size <= len(labels)]
    if not candidates:
        return []
    # Where classes are uneven, a small share of the pool may lack the rarest.
    drawn = [_subsets(labels, candidates, seed) for seed in range(SEEDS)]
    return [size for size in candidates if all(len(set(labels[d[size]])) == classes for d in drawn)]


def _subsets(labels: np.ndarray, sizes: Sequence[int], seed: int) -> Mapping[int, np.ndarray]:
    counts = np.bincount(labels)
    is_balanced = len(set(counts[counts > 0].tolist())) == 1
    return nested_subsets(np.arange(len(labels)), labels, sizes, seed, balanced=is_balanced)


def _curve(
    name: str,
    head: Any,
    train: Features,
    test: Features,
    sizes: Sequence[int],
    classes: Sequence[str],
    metric: str,
    confidence: float,
) -> LearningCurve:
    assert train.labels is not None
    assert test.labels is not None
    drawn = [_subsets(train.labels, sizes, seed) for seed in range(SEEDS)]
    tables = {
        size: [
            Predictions(
                ids=test.ids,
                labels=test.labels,
                logits=head(
                    np.asarray(train.features[rows[size]], np.float64),
                    train.labels[rows[size]],
                    np.asarray(test.features, np.float64),
                    len(classes),
                ),
                classes=tuple(classes),
            )
            for rows in drawn
        ]
        for size in sizes
    }
    subsets = {size: [train.ids[rows[size]].tolist() for rows in drawn] for size in sizes}
    return learning_curve(tables, metric, method=name, subsets=subsets, confidence=confidence)


def _nearest_mean(
    features: np.ndarray, labels: np.ndarray, queries: np.ndarray, classes: int
) -> Float[np.ndarray, "n k"]:
    return baselines.nearest_class_mean(features, labels, queries, classes=classes)


def _probe(
    features: np.ndarray, labels: np.ndarray, queries: np.ndarray, classes: int
) -> Float[np.ndarray, "n k"]:
    mean, scale = standardisation(features)
    kernel, bias = fit_probe((features - mean) / scale, labels, classes)
    return (queries - mean) / scale @ kernel + bias


def _law(curve: LearningCurve, confidence: float) -> dict[str, Any]:
    try:
        law = fit_power_law(curve, confidence=confidence)
    except EvaluationError as error:
        # Too few sizes, or a metric without a best value: the curve stands without a law.
        return {"reason": str(error), "promises": []}
    largest = curve.labels[-1].train
    promised = [law.predict(float(largest * times)).to_json() for times in MULTIPLES]
    return {**law.to_json(), "reason": None, "promises": promised}


def _saved(curves: Sequence[LearningCurve], confidence: float) -> dict[str, Any]:
    """What the probe saves against the nearest mean, at the level that this reaches with all labels."""
    mean, probe = curves
    return labels_saved(probe, mean, [float(mean.means[-1])], confidence=confidence)[0].to_json()
