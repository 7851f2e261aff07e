"""Metrics by name: each a value with interval, n and definition, or the reason it is undefined."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from jaxtransfer.errors import EvaluationError, nearest
from jaxtransfer.evaluation import calibration
from jaxtransfer.evaluation.intervals import acceleration, bca, check_confidence, cut, wilson
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Definition:
    """What a metric's name means.

    Attributes:
      name: how it is called.
      text: the definition, with its class and tie policy; a table's own counts are added to it.
      prepare: from a table to the statistic, or why the table does not define it.
      interval: `wilson` (a proportion of examples), `bca` (bootstrap stratified by label), or
        `simulation` (the value is a simulation's mean and the interval its central part: a spread,
        not a confidence interval).
      bounds: smallest and largest value; intervals are cut there.
      maximise: whether larger is better.
    """

    name: str
    text: str
    prepare: Callable[[Predictions], Statistic | Undefined]
    interval: Literal["wilson", "bca", "simulation"] = "bca"
    bounds: tuple[float, float] = (0.0, 1.0)
    maximise: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """A metric of a table.

    Attributes:
      name: the metric.
      value: its value, or None where it is undefined.
      ci: interval at the confidence asked for, or None where there is none.
      n: number of examples.
      definition: what exactly was computed; numbers of different definition are not comparable.
      undefined: why the value or the interval is None.
    """

    name: str
    value: float | None
    ci: tuple[float, float] | None
    n: int
    definition: str
    undefined: str | None = None

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.name} undefined: {self.undefined} (n={self.n})"
        interval = f"[{self.ci[0]:.3f}, {self.ci[1]:.3f}]" if self.ci else f"({self.undefined})"
        return f"{self.name} {self.value:.3f} {interval} (n={self.n})"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values; `undefined` is there only where something is."""
        document: dict[str, Any] = {
            "value": self.value,
            "ci": None if self.ci is None else list(self.ci),
            "n": self.n,
            "definition": self.definition,
        }
        return document if self.undefined is None else {**document, "undefined": self.undefined}

    @classmethod
    def from_json(cls, name: str, document: dict[str, Any]) -> "Measured":
        """Inverse of `to_json`."""
        return cls(
            name=name,
            value=document["value"],
            ci=None if document["ci"] is None else (document["ci"][0], document["ci"][1]),
            n=document["n"],
            definition=document["definition"],
            undefined=document.get("undefined"),
        )


def measure(
    table: Predictions,
    names: Sequence[str | Definition] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = 1000,
) -> dict[str, Measured]:
    """Measures a table.

    Args:
      table: the predictions.
      names: metrics by name or definition; None means all of METRICS.
      confidence: nominal coverage of the intervals.
      seed: of the bootstrap; a metric's interval does not depend on which others are measured.
      replicates: bootstrap samples (and simulations); 0 gives no bootstrap interval.

    Raises:
      EvaluationError: if a name is unknown.
    """
    check_confidence(confidence)
    chosen = [definition(name) for name in (METRICS if names is None else names)]
    return {d.name: _measure(table, d, confidence, seed, replicates) for d in chosen}


def definition(name: str | Definition) -> Definition:
    """Looks a metric up.

    Raises:
      EvaluationError: with the nearest names, if it is unknown.
    """
    if isinstance(name, Definition):
        return name
    if name not in METRICS:
        raise EvaluationError(f"unknown metric {name!r}; nearest: {nearest(name, METRICS)}")
    return METRICS[name]


def value(table: Predictions, name: str | Definition) -> float | None:
    """The metric alone, for selection inside a loop; None where it is undefined."""
    if definition(name).interval == "simulation":
        return _measure(table, definition(name), 0.95, 0, 1000).value
    statistic = definition(name).prepare(table)
    return None if isinstance(statistic, Undefined) else statistic.value


def check_bounds(defined: Definition, found: float) -> None:
    """Finds a definition whose bounds are wrong, before an interval is cut at them.

    Raises:
      EvaluationError: if the value lies outside of them.
    """
    low, high = defined.bounds
    if not low - 1e-9 <= found <= high + 1e-9:
        raise EvaluationError(
            f"{defined.name} is {found:g}, outside of its bounds {defined.bounds}: give its"
            " Definition the bounds that it has"
        )


def describe(defined: Definition, statistic: Statistic) -> str:
    """The definition's text with the table's own counts."""
    return f"{defined.text} ({statistic.detail})" if statistic.detail else defined.text


def _measure(
    table: Predictions, defined: Definition, confidence: float, seed: int, replicates: int
) -> Measured:
    n = len(table)
    statistic = defined.prepare(table)
    if isinstance(statistic, Undefined):
        return Measured(
            name=defined.name,
            value=None,
            ci=None,
            n=n,
            definition=defined.text,
            undefined=statistic.reason,
        )
    measured = functools.partial(
        Measured, name=defined.name, n=n, definition=describe(defined, statistic)
    )
    rng = np.random.default_rng(seed)
    if defined.interval == "simulation":
        simulated = statistic.resample(rng, max(1, replicates))
        low, high = np.quantile(simulated, [0.5 - confidence / 2, 0.5 + confidence / 2])
        return measured(value=float(simulated.mean()), ci=(float(low), float(high)))
    check_bounds(defined, statistic.value)
    if defined.interval == "wilson":
        share = statistic.value
        return measured(value=share, ci=wilson(round(share * n), n, confidence))
    if replicates < 1:
        return measured(value=statistic.value, ci=None, undefined="interval not asked for")
    ci = bca(
        statistic.value,
        statistic.resample(rng, replicates),
        acceleration(statistic.leave_one_out(), table.labels),
        confidence,
    )
    if isinstance(ci, str):
        return measured(value=statistic.value, ci=None, undefined=ci)
    return measured(value=statistic.value, ci=cut(ci, defined.bounds))


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


METRICS: dict[str, Definition] = {
    d.name: d
    for d in (
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
            " probability against the rest, exact ranks, ties one half",
            prepare=_auroc,
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
        Definition(
            name="ece",
            text="expected calibration error of the predicted class, bins of equal width closed"
            " on the right; biased upward on few examples, and so is its interval: see ece_perfect",
            prepare=calibration.calibration_error,
            maximise=False,
        ),
        Definition(
            name="ece_perfect",
            text="mean and central range of ece were every prediction right with exactly its"
            " probability, simulated",
            prepare=calibration.perfect_calibration_error,
            interval="simulation",
            maximise=False,
        ),
    )
}
