"""Where a model errs: the confusion matrix, and the examples of highest loss."""

import dataclasses

import numpy as np
from jaxtyping import Int

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.probabilities import log_softmax
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
    """

    row: int
    id: str
    label: str
    predicted: str
    confidence: float
    loss: float


def confusion_matrix(table: Predictions) -> Int[np.ndarray, "k k"]:
    """Counts of examples by label (row) and prediction (column)."""
    classes = len(table.classes)
    counts = np.bincount(table.labels * classes + table.predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def hardest(table: Predictions, count: int = 12, *, wrong: bool = False) -> tuple[Hard, ...]:
    """The examples of highest loss, worst first, ties by id.

    Args:
      table: the predictions.
      count: how many at most.
      wrong: only those predicted wrong.
    """
    if count < 0:
        raise EvaluationError(f"{count} hardest examples cannot be chosen; ask for 0 or more")
    log_probabilities = log_softmax(table.logits)
    losses = -log_probabilities[np.arange(len(table)), table.labels]
    predicted = table.predicted
    order = np.lexsort((table.ids, -losses))
    if wrong:
        order = order[predicted[order] != table.labels[order]]
    return tuple(
        Hard(
            row=int(row),
            id=str(table.ids[row]),
            label=table.classes[table.labels[row]],
            predicted=table.classes[predicted[row]],
            confidence=float(np.exp(log_probabilities[row, predicted[row]])),
            loss=float(losses[row]),
        )
        for row in order[:count]
    )
