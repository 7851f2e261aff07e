"""Intervals agree with SciPy's, and cover what they claim to."""

import numpy as np
import pytest
from scipy import stats

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.intervals import acceleration, bca, bootstrap_weights, wilson
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
