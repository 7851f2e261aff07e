"""The parts of a Brier score add up to it exactly, and their corrections are unbiased."""

import json

import numpy as np
import pytest

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.brier import brier_decomposition
from jaxtransfer.evaluation.metrics import value
from jaxtransfer.evaluation.table import Predictions


def make(labels, probabilities):
    logits = np.log(np.asarray(probabilities, np.float64))
    return Predictions(
        ids=np.arange(len(labels)),
        labels=np.asarray(labels),
        logits=logits,
        classes=tuple("abcdefgh"[: logits.shape[1]]),
    )


def draw(seed, n, k):
    rng = np.random.default_rng(seed)
    return make(rng.integers(0, k, n), rng.dirichlet(np.ones(k), n))


@pytest.mark.parametrize("bins", [1, 2, 15, 1000])
@pytest.mark.parametrize("table", [draw(0, 200, 3), draw(1, 50, 2), draw(2, 1, 4), draw(3, 2, 2)])
def test_the_parts_add_up_to_the_score(table, bins):
    """Within 1e-12, corrected or not."""
    parts = brier_decomposition(table, bins)
    assert parts.brier == pytest.approx(value(table, "brier"), abs=1e-12)
    within = parts.within_variance - parts.within_covariance
    plain = parts.reliability - parts.resolution + parts.uncertainty + within
    assert plain == pytest.approx(parts.brier, abs=1e-12)
    corrected = (
        parts.corrected_reliability - parts.corrected_resolution + parts.corrected_uncertainty
    )
    assert corrected + within == pytest.approx(parts.brier, abs=1e-12)
    general = parts.reliability - parts.generalised_resolution + parts.uncertainty
    assert general == pytest.approx(parts.brier, abs=1e-12)


def test_the_parts_of_two_forecasts_are_murphys():
    p = np.repeat([0.2, 0.7], 10)
    table = make([1] * 1 + [0] * 9 + [1] * 6 + [0] * 4, np.stack([1 - p, p], axis=1))
    parts = brier_decomposition(table, classes=("b",))
    assert parts.reliability == pytest.approx(0.5 * 0.1**2 + 0.5 * 0.1**2)
    assert parts.resolution == pytest.approx(0.25**2)
    assert parts.uncertainty == pytest.approx(0.35 * 0.65)
    assert parts.within_variance == pytest.approx(0.0, abs=1e-15)
    noise = (0.1 * 0.9 / 9 * 10 + 0.6 * 0.4 / 9 * 10) / 20
    assert parts.corrected_reliability == pytest.approx(parts.reliability - noise)


def test_both_classes_of_two_count_the_same():
    table = draw(1, 60, 2)
    assert brier_decomposition(table).brier == pytest.approx(
        2 * brier_decomposition(table, classes=("a",)).brier
    )


def test_the_metric_is_the_part():
    table = draw(0, 300, 4)
    assert value(table, "brier_reliability") == pytest.approx(
        brier_decomposition(table).reliability, abs=1e-12
    )


def test_corrected_parts_of_calibrated_forecasts_are_unbiased():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        p = rng.choice([0.1, 0.5, 0.75], 60)
        happened = (rng.random(60) < p).astype(int)
        parts = brier_decomposition(make(happened, np.stack([1 - p, p], axis=1)), classes=("b",))
        found.append([parts.corrected_reliability, parts.corrected_resolution, parts.reliability])
    corrected, resolution, plain = np.mean(found, axis=0)
    error = np.std(found, axis=0) / np.sqrt(300)
    assert abs(corrected) < 4 * error[0]
    assert resolution == pytest.approx(np.var([0.1, 0.5, 0.75]), abs=4 * error[1])
    assert plain > 10 * error[2]


def test_a_decomposition_prints_and_is_json():
    parts = brier_decomposition(draw(0, 200, 3))
    assert json.loads(json.dumps(parts.to_json()))["classes"] == ["a", "b", "c"]
    assert "reliability" in str(parts)
    assert "(n=200, 15 bins)" in str(parts)


def test_an_unknown_class_and_no_bin_are_refused():
    with pytest.raises(EvaluationError, match="unknown class 'z'"):
        brier_decomposition(draw(0, 20, 3), classes=("z",))
    with pytest.raises(EvaluationError, match="0 bins: at least 1"):
        brier_decomposition(draw(0, 20, 3), 0)
