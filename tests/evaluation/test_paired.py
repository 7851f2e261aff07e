"""Paired differences have their analytic variance and reject a true null no more than claimed."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.intervals import t_quantile
from jaxtransfer.evaluation.metrics import METRICS
from jaxtransfer.evaluation.paired import paired_difference
from jaxtransfer.evaluation.table import Predictions

CLASSES = ("a", "b")


def table(labels, correct, name="predictions"):
    """A table of two classes that is right where `correct` says so."""
    labels, correct = np.asarray(labels), np.asarray(correct, bool)
    predicted = np.where(correct, labels, 1 - labels)
    return Predictions(
        ids=np.arange(len(labels)),
        labels=labels,
        logits=2.0 * np.eye(2)[predicted],
        classes=CLASSES,
        source=name,
    )


def draw(rng, labels, rate):
    return table(labels, rng.random(len(labels)) < rate)


LABELS = np.repeat([0, 1], 100)


def test_identical_predictions_do_not_differ():
    tables = [draw(np.random.default_rng(s), LABELS, 0.8) for s in range(3)]
    for margin in (0.0, 0.02):
        result = paired_difference(tables, tables, "macro_f1", margin=margin)
        assert result.value == 0
        assert result.ci == (0, 0)
        assert result.p_value == result.p_margin == 1
        assert not result.clears
        assert "do not differ" in result.note


def test_standard_error_of_accuracy_is_that_of_the_paired_differences():
    rng = np.random.default_rng(0)
    a, b = draw(rng, LABELS, 0.9), draw(rng, LABELS, 0.7)
    d = (a.predicted == LABELS).astype(float) - (b.predicted == LABELS)
    expected = sum(100 * d[c == LABELS].var(ddof=1) for c in (0, 1)) / 200**2
    result = paired_difference([a], [b], "accuracy", replicates=20_000)
    assert result.value == pytest.approx(d.mean(), abs=1e-12)
    assert result.example_variance == pytest.approx(expected, rel=0.03)
    assert result.df == pytest.approx(198)
    half = stats.t.ppf(0.975, 198) * result.standard_error
    assert result.ci == pytest.approx((d.mean() - half, d.mean() + half))
    t = d.mean() / result.standard_error
    assert result.p_value == pytest.approx(2 * stats.t.sf(t, 198))


def test_seeds_add_their_variance_with_satterthwaites_freedom():
    rng = np.random.default_rng(1)
    a = [draw(rng, LABELS, rate) for rate in (0.95, 0.85, 0.9)]
    b = [draw(rng, LABELS, 0.7)] * 3
    result = paired_difference(a, b, "accuracy")
    d = [np.mean(x.predicted == LABELS) - np.mean(y.predicted == LABELS) for x, y in zip(a, b)]
    assert result.value == pytest.approx(np.mean(d))
    assert result.seed_variance == pytest.approx(np.var(d, ddof=1) / 3)
    total = result.example_variance + result.seed_variance
    assert result.standard_error == pytest.approx(math.sqrt(total))
    df = total**2 / (result.example_variance**2 / 198 + result.seed_variance**2 / 2)
    assert result.df == pytest.approx(df)
    assert result.seeds == 3
    assert result.note is None


def test_quantile_of_two_variances_is_cochrans():
    """Between Student's of either, weighted by the variances; the p-value is its inverse."""
    rng = np.random.default_rng(13)
    a = [draw(rng, LABELS, rate) for rate in (0.95, 0.85, 0.9)]
    b = [draw(rng, LABELS, 0.8)] * 3
    found = paired_difference(a, b, "accuracy")
    variances = np.array([found.example_variance, found.seed_variance])
    for confidence in (0.5, 0.9, 0.99):
        quantile = variances @ stats.t.ppf(0.5 + confidence / 2, [198, 2]) / variances.sum()
        half = quantile * found.standard_error
        assert found.interval(confidence) == pytest.approx((found.value - half, found.value + half))
    edge = found.interval(1 - found.p_value)
    assert min(abs(bound) for bound in edge) == pytest.approx(0, abs=1e-9)
    assert found.tail(edge[1]) == pytest.approx(1 - found.p_value / 2)
    assert found.tail(0) == pytest.approx(found.p_value / 2)


