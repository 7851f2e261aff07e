"""The catalogue card of a task: labels, noise, diversity, sizes of inputs, leakage between splits.

Noise and diversity are those of the labels that may be read, on the frozen encoder's features.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.analyse.catalogue import (
    effective_classes,
    imbalance_ratio,
    label_noise,
    mean_pairwise_distance,
    vendi_score,
)
from jaxtransfer.data.leakage import leakage, split_tables
from jaxtransfer.protocol.problem import TRAIN, TUNE, Problem


def task_card(
    problem: Problem, features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, "n"], seed: int
) -> dict[str, Any]:
    """Describes a task.

    Args:
      problem: model, data and splits.
      features: of the examples whose labels may be read.
      labels: theirs.
      seed: of folds and draws.

    Returns:
      Plain values: `facts`, flat, which rules and preconditions read; `data`, the problem's own
      card; `scores` with their definitions; `inputs`, sizes beside what the backbone takes; `leakage`.
    """
    classes = len(problem.classes)
    train = problem.examples[TRAIN].labels
    counts = np.bincount(train, minlength=classes)
    splits = {name: rows for name, rows in problem.splits.items() if name != "rest"}
    near = "texts" if isinstance(problem.table.inputs[0], str) else "images"
    noise = label_noise(features, labels, classes, seed=seed)
    scores = {
        "effective_classes": effective_classes(labels, classes),
        "imbalance": imbalance_ratio(problem.table.labels.astype(np.int64), classes),  # type: ignore[union-attr]
        "label_noise": noise,
        "mean_pairwise_distance": mean_pairwise_distance(features, seed=seed),
        "vendi_score": vendi_score(features, seed=seed),
    }
    sizes = {name: len(rows) for name, rows in splits.items()}
    facts: dict[str, Any] = {
        "kind": near[:-1],
        "examples": len(problem.table),
        "classes": classes,
        "train_labels": int(counts.sum()),
        "labels_per_class": int(counts.min()),
        "validation_labels": sizes.get(TUNE, 0) + sizes.get("accept", 0),
        "imbalance": scores["imbalance"].value,
        "effective_classes": scores["effective_classes"].value,
        "label_noise": noise.value,
        "vendi_score": scores["vendi_score"].value,
    }
    return {
        "facts": facts,
        "data": dict(problem.card),
        "scores": {name: score.to_json() for name, score in scores.items()},
        "inputs": _inputs(problem),
        "leakage": leakage(split_tables(problem.table, splits), near=near).to_json(),  # type: ignore[arg-type]
    }


def _inputs(problem: Problem) -> dict[str, Any]:
    """Lengths of texts, or sizes of images, beside what the backbone takes."""
    raw = [problem.table.inputs[row] for row in range(len(problem.table))]
    preprocess = problem.encoder.preprocess
    if isinstance(raw[0], str):
        lengths = preprocess.lengths(raw)
        return {
            "unit": "tokens",
            "quantiles": _quantiles(lengths),
            "takes": preprocess.max_length,
            "beyond": int((lengths > preprocess.max_length).sum()),
        }
    sides = np.array([min(np.asarray(image).shape[:2]) for image in raw])
    size = getattr(preprocess, "size", None)
    return {
        "unit": "pixels of the shorter side",
        "quantiles": _quantiles(sides),
        "takes": size,
        "beyond": None if size is None else int((sides > size).sum()),
    }


def _quantiles(values: np.ndarray) -> dict[str, float]:
    return {f"{q:g}": float(np.quantile(values, q)) for q in (0, 0.25, 0.5, 0.75, 0.9, 1)}
