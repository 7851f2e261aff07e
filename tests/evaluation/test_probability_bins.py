"""Counts and gaps of bins are those of a direct count, and take a fraction of the probabilities' memory."""

import gc
import tracemalloc

import numpy as np
import pytest

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation import intervals, probabilities
from jaxtransfer.evaluation.calibration import CALIBRATION
from jaxtransfer.evaluation.metrics import measure, value
from jaxtransfer.evaluation.perfect_calibration import NOTHING
from jaxtransfer.evaluation.probability_bins import (
    Binned,
    binned_classes,
    binned_prediction,
    width_bins,
)
from jaxtransfer.evaluation.table import Predictions


def draw(n, k, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    logits = rng.standard_normal((n, k), dtype=np.float32)
    logits[np.arange(n), labels] += 2
    return Predictions(
        ids=np.arange(n),
        labels=labels,
        logits=logits,
        classes=tuple(f"class {c}" for c in range(k)),
    )


def counted(binned, outcomes, weights):
    """Counts and gaps of one replicate, event by event and bin by bin."""
    count, gap = [], []
    for event, p in enumerate(binned.probabilities.T):
        for b in range(binned.bins):
            inside = weights * (width_bins(p, binned.bins) == b)
            count.append(inside.sum())
            gap.append((inside * ((outcomes == event) - p)).sum())
    return count, gap


@pytest.mark.parametrize("bins", [1, 15, 300])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_counts_and_gaps_are_those_of_a_direct_count(bins, k):
    """Within 1e-12; blocks of 40 numbers end inside the table, and 300 bins need two bytes each."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(k + 1, 0.3), 90)[:, :k]
    drawn = rng.integers(NOTHING, k, (3, 90))
    binned = Binned(probabilities=p, outcomes=drawn[0], bins=bins)
    weights = rng.integers(0, 3, (3, 90)).astype(float)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probabilities, "BLOCK", 40)
        weighted, simulated = binned.weighted(weights), binned.of_outcomes(drawn)
    for row in range(3):
        for got, expected in zip(weighted, counted(binned, drawn[0], weights[row])):
            np.testing.assert_allclose(got[row], expected, rtol=0, atol=1e-12)
        for got, expected in zip(simulated, counted(binned, drawn[row], np.ones(90))):
            np.testing.assert_allclose(got[row], expected, rtol=0, atol=1e-12)


def test_the_size_of_blocks_changes_no_measure(monkeypatch):
    names = [defined.name for defined in CALIBRATION] + ["nll", "brier", "top_5_accuracy"]
    whole = measure(draw(300, 7), names, replicates=20)
    monkeypatch.setattr(probabilities, "BLOCK", 100)
    monkeypatch.setattr(intervals, "BUDGET", 1000)
    for name, one in measure(draw(300, 7), names, replicates=20).items():
        # Replicates are drawn in chunks of the budget, so only what is not drawn stays.
        if not name.endswith("_perfect"):
            assert one.value == pytest.approx(whole[name].value, abs=1e-12), name


def test_measures_held_at_a_time_share_their_bins_and_leave_none_behind():
    table = draw(50, 4)
    first = binned_classes(table, 15)
    assert binned_classes(table, 15) is first
    assert binned_classes(table, 10) is not first
    one = binned_prediction(table, 15)
    assert binned_prediction(table, 15) is one is not first
    p = first.probabilities
    del first
    gc.collect()
    assert binned_classes(table, 15).probabilities is not p
    np.testing.assert_array_equal(binned_classes(table, 15).probabilities, p)


def test_there_is_at_least_one_bin():
    with pytest.raises(EvaluationError, match="0 bins: at least 1 is needed"):
        binned_classes(draw(5, 2), 0)


def test_all_metrics_of_many_classes_take_nine_times_the_memory_of_their_logits(monkeypatch):
    """Ten with them: a million rows of 100 classes, 400 MB in float32, are measured within 4 GB."""
    table = draw(20_000, 50)
    value(draw(10, 7), "ece_classwise")
    monkeypatch.setattr(intervals, "BUDGET", 40_000)
    monkeypatch.setattr(probabilities, "BLOCK", 10_000)
    tracemalloc.start()
    try:
        measured = measure(table, replicates=4)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert measured["brier_reliability_perfect"].ci is not None
    assert peak < 9 * table.logits.nbytes
