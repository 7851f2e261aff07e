"""What a calibration measure would be by chance: its value if every probability were exactly true.

A perfectly calibrated model does not score 0 on finitely many examples, so each measure of
calibration has a companion, `<name>_perfect`, that simulates one.
"""

import abc
import dataclasses

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.definition import Definition
from jaxtransfer.evaluation.intervals import chunks
from jaxtransfer.evaluation.statistic import Statistic, Undefined
from jaxtransfer.evaluation.table import Predictions

NOTHING = -1
"""The outcome of an example for which none of the columns came true."""
ROWS = 512
"""Rows whose outcomes are drawn together: few enough for their probabilities to stay in cache."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationStatistic(Statistic):
    """A statistic of probabilities and of which of them came true.

    Attributes:
      probabilities: (n, k) of the k events of each example: of the predicted class being right
        (k = 1), or of each class.
      outcomes: (n,) the column that came true, or `NOTHING`.
    """

    probabilities: Float[np.ndarray, "n k"]
    outcomes: Int[np.ndarray, "n"]

    @abc.abstractmethod
    def of_outcomes(self, outcomes: Int[np.ndarray, "r n"]) -> Float[np.ndarray, "r"]:
        """The statistic if these had come true instead."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PerfectCalibration(Statistic):
    """A statistic when each outcome happens with exactly the probability that was predicted.

    `resample` draws outcomes anew and keeps the probabilities, so its mean is what a perfectly
    calibrated model scores on this many examples.
    """

    statistic: CalibrationStatistic
    name: str

    def resample(self, rng, replicates):
        """The statistic in simulations under perfect calibration, (replicates,)."""
        draw = Outcomes(self.statistic.probabilities)
        return np.concatenate(
            [
                self.statistic.of_outcomes(draw(rng, count))
                for count in chunks(replicates, len(self.labels))
            ]
        )

    def weighted(self, weights):
        """A simulated value is no function of weights."""
        raise EvaluationError(
            f"{self.name} is simulated: it has no bootstrap and no paired difference"
        )

    def leave_one_out(self):
        """A simulated value has no jackknife."""
        raise EvaluationError(f"{self.name} is simulated: it has no jackknife")


def perfect(defined: Definition) -> Definition:
    """The companion of a calibration measure: its mean and central range under calibration."""
    name = f"{defined.name}_perfect"

    def prepare(table: Predictions) -> Statistic | Undefined:
        statistic = defined.statistic(table)
        if isinstance(statistic, Undefined):
            return statistic
        if not isinstance(statistic, CalibrationStatistic):
            raise EvaluationError(f"{defined.name} is no CalibrationStatistic to simulate")
        return PerfectCalibration(
            labels=table.labels, detail=statistic.detail, statistic=statistic, name=name
        )

    return dataclasses.replace(
        defined,
        name=name,
        text=f"mean and central range of {defined.name} were every prediction right with exactly"
        " its probability, simulated",
        prepare=prepare,
        interval="simulation",
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Outcomes:
    """Draws which column of each row comes true."""

    probabilities: Float[np.ndarray, "n k"]

    def _cumulative(self, rows: slice) -> np.ndarray:
        """(m, width) cumulative probabilities, padded with infinity to a power of two."""
        p = self.probabilities[rows]
        m, k = p.shape
        sums = np.full((m, 1 << (k - 1).bit_length()), np.inf)
        # The last sum may round to less than 1, and a draw above it is of the last class still.
        np.cumsum(p[:, :-1], axis=1, out=sums[:, : k - 1])
        return sums

    def __call__(self, rng: np.random.Generator, count: int) -> Int[np.ndarray, "count n"]:
        """(count, n) columns drawn; `NOTHING` where the only column of a row did not come true."""
        n, k = self.probabilities.shape
        drawn = rng.random((count, n))
        if k == 1:
            return np.where(drawn < self.probabilities[:, 0], 0, NOTHING)
        found = np.empty((count, n), np.int64)
        for start in range(0, n, ROWS):
            rows = slice(start, start + ROWS)
            found[:, rows] = _search(self._cumulative(rows), drawn[:, rows])
        return found


def _search(
    cumulative: Float[np.ndarray, "n width"], drawn: Float[np.ndarray, "r n"]
) -> Int[np.ndarray, "r n"]:
    """How many of each row's cumulative sums lie at or below its draw; width is a power of two."""
    n, width = cumulative.shape
    sums, start = cumulative.ravel(), np.arange(n) * width
    position = np.tile(start, (len(drawn), 1))
    step = width // 2
    while step:
        position += step * (np.take(sums, position + (step - 1)) <= drawn)
        step //= 2
    return position - start
