"""The hardest examples come worst first, and counts of confusions and flips add up."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix as sk_confusion_matrix

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.errors import (
    confidently_wrong,
    confused,
    confusion_matrix,
    flips,
    hardest,
)
from jaxtransfer.evaluation.intervals import wilson
from jaxtransfer.evaluation.table import Predictions

TABLE = Predictions(
    ids=["d", "a", "c", "b"],
    labels=[0, 1, 1, 1],
    logits=np.array([[2.0, 0.0], [5.0, 0.0], [1.0, 0.0], [1.0, 0.0]]),
    classes=("no", "yes"),
)


def test_hardest_examples_come_by_loss_then_id():
    chosen = hardest(TABLE, 3)
    assert [example.id for example in chosen] == ["a", "b", "c"]
    worst = chosen[0]
    assert (worst.row, worst.label, worst.predicted) == (1, "yes", "no")
    assert worst.loss == pytest.approx(np.log1p(np.exp(5)))
    assert worst.confidence == pytest.approx(1 / (1 + np.exp(-5)))


def test_wrong_leaves_right_predictions_out():
    assert [example.id for example in hardest(TABLE, 9, wrong=True)] == ["a", "b", "c"]
    assert len(hardest(TABLE, 9)) == 4
    with pytest.raises(EvaluationError, match="-1 hardest"):
        hardest(TABLE, -1)


def test_confusion_matrix_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    table = Predictions(
        ids=np.arange(50),
        labels=rng.integers(0, 3, 50),
        logits=rng.normal(size=(50, 4)),
        classes=tuple("abcd"),
    )
    expected = sk_confusion_matrix(table.labels, table.predicted, labels=range(4))
    np.testing.assert_array_equal(confusion_matrix(table), expected)


def test_confidently_wrong_ranks_by_the_wrong_class_not_by_the_label():
    table = Predictions(
        ids=["split", "sure", "right"],
        labels=[0, 0, 0],
        logits=np.log([[0.01, 0.50, 0.49], [0.20, 0.79, 0.01], [0.9, 0.05, 0.05]]),
        classes=tuple("abc"),
    )
    texts = {"sure": "a text"}
    assert [hard.id for hard in hardest(table, 2)] == ["split", "sure"]
    first, second = confidently_wrong(table, examples=texts)
    assert (first.id, first.example, second.example) == ("sure", "a text", None)
    assert first.confidence == pytest.approx(0.79)
    assert first.to_json()["example"] == "a text"
    assert "example" not in second.to_json()


def test_the_commonest_confusion_comes_first_and_right_predictions_are_none():
    pair, *rest = confused(TABLE)
    assert (pair.label, pair.predicted, pair.count, pair.n, rest) == ("yes", "no", 3, 3, [])
    assert pair.ci == wilson(3, 3)
    assert str(pair).startswith("yes as no: 3 of 3")


def two_models():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 80)
    tables = [
        Predictions(
            ids=np.arange(80),
            labels=labels,
            logits=rng.normal(size=(80, 3)) + scale * np.eye(3)[labels],
            classes=tuple("abc"),
        )
        for scale in (0.5, 1.5)
    ]
    return tables[0], tables[1].take(rng.permutation(80))


def test_flips_pair_rows_by_id_and_every_count_adds_up():
    a, b = two_models()
    found = flips(a, b)
    aligned = b.align(a)
    right_a, right_b = a.predicted == a.labels, aligned.predicted == a.labels
    assert found.only_a == (right_a & ~right_b).sum()
    assert found.only_b == (right_b & ~right_a).sum()
    assert found.both_right + found.only_a + found.only_b + found.both_wrong == found.n == 80
    assert len(found.flipped) == (a.predicted != aligned.predicted).sum()
    assert len(found.flipped) == 80 - np.trace(found.between)
    kinds = [flip.right for flip in found.flipped]
    assert kinds == sorted(kinds)
    assert set(kinds) == {"a", "b", "neither"}
    for name in ("both_right", "only_a", "only_b", "both_wrong", "n"):
        total = sum(getattr(row, name) for row in found.per_class)
        assert total == getattr(found, name)
    for flip in found.flipped:
        assert (flip.right == "a") == (flip.a == flip.label)
        assert (flip.right == "b") == (flip.b == flip.label)


def test_mcnemar_agrees_with_the_exact_binomial_test_of_scipy():
    a, b = two_models()
    found = flips(a, b)
    expected = binomtest(found.only_a, found.only_a + found.only_b).pvalue
    assert found.p_value == pytest.approx(expected, rel=1e-12)
    swapped = flips(b, a)
    assert swapped.p_value == found.p_value
    assert (swapped.only_a, swapped.only_b) == (found.only_b, found.only_a)
    np.testing.assert_array_equal(swapped.between, found.between.T)


def test_a_model_does_not_flip_against_itself():
    found = flips(TABLE, TABLE)
    assert found.flipped == ()
    assert found.p_value == 1
    assert json.loads(json.dumps(found.to_json()))["both_wrong"] == 3
