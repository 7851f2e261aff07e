"""Examples whose label is probably wrong: confident learning on out-of-sample probabilities.

Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels (2021).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.probabilities import softmax
from jaxtransfer.evaluation.table import Predictions

METHODS = ("noise_rate", "class", "both", "confident")
RANKINGS = ("self_confidence", "normalized_margin")
SLACK = 1e-6
"""Probabilities this close are equal, so that rounding moves nobody over a threshold."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelCandidate:
    """An example whose label may be wrong.

    Attributes:
      row: its row in the table.
      id: its id.
      label: name of the class given.
      suggested: name of the most probable class.
      self_confidence: probability of the label.
      normalized_margin: (that minus the largest other probability + 1) / 2.
      example: what the caller's mapping has for the id; None without one.
    """

    row: int
    id: str
    label: str
    suggested: str
    self_confidence: float
    normalized_margin: float
    example: Any = None

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values, if `example` is one; `example` is there only if given."""
        document = dataclasses.asdict(self)
        if self.example is None:
            del document["example"]
        return document


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelErrors:
    """Label-error candidates and the noise that they are estimated from.

    Attributes:
      n: number of examples.
      classes: names of the classes.
      joint: (k, k) estimated numbers of examples by label given (row) and true class (column);
        rows sum to the counts of the labels.
      noise_rates: share of each class's labels that are estimated wrong; None without examples.
      candidates: the examples, most doubtful first, ties by id.
      method: how they were chosen.
      rank_by: what they are ordered by.
      definition: what exactly was computed.
    """

    n: int
    classes: tuple[str, ...]
    joint: Int[np.ndarray, "k k"]
    noise_rates: tuple[float | None, ...]
    candidates: tuple[LabelCandidate, ...]
    method: str
    rank_by: str
    definition: str

    @property
    def estimated(self) -> int:
        """How many labels are estimated to be wrong, whichever they are."""
        return int(self.joint.sum() - np.trace(self.joint))

    def __str__(self) -> str:
        return (
            f"{len(self.candidates)} label-error candidates of {self.n} examples"
            f" ({self.estimated} estimated by the confident joint)"
        )

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "n": self.n,
            "estimated": self.estimated,
            "classes": list(self.classes),
            "joint": self.joint.tolist(),
            "noise_rates": list(self.noise_rates),
            "candidates": [candidate.to_json() for candidate in self.candidates],
            "method": self.method,
            "rank_by": self.rank_by,
            "definition": self.definition,
        }


def find_label_errors(
    table: Predictions,
    *,
    out_of_sample: bool = False,
    method: str = "noise_rate",
    rank_by: str = "self_confidence",
    examples: Mapping[str, Any] | None = None,
) -> LabelErrors:
    """Finds examples whose label the probabilities contradict.

    A model that was trained on a label repeats it, wrong or not, so the probabilities must come
    from models that did not see the example: those of a held-out split, or of
    `cross_fitting.cross_fitted_probabilities`.

    Methods: `noise_rate` takes, of each class i and for each other class j, the joint's (i, j)
    examples of largest p_j - p_i; `class` takes of each class as many as the joint puts outside of
    it, least p_i first; `both` takes what both take; `confident` takes what the joint itself counted
    off its diagonal. None takes an example whose label is its most probable class.

    Args:
      table: the predictions; logits are turned into probabilities by softmax.
      out_of_sample: the caller's word that no example was trained on; needed unless the table's
        splits say so, that is, it has a column `split` without 'train'.
      method: 'noise_rate', 'class', 'both' or 'confident'.
      rank_by: 'self_confidence' or 'normalized_margin', least first.
      examples: from id to text or picture.

    Raises:
      EvaluationError: if the probabilities may be in-sample, or an option is unknown.
    """
    if method not in METHODS:
        raise EvaluationError(f"method {method!r} is unknown; choose one of {METHODS}")
    if rank_by not in RANKINGS:
        raise EvaluationError(f"rank_by {rank_by!r} is unknown; choose one of {RANKINGS}")
    if table.kind != "classification":
        raise EvaluationError(f"{table.source}: a table of {table.kind} has no single label")
    if not out_of_sample:
        _check_out_of_sample(table)
    labels, probabilities = table.labels, softmax(table.logits)
    joint = confident_joint(labels, probabilities)
    if method == "confident":
        guessed = _confident_class(labels, probabilities)
        chosen = (guessed >= 0) & (guessed != labels)
    else:
        counts = _leaving_one_each(joint)
        chosen = np.ones(len(labels), bool)
        if method != "class":
            chosen &= _by_noise_rate(labels, probabilities, counts)
        if method != "noise_rate":
            chosen &= _by_class(labels, probabilities, counts)
    favoured = probabilities.copy()
    favoured[np.arange(len(labels)), labels] += SLACK
    chosen &= favoured.argmax(axis=1) != labels
    quality = {name: label_quality(labels, probabilities, name) for name in RANKINGS}
    order = np.lexsort((table.ids, quality[rank_by]))
    suggested = probabilities.argmax(axis=1)
    totals = joint.sum(axis=1)
    return LabelErrors(
        n=len(table),
        classes=table.classes,
        joint=joint,
        noise_rates=tuple(
            float(1 - joint[k, k] / totals[k]) if totals[k] else None for k in range(len(joint))
        ),
        candidates=tuple(
            LabelCandidate(
                row=int(row),
                id=str(table.ids[row]),
                label=table.classes[labels[row]],
                suggested=table.classes[suggested[row]],
                self_confidence=float(quality["self_confidence"][row]),
                normalized_margin=float(quality["normalized_margin"][row]),
                example=None if examples is None else examples.get(str(table.ids[row])),
            )
            for row in order
            if chosen[row]
        ),
        method=method,
        rank_by=rank_by,
        definition=f"confident learning, thresholds the mean self-confidence of each class;"
        f" candidates by {method}, ordered by {rank_by}",
    )


def label_quality(
    labels: Int[np.ndarray, "n"], probabilities: Float[np.ndarray, "n k"], method: str
) -> Float[np.ndarray, "n"]:
    """How well the probabilities support each label, in [0, 1].

    Args:
      labels: (n,) the labels given.
      probabilities: (n, k), out of sample.
      method: 'self_confidence', p_label; or 'normalized_margin', (p_label - largest other p + 1)/2.

    >>> label_quality(np.array([1]), np.array([[0.75, 0.25]]), "normalized_margin")
    array([0.25])
    """
    rows = np.arange(len(labels))
    own = probabilities[rows, labels]
    if method == "self_confidence":
        return own
    if method != "normalized_margin":
        raise EvaluationError(f"label quality {method!r} is unknown; choose one of {RANKINGS}")
    others = probabilities.copy()
    others[rows, labels] = -np.inf
    return (own - others.max(axis=1) + 1) / 2


def confident_joint(
    labels: Int[np.ndarray, "n"], probabilities: Float[np.ndarray, "n k"]
) -> Int[np.ndarray, "k k"]:
    """Estimated numbers of examples by label given (row) and true class (column).

    An example counts for a class that it is at least as probable of as that class's examples are
    on average (equation 2); if there are several, for its most probable class, above its threshold
    or not, which differs from equation 1 in rare cases; if there is none, nowhere. Rows are scaled
    to the counts of the labels (equation 3) and rounded to whole numbers that keep their sums.
    """
    classes = probabilities.shape[1]
    guessed = _confident_class(labels, probabilities)
    counted = guessed >= 0
    counts = np.bincount(
        labels[counted] * classes + guessed[counted], minlength=classes**2
    ).reshape(classes, classes)
    # A class without a confident example of its own would have only errors.
    np.fill_diagonal(counts, np.maximum(1, np.diagonal(counts)))
    totals = np.bincount(labels, minlength=classes)
    return _rounded(counts / counts.sum(axis=1, keepdims=True) * totals[:, None])


def _check_out_of_sample(table: Predictions) -> None:
    if table.split is None:
        raise EvaluationError(
            f"{table.source}: without a column 'split' it cannot be seen whether the model was"
            " trained on these examples; if it was not, pass out_of_sample=True"
        )
    trained = [str(name) for name in np.unique(table.split) if str(name).startswith("train")]
    if trained:
        count = int(np.isin(table.split, trained).sum())
        raise EvaluationError(
            f"{table.source}: {count} rows are of split {trained[0]!r}, whose labels the model has"
            " learnt; give held-out splits, or probabilities of cross-fitted models with"
            " out_of_sample=True"
        )


def _confident_class(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The class for which each example counts, -1 for none."""
    classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, weights=own, minlength=classes)
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    confident = probabilities >= np.maximum(thresholds, 2 * SLACK) - SLACK
    several = confident.sum(axis=1) > 1
    guessed = np.where(several, probabilities.argmax(axis=1), confident.argmax(axis=1))
    return np.where(confident.any(axis=1), guessed, -1)


