"""Predicted power is that of simulated comparisons, and what cannot settle it is said."""

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy import stats

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.paired import PairedDifference, paired_difference
from jaxtransfer.evaluation.power import power_at, to_settle
from jaxtransfer.evaluation.table import Predictions


def compared(value=0.02, examples=1e-4, seeds=4e-4, n=200, runs=5, **changes):
    """A comparison with the variances given, by its definition."""
    error = math.sqrt(examples + seeds)
    made = PairedDifference(
        metric="macro_f1",
        value=value,
        ci=(value - 2 * error, value + 2 * error),
        standard_error=error,
        p_value=0.5,
        p_margin=0.5,
        df=10.0,
        example_df=n - 2,
        n=n,
        seeds=runs,
        example_variance=examples,
        seed_variance=seeds,
        margin=0.0,
        confidence=0.95,
        maximise=True,
        span=1.0,
        definition="",
    )
    return dataclasses.replace(made, **changes)


@pytest.mark.parametrize("runs", [6, 12])
def test_seeds_alone_give_the_power_of_the_paired_t_test(runs):
    """The noncentral t of the textbook: effect over standard deviation times root S."""
    found = power_at(compared(examples=0.0, seeds=0.04 / 6, runs=6), n=200, seeds=runs, effect=0.3)
    noncentrality = 0.3 / 0.2 * math.sqrt(runs)
    expected = stats.nct.sf(stats.t.ppf(0.975, runs - 1), runs - 1, noncentrality)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("n", "seeds"), [(200, 5), (800, 5), (200, 12)])
def test_power_is_that_of_simulated_comparisons(n, seeds):
    rng = np.random.default_rng(0)
    trials, base = 20_000, compared()
    examples = 1e-4 * 200 / n * rng.chisquare(n - 1, trials) / (n - 1)
    runs = 4e-4 * 5 / seeds * rng.chisquare(seeds - 1, trials) / (seeds - 1)
    error = math.sqrt(1e-4 * 200 / n + 4e-4 * 5 / seeds)
    difference = 0.05 + error * rng.normal(size=trials)
    weights = np.stack([examples, runs])
    quantile = stats.t.ppf(0.975, [n - 1, seeds - 1]) @ weights / weights.sum(axis=0)
    simulated = (difference > quantile * np.sqrt(weights.sum(axis=0))).mean()
    assert power_at(base, n=n, seeds=seeds, effect=0.05) == pytest.approx(simulated, abs=0.02)


def test_what_is_needed_has_the_power_and_one_less_has_not():
    base = compared(value=0.045)
    found = to_settle(base)
    assert found.power_now < 0.8
    assert found.needed_seeds > 5
    assert power_at(base, n=200, seeds=found.needed_seeds) >= 0.8
    assert power_at(base, n=200, seeds=found.needed_seeds - 1) < 0.8
    assert "more seeds" in str(found)
    easy = compared(value=0.09, seeds=4e-4, examples=2e-3)
    by_examples = to_settle(easy)
    assert power_at(easy, n=by_examples.needed_examples, seeds=5) >= 0.8
    assert power_at(easy, n=by_examples.needed_examples - 1, seeds=5) < 0.8
    n, seeds = by_examples.needed_both
    assert power_at(easy, n=n, seeds=seeds) >= 0.8
    assert by_examples.needed_examples > n


def test_no_number_of_examples_outweighs_the_seeds_nor_the_other_way():
    seeds_vary = to_settle(compared(value=0.03, examples=1e-6, seeds=4e-4))
    assert seeds_vary.needed_examples is None
    assert "no number of examples alone suffices: the seeds' error stays 0.02" in str(seeds_vary)
    examples_vary = to_settle(compared(value=0.03, examples=4e-4, seeds=1e-6))
    assert examples_vary.needed_seeds is None
    assert "no number of seeds alone suffices: the examples' error stays 0.02" in str(examples_vary)
    neither = to_settle(compared(value=0.03, examples=4e-4, seeds=4e-4))
    assert (neither.needed_seeds, neither.needed_examples) == (None, None)
    assert f"{neither.needed_both[0]} examples and {neither.needed_both[1]} seeds" in str(neither)
    json.dumps(neither.to_json(), allow_nan=False)


def test_one_seed_speaks_of_examples_alone():
    found = to_settle(compared(value=0.02, examples=2e-4, seeds=0.0, runs=1))
    assert found.needed_seeds is None
    expected = 2e-4 * 200 / (0.02 / (stats.norm.ppf(0.975) + stats.norm.ppf(0.8))) ** 2
    assert found.needed_examples == pytest.approx(expected, abs=4)
    assert "how seeds vary is unknown" in found.note


def test_a_settled_comparison_needs_no_more():
    found = to_settle(compared(value=0.3))
    assert (found.needed_seeds, found.needed_examples) == (5, 200)
    assert "suffices" in str(found)


def test_an_effect_within_the_margin_cannot_be_settled():
    found = to_settle(compared(value=0.02), margin=0.03)
    assert found.power_now == 0
    assert "does not exceed the margin of 0.03" in str(found)


def test_a_loss_that_falls_is_an_improvement():
    down = compared(value=-0.045, maximise=False)
    assert to_settle(down).needed_seeds == to_settle(compared(value=0.045)).needed_seeds


def test_an_undefined_comparison_is_unknown():
    table = Predictions(
        ids=np.arange(4), labels=[0, 0, 1, 1], logits=np.eye(2)[[0, 0, 1, 1]], classes=("a", "b")
    )
    found = to_settle(paired_difference([table], [table], "accuracy"))
    assert found.power_now is None
    assert "unknown" in str(found)
    assert "do not differ" in str(found)


def test_wrong_requests_are_refused():
    with pytest.raises(EvaluationError, match="power 1"):
        to_settle(compared(), power=1)
    with pytest.raises(EvaluationError, match="1 seeds show no variance"):
        power_at(compared(), n=200, seeds=1)
    with pytest.raises(EvaluationError, match="no standard error"):
        power_at(compared(standard_error=None), n=200, seeds=3)
    with pytest.raises(EvaluationError, match="effect inf"):
        to_settle(compared(), effect=math.inf)
    for margin in (math.nan, math.inf):
        with pytest.raises(EvaluationError, match=f"margin {margin} is not a difference"):
            to_settle(compared(), margin=margin)
        with pytest.raises(EvaluationError, match=f"margin {margin} is not a difference"):
            power_at(compared(), n=200, seeds=3, margin=margin)
