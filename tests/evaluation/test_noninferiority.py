"""Non-inferiority follows the interval, whichever way the metric counts."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.noninferiority import noninferiority
from jaxtransfer.evaluation.paired import PairedDifference, paired_difference
from jaxtransfer.evaluation.table import Predictions


def compared(value, error=0.01, maximise=True, n=200):
    return PairedDifference(
        metric="accuracy" if maximise else "nll",
        value=value,
        ci=(value - 2 * error, value + 2 * error),
        standard_error=error,
        p_value=0.5,
        p_margin=0.5,
        df=float(n - 1),
        example_df=n - 1,
        n=n,
        seeds=1,
        example_variance=error**2,
        seed_variance=0.0,
        margin=0.0,
        confidence=0.95,
        maximise=maximise,
        span=1.0 if maximise else None,
        definition="",
    )


@pytest.mark.parametrize("maximise", [True, False])
@pytest.mark.parametrize(
    ("improvement", "verdict", "equivalent"),
    [
        (0.0, "non_inferior", True),
        (0.1, "non_inferior", False),
        (-0.005, "non_inferior", True),
        (-0.02, "inconclusive", False),
        (-0.04, "inconclusive", False),
        (-0.1, "inferior", False),
    ],
)
def test_verdicts_at_a_margin_of_three_standard_errors(maximise, improvement, verdict, equivalent):
    found = noninferiority(
        compared(improvement if maximise else -improvement, 0.01, maximise), 0.03
    )
    assert (found.verdict, found.equivalent) == (verdict, equivalent)
    assert found.improvement == pytest.approx(improvement)
    half = stats.t.ppf(0.975, 199) * 0.01
    assert found.ci == pytest.approx((improvement - half, improvement + half))
    assert found.p_value == pytest.approx(stats.t.sf((improvement + 0.03) / 0.01, 199))
    assert verdict.replace("_", "-") in str(found)


def test_p_values_are_those_of_two_one_sided_t_tests():
    numbers = np.random.default_rng(0).normal(0.004, 0.1, 200)
    base = compared(numbers.mean(), numbers.std(ddof=1) / np.sqrt(200))
    found = noninferiority(base, 0.02)
    low = stats.ttest_1samp(numbers, -0.02, alternative="greater").pvalue
    high = stats.ttest_1samp(numbers, 0.02, alternative="less").pvalue
    assert found.p_value == pytest.approx(low, rel=1e-9)
    assert found.p_equivalence == pytest.approx(max(low, high), rel=1e-9)


def test_a_difference_that_is_not_significant_shows_nothing_by_itself():
    found = noninferiority(compared(0.0, error=0.05), 0.02)
    assert found.verdict == "inconclusive"
    assert not found.equivalent


def test_the_verdict_agrees_with_the_interval():
    rng = np.random.default_rng(1)
    for _ in range(200):
        found = noninferiority(compared(rng.normal(0, 0.03)), 0.03, alpha=0.05)
        assert (found.verdict == "non_inferior") == (found.ci[0] > -0.03)
        assert (found.verdict == "inferior") == (found.ci[1] < -0.03)
        assert found.equivalent == (found.ci[0] > -0.03 and found.ci[1] < 0.03)


@pytest.mark.parametrize(("n", "shown"), [(50, False), (150, True)])
def test_models_that_agree_everywhere_are_equivalent_only_if_there_is_enough_to_agree_on(n, shown):
    """Without a difference in n examples, the share that differs is at most 1 - .025^(1/n)."""
    labels = np.arange(n) % 2
    table = Predictions(
        ids=np.arange(n), labels=labels, logits=np.eye(2)[labels], classes=("a", "b")
    )
    same = paired_difference([table], [table], "accuracy")
    found = noninferiority(same, 0.03)
    assert found.ci[1] == pytest.approx(1 - 0.025 ** (1 / n))
    assert found.p_value == pytest.approx(0.97**n)
    assert found.equivalent is shown
    assert (found.verdict == "non_inferior") is shown
    loss = noninferiority(paired_difference([table], [table], "nll"), 0.03)
    assert loss.verdict == "inconclusive"
    assert "has no range" in str(loss)


def test_margin_and_level_are_checked_and_the_document_is_json():
    for margin in (0, -0.1, float("nan")):
        with pytest.raises(EvaluationError, match="accepts no loss"):
            noninferiority(compared(0.0), margin)
    with pytest.raises(EvaluationError, match=r"alpha 0\.5"):
        noninferiority(compared(0.0), 0.1, alpha=0.5)
    json.dumps(noninferiority(compared(0.0), 0.1).to_json(), allow_nan=False)


def test_an_undefined_difference_is_inconclusive():
    nothing = dataclasses.replace(compared(0.0), value=None, standard_error=None, note="no class")
    found = noninferiority(nothing, 0.1)
    assert found.verdict == "inconclusive"
    assert "no class" in str(found)


def test_a_model_worse_by_the_margin_is_called_non_inferior_at_most_as_often_as_claimed():
    rng = np.random.default_rng(2)
    trials, passed = 4000, 0
    for _ in range(trials):
        numbers = rng.normal(-0.02, 0.1, 50)
        base = compared(numbers.mean(), numbers.std(ddof=1) / np.sqrt(50), n=50)
        passed += noninferiority(base, 0.02).verdict == "non_inferior"
    assert passed / trials <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / trials)
