"""What of a batch is compared: features, inputs and confidence with label shift taken out, and
predicted classes.

A view is fitted on one part of the reference and never changes, so that the rest of it and all
later batches are exchangeable under it as long as nothing drifts.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.evaluation.drift.batches import Batch
from jaxtransfer.evaluation.drift.label_shift import offsets, predicted_classes
from jaxtransfer.evaluation.drift.permutation import subsets
from jaxtransfer.evaluation.drift.two_sample import (
    TwoSample,
    classifier,
    kernel_tests,
    largest_ks,
    mean_shift,
    median_bandwidth,
)
from jaxtransfer.evaluation.shrinkage import ledoit_wolf, shrunk

KINDS = ("features", "inputs", "labels", "confidence")

WEIGHTS = {
    "features": {
        "mean shift": 0.25,
        "whitened mean shift": 0.25,
        "classifier": 0.125,
        "MMD": 0.125,
        "energy distance": 0.125,
        "largest KS": 0.125,
    },
    "inputs": {"mean shift": 0.5, "largest KS": 0.5},
    "labels": {"predicted classes": 1.0},
    "confidence": {"mean shift": 0.5, "largest KS": 0.5},
}
"""Each kind's tests, and the weights of their e-values."""

MEDIAN_ROWS = 1000
"""Rows from which the kernel's bandwidth is taken."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effort:
    """How many permutations and rows the tests of one look use.

    Attributes:
      permutations: of the tests of means.
      kernel_permutations: of MMD and energy distance.
      label_permutations: of the test of predicted classes.
      rows: at most so many of either side, drawn anew for each look; the labels' test takes all.
      kernel_rows: the same for MMD and energy distance.
    """

    permutations: int = 999
    kernel_permutations: int = 199
    label_permutations: int = 9999
    rows: int = 1000
    kernel_rows: int = 250


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A map from a column of batches to standardised numbers without label shift.

    Attributes:
      offsets: (k, d) taken off each row by its predicted class (`label_shift.offsets`).
      scale: (d,) standard deviations; 1 for a column that is constant in the reference.
      whitening: (d, d) of the standardised columns, W W' their inverse covariance.
      bandwidth: of the Gaussian kernel, the median distance; 1 where it is not used.
      rule: how the offsets were found.
    """

    offsets: Float[np.ndarray, "k d"]
    scale: Float[np.ndarray, "d"]
    whitening: Float[np.ndarray, "d d"]
    bandwidth: float
    rule: str

    def of(self, kind: str, batch: Batch) -> Float[np.ndarray, "n d"]:
        """The numbers that stand for a batch."""
        return (raw(kind, batch) - self.offsets[batch.predicted]) / self.scale


def raw(kind: str, batch: Batch) -> Float[np.ndarray, "n d"]:
    """The columns of a kind, as the batch has them."""
    if kind == "features":
        return np.asarray(batch.features)
    return batch.input_matrix if kind == "inputs" else batch.confidence[:, None]


def fit_view(kind: str, batch: Batch) -> View:
    """Offsets, scale, whitening and bandwidth from a part of the reference.

    Raises:
      EvaluationError: if most rows' features are equal.
    """
    values = raw(kind, batch)
    classes = max(1, len(batch.classes))
    found, rule = offsets(values, batch.predicted, batch.labels, classes)
    residual = values - found[batch.predicted]
    scale = residual.std(axis=0)
    scale = np.where(scale > 1e-12 * np.abs(values).max(axis=0), scale, 1.0)
    standardised = residual / scale
    features = kind == "features"
    return View(
        offsets=found,
        scale=scale,
        whitening=_whitening(standardised) if features else np.eye(values.shape[1]),
        bandwidth=median_bandwidth(standardised[:MEDIAN_ROWS]) if features else 1.0,
        rule=rule,
    )


def _whitening(rows: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(shrunk(*ledoit_wolf(rows - rows.mean(axis=0))))
    # Directions without variance in the reference have no scale to whiten by.
    floor = 1e-10 * max(float(values[-1]), 1e-300)
    return vectors * np.where(values > floor, 1 / np.sqrt(np.maximum(values, floor)), 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pairing:
    """Which rows one look compares, and its permutations; all kinds share them.

    Attributes:
      batch: indices into the batch.
      other: indices into the rows it is compared with.
      indicators: of the permutations of both together.
    """

    batch: Int[np.ndarray, "m"]
    other: Int[np.ndarray, "n"]
    indicators: Float[np.ndarray, "r m+n"]


def pair(batch: int, other: int, effort: Effort, rng: np.random.Generator) -> Pairing:
    """Draws rows and permutations for a batch and the rows it is compared with, given both sizes."""
    chosen = [_at_most(np.arange(rows), effort.rows, rng) for rows in (batch, other)]
    sizes = [len(rows) for rows in chosen]
    return Pairing(
        batch=chosen[0],
        other=chosen[1],
        indicators=subsets(sum(sizes), sizes[0], effort.permutations, rng),
    )


def compare(
    kind: str,
    view: View | None,
    batch: np.ndarray,
    other: np.ndarray,
    pairing: Pairing,
    *,
    classes: int,
    effort: Effort,
    rng: np.random.Generator,
) -> list[TwoSample]:
    """The tests of one kind between a batch's numbers and others'.

    Args:
      kind: one of KINDS.
      view: of the kind; None for labels.
      batch: (m, d) numbers of the view, or (m,) predicted classes.
      other: the same of the rows it is compared with.
      pairing: of `pair`.
      classes: how many classes there are.
      effort: permutations and rows.
      rng: draws what the tests draw besides.
    """
    if view is None:
        count = effort.label_permutations
        return [predicted_classes(batch, other, classes, rng, permutations=count)]
    batch, other = batch[pairing.batch], other[pairing.other]
    results = [mean_shift(batch, other, pairing.indicators), largest_ks(batch, other)]
    if kind == "features":
        results += [
            mean_shift(
                batch,
                other,
                pairing.indicators,
                transform=view.whitening,
                name="whitened mean shift",
            ),
            classifier(batch, other, rng),
            *kernel_tests(
                _at_most(batch, effort.kernel_rows, rng),
                _at_most(other, effort.kernel_rows, rng),
                rng,
                bandwidth=view.bandwidth,
                permutations=effort.kernel_permutations,
            ),
        ]
    order = list(WEIGHTS[kind])
    return sorted(results, key=lambda result: order.index(result.name))


def _at_most(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    if len(rows) <= count:
        return rows
    return rows[rng.choice(len(rows), count, replace=False)]