def test_three_seeds_of_large_spread_reject_a_true_null_no_more_than_claimed():
    """Satterthwaite's degrees of freedom reject 8 % here: the seeds' variance is 10 times the other."""
    rng = np.random.default_rng(14)
    trials = 40_000
    seeds = 10 * rng.chisquare(2, trials) / 2
    statistic = np.abs(rng.normal(size=trials)) * np.sqrt(11) / np.sqrt(1 + seeds)
    ours = (stats.t.ppf(0.975, 198) + seeds * stats.t.ppf(0.975, 2)) / (1 + seeds)
    theirs = stats.t.ppf(0.975, (1 + seeds) ** 2 / (1 / 198 + seeds**2 / 2))
    assert t_quantile((1.0, seeds[0]), (198, 2), 0.975) == pytest.approx(ours[0])
    assert (statistic > ours).mean() <= 0.05
    assert (statistic > theirs).mean() > 0.07


def test_a_model_without_seed_variance_is_compared_on_examples_alone():
    rng = np.random.default_rng(2)
    a, b = draw(rng, LABELS, 0.9), draw(rng, LABELS, 0.7)
    three = paired_difference([a] * 3, [b] * 3, "macro_f1")
    one = paired_difference([a], [b], "macro_f1")
    assert three.seed_variance == 0
    assert three.ci == pytest.approx(one.ci)
    assert three.df == pytest.approx(198)


def test_one_seed_says_what_its_interval_leaves_out():
    rng = np.random.default_rng(3)
    result = paired_difference([draw(rng, LABELS, 0.9)], [draw(rng, LABELS, 0.7)], "macro_f1")
    assert "one seed: the variance of training is not in the interval" in result.note


def test_pairs_see_what_unpaired_intervals_do_not():
    rng = np.random.default_rng(4)
    correct = rng.random(200) < 0.8
    better = correct.copy()
    better[np.flatnonzero(~correct)[:12]] = True
    result = paired_difference([table(LABELS, better)], [table(LABELS, correct)], "accuracy")
    assert result.clears
    assert result.standard_error < 0.5 * math.sqrt(2 * 0.8 * 0.2 / 200)


def test_rows_are_paired_by_id_whatever_their_order():
    rng = np.random.default_rng(5)
    a, b = draw(rng, LABELS, 0.9), draw(rng, LABELS, 0.7)
    shuffled = b.take(rng.permutation(200))
    assert paired_difference([a], [shuffled], "nll") == paired_difference([a], [b], "nll")


def test_swapping_the_models_flips_the_sign():
    rng = np.random.default_rng(6)
    a, b = draw(rng, LABELS, 0.9), draw(rng, LABELS, 0.7)
    one, other = paired_difference([a], [b], "macro_f1"), paired_difference([b], [a], "macro_f1")
    assert one.value == pytest.approx(-other.value)
    assert one.ci == pytest.approx((-other.ci[1], -other.ci[0]))
    assert one.p_value == pytest.approx(other.p_value)
    assert (one.clears, other.clears) == (True, False)


@pytest.mark.parametrize("metric", ["macro_f1", "nll"])
def test_the_margins_p_value_and_interval_agree(metric):
    rng = np.random.default_rng(7)
    a, b = draw(rng, LABELS, 0.9), draw(rng, LABELS, 0.75)
    reach = paired_difference([a], [b], metric)
    edge = reach.ci[0] if METRICS["classification"][metric].maximise else -reach.ci[1]
    for margin, clears in ((0.99 * edge, True), (1.01 * edge, False)):
        result = paired_difference([a], [b], metric, margin=margin)
        assert result.clears is clears
        assert (result.p_margin < 0.05) is clears
        assert result.ci == reach.ci
        assert result.p_value == reach.p_value


def test_a_perfect_model_beats_a_constant_one_although_nothing_varies():
    perfect = table(LABELS, np.ones(200, bool))
    constant = table(LABELS, LABELS == 0)
    result = paired_difference([perfect], [constant], "balanced_accuracy")
    assert result.clears
    assert result.standard_error == pytest.approx(1 / 100)
    assert "no resampling varies the difference" in result.note
    # The constant model's accuracy is the share of its class, which varies between samples.
    accuracy = paired_difference([perfect], [constant], "accuracy")
    assert accuracy.standard_error**2 == pytest.approx(1 / 100**2 + 0.25 / 199)


