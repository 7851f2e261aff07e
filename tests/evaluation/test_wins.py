"""On how many examples one of two models does better."""

import numpy as np
import pytest

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.payloads import Ranking, Regression
from jaxtransfer.evaluation.permutation import mcnemar, permutation_test
from jaxtransfer.evaluation.sign_flip import sign_flip
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.evaluation.wins import wins


def classifier(seed, n=40):
    labels = np.arange(n) % 2
    logits = np.random.default_rng(seed).normal(size=(n, 2)) + np.eye(2)[labels]
    return Predictions(ids=np.arange(n), labels=labels, logits=logits, classes=("a", "b"))


def ranking(seed, queries=6):
    rng = np.random.default_rng(seed)
    query = np.repeat(np.arange(queries), 4)
    return Ranking(
        ids=np.arange(len(query)),
        query=query.astype(str),
        relevance=np.tile([1, 0, 0, 0], queries),
        scores=rng.normal(size=len(query)),
    )


def test_right_and_wrong_are_mcnemars_counts_whatever_the_metric():
    a, b = classifier(0), classifier(1)
    found, expected = wins(a, b, "nll"), mcnemar(a, b)
    assert (found.only_a, found.only_b, found.p_value) == (
        expected.only_a,
        expected.only_b,
        expected.p_value,
    )
    swapped = wins(b, a, "nll")
    assert (swapped.only_a, swapped.only_b) == (found.only_b, found.only_a)


def test_a_smaller_error_wins_and_equal_ones_do_not():
    labels = np.zeros(4)
    one, other = (
        Regression(ids=np.arange(4), labels=labels, values=np.array(values))
        for values in ([0.1, -2.0, 3.0, 0.5], [0.2, 1.0, 3.0, -0.5])
    )
    found = wins(one, other, "mae")
    assert (found.only_a, found.only_b, found.n, found.p_value) == (1, 1, 4, None)
    assert str(found) == "better in mae on 1 and 1 of n=4"
    assert wins(one, other, "spearman") is None


def test_a_ranking_is_counted_and_exchanged_by_queries():
    a, b = ranking(0), ranking(1)
    found = wins(a, b, "mean_reciprocal_rank")
    assert found.n == 6
    test = permutation_test(a, b, "mean_reciprocal_rank")
    assert (test.n, test.unit, test.exact, test.exchanges) == (6, "queries", True, 64)
    # All swaps of queries are all flips of the signs of their differences.
    from jaxtransfer.evaluation.metrics import definition

    one, other = (definition("mean_reciprocal_rank", "ranking").prepare(t) for t in (a, b))
    flipped = sign_flip(one.numbers - other.numbers)
    assert test.p_value == pytest.approx(flipped.p_value)
    assert test.value == pytest.approx(flipped.value)


def test_other_ids_are_refused():
    a, b = classifier(0), classifier(1, n=41)
    with pytest.raises(EvaluationError, match="1 ids are in one of them only, such as"):
        wins(a, b, "accuracy")
