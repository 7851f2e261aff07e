"""How well scores tell outliers from the training distribution: AUROC, AUPR and FPR95, either class positive.

A score is larger for what is farther. Each definition names its positive class, because FPR95 and
AUPR differ by it, and papers differ in it.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.definition import Measured
from jaxtransfer.evaluation.features import Features
from jaxtransfer.evaluation.intervals import (
    acceleration,
    bca,
    bootstrap_weights,
    check_confidence,
    chunks,
    cut,
)
from jaxtransfer.evaluation.outliers import Detector

RECALL = 0.95

DEFINITIONS: Mapping[str, str] = {
    "auroc": "share of pairs of an outlier and an inlier in which the outlier scores higher, ties one"
    " half; the same whichever class is positive",
    "aupr_out": "outlier positive: average precision, the sum over thresholds of precision times the"
    " step of recall",
    "aupr_in": "inlier positive: average precision of minus the score",
    "fpr95_out": "outlier positive: share of inliers taken for outliers at the highest threshold that"
    " finds 95 % of the outliers",
    "fpr95_in": "inlier positive, as most papers have it: share of outliers taken for inliers at the"
    " lowest threshold that keeps 95 % of the inliers",
}
MAXIMISE = {"auroc": True, "aupr_out": True, "aupr_in": True, "fpr95_out": False, "fpr95_in": False}


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutlierMetrics:
    """What scores tell about one set of outliers.

    Attributes:
      measured: the metrics of `DEFINITIONS`, each with its interval; n counts both sets.
      inliers: how many there were.
      outliers: how many there were.
    """

    measured: Mapping[str, Measured]
    inliers: int
    outliers: int

    def __getitem__(self, name: str) -> Measured:
        return self.measured[name]

    def __str__(self) -> str:
        lines = [str(found) for found in self.measured.values()]
        return "\n".join([*lines, f"{self.inliers} inliers, {self.outliers} outliers"])

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "n_inliers": self.inliers,
            "n_outliers": self.outliers,
            "metrics": {name: found.to_json() for name, found in self.measured.items()},
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutlierResult:
    """One detector on one set of outliers.

    Attributes:
      detector: its name.
      definition: its score.
      outliers: name of the set.
      distance: `near` or `far`, as the caller says.
      metrics: what it tells.
    """

    detector: str
    definition: str
    outliers: str
    distance: Literal["near", "far"]
    metrics: OutlierMetrics

    def __str__(self) -> str:
        auroc, fpr = self.metrics["auroc"], self.metrics["fpr95_in"]
        return f"{self.detector} against {self.outliers} ({self.distance}): {auroc}; {fpr}"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "detector": self.detector,
            "definition": self.definition,
            "outliers": self.outliers,
            "distance": self.distance,
            **self.metrics.to_json(),
        }


def outlier_metrics(
    inlier_scores: Float[np.ndarray, "n"],
    outlier_scores: Float[np.ndarray, "m"],
    *,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = 1000,
) -> OutlierMetrics:
    """AUROC, AUPR and FPR95 of scores that are larger for outliers.

    Intervals are of a bootstrap within each of the two sets: bias-corrected, and accelerated (BCa)
    for AUROC; a jackknife says nothing about the step at a quantile, so the others are not
    accelerated.

    Args:
      inlier_scores: of held-out examples of the training distribution.
      outlier_scores: of examples from elsewhere.
      confidence: nominal coverage.
      seed: of the bootstrap.
      replicates: bootstrap samples; 0 gives no interval.

    Raises:
      EvaluationError: if a set is empty, or a score is not finite, naming set and row.
    """
    check_confidence(confidence)
    inside = _checked(inlier_scores, "inlier")
    outside = _checked(outlier_scores, "outlier")
    counts = _Counts(inside, outside)
    n = len(inside) + len(outside)
    ones = np.ones((1, n))
    values = {name: float(found[0]) for name, found in counts.weighted(ones).items()}
    samples: dict[str, list[np.ndarray]] = {name: [] for name in DEFINITIONS}
    rng = np.random.default_rng(seed)
    # Several running sums of each replicate are held at once.
    for size in chunks(replicates, 4 * n):
        for name, found in counts.weighted(bootstrap_weights(counts.strata, size, rng)).items():
            samples[name].append(found)
    measured = {}
    for name, text in DEFINITIONS.items():
        part = functools.partial(Measured, name=name, value=values[name], n=n, definition=text)
        if replicates < 1:
            measured[name] = part(ci=None, undefined="interval not asked for")
            continue
        accelerated = (
            acceleration(counts.auroc_without(), counts.strata) if name == "auroc" else 0.0
        )
        ci = bca(values[name], np.concatenate(samples[name]), accelerated, confidence)
        if isinstance(ci, str):
            measured[name] = part(ci=None, undefined=ci)
        else:
            measured[name] = part(ci=cut(ci, (0.0, 1.0)))
    return OutlierMetrics(measured=measured, inliers=len(inside), outliers=len(outside))


def compare_detectors(
    detectors: Mapping[str, Detector],
    inliers: Features,
    outliers: Mapping[str, tuple[Literal["near", "far"], Features]],
    *,
    reference: Features | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = 1000,
) -> tuple[OutlierResult, ...]:
    """Measures every detector on every set of outliers; sets by name, detectors in order.

    Args:
      detectors: fitted ones, as of `outliers.fit_detectors`.
      inliers: held-out examples of the training distribution.
      outliers: name to (`near` or `far`, table).
      reference: what the detectors were fitted on, to check that no example of it is scored.
      confidence: nominal coverage.
      seed: of the bootstrap; its resamples of a set are the same for all detectors.
      replicates: bootstrap samples.

    Raises:
      EvaluationError: if a set is neither near nor far, or shares ids with the reference.
    """
    results = []
    scores = {name: found.score(inliers) for name, found in detectors.items()}
    _check_apart(reference, inliers)
    for title, (distance, table) in outliers.items():
        if distance not in ("near", "far"):
            raise EvaluationError(f"outliers {title!r} are {distance!r}; say 'near' or 'far'")
        _check_apart(reference, table)
        for name, found in detectors.items():
            metrics = outlier_metrics(
                scores[name],
                found.score(table),
                confidence=confidence,
                seed=seed,
                replicates=replicates,
            )
            results.append(
                OutlierResult(
                    detector=name,
                    definition=found.definition,
                    outliers=title,
                    distance=distance,
                    metrics=metrics,
                )
            )
    return tuple(results)


class _Counts:
    """Scores of both sets in order, from which weighted rates follow by running sums."""

    def __init__(self, inside: np.ndarray, outside: np.ndarray):
        scores = np.concatenate([inside, outside])
        self.inside, self.outside = inside, outside
        self.strata = np.repeat([0, 1], [len(inside), len(outside)])
        self.order = np.argsort(scores, kind="stable")
        self.out = self.strata[self.order] == 1
        ranked = scores[self.order]
        self.last = np.append(ranked[1:] != ranked[:-1], True)
        """Where a run of equal scores ends."""

    def weighted(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Every metric, (r,), when example i counts weights[:, i] times."""
        ranked = weights[:, self.order]
        # At each distinct score: how many of either set lie at or below it.
        below = [np.cumsum(ranked * side, axis=1)[:, self.last] for side in (~self.out, self.out)]
        total_in, total_out = (counts[:, -1:] for counts in below)
        kept, missed = (counts / counts[:, -1:] for counts in below)
        start = np.zeros((len(weights), 1))
        before_in, before_out = (np.concatenate([start, c[:, :-1]], axis=1) for c in below)
        # Above or at each distinct score.
        flagged, found = total_in - before_in, total_out - before_out
        share_in = np.diff(kept, axis=1, prepend=0)
        share_out = np.diff(missed, axis=1, prepend=0)
        rows = np.arange(len(weights))
        # Rounding of sums of whole weights must not ask for one more example than 95 %.
        keeping = np.argmax(below[0] >= RECALL * total_in - 1e-9, axis=1)
        finding = (
            found.shape[1] - 1 - np.argmax((found >= RECALL * total_out - 1e-9)[:, ::-1], axis=1)
        )
        return {
            "auroc": (share_out * (kept - share_in / 2)).sum(axis=1),
            "aupr_out": (share_out * _ratio(found, found + flagged)).sum(axis=1),
            "aupr_in": (share_in * _ratio(below[0], below[0] + below[1])).sum(axis=1),
            "fpr95_out": flagged[rows, finding] / total_in[:, 0],
            "fpr95_in": missed[rows, keeping],
        }

    def auroc_without(self) -> np.ndarray:
        """AUROC without each example."""
        inside, outside = np.sort(self.inside), np.sort(self.outside)

        def at(ranked, scores):
            return (np.searchsorted(ranked, scores) + np.searchsorted(ranked, scores, "right")) / 2

        wins_out = at(inside, self.outside)
        wins_in = len(outside) - at(outside, self.inside)
        pairs, n, m = wins_out.sum(), len(inside), len(outside)
        rest = np.concatenate([np.full(n, (n - 1) * m), np.full(m, n * (m - 1))])
        return (pairs - np.concatenate([wins_in, wins_out])) / np.maximum(1, rest)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _checked(scores: Any, name: str) -> np.ndarray:
    array = np.asarray(scores)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iuf":
        raise EvaluationError(
            f"{name} scores must be numbers of shape (n,), at least one, not {array.dtype} of shape"
            f" {array.shape}"
        )
    broken = np.flatnonzero(~np.isfinite(array))
    if broken.size:
        raise EvaluationError(
            f"{name} score {broken[0]} is {array[broken[0]]}, not finite ({broken.size} such)"
        )
    return array.astype(np.float64)


def _check_apart(reference: Features | None, table: Features) -> None:
    if reference is None:
        return
    both = np.intersect1d(reference.ids, table.ids)
    if both.size:
        raise EvaluationError(
            f"{table.source} shares {both.size} ids with the reference {reference.source}, such as"
            f" {both[:3].tolist()}: score what the detectors were not fitted on"
        )
