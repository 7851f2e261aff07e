"""Slices: found where they were planted, not confirmed where there are none, exact tests."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.stats import fisher_exact, permutation_test, ttest_ind

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.slice_tests import (
    difference_interval,
    exact_p_values,
    largest_of_permutations,
)
from jaxtransfer.evaluation.slices import cut_at_quantiles, find_slices
from jaxtransfer.evaluation.table import Predictions


def table_of(seed, n=800, planted=0.0):
    """Four columns of four values; errors at 20 %, more where a=0 and b=1."""
    rng = np.random.default_rng(seed)
    groups = {name: rng.integers(0, 4, n).astype(str) for name in "abcd"}
    bad = (groups["a"] == "0") & (groups["b"] == "1")
    wrong = rng.random(n) < 0.2 + planted * bad
    labels = rng.integers(0, 2, n)
    return Predictions(
        ids=rng.permutation(n),
        labels=labels,
        logits=np.eye(2)[np.where(wrong, 1 - labels, labels)],
        classes=("no", "yes"),
        groups=groups,
    )


def test_no_slice_is_confirmed_more_often_than_the_level_where_none_is_bad():
    confirmed, proposed, unadjusted = [], [], []
    for seed in range(200):
        report = find_slices(table_of(seed), seed=seed)
        confirmed.append(bool(report.confirmed))
        proposed.append(len(report.slices))
        unadjusted.append(any(found.p_search <= 0.05 for found in report.slices))
    assert np.mean(confirmed) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
    assert np.mean(unadjusted) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
    # There was something to be fooled by: the search did propose.
    assert np.mean(proposed) > 1


def test_a_planted_slice_is_confirmed_and_described():
    hits = 0
    for seed in range(30):
        report = find_slices(table_of(seed, planted=0.5), seed=seed)
        best = report.slices[0]
        hits += best.confirmed and best.description == "a=0 & b=1"
    assert hits >= 27
    assert report.searched + report.too_small >= 16 + 6 * 16
    assert best.difference == pytest.approx(best.inside - best.outside)
    assert best.ci[0] < best.difference < best.ci[1]
    assert best.p_search >= 0
    assert "confirmed on 400 others" in str(report)
    json.dumps(report.to_json(), allow_nan=False)


def test_what_a_slice_says_is_computed_on_the_half_it_names():
    table = table_of(1, planted=0.5)
    report = find_slices(table, seed=1)
    found = report.slices[0]
    wrong = table.predicted != table.labels
    assert found.rows.sum() == found.n_search + found.n_confirm
    both = found.search_inside * found.n_search + found.inside * found.n_confirm
    assert both == pytest.approx(wrong[found.rows].sum())
    assert report.n_search == report.n_confirm == 400


def test_neither_row_order_nor_unrelated_columns_change_the_halves():
    table = table_of(2, planted=0.5)
    shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
    assert find_slices(shuffled, seed=5).to_json() == find_slices(table, seed=5).to_json()
    assert find_slices(table, seed=6).to_json() != find_slices(table, seed=5).to_json()


def test_slices_of_a_mean_loss_hold_their_level_and_find_what_is_planted():
    confirmed, found_first = [], []
    for seed in range(60):
        losses = np.random.default_rng(seed).exponential(size=400)
        table = table_of(seed, 400)
        report = find_slices(table, losses=losses, permutations=200, seed=seed)
        confirmed.append(bool(report.confirmed))
        found_first.append(any(found.p_search <= 0.05 for found in report.slices))
    assert np.mean(confirmed) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)
    assert np.mean(found_first) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)
    losses = losses + 1.5 * (table.groups["c"] == "2")
    report = find_slices(table, losses=losses, permutations=500, seed=0)
    assert report.measured == "mean loss"
    assert report.confirmed[0].description == "c=2"


def test_slices_of_numbers_and_clusters_are_found_by_name():
    rng = np.random.default_rng(0)
    length = rng.lognormal(5, 1, 600)
    centers = rng.normal(size=(4, 5)) * 8
    cluster = rng.integers(0, 4, 600)
    points = centers[cluster] + rng.normal(size=(600, 5))
    wrong = rng.random(600) < np.where(length > np.quantile(length, 0.75), 0.6, 0.1)
    wrong |= (cluster == 3) & (rng.random(600) < 0.5)
    table = Predictions(
        ids=np.arange(600),
        labels=np.zeros(600, int),
        logits=np.eye(2)[wrong.astype(int)],
        classes=("no", "yes"),
    )
    report = find_slices(
        table, numeric={"length": length}, embeddings=points, clusters=4, pairs=False
    )
    described = [found.description for found in report.confirmed]
    assert any(text.startswith("length=4/4: ") for text in described)
    (clustered,) = [found for found in report.confirmed if "cluster" in found.values]
    assert (cluster[clustered.rows] == 3).all()
    nearest = report.representatives[clustered.values["cluster"]]
    assert all(cluster[int(name)] == 3 for name in nearest)


def test_a_repeated_slice_is_searched_once_and_small_ones_are_counted():
    table = table_of(0, planted=0.5)
    groups = {"a": table.groups["a"], "same": table.groups["a"], "id": table.ids}
    table = dataclasses.replace(table, groups=groups)
    report = find_slices(table, seed=0)
    assert report.searched == 4
    assert report.too_small >= 400
    assert all("same" not in found.values for found in report.slices)


def test_exact_p_values_are_fishers():
    rng = np.random.default_rng(0)
    rows, wrong = rng.random((6, 40)) < 0.3, rng.random(40) < 0.4
    for members, ours in zip(rows, exact_p_values(rows, wrong)):
        crossed = [[(members & wrong).sum(), (members & ~wrong).sum()]]
        crossed.append([(~members & wrong).sum(), (~members & ~wrong).sum()])
        assert ours == pytest.approx(fisher_exact(crossed, alternative="greater")[1], rel=1e-10)
    assert exact_p_values(rows, np.zeros(40, bool)) == pytest.approx(np.ones(6))


def test_permutation_p_values_agree_with_scipy_and_adjusting_never_lowers_them():
    rng = np.random.default_rng(1)
    numbers = rng.exponential(size=30)
    rows = rng.random((5, 30)) < 0.4
    alone, family = largest_of_permutations(rows, numbers, 4000, 0)
    for members, ours in zip(rows, alone):
        peer = permutation_test(
            (numbers[members], numbers[~members]),
            lambda x, y: x.mean() - y.mean(),
            n_resamples=4000,
            alternative="greater",
            rng=np.random.default_rng(2),
        )
        assert ours == pytest.approx(peer.pvalue, abs=4 * np.sqrt(0.25 / 4000))
    assert (family > alone).all()
    constant = largest_of_permutations(rows, np.ones(30), 50, 0)
    assert (constant[1] == 1).all()


def test_intervals_of_differences_are_newcombes_and_welchs():
    """Newcombe (1998), table II: 56/70 and 48/80, method 10."""
    inside, outside = np.arange(70) < 56, np.arange(80) < 48
    found = difference_interval(inside * 1.0, outside * 1.0, proportions=True)
    assert found == pytest.approx((0.0524, 0.3339), abs=1e-4)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=12), rng.normal(2, 3, size=20)
    peer = ttest_ind(a, b, equal_var=False).confidence_interval()
    assert difference_interval(a, b, proportions=False) == pytest.approx(tuple(peer), rel=1e-9)
    assert difference_interval(a, b[:0], proportions=False) is None
    assert difference_interval(a, b[:1], proportions=False) is None


def test_quantile_groups_are_even_named_in_order_and_keep_ties_together():
    names = cut_at_quantiles(np.random.default_rng(0).permutation(100) * 1.0, 4)
    values, counts = np.unique(names, return_counts=True)
    assert counts.tolist() == [25] * 4
    assert values.tolist()[0] == "1/4: 0 to 24"
    tied = cut_at_quantiles(np.array([0.0] * 90 + [1.0] * 10), 4)
    assert sorted(set(tied)) == ["1/2: 0 to 0", "2/2: 1 to 1"]
    rare = cut_at_quantiles(np.array([0.0] * 10 + [1.0] * 90), 4)
    assert sorted(set(rare)) == ["1/2: 0 to 0", "2/2: 1 to 1"]
    assert set(cut_at_quantiles(np.ones(5), 3)) == {"1/1: 1 to 1"}
    many = cut_at_quantiles(np.arange(100), 12)
    assert sorted(set(many))[1].startswith("02/12")
    with pytest.raises(EvaluationError, match="length, row 1: nan is not finite"):
        cut_at_quantiles(np.array([1.0, np.nan]), 2, name="length")
    with pytest.raises(EvaluationError, match="1 bins"):
        cut_at_quantiles(np.ones(3), 1)


def test_a_search_of_nothing_is_refused():
    table = table_of(0)
    bare = dataclasses.replace(table, groups={})
    with pytest.raises(EvaluationError, match="nothing to search"):
        find_slices(bare)
    with pytest.raises(EvaluationError, match="half of 30 examples is not two slices of 20"):
        find_slices(table.take(np.arange(30)))
    with pytest.raises(EvaluationError, match="no group column 'e'"):
        find_slices(table, columns=["e"])
    with pytest.raises(EvaluationError, match="losses must be finite"):
        find_slices(table, losses=np.full(800, np.nan))
    with pytest.raises(EvaluationError, match="length has 3 numbers"):
        find_slices(table, numeric={"length": np.ones(3)})
    with pytest.raises(EvaluationError, match=r"embeddings have shape \(3, 2\)"):
        find_slices(table, embeddings=np.ones((3, 2)))


def test_slices_of_no_example_are_refused():
    with pytest.raises(EvaluationError, match="minimum 0: a slice needs at least 1 example"):
        find_slices(table_of(0, n=40), minimum=0)
