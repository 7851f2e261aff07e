"""Swaps and sign flips: exact where they can be enumerated, McNemar's for accuracy, valid under the null."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.classification import CLASSIFICATION
from jaxtransfer.evaluation.definition import Definition
from jaxtransfer.evaluation.metrics import definition, value
from jaxtransfer.evaluation.permutation import mcnemar, permutation_test
from jaxtransfer.evaluation.sign_flip import seeds_to_reach, sign_flip, sign_flip_seeds
from jaxtransfer.evaluation.statistic import MeanStatistic
from jaxtransfer.evaluation.table import Predictions


def pair(seed, n=60, better=0.0, classes=3):
    """Two models on the same examples; the first's signal is larger by `better`."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    shared = np.eye(classes)[labels] + rng.normal(size=(n, classes))
    return tuple(
        Predictions(
            ids=np.arange(n),
            labels=labels,
            logits=shared + more * np.eye(classes)[labels] + 0.7 * rng.normal(size=(n, classes)),
            classes=tuple("abcdefgh"[:classes]),
        )
        for more in (better, 0.0)
    )


def swapped(a, b, mask):
    return dataclasses.replace(a, logits=np.where(mask[:, None], b.logits, a.logits))


@pytest.mark.parametrize(
    "metric", ["accuracy", "macro_f1", "weighted_f1", "auroc_ovr_macro", "nll", "ece"]
)
def test_few_examples_are_enumerated_and_equal_brute_force(metric):
    a, b = pair(0, n=9)
    found = permutation_test(a, b, metric, permutations=512)
    observed = value(a, metric) - value(b, metric)
    differences = [
        value(swapped(a, b, np.array(mask)), metric) - value(swapped(b, a, np.array(mask)), metric)
        for mask in itertools.product([False, True], repeat=9)
    ]
    extreme = np.mean(np.abs(differences) >= abs(observed) - 1e-12)
    assert found.exact
    assert found.exchanges == 512
    assert found.value == pytest.approx(observed, abs=1e-12)
    assert found.p_value == pytest.approx(extreme, abs=1e-12)


@pytest.mark.parametrize("is_plain", [True, False])
def test_a_metric_that_looks_at_the_whole_table_is_prepared_anew(is_plain):
    """The median loss as unit: it is another one in a table of both models' rows."""

    class OwnMean(MeanStatistic):
        pass

    def prepare(table):
        losses = definition("nll").prepare(table).numbers
        return (MeanStatistic if is_plain else OwnMean)(
            labels=table.labels, numbers=losses / np.median(losses)
        )

    metric = Definition(
        name="skewness", text="mean over median", prepare=prepare, bounds=(0.0, math.inf)
    )
    a, b = pair(1, n=8)
    found = permutation_test(a, b, metric, permutations=256)
    masks = [np.array(m) for m in itertools.product([False, True], repeat=8)]
    differences = [prepare(swapped(a, b, m)).value - prepare(swapped(b, a, m)).value for m in masks]
    observed = prepare(a).value - prepare(b).value
    assert found.value == pytest.approx(observed)
    assert found.p_value == np.mean(np.abs(differences) >= abs(observed) - 1e-12)


def test_accuracy_agrees_with_mcnemar_within_monte_carlo_error():
    a, b = pair(2, n=200, better=0.3)
    exact = mcnemar(a, b)
    test = permutation_test(a, b, "accuracy", permutations=20_000)
    spread = math.sqrt(exact.p_value * (1 - exact.p_value) / 20_000)
    assert 0.001 < exact.p_value < 0.9
    assert test.p_value == pytest.approx(exact.p_value, abs=4 * spread)


@pytest.mark.parametrize(("only_a", "only_b"), [(10, 2), (0, 6), (5, 5), (0, 0), (1, 30)])
def test_mcnemar_is_the_binomial_test_of_discordant_examples(only_a, only_b):
    n = 40
    labels = np.zeros(n, np.int64)
    right_a, right_b = np.ones(n, bool), np.ones(n, bool)
    right_b[:only_a] = False
    right_a[only_a : only_a + only_b] = False
    tables = [
        Predictions(
            ids=np.arange(n), labels=labels, logits=np.eye(2)[(~r).astype(int)], classes=("a", "b")
        )
        for r in (right_a, right_b)
    ]
    found = mcnemar(*tables)
    assert (found.only_a, found.only_b) == (only_a, only_b)
    discordant = only_a + only_b
    expected = stats.binomtest(only_a, discordant).pvalue if discordant else 1.0
    assert found.p_value == pytest.approx(expected, abs=1e-12)
    assert f"{only_a} to {only_b} of n=40" in str(found)


def test_a_mean_agrees_with_scipys_permutation_test():
    a, b = pair(3, n=120, better=0.15)
    ours = permutation_test(a, b, "nll", permutations=9999)
    losses = [definition("nll").prepare(t).numbers for t in (a, b)]
    theirs = stats.permutation_test(
        losses,
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=9999,
        vectorized=True,
        rng=np.random.default_rng(1),
    )
    assert 0.001 < theirs.pvalue < 0.5
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.02)


