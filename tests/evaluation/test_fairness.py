"""Gaps between groups: analytic values, the bias of a maximum, coverage, and what is undefined."""

import json

import numpy as np
import pytest

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.fairness import _permuted_table, gaps
from jaxtransfer.evaluation.intervals import wilson
from jaxtransfer.evaluation.rates import class_rates
from jaxtransfer.evaluation.table import Predictions


def table_of(cells, classes=("no", "yes")):
    """From (group, label, prediction, count) rows."""
    rows = [row[:3] for row in cells for _ in range(row[3])]
    groups, labels, predicted = zip(*rows)
    return Predictions(
        ids=np.arange(len(rows)),
        labels=np.array(labels),
        logits=np.eye(len(classes))[list(predicted)],
        classes=classes,
        groups={"sex": np.array(groups)},
    )


TWO = table_of(
    [
        *[("f", 1, 1, 8), ("f", 1, 0, 2), ("f", 0, 1, 5), ("f", 0, 0, 15)],
        *[("m", 1, 1, 18), ("m", 1, 0, 2), ("m", 0, 1, 2), ("m", 0, 0, 18)],
    ]
)


def drawn(seed, sizes, tpr, fpr, positives=0.4):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(sizes)), sizes)
    labels = (rng.random(len(group)) < positives).astype(int)
    chance = np.where(labels, np.asarray(tpr)[group], np.asarray(fpr)[group])
    predicted = (rng.random(len(group)) < chance).astype(int)
    return Predictions(
        ids=np.arange(len(group)),
        labels=labels,
        logits=np.eye(2)[predicted],
        classes=("no", "yes"),
        groups={"g": group.astype(str)},
    )


def test_gaps_and_ratios_of_two_groups_are_those_by_hand():
    found = {gap.name: gap for gap in gaps(TWO, "sex", positive="yes")}
    assert found["demographic_parity"].value == pytest.approx(20 / 40 - 13 / 30)
    assert found["demographic_parity"].ratio == pytest.approx((13 / 30) / (20 / 40))
    assert found["equal_opportunity"].value == pytest.approx(0.9 - 0.8)
    assert found["false_positive_rate"].value == pytest.approx(0.25 - 0.10)
    assert found["equalised_odds"].value == pytest.approx(0.15)
    assert found["equalised_odds"].ratio == pytest.approx(0.1 / 0.25)
    for gap in found.values():
        assert gap.ci[0] <= gap.value <= gap.ci[1]
        assert gap.groups == ("f", "m")
        assert gap.left_out == {}


def test_rates_of_a_class_have_wilson_intervals_and_precision_counts_the_predicted():
    (rates,) = class_rates(TWO.take(TWO.groups["sex"] == "f"), positive="yes")
    assert (rates.tpr.value, rates.tpr.n) == (0.8, 10)
    assert rates.tpr.ci == wilson(8, 10)
    assert rates.fpr.value == 0.25
    assert rates.precision.value == pytest.approx(8 / 13)
    assert rates.selection_rate.value == pytest.approx(13 / 30)


def test_a_group_without_positives_has_no_true_positive_rate_and_the_gap_names_it():
    table = table_of(
        [
            *[("a", 1, 1, 10), ("a", 0, 0, 20), ("b", 1, 0, 4), ("b", 1, 1, 8), ("b", 0, 0, 20)],
            ("c", 0, 0, 30),
        ]
    )
    (rates,) = class_rates(table.take(table.groups["sex"] == "c"), positive="yes")
    assert rates.tpr.value is None
    assert str(rates.tpr) == "undefined, n=0 (no example of class 'yes')"
    assert str(rates.precision) == "undefined, n=0 (none is predicted 'yes')"
    found = {gap.name: gap for gap in gaps(table, "sex", positive="yes", minimum=1)}
    assert found["equal_opportunity"].value == pytest.approx(1 - 8 / 12)
    assert found["equal_opportunity"].left_out == {"c": "0 of class 'yes', fewer than 1"}
    assert found["equalised_odds"].groups == ("a", "b")
    assert found["false_positive_rate"].groups == ("a", "b", "c")
    assert found["false_positive_rate"].ratio is None
    assert "without c" in str(found["equalised_odds"])


def test_a_gap_of_fewer_than_two_groups_is_undefined_and_no_zero():
    table = table_of([("a", 1, 1, 20), ("a", 0, 0, 20), ("b", 1, 1, 1), ("b", 0, 0, 2)])
    for gap in gaps(table, "sex", positive="yes"):
        assert gap.value is gap.ratio is gap.ci is gap.p_value is None
        assert "undefined: 1 of 2 groups have 10 examples" in str(gap)
        json.dumps(gap.to_json(), allow_nan=False)
    alone = table.take(table.groups["sex"] == "a")
    assert all(gap.value is None for gap in gaps(alone, "sex", positive="yes"))