def test_an_interval_holds_no_difference_that_cannot_be():
    labels = np.repeat([0, 1], 4)
    right, wrong = table(labels, np.ones(8)), table(labels, np.arange(8) == 0)
    result = paired_difference([right], [wrong], "accuracy")
    assert result.value == 7 / 8
    assert result.value + 2 * result.standard_error > 1
    assert result.ci[1] == result.interval(0.99)[1] == 1
    assert result.interval(0.95) == result.ci
    assert paired_difference([wrong], [right], "accuracy").ci == pytest.approx((-1, -result.ci[0]))
    assert paired_difference([wrong], [right], "nll").ci[1] > 2  # without bound


def test_one_example_a_class_gives_no_interval():
    result = paired_difference([table([0, 1], [1, 1])], [table([0, 1], [1, 0])], "accuracy")
    assert result.value == 0.5
    assert result.ci is None
    assert result.p_value is None
    assert not result.clears
    assert "the variance of examples is unknown" in str(result)


def test_an_undefined_metric_gives_an_undefined_difference():
    only = table([0, 0, 0], [1, 0, 1])
    result = paired_difference([only], [only], "auroc_ovr_macro")
    assert result.value is None
    assert "every example of n=3" in result.note
    assert not result.clears


def test_false_positives_under_the_null_are_at_most_nominal():
    rng = np.random.default_rng(8)
    trials, seeds = 300, 3
    rejected = 0
    labels = np.repeat([0, 1], 30)
    for trial in range(trials):
        # Difficulty is shared by examples, luck by seeds: both models come from one population.
        ease = rng.uniform(0.5, 1.0, 60)
        a, b = (
            [draw(rng, labels, ease - rng.uniform(0, 0.1)) for _ in range(seeds)] for _ in range(2)
        )
        result = paired_difference(a, b, "macro_f1", replicates=200, seed=trial)
        rejected += result.p_value < 0.05
    # 5 % and three standard errors of 300 trials.
    assert rejected / trials <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def test_classes_that_cancel_do_not_make_a_plain_sample_certain():
    """Each model is flawless on one class and guesses on the other; the classes' shares are random.

    Given the counts, accuracy differs by (n_0 - n_1) / 2n in the mean, which a stratified variance
    takes for a difference: it rejects 16 % of the time.
    """
    rng = np.random.default_rng(12)
    trials, rejected = 300, 0
    for trial in range(trials):
        labels = rng.integers(0, 2, 100)
        a, b = (draw(rng, labels, np.where(labels == c, 1.0, 0.5)) for c in (0, 1))
        found = paired_difference([a], [b], "accuracy", replicates=200, seed=trial)
        rejected += found.p_value < 0.05
    assert rejected / trials <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def test_a_real_difference_is_found():
    rng = np.random.default_rng(9)
    a = [draw(rng, LABELS, 0.9) for _ in range(5)]
    b = [draw(rng, LABELS, 0.8) for _ in range(5)]
    assert paired_difference(a, b, "macro_f1").clears


def test_the_document_is_json():
    rng = np.random.default_rng(10)
    a, b = draw(rng, LABELS, 0.9), draw(rng, LABELS, 0.7)
    document = json.loads(json.dumps(paired_difference([a], [b], "ece").to_json(), allow_nan=False))
    assert document["metric"] == "ece"
    assert len(document["ci"]) == 2
    same = json.dumps(paired_difference([a], [a], "ece").to_json(), allow_nan=False)
    assert json.loads(same)["ci"] == [0, 0]


def test_what_cannot_be_paired_is_refused():
    rng = np.random.default_rng(11)
    a, b = draw(rng, LABELS, 0.9), draw(rng, LABELS, 0.7)
    with pytest.raises(EvaluationError, match="2 tables cannot be paired with 1"):
        paired_difference([a, a], [b], "accuracy")
    with pytest.raises(EvaluationError, match="such as"):
        paired_difference([a], [b.take(np.arange(10))], "accuracy")
    with pytest.raises(EvaluationError, match="margin -1"):
        paired_difference([a], [b], "accuracy", margin=-1)
    with pytest.raises(EvaluationError, match="ece_perfect is simulated"):
        paired_difference([a], [b], "ece_perfect")
    with pytest.raises(EvaluationError, match="unknown metric"):
        paired_difference([a], [b], "acuracy")
