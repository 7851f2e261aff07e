"""Metrics of one class out of several: counts of right and wrong, exact ranks, probabilities."""

import dataclasses
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxtransfer.evaluation.definition import Definition
from jaxtransfer.evaluation.probabilities import blocks, log_odds, log_softmax_at, log_softmax_rows
from jaxtransfer.evaluation.rank_statistic import (
    AreaUnderRoc,
    AveragePrecision,
    dense_ranks,
    ranked,
)
from jaxtransfer.evaluation.statistic import (
    CountStatistic,
    MeanStatistic,
    Rates,
    Statistic,
    Undefined,
)
from jaxtransfer.evaluation.table import Predictions

LOWEST = float(np.log(np.finfo(np.float64).tiny))
"""What a file's probability of 0 becomes."""

ROUNDING = 1e-12
"""Shares that differ by less are equal: weights are fractions in some bootstraps."""


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


def _counted(rates: Rates, nothing: str = "") -> Callable[[Predictions], Statistic | Undefined]:
    """A function of counts; `nothing` says why some tables do not define it."""

    def prepare(table: Predictions) -> Statistic | Undefined:
        present = len(np.unique(table.labels))
        statistic = CountStatistic(
            labels=table.labels,
            predicted=table.predicted,
            classes=len(table.classes),
            rates=rates,
            detail=f"{present} of {len(table.classes)} classes in the labels",
        )
        if nothing and np.isnan(statistic.value):
            return Undefined(f"{nothing}, n={len(table)}")
        return statistic

    return prepare