def test_order_of_models_and_of_rows_does_not_matter():
    a, b = pair(4, better=0.4)
    shuffled = b.take(np.random.default_rng(0).permutation(len(b)))
    one, other = permutation_test(a, b, "macro_f1"), permutation_test(a, shuffled, "macro_f1")
    assert one == other
    back = permutation_test(b, a, "macro_f1")
    assert back.value == pytest.approx(-one.value, abs=1e-12)
    assert back.p_value == one.p_value


def test_equal_models_have_p_1_and_clear_ones_the_smallest():
    a, b = pair(5, n=150, better=4.0)
    assert permutation_test(a, a, "macro_f1", permutations=99).p_value == 1
    found = permutation_test(a, b, "macro_f1", permutations=99)
    assert found.p_value == found.smallest == 0.01
    assert found.is_significant()
    assert not permutation_test(a, b, "macro_f1", permutations=9).can_reach(0.05)


def test_an_undefined_metric_has_no_p_value():
    a, b = (t.take(t.labels < 2) for t in pair(6))
    found = permutation_test(a, b, "auroc_ovr_macro")
    assert found.p_value is None
    assert not found.can_reach(0.05)
    assert "class 'c' has no example of n=40" in str(found)
    flips = sign_flip_seeds([a] * 6, [b] * 6, "auroc_ovr_macro")
    assert flips.p_value is None
    assert "class 'c'" in str(flips)


def test_what_cannot_be_exchanged_is_refused():
    a, b = pair(7)
    with pytest.raises(EvaluationError, match="0 permutations"):
        permutation_test(a, b, "accuracy", permutations=0)
    with pytest.raises(EvaluationError, match="ece_perfect is simulated"):
        permutation_test(a, b, "ece_perfect")
    with pytest.raises(EvaluationError, match="cannot be paired"):
        permutation_test(a, b.take(np.arange(5)), "accuracy")
    with pytest.raises(EvaluationError, match="2 tables cannot be paired with 1"):
        sign_flip_seeds([a, a], [b], "accuracy")
    with pytest.raises(EvaluationError, match="paired difference 1 is nan"):
        sign_flip([0.1, float("nan")])
    with pytest.raises(EvaluationError, match="give one a seed"):
        sign_flip([])


@pytest.mark.parametrize("seeds", [1, 2, 3, 4, 5])
def test_fewer_than_six_paired_seeds_cannot_be_significant(seeds):
    found = sign_flip(np.full(seeds, 0.9) + 0.01 * np.arange(seeds))
    assert found.p_value == found.smallest == 2 / 2**seeds
    assert not found.can_reach(0.05)
    assert not found.is_significant(0.05)
    assert "cannot reach p = 0.05" in str(found)
    assert "; 6 can" in found.note


def test_six_paired_seeds_can_unless_some_do_not_differ():
    six = sign_flip(np.linspace(0.1, 0.2, 6))
    assert six.p_value == 2 / 64
    assert six.can_reach(0.05)
    assert six.note is None
    tied = sign_flip([0.0, 0.1, 0.1, 0.1, 0.1, 0.1])
    assert tied.p_value == 2 / 32
    assert not tied.can_reach(0.05)
    assert sign_flip([0.0, 0.0]).p_value == 1
    assert [seeds_to_reach(alpha) for alpha in (0.05, 0.0625, 0.01, 0.5)] == [6, 5, 8, 2]


@pytest.mark.parametrize("seeds", [3, 8, 12])
def test_sign_flips_agree_with_scipy(seeds):
    numbers = np.random.default_rng(seeds).normal(0.3, 1, seeds)
    theirs = stats.permutation_test(
        (numbers,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip(numbers).p_value == pytest.approx(theirs.pvalue, abs=1e-12)


def test_many_seeds_are_flipped_at_random():
    numbers = np.random.default_rng(0).normal(0.4, 1, 24)
    found = sign_flip(numbers)
    assert not found.exact
    t = stats.ttest_1samp(numbers, 0).pvalue
    assert found.p_value == pytest.approx(t, abs=0.02)


def test_seeds_are_compared_pair_by_pair():
    pairs = [pair(s, better=1.0) for s in range(6)]
    a, b = [p[0] for p in pairs], [p[1] for p in pairs]
    found = sign_flip_seeds(a, b, "macro_f1")
    gaps = [value(x, "macro_f1") - value(y, "macro_f1") for x, y in zip(a, b)]
    assert found.value == pytest.approx(np.mean(gaps))
    assert found.p_value == sign_flip(gaps).p_value
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "auroc_ovr_macro"])
def test_false_positives_under_the_null_are_at_most_nominal(metric):
    trials = 200
    rejected = sum(
        permutation_test(*pair(100 + t, n=40), metric, permutations=199, seed=t).p_value <= 0.05
        for t in range(trials)
    )
    assert rejected / trials <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def test_every_deterministic_metric_can_be_tested():
    a, b = pair(8, better=0.3)
    for defined in CLASSIFICATION:
        found = permutation_test(a, b, defined, permutations=19)
        assert found.definition.startswith(defined.text)
        json.dumps(found.to_json(), allow_nan=False)
