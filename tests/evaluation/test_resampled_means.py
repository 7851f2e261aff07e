"""Replicates of means over seeds: their spread is the standard error's, and they are paired."""

import numpy as np
import pytest
from curves import table
from scipy.stats import kstest, t

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.resampled_means import (
    example_replicates,
    examples_hash,
    prepared,
    seed_deviations,
    sorted_by_id,
)


def statistics(tables):
    return prepared(tables, definition("accuracy"), "test")


def test_deviations_of_seeds_are_students_t_times_the_standard_error():
    values = np.array([[0.8, 0.83, 0.85, 0.9]])
    error = values.std(ddof=1) / 2
    drawn = seed_deviations(values, replicates=20_000, seed=0)[0] / error
    assert kstest(drawn, t(3).cdf).statistic < 1.63 / np.sqrt(20_000)  # the 1 % critical value


def test_a_difference_that_all_seeds_share_has_no_deviation():
    values = np.random.default_rng(0).random(5)
    drawn = seed_deviations(np.stack([values, values - 0.1]), replicates=100, seed=0)
    np.testing.assert_allclose(drawn[0], drawn[1], atol=1e-15)
    apart = [seed_deviations(row[None], replicates=100, seed=0)[0] for row in (values, values - 1)]
    np.testing.assert_allclose(apart[0], apart[1], atol=1e-15)


def test_variance_over_examples_is_that_of_a_stratified_mean():
    right = np.arange(12) % 5 > 1  # plain resampling would make this variance a sixth too small
    strata = [right[0::2], right[1::2]]
    expected = sum(s.var(ddof=1) / len(s) for s in strata) / 4
    drawn = example_replicates([statistics([table(right)])], replicates=20_000, seed=0)[0]
    assert drawn.var() == pytest.approx(expected, rel=0.04)  # 4 standard errors
    assert drawn.mean() == pytest.approx(right.mean(), abs=4 * np.sqrt(expected / 20_000))


def test_groups_are_paired_within_a_call_and_between_calls():
    right = np.random.default_rng(2).random(60) < 0.7
    one, other = statistics([table(right)]), statistics([table(~right)])
    both = example_replicates([one, other], replicates=50, seed=3)
    alone = example_replicates([other], replicates=50, seed=3)
    np.testing.assert_array_equal(both[1], alone[0])
    np.testing.assert_allclose(both.sum(axis=0), 1.0, atol=1e-12)


def test_rows_are_put_in_the_order_of_their_ids():
    right = np.random.default_rng(3).random(30) < 0.7
    order = np.random.default_rng(4).permutation(30)
    a, b = table(right), table(right, order=order)
    assert examples_hash(a) == examples_hash(b)
    first, second = (sorted_by_id([t])[0] for t in (b, a))
    assert first.ids.tolist() == second.ids.tolist() == sorted(a.ids.tolist())
    np.testing.assert_array_equal(first.logits, second.logits)
    assert examples_hash(table(right[:29])) != examples_hash(a)


def test_what_cannot_be_resampled_is_refused():
    with pytest.raises(EvaluationError, match="1 replicates have no variance"):
        example_replicates([statistics([table([True, False])])], replicates=1, seed=0)
    with pytest.raises(EvaluationError, match="is simulated"):
        prepared([table([True, False])], definition("ece_perfect"), "test")
