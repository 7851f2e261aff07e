"""Where a model errs: confusion, the examples of highest loss or misplaced confidence, and flips.

An example is named by id; what it looks like, a text or a picture, is given by the caller.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.intervals import wilson
from jaxtransfer.evaluation.probabilities import log_softmax, log_softmax_at
from jaxtransfer.evaluation.table import Predictions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hard:
    """An example of high loss.

    Attributes:
      row: its row in the table.
      id: its id.
      label: name of its class.
      predicted: name of the class predicted.
      confidence: probability of the predicted class.
      loss: negative log-likelihood of the label, in nats.
      example: what the caller's mapping has for the id, such as its text; None without one.
    """

    row: int
    id: str
    label: str
    predicted: str
    confidence: float
    loss: float
    example: Any = None

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values, if `example` is one; `example` is there only if given."""
        document = dataclasses.asdict(self)
        if self.example is None:
            del document["example"]
        return document


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confused:
    """Examples of one class predicted as another.

    Attributes:
      label: name of their class.
      predicted: name of the class predicted.
      count: how many.
      n: examples of the class.
      ci: Wilson interval of count / n.
    """

    label: str
    predicted: str
    count: int
    n: int
    ci: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.ci
        return (
            f"{self.label} as {self.predicted}: {self.count} of {self.n}"
            f" ({self.count / self.n:.3f} [{low:.3f}, {high:.3f}])"
        )

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {**dataclasses.asdict(self), "ci": list(self.ci)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flip:
    """An example that two models predict differently.

    Attributes:
      id: its id.
      label: name of its class.
      a: name of the class that the first model predicts, and `b` that of the second.
      b: see `a`.
      confidence_a: probability of `a` by the first model, and `confidence_b` of `b` by the second.
      confidence_b: see `confidence_a`.
      right: which model is right: 'a', 'b' or 'neither'.
    """

    id: str
    label: str
    a: str
    b: str
    confidence_a: float
    confidence_b: float
    right: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassFlips:
    """Both models' successes on the examples of one class; attributes as in `Flips`."""

    label: str
    n: int
    both_right: int
    only_a: int
    only_b: int
    both_wrong: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flips:
    """What changes between two models on the same examples.

    Attributes:
      n: number of examples.
      both_right: examples that both predict right.
      only_a: those that the first alone predicts right, and `only_b` the second alone.
      only_b: see `only_a`.
      both_wrong: those that neither does.
      p_value: exact McNemar test of equal accuracy, two-sided: binomial on only_a + only_b (McNemar
        1947).
      classes: names of the classes.
      between: (k, k) counts by the first model's prediction (row) and the second's (column).
      per_class: the same four counts of each class that has examples.
      flipped: every example predicted differently: those that b loses first, then those that it
        wins, then wrong in either; within each by the two confidences, highest first.
    """

    n: int
    both_right: int
    only_a: int
    only_b: int
    both_wrong: int
    p_value: float
    classes: tuple[str, ...]
    between: Int[np.ndarray, "k k"]
    per_class: tuple[ClassFlips, ...]
    flipped: tuple[Flip, ...]

    def __str__(self) -> str:
        return (
            f"{len(self.flipped)} of {self.n} predictions differ: only a is right on {self.only_a},"
            f" only b on {self.only_b}, both on {self.both_right}, neither on {self.both_wrong}"
            f" (exact McNemar p={self.p_value:.3g})"
        )

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        document = dataclasses.asdict(self)
        return {**document, "classes": list(self.classes), "between": self.between.tolist()}


def confusion_matrix(table: Predictions) -> Int[np.ndarray, "k k"]:
    """Counts of examples by label (row) and prediction (column)."""
    return _crossed(table.labels, table.predicted, len(table.classes))


def confused(
    table: Predictions, count: int = 10, *, confidence: float = 0.95
) -> tuple[Confused, ...]:
    """The commonest confusions of one class with another, by count, ties in class order.

    The interval is each pair's own: of many pairs the most frequent is likely to be overstated.
    """
    matrix = confusion_matrix(table)
    totals = matrix.sum(axis=1)
    np.fill_diagonal(matrix, 0)
    order = np.argsort(-matrix, axis=None, kind="stable")[:count]
    pairs = [divmod(int(cell), len(table.classes)) for cell in order]
    return tuple(
        Confused(
            label=table.classes[label],
            predicted=table.classes[predicted],
            count=int(matrix[label, predicted]),
            n=int(totals[label]),
            ci=wilson(int(matrix[label, predicted]), int(totals[label]), confidence),
        )
        for label, predicted in pairs
        if matrix[label, predicted]
    )


def hardest(
    table: Predictions,
    count: int = 12,
    *,
    wrong: bool = False,
    examples: Mapping[str, Any] | None = None,
) -> tuple[Hard, ...]:
    """The examples of highest loss, worst first, ties by id.

    Args:
      table: the predictions.
      count: how many at most.
      wrong: only those predicted wrong.
      examples: from id to text or picture.
    """
    losses = -log_softmax_at(table, table.labels)
    order = np.lexsort((table.ids, -losses))
    if wrong:
        order = order[(table.predicted != table.labels)[order]]
    return _chosen(table, order, count, examples)


def confidently_wrong(
    table: Predictions, count: int = 12, *, examples: Mapping[str, Any] | None = None
) -> tuple[Hard, ...]:
    """The examples predicted wrong with the highest probability, ties by id.

    Unlike `hardest`, which asks how little the label was believed, this asks how much the wrong
    class was: with many classes the two differ.
    """
    confidence = log_softmax_at(table, table.predicted)
    order = np.lexsort((table.ids, -confidence))
    order = order[(table.predicted != table.labels)[order]]
    return _chosen(table, order, count, examples)


def flips(a: Predictions, b: Predictions) -> Flips:
    """Compares two models example by example; rows are paired by id.

    Raises:
      EvaluationError: if ids, labels or classes differ.
    """
    b = b.align(a)
    from scipy.special import bdtr

    first, second = a.predicted, b.predicted
    right_a, right_b = first == a.labels, second == a.labels
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    discordant = only_a + only_b
    confidence_a = np.exp(log_softmax_at(a, first))
    confidence_b = np.exp(log_softmax_at(b, second))
    differ = np.flatnonzero(first != second)
    kind = np.where(right_a, 0, np.where(right_b, 1, 2))
    differ = differ[
        np.lexsort((a.ids[differ], -(confidence_a + confidence_b)[differ], kind[differ]))
    ]
    per_class = []
    for label in np.unique(a.labels):
        one, other = right_a[a.labels == label], right_b[a.labels == label]
        per_class.append(
            ClassFlips(
                label=a.classes[label],
                n=len(one),
                both_right=int((one & other).sum()),
                only_a=int((one & ~other).sum()),
                only_b=int((other & ~one).sum()),
                both_wrong=int((~one & ~other).sum()),
            )
        )
    return Flips(
        n=len(a),
        both_right=int((right_a & right_b).sum()),
        only_a=only_a,
        only_b=only_b,
        both_wrong=int((~right_a & ~right_b).sum()),
        p_value=min(1.0, 2 * float(bdtr(min(only_a, only_b), discordant, 0.5))),
        classes=a.classes,
        between=_crossed(first, second, len(a.classes)),
        per_class=tuple(per_class),
        flipped=tuple(
            Flip(
                id=str(a.ids[row]),
                label=a.classes[a.labels[row]],
                a=a.classes[first[row]],
                b=a.classes[second[row]],
                confidence_a=float(confidence_a[row]),
                confidence_b=float(confidence_b[row]),
                right=("a", "b", "neither")[kind[row]],
            )
            for row in differ
        ),
    )


def _crossed(rows: np.ndarray, columns: np.ndarray, classes: int) -> np.ndarray:
    counts = np.bincount(rows * classes + columns, minlength=classes * classes)
    return counts.reshape(classes, classes)


def _chosen(
    table: Predictions, order: np.ndarray, count: int, examples: Mapping[str, Any] | None
) -> tuple[Hard, ...]:
    if count < 0:
        raise EvaluationError(f"{count} hardest examples cannot be chosen; ask for 0 or more")
    order = order[:count]
    log_probabilities = log_softmax(table.logits[order])
    predicted = table.predicted
    return tuple(
        Hard(
            row=int(row),
            id=str(table.ids[row]),
            label=table.classes[table.labels[row]],
            predicted=table.classes[predicted[row]],
            confidence=float(np.exp(logp[predicted[row]])),
            loss=float(-logp[table.labels[row]]),
            example=None if examples is None else examples.get(str(table.ids[row])),
        )
        for row, logp in zip(order, log_probabilities)
    )
