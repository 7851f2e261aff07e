"""Distances between samples: analytic values, level under no difference, power, and reasons."""

import json

import numpy as np
import pytest

from jaxtransfer.analyse.distance import distances
from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.drift.permutation import subsets
from jaxtransfer.evaluation.drift.two_sample import median_bandwidth, mmd


def samples(seed=0, m=40, n=60, d=3, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, d)) + shift, rng.normal(size=(n, d))


def test_samples_without_overlap_are_as_far_as_can_be():
    kernel, a, accuracy = distances(*samples(shift=20.0), permutations=199)
    assert a.value == 2
    assert accuracy.value == 1
    assert kernel.p_value == a.p_value == accuracy.p_value == 1 / 200
    assert kernel.value > 0.5


def test_mmd_is_that_of_the_drift_tests_on_standardised_columns():
    first, second = samples(shift=0.3)
    pooled = np.concatenate([first, second])
    pooled = (pooled - pooled.mean(axis=0)) / pooled.std(axis=0)
    indicators = subsets(100, 40, 1, np.random.default_rng(0))
    expected = mmd(pooled[:40], pooled[40:], indicators, bandwidth=median_bandwidth(pooled))
    found = distances(first * [1.0, 1e3, 1e-3] + 5.0, second * [1.0, 1e3, 1e-3] + 5.0)[0]
    assert found.value == pytest.approx(expected.statistic, abs=1e-9)


def test_the_a_distance_is_its_function_of_the_accuracy():
    _, a, accuracy = distances(*samples(shift=0.7), permutations=99)
    assert a.value == pytest.approx(4 * accuracy.value - 2)
    assert a.p_value == accuracy.p_value


def test_p_values_hold_their_level():
    p = np.array(
        [[d.p_value for d in distances(*samples(seed), permutations=39)] for seed in range(200)]
    )
    # Binomial(200, 0.1) exceeds 32 with probability 0.003.
    assert ((p <= 0.1).sum(axis=0) <= 32).all()


def test_at_most_the_rows_asked_for_are_used_and_a_seed_fixes_them():
    first, second = samples(m=50, n=80)
    found = distances(first, second, rows=30, permutations=19, seed=3)
    assert {(d.n, d.n_other, d.permutations) for d in found} == {(30, 30, 19)}
    assert found == distances(first, second, rows=30, permutations=19, seed=3)
    assert json.dumps([d.to_json() for d in found])


def test_too_few_or_equal_rows_have_no_distance():
    for found in distances(np.eye(3), np.eye(3)):
        assert found.undefined == "3 and 3 rows are too few: four on each side are needed"
    for found in distances(np.full((5, 2), 0.1), np.full((6, 2), 0.1)):
        assert found.undefined == "all rows of both samples are equal"
    mostly = np.zeros((20, 2))
    mostly[0] = 1.0
    kernel, a, _ = distances(mostly, np.zeros((20, 2)), permutations=19)
    assert "median distance among 40" in kernel.undefined
    assert a.value is not None


def test_malformed_samples_are_refused():
    with pytest.raises(EvaluationError, match=r"\(4, 2\) and \(4, 3\)"):
        distances(np.ones((4, 2)), np.ones((4, 3)))
    with pytest.raises(EvaluationError, match="0 permutations give no p-value"):
        distances(*samples(), permutations=0)
    with pytest.raises(EvaluationError, match="feature 1 of row 0 is not finite"):
        distances(np.array([[1.0, np.inf]] * 4), np.ones((4, 2)))
