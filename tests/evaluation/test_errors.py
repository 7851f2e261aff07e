"""The hardest examples come worst first, and the confusion matrix counts every row."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as sk_confusion_matrix

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.errors import confusion_matrix, hardest
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
