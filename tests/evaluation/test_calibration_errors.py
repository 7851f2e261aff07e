"""Calibration errors have their analytic values, and stray from 0 by chance as far as they say."""

import numpy as np
import pytest

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.calibration import CALIBRATION, reliability
from jaxtransfer.evaluation.calibration_errors import (
    BinnedError,
    absolute_gap,
    mass_bins,
    maximum_calibration_error,
)
from jaxtransfer.evaluation.definition import Definition
from jaxtransfer.evaluation.equal_mass import DebiasedError, EqualMassError
from jaxtransfer.evaluation.metrics import measure, value
from jaxtransfer.evaluation.paired import paired_difference
from jaxtransfer.evaluation.perfect_calibration import NOTHING, Outcomes, perfect
from jaxtransfer.evaluation.probability_bins import Binned
from jaxtransfer.evaluation.smooth_calibration import (
    EXACT,
    smooth_calibration_error,
    smoothed_error,
)
from jaxtransfer.evaluation.statistic import MeanStatistic
from jaxtransfer.evaluation.table import Predictions

MEASURES = [d.name for d in CALIBRATION if not d.name.endswith("_perfect")]


def make(labels, logits):
    logits = np.asarray(logits, np.float64)
    return Predictions(
        ids=np.arange(len(labels)),
        labels=np.asarray(labels),
        logits=logits,
        classes=tuple(f"class {c}" for c in range(logits.shape[1])),
    )


def binary(confidence, correct):
    confidence = np.asarray(confidence, np.float64)
    logits = np.stack([np.zeros_like(confidence), np.log(confidence / (1 - confidence))], axis=1)
    return make(np.asarray(correct, np.int64), logits)


