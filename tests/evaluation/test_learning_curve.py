"""Learning curves: what their points are, and which subsets and pairs are refused."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from curves import law_curve, table, tables
from scipy.stats import t

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.curve_area import area, area_difference
from jaxtransfer.evaluation.learning_curve import check_pair, curve_from_values, learning_curve
from jaxtransfer.evaluation.resampled_means import sorted_by_id
from jaxtransfer.evaluation.seeds import measure_seeds

ACCURACIES = {10: 0.6, 30: 0.75, 100: 0.85}


def curve(accuracies=ACCURACIES, **options):
    made = tables(accuracies, **{k: options.pop(k) for k in ("seeds", "n") if k in options})
    settings = {"metric": "accuracy", "method": "m", "replicates": 200, **options}
    return made, learning_curve(made, **settings)


def test_points_are_the_means_over_seeds_with_their_intervals():
    made, found = curve()
    for size, point in zip(made, found.points):
        expected = measure_seeds(sorted_by_id(made[size]), ["accuracy"], replicates=200)
        assert point == expected["accuracy"]
    expected = [[np.mean(one.predicted == one.labels) for one in made[size]] for size in made]
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    np.testing.assert_allclose(found.means, [p.value for p in found.points], atol=1e-12)


def test_sizes_are_sorted_and_rows_matched_by_id():
    made, found = curve()
    order = np.random.default_rng(0).permutation(200)
    shuffled = {
        size: [one.take(order) if size == 30 else one for one in made[size]]
        for size in reversed(made)
    }
    again = learning_curve(shuffled, "accuracy", method="m", replicates=200)
    np.testing.assert_array_equal(again.values, found.values)
    np.testing.assert_array_equal(again.replicates(), found.replicates())
    assert [labels.train for labels in again.labels] == [10, 30, 100]


def test_replicates_have_both_variances():
    _, found = curve(seeds=20, replicates=4000)
    assert found.replicates().var(axis=1) == pytest.approx(
        found.examples.var(axis=1) + found.values.var(axis=1, ddof=1) / 20 * 19 / 17, rel=0.15
    )
    np.testing.assert_allclose(
        found.variances,
        found.examples.var(axis=1, ddof=1) + found.values.var(axis=1, ddof=1) / 20,
    )


def test_labels_of_validation_and_calibration_count():
    _, found = curve(validation={10: 5, 30: 15, 100: 50}, calibration=20)
    assert [labels.total for labels in found.labels] == [35, 65, 170]
    document = json.loads(json.dumps(found.to_json()))
    assert document["points"][0]["validation"] == 5
    assert document["points"][0]["total"] == 35
    assert "10 (35 with validation and calibration)" in str(found)


def nested(seeds=2):
    pool = [[f"t{s}-{i}" for i in range(100)] for s in range(seeds)]
    return {size: [ids[:size] for ids in pool] for size in (10, 30, 100)}


def test_nested_subsets_change_no_number():
    _, checked = curve(seeds=2, subsets=nested())
    _, unchecked = curve(seeds=2)
    np.testing.assert_array_equal(checked.values, unchecked.values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s[30][1].__setitem__(3, "other"), "30 labels, seed 1: the subset of 10 labels"),
        (lambda s: s[30][1].pop(), "30 labels, seed 1: the subset has 29 ids, 29 of them"),
        (lambda s: s[30][0].__setitem__(29, s[30][0][0]), "30 ids, 29 of them different"),
        (lambda s: s[100][0].__setitem__(99, "e7"), "100 labels, seed 0: 'e7' is also a test"),
        (lambda s: s[100].pop(), "100 labels: 1 subsets for 2 seeds"),
        (lambda s: s.pop(100), r"subsets are of \[10, 30\] labels, the tables of \[10, 30, 100\]"),
    ],
)
def test_subsets_that_are_not_nested_are_refused(change, message):
    subsets = nested()
    change(subsets)
    with pytest.raises(EvaluationError, match=message):
        curve(seeds=2, subsets=subsets)


def test_the_missing_id_is_named():
    subsets = nested()
    subsets[30][0][2] = "other"
    with pytest.raises(EvaluationError, match=r"'t0-2' is missing \(1 such ids\)"):
        curve(seeds=2, subsets=subsets)


def test_malformed_curves_are_refused():
    made = tables(ACCURACIES)
    cases = [
        ({}, {}, "there are no tables"),
        ({**made, 30: made[30][:2]}, {}, "30 labels have 2 seeds, not 3"),
        ({0: made[10]}, {}, "0 is not a number of training labels"),
        (made, {"seeds": (1, 1, 2)}, r"seeds \[1, 1, 2\] repeat"),
        (made, {"validation": {10: 5}}, "validation says nothing of 30"),
        (made, {"validation": {10: 100, 30: 0, 100: 0}}, "30 training labels use 30 in all"),
        (made, {"calibration": -1}, "is -1, not a count"),
        ({**made, 200: [table([True] * 10)] * 3}, {}, "cannot be paired"),
    ]
    for given, options, message in cases:
        with pytest.raises(EvaluationError, match=message):
            learning_curve(given, "accuracy", method="m", replicates=20, **options)


def test_an_undefined_metric_names_size_seed_and_reason():
    one = dataclasses.replace(table([True] * 4), labels=np.zeros(4, int))
    with pytest.raises(EvaluationError, match=r"10 labels, seed 0 .*auroc_ovr_macro is undefined"):
        learning_curve({10: [one]}, "auroc_ovr_macro", method="m")


def test_numbers_have_students_interval_over_seeds():
    row = [0.7, 0.72, 0.78]
    found = curve_from_values({10: row}, method="m", metric="accuracy", n=100).points[0]
    half = t.ppf(0.975, 2) * np.std(row, ddof=1) / np.sqrt(3)
    assert found.ci == pytest.approx((np.mean(row) - half, np.mean(row) + half), abs=1e-12)
    alone = curve_from_values({10: row[:1]}, method="m", metric="accuracy", n=100).points[0]
    assert alone.ci is None
    assert alone.undefined == "one seed has no variance"
    with pytest.raises(EvaluationError, match=r"10 labels, seed 1: accuracy is nan"):
        curve_from_values({10: [0.1, np.nan]}, method="m", metric="accuracy", n=100)


def test_curves_that_are_not_alike_are_not_paired():
    _, one = curve()
    others = {
        "different definitions": curve(metric="macro_f1")[1],
        "different test examples": curve(n=150)[1],
        "different seeds": curve(seeds=2)[1],
        "resampled differently": curve(seed=5)[1],
    }
    check_pair(one, one)
    for message, other in others.items():
        with pytest.raises(EvaluationError, match=message):
            check_pair(one, other)


def test_the_area_is_the_mean_over_log_labels():
    sizes = np.array([10, 30, 100, 500])
    values = [0.3, 0.5, 0.8, 0.9]
    flat = curve_from_values(
        {int(n): [v, v] for n, v in zip(sizes, values)}, method="m", metric="accuracy", n=9
    )
    expected = np.trapezoid(values, np.log(sizes)) / np.log(50)
    found = area(flat)
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.ci is None
    with pytest.raises(EvaluationError, match="one size spans no area"):
        area(law_curve(0, 1, 0.5, [10]))


def test_areas_differ_by_a_paired_t_interval_over_seeds():
    rng = np.random.default_rng(0)
    base = {n: rng.uniform(0.5, 0.6, 4) for n in (10, 100)}
    gains = {n: 0.1 + 0.01 * rng.normal(size=4) for n in base}
    make = {
        name: curve_from_values(values, method=name, metric="accuracy", n=1000)
        for name, values in (("a", {n: base[n] + gains[n] for n in base}), ("b", base))
    }
    found = area_difference(make["a"], make["b"])
    per_seed = (gains[10] + gains[100]) / 2
    half = t.ppf(0.975, 3) * per_seed.std(ddof=1) / 2
    assert found.value == pytest.approx(per_seed.mean(), abs=1e-12)
    assert found.ci == pytest.approx((per_seed.mean() - half, per_seed.mean() + half), abs=1e-9)


def test_areas_over_different_labels_are_not_compared():
    _, one = curve()
    _, other = curve(validation=50)
    with pytest.raises(EvaluationError, match="different numbers of labels"):
        area_difference(one, other)


def test_pairing_narrows_the_difference():
    made = tables(ACCURACIES)
    better = {size: [one.take(slice(None)) for one in made[size]] for size in made}
    a, b = (
        learning_curve(given, "accuracy", method=m, replicates=300)
        for m, given in (("a", better), ("b", made))
    )
    same = area_difference(a, b)
    assert (same.value, same.ci) == (0.0, None)
    width = [np.ptp(a.replicates() - b.replicates()), np.ptp(a.replicates())]
    assert width[0] == 0 < width[1]
    assert all(x.train < y.train for x, y in itertools.pairwise(a.labels))


def test_a_curve_measured_on_no_example_is_refused():
    with pytest.raises(EvaluationError, match="m: n = 0 test examples measure nothing"):
        curve_from_values({10: [0.5, 0.6]}, method="m", metric="accuracy", n=0)
