"""Two-sample tests agree with SciPy, scikit-learn and direct formulas, and hold their level."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.drift import two_sample
from jaxtransfer.evaluation.drift.label_shift import predicted_classes
from jaxtransfer.evaluation.drift.logistic import fit_logistic
from jaxtransfer.evaluation.drift.permutation import p_value, subsets


def samples(seed=0, m=30, n=50, d=3, shift=0.4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, d)) + shift, rng.normal(size=(n, d))


def permutations(m, n, count=200, seed=0):
    return subsets(m + n, m, count, np.random.default_rng(seed))


def test_mmd_is_the_sum_over_pairs_of_rows():
    batch, other = samples()
    h = 1.3

    def kernel(x, y):
        return np.exp(-((x - y) ** 2).sum() / (2 * h**2))

    def mean(first, second, skip):
        return np.mean(
            [
                kernel(x, y)
                for i, x in enumerate(first)
                for j, y in enumerate(second)
                if not (skip and i == j)
            ]
        )

    direct = mean(batch, batch, True) + mean(other, other, True) - 2 * mean(batch, other, False)
    result = two_sample.mmd(batch, other, permutations(30, 50), bandwidth=h)
    assert result.statistic == pytest.approx(direct, abs=1e-12)


def test_mmd_is_unbiased_without_a_shift():
    values = [
        two_sample.mmd(
            *samples(seed, 10, 12, shift=0.0), permutations(10, 12, 1), bandwidth=1.0
        ).statistic
        for seed in range(400)
    ]
    assert abs(np.mean(values)) <= 4 * np.std(values) / np.sqrt(len(values))


@pytest.mark.parametrize("decimals", [None, 0], ids=["continuous", "ties"])
def test_energy_distance_is_the_square_of_scipys_in_one_dimension(decimals):
    batch, other = samples(d=1)
    if decimals is not None:
        batch, other = np.round(batch, decimals), np.round(other, decimals)
    ours = two_sample.energy_distance(batch, other, permutations(30, 50)).statistic
    theirs = stats.energy_distance(batch[:, 0], other[:, 0]) ** 2
    assert ours == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("decimals", [None, 0], ids=["continuous", "ties"])
@pytest.mark.parametrize(("m", "n"), [(30, 50), (200, 1000), (1, 7)])
def test_ks_agrees_with_scipy(m, n, decimals):
    batch, other = samples(m=m, n=n, d=4)
    if decimals is not None:
        batch, other = np.round(batch, decimals), np.round(other, decimals)
    distances = two_sample.ks_distances(batch, other)
    p = two_sample.ks_p_values(distances, m, n)
    for column in range(4):
        theirs = stats.ks_2samp(batch[:, column], other[:, column], method="asymp")
        assert distances[column] == pytest.approx(theirs.statistic, abs=1e-12)
        assert p[column] == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-300)
    largest = two_sample.largest_ks(batch, other)
    assert largest.p == pytest.approx(min(1, 4 * p.min()))


def test_whitened_mean_shift_is_hotellings_t_squared():
    batch, other = samples()
    covariance = np.array([[2.0, 0.3, 0.0], [0.3, 1.0, 0.2], [0.0, 0.2, 0.5]])
    values, vectors = np.linalg.eigh(covariance)
    gap = batch.mean(axis=0) - other.mean(axis=0)
    expected = 30 * 50 / 80 * gap @ np.linalg.solve(covariance, gap)
    result = two_sample.mean_shift(
        batch, other, permutations(30, 50), transform=vectors / np.sqrt(values)
    )
    assert result.statistic == pytest.approx(expected, rel=1e-12)


def test_mean_shift_of_one_column_has_the_p_value_of_scipys_permutation_test():
    batch, other = samples(m=12, n=15, d=1, shift=0.8)
    ours = two_sample.mean_shift(batch, other, permutations(12, 15, 20_000))
    theirs = stats.permutation_test(
        (batch[:, 0], other[:, 0]),
        lambda x, y, axis: np.abs(x.mean(axis=axis) - y.mean(axis=axis)),
        vectorized=True,
        alternative="greater",
        n_resamples=20_000,
        rng=np.random.default_rng(5),
    )
    assert ours.p == pytest.approx(theirs.pvalue, abs=4 * np.sqrt(2 * 0.05 * 0.95 / 20_000))


@pytest.mark.parametrize("width", [5, 300], ids=["newton", "l-bfgs"])
def test_logistic_regression_is_scikit_learns(width):
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(120, width))
    targets = (rows[:, 0] + rng.normal(size=120) > 0.5).astype(np.float64)
    weights = rng.random(120) + 0.5
    ours, intercept = fit_logistic(rows, targets, penalty=2.0, weights=weights, tolerance=1e-10)
    theirs = LogisticRegression(C=0.5, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
    theirs.fit(rows, targets, sample_weight=weights)
    np.testing.assert_allclose(ours, theirs.coef_[0], atol=1e-6)
    assert intercept == pytest.approx(theirs.intercept_[0], abs=1e-6)


def test_separable_classes_have_a_finite_fit():
    rows = np.linspace(-1, 1, 20)[:, None]
    weights, _ = fit_logistic(
        rows, (rows[:, 0] > 0).astype(np.float64), penalty=1e-3, weights=np.ones(20)
    )
    assert 1 < weights[0] < np.inf


def test_classifier_finds_what_separates_and_says_chance_where_nothing_does():
    rng = np.random.default_rng(0)
    same = two_sample.classifier(rng.normal(size=(200, 5)), rng.normal(size=(300, 5)), rng)
    apart = two_sample.classifier(rng.normal(size=(200, 5)) + 1, rng.normal(size=(300, 5)), rng)
    constant = two_sample.classifier(np.ones((20, 2)), np.ones((30, 2)), rng)
    assert abs(same.statistic - 0.5) < 0.1
    assert apart.statistic > 0.9
    assert apart.p < 1e-10
    assert (constant.statistic, constant.p) == (0.5, 1.0)


def test_the_classifiers_auc_and_p_value_are_those_of_its_held_out_scores():
    batch, other = samples(m=41, n=60)
    result = two_sample.classifier(batch, other, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    halves = [rng.permutation(41), rng.permutation(60)]
    learn = [batch[halves[0][:20]], other[halves[1][:30]]]
    model = LogisticRegression(C=1 / 3, tol=1e-12, class_weight="balanced", max_iter=10_000)
    model.fit(np.concatenate(learn), np.repeat([1, 0], [20, 30]))
    held = [batch[halves[0][20:]], other[halves[1][30:]]]
    scores = [model.decision_function(rows) for rows in held]
    auc = roc_auc_score(np.repeat([1, 0], [21, 30]), np.concatenate(scores))
    expected = stats.mannwhitneyu(*scores, alternative="greater", method="asymptotic")
    assert result.statistic == pytest.approx(auc, abs=1e-12)
    assert result.p == pytest.approx(expected.pvalue, rel=1e-9)


def test_predicted_classes_statistic_is_pearsons_and_its_p_value_near():
    rng = np.random.default_rng(4)
    batch, other = (
        rng.choice(3, 80, p=[0.5, 0.2, 0.3]),
        rng.choice(4, 300, p=[0.6, 0.2, 0.15, 0.05]),
    )
    result = predicted_classes(batch, other, 5, rng, permutations=20_000)
    table = np.stack([np.bincount(rows, minlength=4) for rows in (batch, other)])
    expected = stats.chi2_contingency(table, correction=False)
    assert result.statistic == pytest.approx(expected.statistic, rel=1e-12)
    assert result.p == pytest.approx(expected.pvalue, abs=0.003)


@pytest.mark.parametrize("name", ["mean shift", "MMD", "energy distance", "classifier", "KS"])
def test_p_values_hold_their_level(name):
    rng = np.random.default_rng(6)
    p = []
    for _ in range(300):
        batch, other = rng.standard_t(3, size=(20, 4)), rng.standard_t(3, size=(40, 4))
        if name == "KS":
            p.append(two_sample.largest_ks(batch, other).p)
        elif name == "classifier":
            p.append(two_sample.classifier(batch, other, rng).p)
        elif name == "mean shift":
            p.append(two_sample.mean_shift(batch, other, subsets(60, 20, 99, rng)).p)
        else:
            both = two_sample.kernel_tests(batch, other, rng, bandwidth=2.0, permutations=99)
            p.append(both[name == "energy distance"].p)
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(p) <= level) <= level + 3 * np.sqrt(level * (1 - level) / 300)
    if name not in ("KS", "classifier"):
        assert stats.kstest(p, "uniform").statistic < 0.11


def test_permutations_are_subsets_of_the_batchs_size_all_equally_likely():
    indicators = subsets(6, 2, 30_000, np.random.default_rng(0))
    assert set(indicators.sum(axis=1)) == {2.0}
    assert indicators[0].tolist() == [1, 1, 0, 0, 0, 0]
    _, counts = np.unique(indicators[1:], axis=0, return_counts=True)
    assert len(counts) == 15
    assert stats.chisquare(counts).pvalue > 1e-3


def test_the_observed_statistic_counts_itself_and_rounding_is_a_tie():
    assert p_value(np.array([9.0, *range(9)])) == 0.1
    assert p_value(np.array([0.1 + 0.2, 0.3, 0.3, 0.0])) == 0.75


def test_what_cannot_be_compared_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(EvaluationError, match=r"one width are compared, not shapes \(3, 2\)"):
        two_sample.ks_distances(np.ones((3, 2)), np.ones((4, 3)))
    with pytest.raises(EvaluationError, match="at least four rows on each side, not 3 and 9"):
        two_sample.classifier(np.ones((3, 2)), np.ones((9, 2)), rng)
    with pytest.raises(EvaluationError, match="median distance among 5 reference rows is 0"):
        two_sample.median_bandwidth(np.ones((5, 2)))
