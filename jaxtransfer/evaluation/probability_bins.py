"""Probabilities of events in bins of equal width: count and gap of each bin, for any weights or outcomes.

The gap is the sum of outcome minus probability. Of a million examples of a hundred classes each array
of float64 takes 800 MB, so there is one, the probabilities; the rest is smaller or made in blocks.
"""

import dataclasses
import functools
import weakref
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.perfect_calibration import NOTHING
from jaxtransfer.evaluation.probabilities import blocks, normaliser, softmax_of
from jaxtransfer.evaluation.table import Predictions

BINS = 15


def width_edges(bins: int) -> Float[np.ndarray, "edges"]:
    """Edges of bins of equal width from 0 to 1.

    Raises:
      EvaluationError: if there is no bin.
    """
    check_bins(bins)
    return np.arange(bins + 1) / bins


def width_bins(probabilities: np.ndarray, bins: int) -> np.ndarray:
    """The bin (low, high] of equal width that holds each; rounding above 1 stays in the last."""
    edges = width_edges(bins)
    return np.clip(np.searchsorted(edges, probabilities, side="left") - 1, 0, bins - 1)


def check_bins(bins: int) -> None:
    """Raises EvaluationError unless there is a bin."""
    if bins < 1:
        raise EvaluationError(f"{bins} bins: at least 1 is needed")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Binned:
    """Probabilities in bins, each event's apart from the others'.

    The cell of a probability is its bin, counted through the bins of all events.

    Attributes:
      probabilities: (n, k) of the k events of each example, at most one of which comes true.
      outcomes: (n,) the event that came true, or `NOTHING`.
      bins: how many to an event.
    """

    probabilities: Float[np.ndarray, "n k"]
    outcomes: Int[np.ndarray, "n"]
    bins: int

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.probabilities.shape[1] * self.bins

    def cells(self, rows: slice) -> Int[np.ndarray, "m k"]:
        """The cells of some rows' probabilities."""
        return self._bins[rows] + self.bins * np.arange(self.probabilities.shape[1])

    def gaps(self, rows: slice) -> Float[np.ndarray, "m k"]:
        """Outcome minus probability of some rows."""
        gaps = -self.probabilities[rows]
        outcomes = self.outcomes[rows]
        happened = np.flatnonzero(outcomes != NOTHING)
        gaps[happened, outcomes[happened]] += 1
        return gaps

    def weighted(
        self, weights: Float[np.ndarray, "r n"]
    ) -> tuple[Float[np.ndarray, "r cells"], Float[np.ndarray, "r cells"]]:
        """Count and gap of each cell when example i counts weights[:, i] times."""
        columns = np.ascontiguousarray(weights.T)
        happened = (self._happened @ columns).T
        totals = weights.sum(axis=1)[:, None], happened - weights @ self.probabilities
        sums = []
        for members, total in zip(self._members, totals):
            cells = (members @ columns).T.reshape(len(weights), -1, self.bins)
            cells[:, :, 0] = total - cells.sum(axis=2)
            sums.append(cells.reshape(len(weights), -1))
        return sums[0], sums[1]

    def of_outcomes(
        self, outcomes: Int[np.ndarray, "r n"]
    ) -> tuple[Float[np.ndarray, "r cells"], Float[np.ndarray, "r cells"]]:
        """Count and gap of each cell if these had come true instead."""
        r, n = outcomes.shape
        count, predicted = self._predicted
        nothing = outcomes == NOTHING
        events = np.where(nothing, 0, outcomes)
        k = self.probabilities.shape[1]
        cells = np.take(self._bins.ravel(), events + k * np.arange(n)) + self.bins * events
        # One cell more takes the examples of which nothing came true.
        cells[nothing] = self.size
        cells += (self.size + 1) * np.arange(r)[:, None]
        seen = np.bincount(cells.ravel(), minlength=r * (self.size + 1)).reshape(r, -1)
        return np.broadcast_to(count, (r, self.size)), seen[:, : self.size] - predicted

    @functools.cached_property
    def _bins(self) -> np.ndarray:
        """(n, k) the bin of each probability, a byte each where the bins are no more than 256."""
        found = np.empty(self.probabilities.shape, np.min_scalar_type(self.bins - 1))
        for rows in blocks(found):
            found[rows] = width_bins(self.probabilities[rows], self.bins)
        return found

    @functools.cached_property
    def _members(self):
        """Counts and gaps as matrices (cells, n) over all bins but the first of each event.

        Most of many events' probabilities lie in the first bin, which is the rest of the event's:
        fewer than `bins` probabilities that sum to 1 lie above it.
        """
        import scipy.sparse

        parts = []
        for rows in blocks(self.probabilities):
            which, columns = np.nonzero(self._bins[rows])
            cells = self.cells(rows)
            parts.append(
                (
                    np.bincount(which, minlength=len(cells)),
                    cells[which, columns].astype(np.int32),
                    self.gaps(rows)[which, columns],
                )
            )
        sizes, cells, gaps = (np.concatenate(part) for part in zip(*parts))
        starts = np.concatenate([[0], np.cumsum(sizes)])
        shape = (self.size, len(sizes))
        return tuple(
            scipy.sparse.csc_array((numbers, cells, starts), shape=shape)
            for numbers in (np.ones(len(cells)), gaps)
        )

    @functools.cached_property
    def _happened(self):
        """Matrix (k, n) of which event came true."""
        import scipy.sparse

        happened = self.outcomes != NOTHING
        starts = np.concatenate([[0], np.cumsum(happened)])
        events = self.outcomes[happened]
        shape = self.probabilities.shape[::-1]
        return scipy.sparse.csc_array((np.ones(len(events)), events, starts), shape=shape)

    @functools.cached_property
    def _predicted(self) -> tuple[np.ndarray, np.ndarray]:
        """Count and sum of probabilities of each cell."""
        count, mass = np.zeros(self.size), np.zeros(self.size)
        for rows in blocks(self.probabilities):
            cells = self.cells(rows).ravel()
            count += np.bincount(cells, minlength=self.size)
            mass += np.bincount(cells, self.probabilities[rows].ravel(), minlength=self.size)
        return count, mass


