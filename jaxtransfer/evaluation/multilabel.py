"""Metrics of several labels an example, each true or not by itself."""

import functools
from collections.abc import Callable

import numpy as np

from jaxtransfer.evaluation.definition import Definition
from jaxtransfer.evaluation.payloads import MultiLabel
from jaxtransfer.evaluation.rank_statistic import (
    AreaUnderRoc,
    AveragePrecision,
    RankStatistic,
    ranked,
)
from jaxtransfer.evaluation.statistic import MeanStatistic, Statistic, SumsStatistic, Undefined

Prepare = Callable[[MultiLabel], Statistic | Undefined]


def _counted(rates: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> Prepare:
    """A function of each class's counts of correct, predicted and labelled examples, (r, k) each."""

    def prepare(table: MultiLabel) -> Statistic | Undefined:
        present = table.labels.any(axis=0)
        if not present.any():
            return Undefined(f"no label is true in any of n={len(table)}")
        k = len(table.classes)
        predicted = table.predicted
        return SumsStatistic(
            labels=table.strata,
            numbers=np.hstack([predicted * table.labels, predicted, table.labels]).astype(float),
            function=lambda sums: rates(sums[:, :k], sums[:, k : 2 * k], sums[:, 2 * k :]),
            detail=f"{int(present.sum())} of {k} classes in the labels",
        )

    return prepare


def _macro_f1(correct: np.ndarray, predicted: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    present = labelled > 0
    f1 = np.divide(2 * correct, predicted + labelled, out=np.zeros_like(correct), where=present)
    return f1.sum(axis=1) / present.sum(axis=1)


def _micro_f1(correct: np.ndarray, predicted: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    return 2 * correct.sum(axis=1) / (predicted + labelled).sum(axis=1)


def _mean(numbers: Callable[[MultiLabel], np.ndarray]) -> Prepare:
    return lambda table: MeanStatistic(labels=table.strata, numbers=numbers(table))


def _nll(table: MultiLabel) -> np.ndarray:
    logits = np.asarray(table.logits, np.float64)
    return np.logaddexp(0, np.where(table.labels == 1, -logits, logits)).mean(axis=1)


def _brier(table: MultiLabel) -> np.ndarray:
    logits = np.asarray(table.logits, np.float64)
    return ((np.exp(-np.logaddexp(0, -logits)) - table.labels) ** 2).mean(axis=1)


def _area(kind: type[RankStatistic], negatives: bool) -> Prepare:
    def prepare(table: MultiLabel) -> Statistic | Undefined:
        positive = table.labels == 1
        totals = positive.sum(axis=0)
        for place, name in enumerate(table.classes):
            if totals[place] == 0 or (negatives and totals[place] == len(table)):
                state = "no example" if totals[place] == 0 else "every example"
                return Undefined(f"class {name!r} has {state} of n={len(table)}")
        scores = np.asarray(table.logits, np.float64)
        return kind(
            labels=table.strata,
            columns=tuple(ranked(s, p) for s, p in zip(scores.T, positive.T)),
            scores=scores,
            positive=positive,
            detail=f"{len(table.classes)} classes",
        )

    return prepare


_define = functools.partial(Definition, kind="multilabel")

MULTILABEL: tuple[Definition, ...] = (
    _define(
        name="subset_accuracy",
        text="share of examples of which every label is right, predicted where the"
        " probability exceeds one half; Wilson interval",
        prepare=_mean(lambda t: (t.predicted == t.labels).all(axis=1).astype(float)),
        interval="wilson",
    ),
    _define(
        name="hamming_loss",
        text="share of wrong labels",
        prepare=_mean(lambda t: (t.predicted != t.labels).mean(axis=1)),
        maximise=False,
    ),
    _define(
        name="macro_f1",
        text="mean F1 over the classes that are true of some example",
        prepare=_counted(_macro_f1),
    ),
    _define(
        name="micro_f1",
        text="F1 of all labels of all classes together",
        prepare=_counted(_micro_f1),
    ),
    _define(
        name="auroc_macro",
        text="mean over all classes of the area under the ROC curve, exact ranks, ties one half",
        prepare=_area(AreaUnderRoc, True),
    ),
    _define(
        name="average_precision_macro",
        text="mean over all classes of the average precision (mAP), a step at each distinct"
        " score, no interpolation",
        prepare=_area(AveragePrecision, False),
    ),
    _define(
        name="nll",
        text="mean binary cross-entropy of a label, in nats",
        prepare=_mean(_nll),
        bounds=(0.0, float("inf")),
        maximise=False,
    ),
    _define(
        name="brier",
        text="mean squared error of a label's probability",
        prepare=_mean(_brier),
        maximise=False,
    ),
)
