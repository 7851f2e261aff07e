"""Smooth calibration error: a kernel in place of bins, its bandwidth the error itself.

Blasiok and Nakkiran (2023): outcomes minus confidences are smoothed along confidence by a Gaussian
reflected at 0 and 1, and the error is the bandwidth that equals the mean absolute smoothed gap.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.intervals import chunks
from jaxtransfer.evaluation.perfect_calibration import NOTHING, CalibrationStatistic
from jaxtransfer.evaluation.probability_bins import predicted_event
from jaxtransfer.evaluation.table import Predictions

CELLS = 1024
"""Cells of the grid on confidence; an error below half a cell's width is not resolved."""
STEPS = 60
CLOSE = 1e-14
"""The error and its bandwidth differ by at most this, after about ten of at most `STEPS` steps."""
EXACT = 2000
"""Examples up to which each is left out exactly; beyond, to first order."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SmoothError(CalibrationStatistic):
    """The fixed point of the smoothed error on a grid, where smoothing is a product of cosines.

    The reflected Gaussian is diagonal in cosines: that of frequency m shrinks by
    exp(-(pi m bandwidth)^2 / 2). So a bandwidth costs one transform of the grid whatever the number
    of examples: O(n + 10 CELLS log CELLS) in all.
    """

    @functools.cached_property
    def _grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Each confidence's cell, and how far into it: its mass is shared by the cell's ends."""
        position = np.clip(self.probabilities[:, 0], 0, 1) * CELLS
        cell = np.minimum(position.astype(np.int64), CELLS - 1)
        return cell, position - cell

    @functools.cached_property
    def _spread(self):
        """Matrix (nodes, n) that puts numbers of examples on the grid."""
        import scipy.sparse

        cell, share = self._grid
        rows = np.concatenate([cell, cell + 1])
        columns = np.tile(np.arange(len(cell)), 2)
        return scipy.sparse.csr_array(
            (np.concatenate([1 - share, share]), (rows, columns)), shape=(CELLS + 1, len(cell))
        )

    @functools.cached_property
    def _gaps(self) -> np.ndarray:
        return (self.outcomes != NOTHING) - self.probabilities[:, 0]

    def weighted(self, weights):
        """See Statistic."""
        gaps = np.ascontiguousarray((weights * self._gaps).T)
        return _fixed_points((self._spread @ gaps).T / weights.sum(axis=1)[:, None])

    def of_outcomes(self, outcomes):
        """See CalibrationStatistic."""
        happened = np.ascontiguousarray((outcomes != NOTHING).T.astype(np.float64))
        predicted = self._spread @ self.probabilities[:, 0]
        return _fixed_points(((self._spread @ happened).T - predicted) / outcomes.shape[1])

    def leave_one_out(self):
        """See Statistic; for more than `EXACT` examples to first order, by implicit derivative."""
        n = len(self.labels)
        if n == 1:
            return np.zeros(1)
        masses = self._spread @ self._gaps
        cell, share = self._grid
        if n <= EXACT:
            values, start = [], 0
            for size in chunks(n, CELLS + 1):
                rows = np.arange(size)
                at = slice(start, start + size)
                left = np.tile(masses, (size, 1))
                left[rows, cell[at]] -= (1 - share[at]) * self._gaps[at]
                left[rows, cell[at] + 1] -= share[at] * self._gaps[at]
                values.append(_fixed_points(left / (n - 1)))
                start += size
            return np.concatenate(values)
        cosines = _cosines(masses[None] / n)
        width = _fixed_points(masses[None] / n)[0]
        step = 0.01 * max(width, 1 / CELLS)
        near = np.array([max(width - step, 0), width + step])
        slope = np.diff(_mean_absolute(_smooth(np.tile(cosines, (2, 1)), near)))[0] / np.diff(near)
        signs = np.sign(_smooth(cosines, np.array([width])))
        # The smoother is symmetric, so what an example adds is the smoothed sign at its place.
        felt = _smooth(_cosines(signs * _quadrature()), np.array([width]))[0]
        added = self._gaps * (felt[cell] * (1 - share) + felt[cell + 1] * share)
        return width + (width - added) / (n - 1) / (1 - slope)


def smoothed_error(table: Predictions, bandwidth: float) -> float:
    """The mean absolute smoothed gap of the predicted class at a given bandwidth in (0, 1].

    Blasiok and Nakkiran (2023), definition 8.

    Raises:
      EvaluationError: if the bandwidth is not in (0, 1].
    """
    if not 0 < bandwidth <= 1:
        raise EvaluationError(f"bandwidth {bandwidth} is not in (0, 1]")
    statistic = smooth_calibration_error(table)
    masses = statistic._spread @ statistic._gaps / len(table)
    return float(_mean_absolute(_smooth(_cosines(masses[None]), np.array([bandwidth])))[0])


def smooth_calibration_error(table: Predictions) -> SmoothError:
    """Prepares the smooth calibration error of the predicted class."""
    probabilities, outcomes = predicted_event(table)
    return SmoothError(
        labels=table.labels,
        detail=f"grid of {CELLS} cells",
        probabilities=probabilities,
        outcomes=outcomes,
    )


def _fixed_points(masses: Float[np.ndarray, "r nodes"]) -> Float[np.ndarray, "r"]:
    """The bandwidths that equal their own errors; the error falls as the bandwidth grows.

    False position, where an end that stays put counts half (the Illinois rule), so that both close
    in.
    """
    cosines = _cosines(masses)
    low, high = np.zeros(len(masses)), np.ones(len(masses))
    below, above = (_mean_absolute(_smooth(cosines, end)) - end for end in (low, high))
    found = np.where(below > 0, high, low)
    kept = np.zeros(len(masses), np.int8)
    active = np.flatnonzero((below > 0) & (above < 0))
    for _ in range(STEPS):
        if not len(active):
            break
        span = below[active] - above[active]
        middle = (low[active] * -above[active] + high[active] * below[active]) / span
        excess = _mean_absolute(_smooth(cosines[active], middle)) - middle
        found[active] = middle
        up = excess > 0
        ups, downs = active[up], active[~up]
        above[ups] /= np.where(kept[ups] == 1, 2, 1)
        below[downs] /= np.where(kept[downs] == -1, 2, 1)
        low[ups], below[ups] = middle[up], excess[up]
        high[downs], above[downs] = middle[~up], excess[~up]
        kept[ups], kept[downs] = 1, -1
        active = active[np.abs(excess) > CLOSE]
    return found


def _cosines(masses: Float[np.ndarray, "r nodes"]) -> Float[np.ndarray, "r nodes"]:
    """Sums of masses times cos(pi m x) for each frequency m, x from 0 to 1 along the grid."""
    from scipy.fft import dct

    halved = masses / 2
    halved[:, [0, -1]] *= 2
    return dct(halved, type=1, axis=1)


def _smooth(
    cosines: Float[np.ndarray, "r nodes"], bandwidths: Float[np.ndarray, "r"]
) -> Float[np.ndarray, "r nodes"]:
    """The density of masses smoothed by the reflected Gaussian, at each node."""
    from scipy.fft import dct

    frequency = np.pi * np.arange(cosines.shape[1])
    return dct(cosines * np.exp(-((bandwidths[:, None] * frequency) ** 2) / 2), type=1, axis=1)


def _quadrature() -> Float[np.ndarray, "nodes"]:
    weights = np.full(CELLS + 1, 1 / CELLS)
    weights[[0, -1]] /= 2
    return weights


def _mean_absolute(density: Float[np.ndarray, "r nodes"]) -> Float[np.ndarray, "r"]:
    return np.abs(density) @ _quadrature()