_EVENTS: weakref.WeakKeyDictionary[Predictions, tuple[np.ndarray, np.ndarray]] = (
    weakref.WeakKeyDictionary()
)


def predicted_event(table: Predictions) -> tuple[Float[np.ndarray, "n 1"], Int[np.ndarray, "n"]]:
    """The probability of the predicted class, in (0, 1], and 0 where it is the label, else `NOTHING`.

    Computed once as long as the table lives.
    """
    found = _EVENTS.get(table)
    if found is None:
        _, sums = normaliser(table)
        # The largest logit less itself is 0, so its log probability is what the sum takes off.
        found = np.exp(-sums), np.where(table.predicted == table.labels, 0, NOTHING)
        for numbers in found:
            numbers.flags.writeable = False
        _EVENTS[table] = found
    return found


_BINNED: weakref.WeakKeyDictionary[
    Predictions, weakref.WeakValueDictionary[tuple[str, int], Binned]
] = weakref.WeakKeyDictionary()


def binned_prediction(table: Predictions, bins: int) -> Binned:
    """The predicted class's probability in bins, the same ones for all who hold them at a time.

    Raises:
      EvaluationError: if there is no bin.
    """
    return _shared(table, "prediction", bins, predicted_event)


def binned_classes(table: Predictions, bins: int) -> Binned:
    """Every class's probability in bins, the same ones for all who hold them at a time.

    Raises:
      EvaluationError: if there is no bin.
    """
    return _shared(table, "classes", bins, lambda table: (softmax_of(table), table.labels))


def _shared(
    table: Predictions,
    events: str,
    bins: int,
    make: Callable[[Predictions], tuple[np.ndarray, np.ndarray]],
) -> Binned:
    check_bins(bins)
    of_table = _BINNED.setdefault(table, weakref.WeakValueDictionary())
    found = of_table.get((events, bins))
    if found is None:
        probabilities, outcomes = make(table)
        found = Binned(probabilities=probabilities, outcomes=outcomes, bins=bins)
        of_table[events, bins] = found
    return found
