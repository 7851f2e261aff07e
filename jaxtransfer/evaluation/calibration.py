"""Calibration: reliability diagrams, and the measures by name, each with its value by chance."""

import dataclasses
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError, nearest
from jaxtransfer.evaluation.brier import brier_reliability
from jaxtransfer.evaluation.calibration_errors import (
    classwise_calibration_error,
    expected_calibration_error,
    mass_bins,
    maximum_calibration_error,
)
from jaxtransfer.evaluation.definition import Definition
from jaxtransfer.evaluation.equal_mass import (
    debiased_calibration_error,
    equal_mass_calibration_error,
)
from jaxtransfer.evaluation.intervals import wilson
from jaxtransfer.evaluation.perfect_calibration import NOTHING, perfect
from jaxtransfer.evaluation.probabilities import log_softmax_at
from jaxtransfer.evaluation.probability_bins import (
    BINS,
    predicted_event,
    width_bins,
    width_edges,
)
from jaxtransfer.evaluation.smooth_calibration import smooth_calibration_error
from jaxtransfer.evaluation.table import Predictions


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Reliability:
    """A reliability diagram's numbers; bin b holds probabilities in (edges[b], edges[b + 1]].

    Attributes:
      edges: (bins + 1,) from 0 to 1.
      count: (bins,) examples in each bin.
      confidence: (bins,) their mean probability, NaN where there are none.
      accuracy: (bins,) the share of them for which it came true, NaN where there are none.
      low: (bins,) lower Wilson bound of the accuracy.
      high: (bins,) upper Wilson bound.
      of: the class whose probability is shown; None means the predicted class of each example.
      binning: whether the bins are of equal width or of equal mass.
    """

    edges: Float[np.ndarray, "edges"]
    count: Int[np.ndarray, "bins"]
    confidence: Float[np.ndarray, "bins"]
    accuracy: Float[np.ndarray, "bins"]
    low: Float[np.ndarray, "bins"]
    high: Float[np.ndarray, "bins"]
    of: str | None = None
    binning: Literal["width", "mass"] = "width"

    @property
    def ece(self) -> float:
        """Expected calibration error of these bins."""
        full = self.count > 0
        return float((self.count[full] * self._gaps).sum() / self.count.sum())

    @property
    def mce(self) -> float:
        """Maximum calibration error of these bins: mostly the noise of the emptiest one."""
        return float(self._gaps.max())

    @property
    def _gaps(self) -> np.ndarray:
        full = self.count > 0
        return np.abs(self.accuracy[full] - self.confidence[full])

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values; None stands where a bin is empty."""
        document: dict[str, Any] = {"of": self.of, "binning": self.binning}
        for name in ("edges", "count", "confidence", "accuracy", "low", "high"):
            numbers = getattr(self, name)
            document[name] = [None if np.isnan(v) else v for v in numbers.tolist()]
        return document


def reliability(
    table: Predictions,
    bins: int = BINS,
    *,
    confidence: float = 0.95,
    binning: Literal["width", "mass"] = "width",
    of: str | None = None,
) -> Reliability:
    """Accuracy against confidence in bins, with counts and Wilson intervals.

    Args:
      table: the predictions.
      bins: how many.
      confidence: nominal coverage of the intervals.
      binning: bins of equal `width`, closed on the right, or of equal `mass`
        (`calibration_errors.mass_bins`); the edges of those are the midpoints between neighbours,
        and bins that ties leave empty are left out.
      of: a class whose probability is held against its share of the labels, predicted or not; None
        means the predicted class.

    Raises:
      EvaluationError: if there is no bin, or the binning or the class is unknown.
    """
    if of is None:
        probabilities, outcomes = predicted_event(table)
        chance, happened = probabilities[:, 0], (outcomes != NOTHING).astype(np.float64)
    elif of in table.classes:
        column = table.classes.index(of)
        chance = np.exp(log_softmax_at(table, column))
        happened = (table.labels == column).astype(np.float64)
    else:
        raise EvaluationError(
            f"{table.source}: unknown class {of!r}; nearest: {nearest(of, table.classes)}"
        )
    if binning == "width":
        edges, index = width_edges(bins), width_bins(chance, bins)
    elif binning == "mass":
        _, index = np.unique(mass_bins(chance, bins), return_inverse=True)
        index = index.ravel()
        bins = int(index.max()) + 1
        highest, lowest = np.zeros(bins), np.ones(bins)
        np.maximum.at(highest, index, chance)
        np.minimum.at(lowest, index, chance)
        edges = np.concatenate([[0.0], (highest[:-1] + lowest[1:]) / 2, [1.0]])
    else:
        raise EvaluationError(f"unknown binning {binning!r}: 'width' or 'mass'")
    count = np.bincount(index, minlength=bins)
    hits = np.bincount(index, weights=happened, minlength=bins)
    mass = np.bincount(index, weights=chance, minlength=bins)
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
        of=of,
        binning=binning,
    )


_MEASURES = (
    Definition(
        name="ece",
        text="expected calibration error of the predicted class, bins of equal width closed"
        " on the right; biased upward on few examples, and so is its interval: see ece_perfect",
        prepare=expected_calibration_error,
        maximise=False,
    ),
    Definition(
        name="ece_equal_mass",
        text="expected calibration error of the predicted class, bins of equal mass by mid-rank,"
        " equal confidences in one bin; biased upward on few examples, and so is its interval: see"
        " ece_equal_mass_perfect",
        prepare=equal_mass_calibration_error,
        maximise=False,
    ),
    Definition(
        name="ece_debiased",
        text="root, with its sign, of the mean squared gap of the predicted class over bins of"
        " equal mass, less the variance of each bin's gap; negative where gaps are smaller than"
        " chance; bins of one example are left out",
        prepare=debiased_calibration_error,
        bounds=(-1.0, 1.0),
        maximise=False,
    ),
    Definition(
        name="ece_classwise",
        text="mean over all classes of the expected calibration error of the class's probability,"
        " bins of equal width closed on the right; biased upward on few examples, and so is its"
        " interval: see ece_classwise_perfect",
        prepare=classwise_calibration_error,
        maximise=False,
    ),
    Definition(
        name="mce",
        text="maximum calibration error: largest gap of any bin of equal width, predicted class;"
        " mostly the noise of the emptiest bin, biased upward far more than ece: see mce_perfect",
        prepare=maximum_calibration_error,
        maximise=False,
    ),
    Definition(
        name="smooth_ece",
        text="smooth calibration error of the predicted class: the bandwidth of a reflected"
        " Gaussian at which the mean absolute smoothed gap equals it",
        prepare=smooth_calibration_error,
        maximise=False,
    ),
    Definition(
        name="brier_reliability",
        text="reliability of the Brier score, summed over classes: mean squared gap of each"
        " class's probability in bins of equal width closed on the right (0 to 2)",
        prepare=brier_reliability,
        bounds=(0.0, 2.0),
        maximise=False,
    ),
)

CALIBRATION: tuple[Definition, ...] = tuple(
    one for measure in _MEASURES for one in (measure, perfect(measure))
)
"""Each measure of calibration, followed by its value under perfect calibration."""
