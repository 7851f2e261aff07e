"""Metrics of one class out of several: counts of right and wrong, exact ranks, probabilities."""

from collections.abc import Callable

import numpy as np

from jaxtransfer.evaluation.definition import Definition
from jaxtransfer.evaluation.probabilities import log_odds, log_softmax
from jaxtransfer.evaluation.statistic import (
    CountStatistic,
    MeanStatistic,
    RankStatistic,
    Rates,
    Statistic,
    Undefined,
)
from jaxtransfer.evaluation.table import Predictions


def _accuracy(correct: np.ndarray, predicted: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    return correct.sum(axis=1) / labelled.sum(axis=1)


def _balanced_accuracy(
    correct: np.ndarray, predicted: np.ndarray, labelled: np.ndarray
) -> np.ndarray:
    present = labelled > 0
    recall = np.divide(correct, labelled, out=np.zeros_like(correct), where=present)
    return recall.sum(axis=1) / present.sum(axis=1)


def _f1(correct: np.ndarray, predicted: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    total = predicted + labelled
    return np.divide(2 * correct, total, out=np.zeros_like(correct), where=total > 0)


def _macro_f1(correct: np.ndarray, predicted: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    present = labelled > 0
    return (_f1(correct, predicted, labelled) * present).sum(axis=1) / present.sum(axis=1)


def _weighted_f1(correct: np.ndarray, predicted: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    return (_f1(correct, predicted, labelled) * labelled).sum(axis=1) / labelled.sum(axis=1)


def _counted(rates: Rates) -> Callable[[Predictions], Statistic]:
    def prepare(table: Predictions) -> Statistic:
        present = len(np.unique(table.labels))
        return CountStatistic(
            labels=table.labels,
            predicted=table.predicted,
            classes=len(table.classes),
            rates=rates,
            detail=f"{present} of {len(table.classes)} classes in the labels",
        )

    return prepare


def _auroc(table: Predictions) -> Statistic | Undefined:
    counts = np.bincount(table.labels, minlength=len(table.classes))
    for column, name in enumerate(table.classes):
        if counts[column] in (0, len(table)):
            state = "no example" if counts[column] == 0 else "every example"
            return Undefined(f"class {name!r} has {state} of n={len(table)}")
    return RankStatistic(
        labels=table.labels, scores=log_odds(table.logits), detail=f"{len(table.classes)} classes"
    )


def _nll(table: Predictions) -> Statistic:
    return MeanStatistic(
        labels=table.labels, numbers=-log_softmax(table.logits)[np.arange(len(table)), table.labels]
    )


def _brier(table: Predictions) -> Statistic:
    errors = np.exp(log_softmax(table.logits))
    errors[np.arange(len(table)), table.labels] -= 1
    return MeanStatistic(labels=table.labels, numbers=(errors**2).sum(axis=1))


CLASSIFICATION: tuple[Definition, ...] = (
    Definition(
        name="accuracy",
        text="share of examples whose largest logit, the first among ties, is the label's;"
        " Wilson interval",
        prepare=_counted(_accuracy),
        interval="wilson",
    ),
    Definition(
        name="balanced_accuracy",
        text="mean recall over the classes present in the labels",
        prepare=_counted(_balanced_accuracy),
    ),
    Definition(
        name="macro_f1",
        text="mean F1 over the classes present in the labels, whether predicted or not",
        prepare=_counted(_macro_f1),
    ),
    Definition(
        name="weighted_f1",
        text="mean F1 weighted by the classes' share of the labels",
        prepare=_counted(_weighted_f1),
    ),
    Definition(
        name="auroc_ovr_macro",
        text="mean over all classes of the area under the ROC curve of the class's"
        " probability against the rest, exact ranks, ties one half; logit interval with DeLong's"
        " variance",
        prepare=_auroc,
        interval="logit",
    ),
    Definition(
        name="nll",
        text="mean negative log-likelihood of the label, in nats",
        prepare=_nll,
        bounds=(0.0, float("inf")),
        maximise=False,
    ),
    Definition(
        name="brier",
        text="mean over examples of the squared error of the probabilities, summed over"
        " classes (0 to 2)",
        prepare=_brier,
        bounds=(0.0, 2.0),
        maximise=False,
    ),
)
