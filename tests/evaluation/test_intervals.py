"""Intervals agree with SciPy's, and cover what they claim to."""

import numpy as np
import pytest
from scipy import special, stats

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.intervals import (
    acceleration,
    bca,
    bootstrap_weights,
    influences,
    logit_t,
    share_variance,
    wilson,
)
from jaxtransfer.evaluation.metrics import measure
from jaxtransfer.evaluation.statistic import MeanStatistic
from jaxtransfer.evaluation.table import Predictions


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (1, 1), (198, 200), (37, 90), (5, 5)])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_wilson_agrees_with_scipy(successes, n, confidence):
    expected = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert wilson(successes, n, confidence) == pytest.approx(tuple(expected), abs=1e-12)


def test_wilson_solves_its_quadratic():
    z = stats.norm.ppf(0.975)
    for bound in wilson(30, 50):
        assert abs(0.6 - bound) == pytest.approx(z * np.sqrt(bound * (1 - bound) / 50), abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(2, 1), (-1, 3), (0, 0)])
def test_no_proportion_is_refused(successes, n):
    with pytest.raises(EvaluationError, match=f"{successes} successes of {n}"):
        wilson(successes, n)


def test_bca_agrees_with_scipy_on_one_sample():
    numbers = np.random.default_rng(0).exponential(size=60)
    strata = np.zeros(60, np.int64)
    statistic = MeanStatistic(labels=strata, numbers=numbers)
    replicates = statistic.resample(np.random.default_rng(1), 20_000)
    ours = bca(statistic.value, replicates, acceleration(statistic.leave_one_out(), strata))
    theirs = stats.bootstrap(
        (numbers,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(2)
    ).confidence_interval
    # Monte-Carlo error of a 2.5 % quantile of 20,000 is about .02 standard errors.
    assert ours == pytest.approx(tuple(theirs), abs=0.08 * numbers.std() / np.sqrt(60))


def test_bca_agrees_with_scipy_on_two_strata():
    rng = np.random.default_rng(3)
    a, b = rng.exponential(size=40), rng.normal(size=25)
    strata = np.repeat([0, 1], [40, 25])

    class StratifiedMean(MeanStatistic):
        stratified = True

    statistic = StratifiedMean(labels=strata, numbers=np.concatenate([a, b]))
    replicates = statistic.resample(np.random.default_rng(1), 20_000)
    ours = bca(statistic.value, replicates, acceleration(statistic.leave_one_out(), strata))
    theirs = stats.bootstrap(
        (a, b),
        lambda x, y, axis: (x.sum(axis) + y.sum(axis)) / 65,
        n_resamples=20_000,
        method="BCa",
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.08 * replicates.std())


@pytest.mark.parametrize("is_discrete", [False, True])
def test_bca_with_scipys_own_replicates_is_scipys_interval(is_discrete):
    numbers = np.random.default_rng(5).exponential(size=30)
    if is_discrete:  # many replicates tie with the value
        numbers = np.round(numbers)
    result = stats.bootstrap(
        (numbers,), np.mean, n_resamples=999, method="BCa", rng=np.random.default_rng(0)
    )
    without = (numbers.sum() - numbers) / 29
    ours = bca(
        numbers.mean(), result.bootstrap_distribution, acceleration(without, np.zeros(30, int))
    )
    assert ours == pytest.approx(tuple(result.confidence_interval), abs=1e-12)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_measured_intervals_are_scipys_at_the_confidence_asked_for(confidence):
    """One class whose losses are skewed, so that the acceleration matters; one proportion."""
    losses = np.random.default_rng(0).exponential(size=60)
    probability = np.exp(-losses)
    table = Predictions(
        ids=np.arange(60),
        labels=np.zeros(60, np.int64),
        logits=np.log(np.stack([probability, 1 - probability], axis=1)),
        classes=("a", "b"),
    )
    found = measure(table, ["nll", "accuracy"], confidence=confidence, replicates=20_000)
    nll = stats.bootstrap(
        (losses,),
        np.mean,
        n_resamples=20_000,
        method="BCa",
        confidence_level=confidence,
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert found["nll"].ci == pytest.approx(tuple(nll), abs=0.08 * losses.std() / np.sqrt(60))
    hits = int((probability > 0.5).sum())
    wilson = stats.binomtest(hits, 60).proportion_ci(confidence, method="wilson")
    assert found["accuracy"].ci == pytest.approx(tuple(wilson), abs=1e-12)


def test_bca_says_why_there_is_no_interval():
    assert "every bootstrap replicate equals" in bca(1.0, np.ones(10), 0.0)
    assert "lies above the value" in bca(0.0, np.ones(10) + np.arange(10), 0.0)


def test_weights_draw_each_stratum_to_its_own_size():
    strata = np.array([0, 1, 1, 1, 2, 0, 2, 2])
    weights = bootstrap_weights(strata, 50, np.random.default_rng(0))
    for stratum, size in zip(*np.unique(strata, return_counts=True)):
        np.testing.assert_array_equal(weights[:, strata == stratum].sum(axis=1), size)


def test_rescaled_weights_give_the_unbiased_variance_of_a_mean():
    strata = np.repeat([0, 1, 2], [3, 8, 1])
    numbers = np.random.default_rng(0).normal(size=12)
    weights = bootstrap_weights(strata, 40_000, np.random.default_rng(1), rescaled=True)
    np.testing.assert_allclose(weights.sum(axis=1), 12)
    expected = sum(m * numbers[strata == h].var(ddof=1) for h, m in ((0, 3), (1, 8))) / 12**2
    assert (weights @ numbers / 12).var() == pytest.approx(expected, rel=0.03)


def test_counted_and_weighted_bootstraps_of_macro_f1_have_one_distribution():
    from jaxtransfer.evaluation.metrics import METRICS
    from jaxtransfer.evaluation.statistic import Statistic

    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 20)
    logits = rng.normal(size=(60, 3)) + 1.5 * np.eye(3)[labels]
    table = Predictions(ids=np.arange(60), labels=labels, logits=logits, classes=("a", "b", "c"))
    statistic = METRICS["classification"]["macro_f1"].prepare(table)
    counted = statistic.resample(np.random.default_rng(1), 20_000)
    weighted = Statistic.resample(statistic, np.random.default_rng(2), 20_000)
    assert counted.mean() == pytest.approx(weighted.mean(), abs=0.002)
    assert counted.std() == pytest.approx(weighted.std(), rel=0.03)


def test_intervals_cover_accuracy_and_macro_f1_as_claimed():
    rng = np.random.default_rng(1)
    trials, n = 500, 100
    labels = np.repeat([0, 1], n // 2)
    # Each row is right with probability .8, so accuracy and macro-F1 are .8 in the population.
    hits = {"accuracy": 0, "macro_f1": 0}
    for trial in range(trials):
        predicted = np.where(rng.random(n) < 0.8, labels, 1 - labels)
        table = Predictions(
            ids=np.arange(n), labels=labels, logits=np.eye(2)[predicted], classes=("a", "b")
        )
        for name, measured in measure(table, list(hits), replicates=400, seed=trial).items():
            hits[name] += measured.ci[0] <= 0.8 <= measured.ci[1]
    for name, count in hits.items():
        # .95 +- three standard errors of 500 trials; 5,000 trials give .948 and .943.
        assert 0.92 <= count / trials <= 0.98, name


def delong_variance(positive, negative):
    """DeLong, DeLong and Clarke-Pearson (1988), from the placements of every pair."""
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    up, down = wins.mean(axis=1), wins.mean(axis=0)
    return up.var(ddof=1) / len(up) + down.var(ddof=1) / len(down)


@pytest.mark.parametrize("has_ties", [False, True])
def test_the_auroc_interval_has_delongs_variance(has_ties):
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [300, 200])
    score = rng.normal(size=500) + labels
    if has_ties:
        score = np.round(score, 0)
    table = Predictions(
        ids=np.arange(500),
        labels=labels,
        logits=np.stack([np.zeros(500), score], axis=1),
        classes=("a", "b"),
    )
    found = measure(table, ["auroc_ovr_macro"])["auroc_ovr_macro"]
    error = np.sqrt(delong_variance(score[labels == 1], score[labels == 0]))
    low, high = special.logit(found.ci)
    assert (low + high) / 2 == pytest.approx(special.logit(found.value), abs=1e-12)
    scaled = error / (found.value * (1 - found.value))
    # Only the quantile is left: Student's, of more than 199 and at most 498 degrees of freedom.
    quantile = (high - low) / 2 / scaled
    assert stats.t.ppf(0.975, 498) - 1e-9 <= quantile <= stats.t.ppf(0.975, 199) + 1e-9


def test_few_discordant_examples_widen_the_auroc_interval():
    """One positive of 20 is misranked: its kurtosis says that the variance is hardly known."""
    labels = np.repeat([0, 1], [180, 20])
    leave_one_out = np.full(200, 0.995)
    leave_one_out[199] = 1.0
    leave_one_out[:180] = leave_one_out[180:].mean()
    positive = leave_one_out[180:]
    freedom = 2 / (2 / 19 + (stats.kurtosis(positive, fisher=False) - 3) / 20)
    assert 1 < freedom < 3
    error = np.sqrt(19 * positive.var())
    half = stats.t.ppf(0.975, freedom) * error / (0.995 * 0.005)
    expected = special.expit(special.logit(0.995) + half * np.array([-1, 1]))
    assert logit_t(0.995, leave_one_out, labels) == pytest.approx(tuple(expected), abs=1e-12)


def test_logit_interval_says_why_there_is_none():
    labels = np.repeat([0, 1], [3, 3])
    assert "at 1 no pair" in logit_t(1.0, np.ones(6), labels)
    assert "no example changes" in logit_t(0.5, np.full(6, 0.5), labels)
    assert "class of one example" in logit_t(0.5, np.linspace(0, 1, 4), np.array([0, 0, 0, 1]))
    with pytest.raises(EvaluationError, match="confidence 1"):
        logit_t(0.5, np.linspace(0, 1, 6), labels, 1)


def test_shares_add_what_a_plain_sample_has_over_a_stratified_one():
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1, 2], [30, 50, 20])
    numbers = rng.normal(size=100) + 3.0 * strata
    without = (numbers.sum() - numbers) / 99
    influence = influences(without, strata)
    np.testing.assert_allclose(influence, numbers - numbers.mean(), atol=1e-10)
    within = sum(m * numbers[strata == h].var(ddof=1) for h, m in ((0, 30), (1, 50), (2, 20)))
    total = share_variance(influence, strata) + within / 100**2
    assert total == pytest.approx(numbers.var(ddof=1) / 100, rel=1e-12)
    assert share_variance(influence, np.zeros(100, int)) == pytest.approx(0, abs=1e-15)
    assert share_variance(np.ones(1), np.zeros(1, int)) == 0