def _multiclass_mcc(correct: np.ndarray, predicted: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    n = labelled.sum(axis=1)
    covariance = correct.sum(axis=1) * n - (predicted * labelled).sum(axis=1)
    spreads = [n**2 - (counts**2).sum(axis=1) for counts in (predicted, labelled)]
    several = np.minimum(*spreads) > ROUNDING * n**2
    root = np.sqrt(np.where(several, spreads[0] * spreads[1], 1.0))
    return np.where(several, covariance / root, np.nan)


def _kappa(correct: np.ndarray, predicted: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    n = labelled.sum(axis=1)
    chance = (predicted * labelled).sum(axis=1) / n**2
    above = correct.sum(axis=1) / n - chance
    return np.divide(above, 1 - chance, out=np.full_like(n, np.nan), where=chance < 1 - ROUNDING)


def rates_of_counts() -> dict[str, Rates]:
    """Metrics of the counts of correct, predicted and labelled examples; NaN where undefined."""
    return {
        "accuracy": _accuracy,
        "balanced_accuracy": _balanced_accuracy,
        "macro_f1": _macro_f1,
        "weighted_f1": _weighted_f1,
        "mcc": _multiclass_mcc,
        "cohen_kappa": _kappa,
    }


Parts = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From correct, predicted and labelled counts to a ratio's numerator and denominator."""


def _binary(parts: Parts, nothing: str) -> Callable[[Predictions], Statistic | Undefined]:
    """A ratio of counts of two classes, undefined where its denominator is 0."""

    def rates(correct: np.ndarray, predicted: np.ndarray, labelled: np.ndarray) -> np.ndarray:
        part, whole = parts(correct, predicted, labelled)
        return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)

    def prepare(table: Predictions) -> Statistic | Undefined:
        if len(table.classes) != 2:
            return Undefined(f"it is of two classes, and the table has {len(table.classes)}")
        statistic = CountStatistic(
            labels=table.labels,
            predicted=table.predicted,
            classes=2,
            rates=rates,
            detail=f"positive class {table.classes[1]!r}",
        )
        denominators = dataclasses.replace(statistic, rates=lambda *counts: parts(*counts)[1])
        if denominators.value == 0:
            names = dict(zip(("negative", "positive"), map(repr, table.classes)))
            return Undefined(f"{nothing.format(**names)}, n={len(table)}")
        return statistic

    return prepare


_SORTED: weakref.WeakKeyDictionary[Predictions, dict[str, Any]] = weakref.WeakKeyDictionary()


def _sorted(table: Predictions) -> dict[str, Any]:
    """Each class's examples by its probability, sorted once as long as the table lives."""
    found = _SORTED.get(table)
    if found is None:
        # Ranks say all that counts in half of the memory.
        scores = dense_ranks(table.logits if table.normalised else log_odds(table.logits))
        positive = table.labels[:, None] == np.arange(len(table.classes))
        columns = tuple(ranked(s, p) for s, p in zip(scores.T, positive.T))
        found = {"columns": columns, "scores": scores, "positive": positive}
        _SORTED[table] = found
    return found


def _auroc(table: Predictions) -> Statistic | Undefined:
    counts = np.bincount(table.labels, minlength=len(table.classes))
    for column, name in enumerate(table.classes):
        if counts[column] in (0, len(table)):
            state = "no example" if counts[column] == 0 else "every example"
            return Undefined(f"class {name!r} has {state} of n={len(table)}")
    return AreaUnderRoc(
        labels=table.labels, detail=f"{len(table.classes)} classes", **_sorted(table)
    )


def _average_precision(table: Predictions) -> Statistic | Undefined:
    counts = np.bincount(table.labels, minlength=len(table.classes))
    if (counts == 0).any():
        name = table.classes[int(np.flatnonzero(counts == 0)[0])]
        return Undefined(f"class {name!r} has no example of n={len(table)}")
    return AveragePrecision(
        labels=table.labels, detail=f"{len(table.classes)} classes", **_sorted(table)
    )


def _top(count: int) -> Callable[[Predictions], Statistic | Undefined]:
    def prepare(table: Predictions) -> Statistic | Undefined:
        k = len(table.classes)
        if k <= count:
            return Undefined(f"the table has {k} classes: every label is among {count} of them")
        numbers = np.empty(len(table))
        for rows in blocks(table.logits):
            logits, labels = table.logits[rows], table.labels[rows, None]
            own = np.take_along_axis(logits, labels, axis=1)
            # Among ties the first class comes first, as in the prediction.
            tied = (logits == own) & (np.arange(k) < labels)
            numbers[rows] = (logits > own).sum(axis=1) + tied.sum(axis=1) < count
        return MeanStatistic(labels=table.labels, numbers=numbers)

    return prepare


def _nll(table: Predictions) -> Statistic:
    if table.normalised:
        logp = np.asarray(table.logits[np.arange(len(table)), table.labels], np.float64)
    else:
        logp = log_softmax_at(table, table.labels)
    floored = int((logp <= LOWEST).sum())
    note = f"{floored} labels had probability 0, taken as 2.2e-308" if floored else ""
    return MeanStatistic(labels=table.labels, numbers=-logp, detail=note)


def _brier(table: Predictions) -> Statistic:
    numbers = np.empty(len(table))
    for rows in blocks(table.logits):
        # Probabilities of a file are taken as they are.
        logp = table.logits[rows] if table.normalised else log_softmax_rows(table, rows)
        errors = np.exp(logp, dtype=np.float64)
        errors[np.arange(len(errors)), table.labels[rows]] -= 1
        numbers[rows] = (errors**2).sum(axis=1)
    return MeanStatistic(labels=table.labels, numbers=numbers)


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
        name="average_precision_macro",
        text="mean over all classes of the average precision of the class's probability: a step"
        " at each distinct probability, no interpolation",
        prepare=_average_precision,
    ),
    Definition(
        name="mcc",
        text="Matthews' correlation of labels and predictions (Gorodkin 2004 for several classes)",
        prepare=_counted(
            _multiclass_mcc, "the labels, or the predictions, are all of one class: no correlation"
        ),
        bounds=(-1.0, 1.0),
    ),
    Definition(
        name="cohen_kappa",
        text="Cohen's kappa: accuracy above that of independent predictions of the same"
        " frequencies",
        prepare=_counted(
            _kappa, "labels and predictions are all of one and the same class: chance is right"
        ),
        bounds=(-1.0, 1.0),
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

BINARY: tuple[Definition, ...] = (
    Definition(
        name="precision",
        text="share of true positives among the examples predicted as the second class",
        prepare=_binary(lambda c, p, t: (c[:, 1], p[:, 1]), "{positive} is never predicted"),
    ),
    Definition(
        name="recall",
        text="share of the second class's examples that are predicted as it: sensitivity",
        prepare=_binary(lambda c, p, t: (c[:, 1], t[:, 1]), "class {positive} has no example"),
    ),
    Definition(
        name="specificity",
        text="share of the first class's examples that are predicted as it",
        prepare=_binary(lambda c, p, t: (c[:, 0], t[:, 0]), "class {negative} has no example"),
    ),
    Definition(
        name="f1",
        text="harmonic mean of precision and recall of the second class",
        prepare=_binary(
            lambda c, p, t: (2 * c[:, 1], p[:, 1] + t[:, 1]),
            "class {positive} is neither there nor predicted",
        ),
    ),
)
"""Of tables of two classes, of which the second one is the positive."""

MANY: tuple[Definition, ...] = (
    Definition(
        name="top_5_accuracy",
        text="share of examples whose label is among the five largest logits, the first among ties",
        prepare=_top(5),
    ),
)
"""Of tables of more than five classes."""