def test_a_group_of_one_is_no_certain_gap():
    table = table_of([("a", 0, 0, 40), ("a", 0, 1, 20), ("b", 0, 1, 1)])
    parity = gaps(table, "sex", positive="yes", minimum=1)[0]
    assert parity.value == pytest.approx(2 / 3)
    assert parity.ci[0] == 0
    assert parity.p_value > 0.2
    positives = table_of([("a", 1, 0, 30), ("a", 1, 1, 30), ("a", 0, 0, 9), ("b", 1, 1, 1)])
    opportunity = gaps(positives, "sex", positive="yes", minimum=1)[1]
    assert opportunity.value == pytest.approx(1 / 2)
    assert opportunity.ci[0] == 0


def test_equal_groups_show_the_gap_that_is_expected_of_them_and_p_values_hold_their_level():
    values, expected, rejected, covered = [], [], [], []
    for seed in range(150):
        table = drawn(seed, [80] * 4, [0.8] * 4, [0.2] * 4)
        for gap in gaps(table, "g", positive="yes", seed=seed, replicates=200):
            values.append(gap.value)
            expected.append(gap.expected)
            rejected.append(gap.p_value <= 0.05)
            covered.append(gap.ci[0] == 0)
    assert np.mean(values) > 0.1
    assert np.mean(expected) == pytest.approx(np.mean(values), abs=0.01)
    assert np.mean(rejected) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 150)
    assert np.mean(covered) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 150)


@pytest.mark.parametrize("tpr", [[0.8, 0.7, 0.5], [0.99, 0.99, 0.9]])
def test_intervals_cover_gaps_that_are_there(tpr):
    covered = []
    for seed in range(150):
        table = drawn(seed, [100, 60, 60], tpr, [0.1, 0.1, 0.1])
        found = gaps(table, "g", positive="yes", seed=seed, replicates=200)
        low, high = found[1].ci
        covered.append(low <= max(tpr) - min(tpr) <= high)
    assert np.mean(covered) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 150)


def test_groups_that_differ_in_labels_alone_break_parity_but_not_equalised_odds():
    rng = np.random.default_rng(3)
    group = np.repeat(["a", "b"], 400)
    labels = (rng.random(800) < np.where(group == "a", 0.2, 0.7)).astype(int)
    predicted = np.where(rng.random(800) < 0.1, 1 - labels, labels)
    table = Predictions(
        ids=np.arange(800),
        labels=labels,
        logits=np.eye(2)[predicted],
        classes=("no", "yes"),
        groups={"g": group},
    )
    found = {gap.name: gap for gap in gaps(table, "g", positive="yes")}
    assert found["demographic_parity"].p_value < 0.002
    assert found["equalised_odds"].p_value > 0.05


def test_macro_is_the_mean_over_classes_and_names_do_not_matter():
    rng = np.random.default_rng(0)
    table = Predictions(
        ids=np.arange(300),
        labels=rng.integers(0, 3, 300),
        logits=rng.normal(size=(300, 3)),
        classes=tuple("abc"),
        groups={"g": rng.integers(0, 3, 300)},
    )
    found = gaps(table, "g")
    for name in ("demographic_parity", "equalised_odds"):
        single = [gap.value for gap in found if gap.name == name and gap.label != "macro"]
        macro = next(gap for gap in found if gap.name == name and gap.label == "macro")
        assert len(single) == 3
        assert macro.value == pytest.approx(np.mean(single), rel=1e-12)
        assert macro.ratio is None
    shuffled = table.take(rng.permutation(300))
    assert [gap.to_json() for gap in gaps(shuffled, "g")] == [gap.to_json() for gap in found]


def test_a_permuted_table_keeps_its_margins_and_its_mean_is_that_of_independence():
    rng = np.random.default_rng(0)
    rows, columns = np.array([5, 0, 15, 20]), np.array([10, 0, 30])
    tables = _permuted_table(rng, rows, columns, 4000)
    assert (tables.sum(axis=2) == rows).all()
    assert (tables.sum(axis=1) == columns).all()
    np.testing.assert_allclose(tables.mean(axis=0), np.outer(rows, columns) / 40, atol=0.15)
    trivial = _permuted_table(rng, np.array([5, 0]), np.array([5]), 3)
    assert (trivial == [[5], [0]]).all()


def test_what_cannot_be_compared_is_refused_by_name():
    with pytest.raises(EvaluationError, match="no group column 'sax'; nearest: 'sex'"):
        gaps(TWO, "sax")
    with pytest.raises(EvaluationError, match="'yess' is not a class; nearest: 'yes'"):
        gaps(TWO, "sex", positive="yess")
    with pytest.raises(EvaluationError, match="minimum 0"):
        gaps(TWO, "sex", minimum=0)