def test_an_example_alone_in_its_class_has_no_influence():
    found = influences(np.array([0.1, 0.3, np.nan]), np.array([0, 0, 1]))
    np.testing.assert_allclose(found, [0.2, -0.2, 0])


def test_intervals_cover_when_class_counts_are_random():
    """Where a stratified bootstrap would cover 88 %: macro-F1 with a rare class."""
    trials, n, signal = 300, 200, 1.5
    rng = np.random.default_rng(0)
    recall = stats.norm.cdf(signal / np.sqrt(2))
    share = np.array([0.9, 0.1])
    predicted = share * recall + (1 - share) * (1 - recall)
    true = {
        "macro_f1": np.mean(2 * share * recall / (predicted + share)),
        "auroc_ovr_macro": stats.norm.cdf(signal),
    }
    hits = dict.fromkeys(true, 0)
    for trial in range(trials):
        labels = (rng.random(n) < 0.1).astype(int)
        logits = rng.normal(size=(n, 2)) + signal * np.eye(2)[labels]
        table = Predictions(ids=np.arange(n), labels=labels, logits=logits, classes=("a", "b"))
        for name, found in measure(table, list(true), replicates=300, seed=trial).items():
            hits[name] += found.ci[0] <= true[name] <= found.ci[1]
    for name, count in hits.items():
        # .95 +- three standard errors; experiments/studies/interval_coverage.py has 4,000 trials.
        assert 0.95 - 0.038 <= count / trials <= 0.95 + 0.038, name