def calibrated(seed, n=500, k=4, factor=1.0):
    """Labels drawn from the softmax of normal logits, which are then multiplied by a factor."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n, k))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return make(
        (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=k - 1), logits * factor
    )


@pytest.mark.parametrize(("bins", "plain"), [(10, 0.022), (15, 0.027), (100, 0.070)])
def test_a_calibrated_model_has_a_debiased_square_of_0_and_a_plain_error_of_chance(bins, plain):
    rng = np.random.default_rng(0)
    p = rng.random((2000, 1))
    drawn = Outcomes(p)(rng, 300)
    labels = np.zeros(2000, int)
    given = {"probabilities": p, "outcomes": drawn[0], "bins": bins}
    ece = BinnedError(labels=labels, binned=Binned(**given), error=absolute_gap)
    for error in (ece, EqualMassError(labels=labels, **given)):
        assert error.of_outcomes(drawn).mean() == pytest.approx(plain, abs=0.001)
    roots = DebiasedError(labels=labels, **given).of_outcomes(drawn)
    squares = np.sign(roots) * roots**2
    assert abs(squares.mean()) < 4 * squares.std() / np.sqrt(300)
    assert abs(roots.mean()) < 0.005


def test_a_debiased_error_is_unbiased_for_a_known_gap():
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.6, 1, 1000)
    drawn = np.where(rng.random((300, 1000)) < confidence - 0.1, 0, NOTHING)
    error = DebiasedError(
        labels=np.zeros(1000, int), probabilities=confidence[:, None], outcomes=drawn[0], bins=15
    )
    squares = error.of_outcomes(drawn) ** 2
    assert squares.mean() == pytest.approx(0.01, abs=4 * squares.std() / np.sqrt(300))


def test_the_debiased_error_of_one_bin_is_the_squared_mean_less_its_variance():
    confidence, correct = np.full(20, 0.8), np.r_[np.ones(10), np.zeros(10)]
    definition = next(d for d in CALIBRATION if d.name == "ece_debiased")
    gaps = correct - confidence
    square = gaps.mean() ** 2 - gaps.var(ddof=1) / 20
    assert value(binary(confidence, correct), definition) == pytest.approx(np.sqrt(square))


def test_a_debiased_error_of_single_examples_is_undefined_with_its_reason():
    measured = measure(binary([0.6, 0.7, 0.8], [1, 0, 1]), ["ece_debiased", "ece_debiased_perfect"])
    for one in measured.values():
        assert one.value is None
        assert one.undefined == "no bin of 15 holds two examples of n=3"


def test_the_interval_of_a_debiased_error_holds_the_true_gap():
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(40):
        confidence = rng.uniform(0.6, 1, 300)
        table = binary(confidence, rng.random(300) < confidence - 0.1)
        low, high = measure(table, ["ece_debiased"], replicates=200)["ece_debiased"].ci
        held += low <= 0.1 <= high
    assert held >= 34


@pytest.mark.parametrize("name", MEASURES)
def test_a_calibrated_model_scores_within_its_range_under_perfect_calibration(name):
    inside = 0
    for seed in range(20):
        expected = measure(calibrated(seed), [f"{name}_perfect"], replicates=200)[f"{name}_perfect"]
        inside += expected.ci[0] <= value(calibrated(seed), name) <= expected.ci[1]
    assert inside >= 17


@pytest.mark.parametrize("name", [name for name in MEASURES if name != "mce"])
def test_an_overconfident_model_scores_above_its_range(name):
    table = calibrated(3, n=1000, factor=3.0)
    expected = measure(table, [f"{name}_perfect"], replicates=200)[f"{name}_perfect"]
    assert value(table, name) > expected.ci[1]


@pytest.mark.parametrize("name", MEASURES)
def test_neither_rows_nor_classes_have_an_order(name):
    table = calibrated(4, factor=2.0)
    rounded = make(table.labels, np.round(table.logits))
    for one in (table, rounded):
        rng = np.random.default_rng(0)
        rows, columns = rng.permutation(len(one)), rng.permutation(4)
        assert value(one.take(rows), name) == pytest.approx(value(one, name), abs=1e-12)
        # Among tied logits the first class is predicted, so only untied rows know no order.
        if one is table:
            moved = make(np.argsort(columns)[one.labels], one.logits[:, columns])
            assert value(moved, name) == pytest.approx(value(one, name), abs=1e-12)


def test_mass_bins_keep_ties_together_and_are_even_without():
    rng = np.random.default_rng(0)
    assert set(np.bincount(mass_bins(rng.random(103), 10))) == {10, 11}
    tied = rng.choice([0.2, 0.5, 0.9], 50)
    assert all(len(set(mass_bins(tied, 7)[tied == level])) == 1 for level in (0.2, 0.5, 0.9))


def test_the_maximum_error_is_the_largest_gap_of_a_bin():
    table = binary([0.9] * 10 + [0.6] * 10, [1] * 7 + [0] * 3 + [1] * 7 + [0] * 3)
    assert value(table, "mce") == pytest.approx(0.2)
    assert reliability(table).mce == pytest.approx(0.2)


def test_the_maximum_without_an_example_of_its_bin_may_be_the_second_largest():
    table = binary([0.9] + [0.6] * 10 + [0.75] * 10, [0] + [1] * 8 + [0] * 2 + [1] * 7 + [0] * 3)
    without = maximum_calibration_error(table).leave_one_out()
    assert without[0] == pytest.approx(0.2)
    np.testing.assert_allclose(without[1:], 0.9)


def test_chance_in_a_bin_of_few_can_hide_overconfidence_from_the_maximum_error():
    table = calibrated(3, n=1000, factor=3.0)
    expected = measure(table, ["mce_perfect"], replicates=200)["mce_perfect"]
    assert value(table, "ece") > 0.1
    assert value(table, "mce") < expected.ci[1]


def test_the_classwise_error_counts_classes_that_are_not_predicted():
    table = make([0, 1, 2, 0], np.log(np.tile([0.5, 0.3, 0.2], (4, 1))))
    assert value(table, "ece_classwise") == pytest.approx((0 + 0.05 + 0.05) / 3)
    assert value(table, "ece") == pytest.approx(0.0)


def test_draws_follow_their_probabilities():
    p = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0], [0.0, 1.0, 0.0]])
    drawn = Outcomes(p)(np.random.default_rng(0), 20_000)
    shares = np.stack([(drawn == column).mean(axis=0) for column in range(3)], axis=1)
    np.testing.assert_allclose(shares, p, rtol=0, atol=0.015)
    assert (shares[p == 0] == 0).all()


def test_what_is_simulated_has_no_paired_difference():
    for name in MEASURES:
        with pytest.raises(EvaluationError, match=f"{name}_perfect is simulated"):
            paired_difference([calibrated(0)], [calibrated(0)], f"{name}_perfect")


def test_only_a_calibration_measure_can_be_simulated():
    mean = Definition(
        name="mean",
        text="",
        prepare=lambda table: MeanStatistic(labels=table.labels, numbers=np.ones(len(table))),
    )
    with pytest.raises(EvaluationError, match="mean is no CalibrationStatistic"):
        measure(calibrated(0), [perfect(mean)])


def test_a_smoothed_error_agrees_with_a_direct_sum_of_reflected_gaussians():
    """Within 1e-5 at bandwidths of 5 cells and more."""
    rng = np.random.default_rng(0)
    f = np.r_[rng.uniform(0.5, 1, 150), np.full(50, 0.999)]
    table = binary(f, rng.random(200) < f**2)
    gaps = table.labels - f
    t = np.linspace(0, 1, 4001)
    for width in (0.005, 0.05, 0.4):
        density = np.zeros_like(t)
        for image in [s * f + 2 * k for k in (-2, -1, 0, 1, 2) for s in (1, -1)]:
            density += np.exp(-(((t[:, None] - image) / width) ** 2) / 2) @ gaps
        density = np.abs(density) / (width * np.sqrt(2 * np.pi) * 200)
        direct = np.trapezoid(density, t)
        assert smoothed_error(table, width) == pytest.approx(
            direct, abs=1e-5 if width > 0.01 else 2e-3
        )


def test_the_smooth_error_is_its_own_bandwidth():
    table = calibrated(5, factor=2.0)
    found = value(table, "smooth_ece")
    assert smoothed_error(table, found) == pytest.approx(found, abs=1e-12)


def test_a_constant_gap_is_the_smooth_error():
    table = binary(np.full(100, 0.8), [1] * 50 + [0] * 50)
    assert value(table, "smooth_ece") == pytest.approx(0.3, abs=1e-9)


def test_the_smooth_error_of_certain_and_right_predictions_is_0():
    assert value(make([0, 1, 2], 2000 * np.eye(3)), "smooth_ece") == 0.0


def test_leaving_one_of_many_out_to_first_order_is_nearly_exact():
    """On average within 3 %, and correlated above 0.98; where the smoothed gap changes sign it errs."""
    table = calibrated(6, n=EXACT + 200)
    statistic = smooth_calibration_error(table)
    rows = np.arange(0, len(table), 20)
    first = statistic.leave_one_out()[rows] - statistic.value
    exact = -statistic.value + np.array(
        [value(table.take(np.delete(np.arange(len(table)), row)), "smooth_ece") for row in rows]
    )
    assert (first @ exact) / (exact @ exact) == pytest.approx(1, abs=0.03)
    assert np.corrcoef(first, exact)[0, 1] > 0.98


def test_a_diagram_of_equal_mass_counts_all_and_is_json():
    table = calibrated(7, n=90)
    diagram = reliability(table, 9, binning="mass")
    assert diagram.count.tolist() == [10] * 9
    assert (np.diff(diagram.edges) > 0).all()
    document = reliability(table, 9, of="class 2").to_json()
    assert document["of"] == "class 2"
    assert sum(document["count"]) == 90
    assert None in reliability(table, 90).to_json()["accuracy"]


def test_an_unknown_class_or_binning_is_refused():
    with pytest.raises(EvaluationError, match="unknown class 'clas 2'; nearest: 'class 2'"):
        reliability(calibrated(0), of="clas 2")
    with pytest.raises(EvaluationError, match="unknown binning 'equal': 'width' or 'mass'"):
        reliability(calibrated(0), binning="equal")


@pytest.mark.parametrize("bandwidth", [0.0, -0.1, 1.5, float("nan")])
def test_a_bandwidth_that_smooths_nothing_is_refused(bandwidth):
    table = Predictions(ids=[1, 2], labels=[0, 1], logits=np.eye(2), classes="ab")
    with pytest.raises(EvaluationError, match=f"bandwidth {bandwidth} is not in"):
        smoothed_error(table, bandwidth)
