"""Numbers of different definition are not compared."""

import dataclasses

import numpy as np
import pytest

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.definition import check_comparable
from jaxtransfer.evaluation.metrics import measure
from jaxtransfer.evaluation.table import Predictions


def measured(labels, metric):
    labels = np.asarray(labels)
    table = Predictions(
        ids=np.arange(len(labels)), labels=labels, logits=np.eye(3)[labels], classes=("a", "b", "c")
    )
    return measure(table, [metric], replicates=0)[metric]


def test_numbers_of_one_definition_may_be_compared_whatever_their_n():
    check_comparable(measured([0, 1, 2], "macro_f1"), measured([0, 1, 2, 2], "macro_f1"))


def test_macro_f1_over_three_and_over_two_classes_may_not():
    with pytest.raises(EvaluationError, match=r"3 of 3 classes.*2 of 3 classes") as error:
        check_comparable(measured([0, 1, 2], "macro_f1"), measured([0, 1, 1], "macro_f1"))
    assert "measure both in the same way" in str(error.value)


def test_metrics_of_different_name_may_not():
    with pytest.raises(EvaluationError, match=r"nll is .* brier is"):
        check_comparable(measured([0, 1, 2], "nll"), measured([0, 1, 2], "brier"))
    number = measured([0, 1, 2], "nll")
    with pytest.raises(EvaluationError):
        check_comparable(number, dataclasses.replace(number, name="nll_bits"))
