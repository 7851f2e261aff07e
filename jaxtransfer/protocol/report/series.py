"""What the report computes from histories and predictions: bands, bins, confusions, hardness."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.evaluation.calibration import reliability
from jaxtransfer.evaluation.errors import confusion_matrix
from jaxtransfer.evaluation.probabilities import log_softmax
from jaxtransfer.evaluation.table import Predictions

MAX_POINTS = 200
"""More points are averaged in runs of steps: a screen cannot show them and the file would grow."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """A quantity over steps: mean, least and most over the seeds that measured it at that step."""

    steps: Float[np.ndarray, " points"]
    mean: Float[np.ndarray, " points"]
    low: Float[np.ndarray, " points"]
    high: Float[np.ndarray, " points"]


def band(histories: Sequence[Sequence[Mapping[str, Any]]], key: str) -> Band | None:
    """Gathers one quantity of several seeds' histories; None if no seed measured it.

    Steps start again in each phase of a method (LP-FT); the curve goes on where the phase before ended.
    """
    series: dict[float, list[float]] = {}
    for history in histories:
        for step, value in _unrolled(history, key):
            series.setdefault(step, []).append(value)
    if not series:
        return None
    steps = np.array(sorted(series), float)
    columns = [
        np.array([reduce(series[step]) for step in steps], float)
        for reduce in (np.mean, np.min, np.max)
    ]
    groups = np.array_split(np.arange(len(steps)), min(MAX_POINTS, len(steps)))
    steps, mean, low, high = (
        np.array([column[g].mean() for g in groups]) for column in (steps, *columns)
    )
    return Band(steps=steps, mean=mean, low=low, high=high)


def _unrolled(history: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    offset, previous, phase, points = 0.0, 0.0, 0, []
    for line in history:
        if line.get("phase", 0) != phase:
            offset, phase = offset + previous, line["phase"]
        previous = line["step"]
        if line.get(key) is not None:
            points.append((offset + line["step"], float(line[key])))
    return points


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Bins:
    """Predictions of all seeds by the confidence of the predicted class; empty bins hold NaN."""

    edges: Float[np.ndarray, " edges"]
    counts: Int[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]
    confidence: Float[np.ndarray, " bins"]


def reliability_bins(tables: Sequence[Predictions]) -> Bins:
    """The reliability diagram of all tables together, in the bins of the metric `ece`."""
    diagrams = [reliability(table) for table in tables]
    counts = np.sum([diagram.count for diagram in diagrams], axis=0)

    def pooled(name: str) -> np.ndarray:
        sums = np.sum([np.nan_to_num(getattr(d, name)) * d.count for d in diagrams], axis=0)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    return Bins(
        edges=diagrams[0].edges,
        counts=counts,
        accuracy=pooled("accuracy"),
        confidence=pooled("confidence"),
    )


def confusion(tables: Sequence[Predictions]) -> Int[np.ndarray, "classes classes"]:
    """Number of predictions by true class (row) and predicted class (column), over all tables."""
    return np.sum([confusion_matrix(table) for table in tables], axis=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HardExample:
    """A test example that the chosen rung finds hard.

    Attributes:
      label: true class.
      predicted: class of the highest probability, averaged over seeds.
      chance: mean probability of the predicted class.
      chance_of_label: mean probability of the true class.
      loss: mean negative log-likelihood of the true class.
      wrong: number of seeds that predict another class.
    """

    id: str
    label: int
    predicted: int
    chance: float
    chance_of_label: float
    loss: float
    wrong: int


def hardest(tables: Sequence[Predictions], ids: Sequence[str], count: int) -> list[HardExample]:
    """The `count` examples of highest mean loss among those given, hardest first."""
    place = {str(name): row for row, name in enumerate(tables[0].ids)}
    logs = np.stack([log_softmax(table.align(tables[0]).logits) for table in tables])
    mean = np.exp(logs).mean(axis=0)
    found = []
    for name in ids:
        if name not in place:
            continue
        row = place[name]
        label = int(tables[0].labels[row])
        predicted = int(mean[row].argmax())
        found.append(
            HardExample(
                id=name,
                label=label,
                predicted=predicted,
                chance=float(mean[row, predicted]),
                chance_of_label=float(mean[row, label]),
                loss=float(-logs[:, row, label].mean()),
                wrong=int((logs[:, row].argmax(axis=1) != label).sum()),
            )
        )
    return sorted(found, key=lambda example: -example.loss)[:count]


def gallery(tables: Sequence[Predictions], count: int) -> list[HardExample]:
    """What is worth looking at: the `count` hardest examples, and the `count` most confidently wrong ones."""
    ranked = hardest(tables, tables[0].ids.tolist(), len(tables[0]))
    wrong = [example for example in ranked if example.predicted != example.label]
    sure = sorted(wrong, key=lambda example: -example.chance)[:count]
    kept = {example.id for example in [*ranked[:count], *sure]}
    return [example for example in ranked if example.id in kept]
