"""Summaries over tasks and runs agree with SciPy, and resample runs within tasks."""

import json

import numpy as np
import pytest
from scipy import stats

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.across_tasks import (
    interquartile_mean,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (8, 10), (2, 3), (5, 7)])
def test_the_interquartile_mean_is_scipys_trimmed_mean(shape):
    scores = np.random.default_rng(0).normal(size=shape)
    expected = stats.trim_mean(scores, 0.25, axis=None)
    assert interquartile_mean(scores).value == pytest.approx(expected, abs=1e-12)


def test_one_outlier_does_not_move_it():
    scores = np.arange(20.0).reshape(4, 5)
    far = scores.copy()
    far[3, 4] = 1e9
    assert interquartile_mean(scores).value == interquartile_mean(far).value


@pytest.mark.parametrize("runs", [(5, 5), (4, 9)])
def test_unpaired_improvement_is_mann_whitneys(runs):
    rng = np.random.default_rng(1)
    a = rng.integers(0, 6, (6, runs[0]))
    b = rng.integers(0, 6, (6, runs[1]))
    expected = np.mean(
        [stats.mannwhitneyu(x, y).statistic / (runs[0] * runs[1]) for x, y in zip(a, b)]
    )
    found = probability_of_improvement(a, b, paired=False)
    assert found.value == pytest.approx(expected, abs=1e-12)
    back = probability_of_improvement(b, a, paired=False)
    assert back.value == pytest.approx(1 - expected, abs=1e-12)
    down = probability_of_improvement(a, b, paired=False, maximise=False)
    assert down.value == pytest.approx(1 - expected, abs=1e-12)


def test_pairs_see_an_improvement_that_luck_hides():
    """Each seed's luck is 10 times the improvement, and is the same for both."""
    rng = np.random.default_rng(2)
    luck = rng.normal(size=(8, 5))
    paired = probability_of_improvement(luck + 0.1, luck, paired=True)
    unpaired = probability_of_improvement(luck + 0.1, luck, paired=False)
    assert paired.value == 1
    assert unpaired.value < 0.7
    assert paired.ci == (1, 1)
    assert unpaired.definition != paired.definition


def test_the_optimality_gap_counts_nothing_beyond_the_target():
    assert optimality_gap(np.array([[0.5, 1.5], [0.0, 1.0]])).value == pytest.approx(0.375)
    assert optimality_gap(np.array([[2.0, 3.0]]), target=4.0).value == pytest.approx(1.5)


def test_the_profile_is_the_share_above_each_threshold():
    scores = np.array([[0.1, 0.2, 0.3, 0.4], [0.3, 0.4, 0.5, 0.6]])
    thresholds = np.array([0.0, 0.25, 0.3, 0.6])
    profile = performance_profile(scores, thresholds)
    np.testing.assert_allclose(profile.share, [1, 0.75, 0.5, 0])
    assert (profile.low <= profile.share).all()
    assert (profile.share <= profile.high).all()
    np.testing.assert_allclose(profile.low[[0, 3]], [1, 0])
    # The share's standard error: of the first task's 2 of 4 above 0.25 alone, as the second's 4 are.
    assert profile.low[1] == pytest.approx(0.5)
    area = performance_profile(scores, np.linspace(0, 1, 2001)).share.mean()
    assert area == pytest.approx(scores.mean(), abs=1e-3)
    json.dumps(profile.to_json(), allow_nan=False)


def test_runs_are_resampled_within_their_task():
    """Tasks that differ greatly, runs that do not differ at all: no interval to speak of."""
    scores = np.repeat(np.arange(10.0)[:, None], 6, axis=1)
    found = interquartile_mean(scores)
    assert found.ci == (found.value, found.value)


def test_a_single_run_has_no_interval_and_few_are_warned_of():
    one = interquartile_mean(np.arange(6.0)[:, None])
    assert one.ci is None
    assert "one run a task" in str(one)
    few = interquartile_mean(np.random.default_rng(0).normal(size=(6, 3)))
    assert "3 runs a task: the interval is narrower than 95%" in few.note
    assert performance_profile(np.ones((2, 1)), np.zeros(1)).low is None


def test_intervals_cover_the_population():
    rng = np.random.default_rng(3)
    trials, hits = 400, {"iqm": 0, "improvement": 0}
    centers = np.linspace(0, 1, 5)[:, None]
    true = stats.trim_mean(centers + rng.normal(0, 0.3, (5, 400_000)), 0.25, axis=None)
    better = stats.norm.cdf(0.2 / (0.3 * np.sqrt(2)))
    for trial in range(trials):
        a = centers + rng.normal(0, 0.3, (5, 15))
        b = centers - 0.2 + rng.normal(0, 0.3, (5, 15))
        found = interquartile_mean(a, replicates=300, seed=trial)
        hits["iqm"] += found.ci[0] <= true <= found.ci[1]
        found = probability_of_improvement(a, b, paired=False, replicates=300, seed=trial)
        hits["improvement"] += found.ci[0] <= better <= found.ci[1]
    for name, count in hits.items():
        assert 0.90 <= count / trials <= 0.98, name


def test_scores_that_are_none_are_refused():
    with pytest.raises(EvaluationError, match="task 1, run 0 is nan"):
        interquartile_mean(np.array([[1.0], [np.nan]]))
    with pytest.raises(EvaluationError, match=r"shape \(3,\)"):
        interquartile_mean(np.arange(3.0))
    with pytest.raises(EvaluationError, match="2 and 3 tasks"):
        probability_of_improvement(np.ones((2, 4)), np.ones((3, 4)), paired=False)
    with pytest.raises(EvaluationError, match="4 runs cannot be paired with 5"):
        probability_of_improvement(np.ones((2, 4)), np.ones((2, 5)), paired=True)
    with pytest.raises(EvaluationError, match="1 replicates"):
        interquartile_mean(np.ones((2, 4)), replicates=1)
    with pytest.raises(EvaluationError, match="target nan"):
        optimality_gap(np.ones((2, 4)), target=float("nan"))
    with pytest.raises(EvaluationError, match="thresholds"):
        performance_profile(np.ones((2, 4)), np.array([np.inf]))


def test_each_task_draws_its_own_runs():
    """Luck that all tasks share would otherwise make the interval of their mean as wide as one's."""
    luck = np.random.default_rng(4).normal(size=12)
    scores = np.tile(luck, (9, 1))
    found = optimality_gap(scores, target=10.0)
    width = found.ci[1] - found.ci[0]
    assert width == pytest.approx(2 * 1.96 * luck.std() / np.sqrt(9 * 12), rel=0.1)
