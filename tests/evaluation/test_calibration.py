"""Calibration error has its analytic values, and its value under perfect calibration beside it."""

import numpy as np
import pytest
from scipy import stats

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.calibration import reliability
from jaxtransfer.evaluation.calibration_errors import expected_calibration_error
from jaxtransfer.evaluation.metrics import measure, value
from jaxtransfer.evaluation.table import Predictions


def binary(confidence, correct):
    """Predicts class 1 with the confidences given; `correct` says where that is the label."""
    confidence = np.asarray(confidence, np.float64)
    logits = np.stack([np.zeros_like(confidence), np.log(confidence / (1 - confidence))], axis=1)
    labels = np.asarray(correct, np.int64)
    return Predictions(
        ids=np.arange(len(labels)), labels=labels, logits=logits, classes=("no", "yes")
    )


def test_ece_of_two_bins_is_the_weighted_gap():
    table = binary([0.9] * 10 + [0.6] * 10, [1] * 7 + [0] * 3 + [1] * 7 + [0] * 3)
    assert value(table, "ece") == pytest.approx(0.5 * 0.2 + 0.5 * 0.1, abs=1e-12)


def test_gaps_of_one_bin_cancel_and_of_two_do_not():
    table = binary([0.7] * 10 + [0.9] * 10, [1] * 8 + [0] * 2 + [1] * 8 + [0] * 2)
    assert expected_calibration_error(table, bins=1).value == pytest.approx(0.0, abs=1e-12)
    assert expected_calibration_error(table, bins=10).value == pytest.approx(0.1, abs=1e-12)


def test_confidence_one_lies_in_the_last_bin():
    logits = np.array([[0.0, 100.0], [0.0, 100.0]])
    table = Predictions(ids=["a", "b"], labels=[1, 0], logits=logits, classes=("no", "yes"))
    diagram = reliability(table, bins=10)
    assert diagram.count.tolist() == [0] * 9 + [2]
    assert diagram.ece == pytest.approx(0.5)


def test_a_confidence_on_an_edge_lies_in_the_bin_below():
    diagram = reliability(binary([0.5, 0.5, 0.9], [1, 0, 1]), bins=2)
    assert diagram.count.tolist() == [2, 1]


def test_reliability_counts_every_example_and_has_the_metrics_ece():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 300)
    table = binary(confidence, rng.random(300) < confidence)
    diagram = reliability(table)
    assert diagram.count.sum() == 300
    assert diagram.ece == pytest.approx(value(table, "ece"), abs=1e-12)
    full = diagram.count > 0
    assert np.isnan(diagram.accuracy[~full]).all()
    assert (diagram.low[full] <= diagram.accuracy[full]).all()
    assert (diagram.accuracy[full] <= diagram.high[full]).all()


def test_bins_are_at_least_one():
    with pytest.raises(EvaluationError, match="0 bins"):
        reliability(binary([0.9], [1]), bins=0)


def test_ece_under_perfect_calibration_is_analytic_for_one_confidence():
    table = binary([0.8] * 50, [1] * 50)
    hits = np.arange(51)
    expected = (stats.binom.pmf(hits, 50, 0.8) * np.abs(hits / 50 - 0.8)).sum()
    measured = measure(table, ["ece_perfect"], replicates=20_000)["ece_perfect"]
    assert measured.value == pytest.approx(expected, abs=0.001)


def test_a_calibrated_model_scores_its_value_under_perfect_calibration():
    rng = np.random.default_rng(0)
    scores, expected = [], []
    for _ in range(40):
        confidence = rng.uniform(0.5, 1, 200)
        table = binary(confidence, rng.random(200) < confidence)
        scores.append(value(table, "ece"))
        expected.append(measure(table, ["ece_perfect"], replicates=200)["ece_perfect"].value)
    assert np.mean(scores) == pytest.approx(np.mean(expected), abs=0.006)
    assert np.mean(expected) > 0.03
