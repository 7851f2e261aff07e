"""Corrections keep the rate of the family they are given, and say how large it is."""

import json

import numpy as np
import pytest
from scipy import stats

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.correction import benjamini_hochberg, correct, holm


def test_holm_steps_down_and_keeps_the_order_given():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])
    assert holm([]).shape == benjamini_hochberg([]).shape == (0,)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_no_p_value_is_refused(adjust):
    with pytest.raises(EvaluationError, match="p-value 1 is None"):
        adjust([0.1, None])
    with pytest.raises(EvaluationError, match="p-value 0 is nan"):
        adjust([float("nan")])
    with pytest.raises(EvaluationError, match="family of 1 cannot hold 2"):
        adjust([0.1, 0.2], family=1)


@pytest.mark.parametrize("size", [1, 2, 7, 50])
def test_benjamini_hochberg_agrees_with_scipy(size):
    rng = np.random.default_rng(size)
    for p_values in (rng.random(size), np.round(rng.random(size) ** 3, 1)):
        expected = stats.false_discovery_control(p_values, method="bh")
        np.testing.assert_allclose(benjamini_hochberg(p_values), expected, atol=1e-12)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_a_larger_family_is_one_whose_other_p_values_are_1(adjust):
    p_values = [0.001, 0.2, 0.01]
    np.testing.assert_allclose(adjust(p_values, family=9), adjust([*p_values, *[1.0] * 6])[:3])


def test_the_family_is_stated_and_counts_what_is_undefined():
    found = correct({"a": 0.01, "b": None, "c": 0.02}, alpha=0.05)
    assert found.family == 3
    assert found.adjusted == {"a": pytest.approx(0.03), "b": None, "c": pytest.approx(0.04)}
    assert found.rejected == ("a", "c")
    assert "family of 3" in str(found)
    searched = correct({"a": 0.01, "c": 0.02}, "benjamini_hochberg", family=40)
    assert searched.rejected == ()
    document = json.loads(json.dumps(searched.to_json(), allow_nan=False))
    assert document["family"] == 40


def test_a_wrong_request_is_refused():
    with pytest.raises(EvaluationError, match="'bonferoni' is unknown"):
        correct({"a": 0.1}, "bonferoni")
    with pytest.raises(EvaluationError, match="alpha 1"):
        correct({"a": 0.1}, alpha=1)
    with pytest.raises(EvaluationError, match="family of 1"):
        correct({"a": 0.1, "b": 0.2}, family=1)
