"""Calibration of the predicted class: reliability bins, calibration error, and what chance gives.

A perfectly calibrated model does not score 0 on finitely many examples, so the error is printed
beside that value.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.definition import Definition
from jaxtransfer.evaluation.intervals import chunks, wilson
from jaxtransfer.evaluation.probabilities import log_softmax
from jaxtransfer.evaluation.statistic import Statistic, grouped_sum
from jaxtransfer.evaluation.table import Predictions

BINS = 15


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reliability:
    """A reliability diagram's numbers; bin b holds confidences in (edges[b], edges[b + 1]].

    Attributes:
      edges: (bins + 1,) from 0 to 1.
      count: (bins,) examples in each bin.
      confidence: (bins,) their mean confidence, NaN where there are none.
      accuracy: (bins,) the share of them predicted right, NaN where there are none.
      low: (bins,) lower Wilson bound of the accuracy.
      high: (bins,) upper Wilson bound.
    """

    edges: Float[np.ndarray, "edges"]
    count: Int[np.ndarray, "bins"]
    confidence: Float[np.ndarray, "bins"]
    accuracy: Float[np.ndarray, "bins"]
    low: Float[np.ndarray, "bins"]
    high: Float[np.ndarray, "bins"]

    @property
    def ece(self) -> float:
        """Expected calibration error of these bins."""
        full = self.count > 0
        gaps = np.abs(self.accuracy[full] - self.confidence[full])
        return float((self.count[full] * gaps).sum() / self.count.sum())


def confidence_and_correct(
    table: Predictions,
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """The probability of the predicted class, in (0, 1], and 1.0 where it is the label."""
    confidence = np.exp(log_softmax(table.logits).max(axis=1))
    return confidence, (table.predicted == table.labels).astype(np.float64)


def reliability(table: Predictions, bins: int = BINS, *, confidence: float = 0.95) -> Reliability:
    """Accuracy against confidence in bins of equal width, with counts and Wilson intervals."""
    edges = _edges(bins)
    conf, correct = confidence_and_correct(table)
    index = _bin(conf, edges)
    count = np.bincount(index, minlength=bins)
    hits = np.bincount(index, weights=correct, minlength=bins)
    mass = np.bincount(index, weights=conf, minlength=bins)
    empty = count == 0
    bounds = np.array(
        [
            (np.nan, np.nan) if c == 0 else wilson(int(h), int(c), confidence)
            for h, c in zip(hits, count)
        ]
    )
    return Reliability(
        edges=edges,
        count=count,
        confidence=np.where(empty, np.nan, mass / np.maximum(count, 1)),
        accuracy=np.where(empty, np.nan, hits / np.maximum(count, 1)),
        low=bounds[:, 0],
        high=bounds[:, 1],
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationError(Statistic):
    """Expected calibration error: the sum over bins of |sum of (correct - confidence)|, over n."""

    bins: Int[np.ndarray, "n"]
    gaps: Float[np.ndarray, "n"]

    def weighted(self, weights):
        """See Statistic."""
        _, sums = grouped_sum(weights * self.gaps, self.bins)
        return np.abs(sums).sum(axis=1) / weights.sum(axis=1)

    def leave_one_out(self):
        """See Statistic."""
        sums = np.bincount(self.bins, weights=self.gaps)
        mine = sums[self.bins]
        rest = np.abs(sums).sum() - np.abs(mine) + np.abs(mine - self.gaps)
        return rest / max(1, len(self.gaps) - 1)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PerfectCalibrationError(Statistic):
    """The calibration error when each prediction is right with the probability that it claims.

    `resample` draws what is right anew and keeps the confidences, so its mean is the error of a
    perfectly calibrated model on this many examples.
    """

    bins: Int[np.ndarray, "n"]
    confidence: Float[np.ndarray, "n"]

    def resample(self, rng, replicates):
        """The error in simulations under perfect calibration, (replicates,)."""
        values = []
        for count in chunks(replicates, len(self.bins)):
            gaps = (rng.random((count, len(self.bins))) < self.confidence) - self.confidence
            _, sums = grouped_sum(gaps, self.bins)
            values.append(np.abs(sums).sum(axis=1) / len(self.bins))
        return np.concatenate(values)

    def weighted(self, weights):
        """A simulated value is no function of weights."""
        raise EvaluationError(
            "ece_perfect is simulated: it has no bootstrap and no paired difference"
        )

    def leave_one_out(self):
        """A simulated value has no jackknife."""
        raise EvaluationError("ece_perfect is simulated: it has no jackknife")


def calibration_error(table: Predictions, bins: int = BINS) -> CalibrationError:
    """Prepares the expected calibration error (Guo et al. 2017, equation 3)."""
    conf, correct = confidence_and_correct(table)
    return CalibrationError(
        labels=table.labels,
        detail=f"{bins} bins",
        bins=_bin(conf, _edges(bins)),
        gaps=correct - conf,
    )


def perfect_calibration_error(table: Predictions, bins: int = BINS) -> PerfectCalibrationError:
    """Prepares the simulation of the calibration error under perfect calibration."""
    conf, _ = confidence_and_correct(table)
    return PerfectCalibrationError(
        labels=table.labels, detail=f"{bins} bins", bins=_bin(conf, _edges(bins)), confidence=conf
    )


def _edges(bins: int) -> np.ndarray:
    if bins < 1:
        raise EvaluationError(f"{bins} bins: at least 1 is needed")
    return np.arange(bins + 1) / bins


def _bin(confidence: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The bin (low, high] that holds each confidence; rounding above 1 stays in the last."""
    return np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, len(edges) - 2)


CALIBRATION: tuple[Definition, ...] = (
    Definition(
        name="ece",
        text="expected calibration error of the predicted class, bins of equal width closed"
        " on the right; biased upward on few examples, and so is its interval: see ece_perfect",
        prepare=calibration_error,
        maximise=False,
    ),
    Definition(
        name="ece_perfect",
        text="mean and central range of ece were every prediction right with exactly its"
        " probability, simulated",
        prepare=perfect_calibration_error,
        interval="simulation",
        maximise=False,
    ),
)