def _rounded(rows: np.ndarray) -> Int[np.ndarray, "k k"]:
    """Whole numbers near the given ones that keep each row's sum, itself whole; ties by position."""
    rounded = np.round(rows)
    for row, (exact, near) in enumerate(zip(rows, rounded)):
        missing = int(np.round(exact.sum()) - near.sum())
        order = np.argsort(exact - near, kind="stable")
        changed = order[::-1][:missing] if missing > 0 else order[: -missing or 0]
        rounded[row, changed] += np.sign(missing)
    return rounded.astype(np.int64)


def _leaving_one_each(joint: np.ndarray) -> Int[np.ndarray, "k k"]:
    """The joint in which each label keeps one example; what it lacks is taken off its errors."""
    lacking = np.maximum(0, 1 - np.diagonal(joint))
    errors = np.maximum(1, np.count_nonzero(joint, axis=1) - 1)
    counts = np.maximum(0, joint - (lacking / errors)[:, None])
    np.fill_diagonal(counts, np.maximum(1, np.diagonal(joint)))
    return counts.astype(np.int64)


def _by_noise_rate(
    labels: np.ndarray, probabilities: np.ndarray, counts: np.ndarray
) -> Bool[np.ndarray, "n"]:
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 2:
            continue
        for other in np.flatnonzero(counts[label]):
            if other != label:
                margin = probabilities[rows, other] - probabilities[rows, label]
                chosen[rows[np.argsort(-margin, kind="stable")[: counts[label, other]]]] = True
    return chosen


def _by_class(
    labels: np.ndarray, probabilities: np.ndarray, counts: np.ndarray
) -> Bool[np.ndarray, "n"]:
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 2:
            continue
        order = np.argsort(probabilities[rows, label], kind="stable")
        chosen[rows[order[: max(0, len(rows) - counts[label, label])]]] = True
    return chosen
