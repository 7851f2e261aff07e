"""The predictions table of a classifier: what a run writes, and all that evaluation sees of a model.

One row an example: id, label, logits, optionally split and groups. Any model's table serves, ours or a
foreign one.
"""

import dataclasses
import functools
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.formats import Columns
from jaxtransfer.evaluation.rows import Rows, labels_of, numbers, strings

EXACT, NEAR = 1e-5, 1e-2
"""How far from 1 the sum of a row's probabilities may be: taken as they are; scaled to sum to 1."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Predictions(Rows):
    """Predictions of one model for n examples of a classification task with k classes.

    Attributes:
      labels: (n,) int64 in [0, k).
      logits: (n, k) float32 or float64, finite; log probabilities serve too. The prediction is the
        argmax, the first one among ties.
      classes: the k names, unique.
      normalised: whether the logits are log probabilities, to be taken as they are, so that equal
        probabilities stay equal; set where a file has probabilities.

    A file has `id`, `label` (numbers from 0, or class names) and `logits` or `probabilities`: (n, k),
    or (n,) of the second of two classes. It may have `classes`, `split`, `group` and `group_NAME`. In CSV
    and Parquet a matrix may be columns `logits_0`, `logits_1`, ..., or `logits_<class>`. A
    probability of 0 is taken as the smallest normal float64, 2.2e-308.

    Raises:
      EvaluationError: naming source, column and row, if a column has the wrong shape or type, ids
        repeat, logits are not finite, or a label is outside the classes.
    """

    labels: Int[np.ndarray, "n"]
    logits: Float[np.ndarray, "n k"]
    classes: tuple[str, ...]
    normalised: bool = False

    kind: ClassVar[str] = "classification"
    PAYLOAD: ClassVar[tuple[str, ...]] = ("labels", "logits")
    TRUTH: ClassVar[tuple[str, ...]] = ("labels",)

    def _checked(self) -> dict[str, Any]:
        classes = checked_classes(self.classes, self.source, 2)
        return {
            "classes": classes,
            "labels": self._labels(classes),
            "logits": checked_logits(self.logits, self.source, self.ids, classes),
        }

    def _labels(self, classes: tuple[str, ...]) -> np.ndarray:
        ids = self.ids
        labels = labels_of(self.labels, classes, self.source)
        if labels.dtype.kind == "f" and labels.shape == ids.shape:
            broken = np.flatnonzero(labels != np.floor(labels))
            if broken.size:
                row = broken[0]
                raise EvaluationError(
                    f"{self.source}: column 'label', row {row} (id {str(ids[row])!r}):"
                    f" {labels[row]} is no class ({broken.size} such rows)"
                )
        if labels.dtype.kind not in "iu" or labels.shape != ids.shape:
            raise EvaluationError(
                f"{self.source}: column 'label' must be integers of shape {ids.shape},"
                f" not {labels.dtype} of shape {labels.shape}"
            )
        outside = np.flatnonzero((labels < 0) | (labels >= len(classes)))
        if outside.size:
            row = outside[0]
            raise EvaluationError(
                f"{self.source}: column 'label', row {row} (id {str(ids[row])!r}): {labels[row]}"
                f" is outside the {len(classes)} classes 0..{len(classes) - 1}"
                f" ({outside.size} such rows)"
            )
        return labels.astype(np.int64)

    def _same(self) -> tuple[tuple[str, Any], ...]:
        return (("classes", self.classes),)

    def _columns(self) -> dict[str, np.ndarray]:
        logits = {"logits": self.logits}
        if self.normalised:
            logits = {"probabilities": np.exp(self.logits)}
        return {
            "label": self.labels,
            **logits,
            "classes": np.asarray(self.classes, dtype=np.str_),
        }

    @classmethod
    def _from_columns(cls, columns: Columns) -> dict[str, Any]:
        labels = columns.need("label")
        logits, named, normalised = read_logits(columns, exclusive=True)
        classes = columns.find("classes")
        if classes is None:
            width = logits.shape[1] if logits.ndim == 2 else 0
            classes = np.asarray(named or np.arange(width).astype(np.str_), np.str_)
        return {
            "labels": labels,
            "logits": logits,
            "classes": tuple(strings(classes, columns.source, "classes", None).tolist()),
            "normalised": normalised,
        }

    @property
    def strata(self) -> Int[np.ndarray, "n"]:
        """The labels: a bootstrap keeps the number of examples of each class."""
        return self.labels

    @functools.cached_property
    def predicted(self) -> Int[np.ndarray, "n"]:
        """The class of the largest logit, the first among ties."""
        predicted = np.argmax(self.logits, axis=1)
        predicted.flags.writeable = False
        return predicted


def checked_classes(names: Any, source: str, least: int) -> tuple[str, ...]:
    """Class names as unique strings.

    Raises:
      EvaluationError: if there are fewer than `least`, or one repeats.
    """
    classes = tuple(str(name) for name in names)
    if len(classes) < least or len(set(classes)) != len(classes):
        count = {1: "one name", 2: "two different names"}[least]
        raise EvaluationError(
            f"{source}: column 'classes' must hold at least {count}, each once, not {list(classes)}"
        )
    return classes


def checked_logits(
    column: Any, source: str, ids: np.ndarray, classes: tuple[str, ...]
) -> Float[np.ndarray, "n k"]:
    """Finite logits of shape (rows, classes), float32 or float64.

    Raises:
      EvaluationError: naming source, row and class.
    """
    logits = np.asarray(column)
    if logits.dtype.kind in "bOSUMmc" or logits.shape != (len(ids), len(classes)):
        raise EvaluationError(
            f"{source}: column 'logits' must be real numbers of shape (rows, classes) ="
            f" {(len(ids), len(classes))}, not {logits.dtype} of shape {logits.shape}"
        )
    finite = np.isfinite(logits)
    if not finite.all():
        row, place = np.argwhere(~finite)[0]
        raise EvaluationError(
            f"{source}: column 'logits', row {row} (id {str(ids[row])!r}), class"
            f" {classes[place]!r}: {logits[row, place]} is not finite"
            f" ({int((~finite).any(axis=1).sum())} such rows)"
        )
    return numbers(logits, (None, None), source, "logits", ids)


def read_logits(
    columns: Columns, *, exclusive: bool
) -> tuple[np.ndarray, tuple[str, ...] | None, bool]:
    """Takes logits or probabilities out of a file's columns.

    Args:
      columns: of the file.
      exclusive: whether a row is a distribution over classes, of which one number is that of the second
        of two; otherwise each class is true or not by itself.

    Returns:
      Logits (n, k), names of the classes where the columns have them, and whether the logits
      are log probabilities that sum to 1 as they are.

    Raises:
      EvaluationError: if neither is there, or both; if probabilities are outside [0, 1] or do not
        sum to 1, naming the row.
    """
    if columns.has("logits") and columns.has("probabilities"):
        raise EvaluationError(
            f"{columns.source}: there are both 'logits' and 'probabilities'; keep one of them"
        )
    if not columns.has("probabilities"):
        logits, named = columns.matrix("logits")
        if logits is None:
            columns.asked.append("probabilities")
            logits = columns.need("logits")
        _check_matrix(logits, "logits", columns.source, exclusive)
        if exclusive and logits.ndim == 1:
            logits = np.stack([np.zeros(len(logits)), logits], axis=1)
            named = None
        return logits, named, False
    found, named = columns.matrix("probabilities")
    assert found is not None
    if found.dtype.kind not in "fiu":
        raise EvaluationError(
            f"{columns.source}: column 'probabilities' must be real numbers, not {found.dtype}"
        )
    _check_matrix(found, "probabilities", columns.source, exclusive)
    given = found.astype(np.float64)
    outside = ~((given >= 0) & (given <= 1))
    if outside.any():
        place = tuple(int(i) for i in np.argwhere(outside)[0])
        raise EvaluationError(
            f"{columns.source}: column 'probabilities', row {place[0]}: {given[place]} is no"
            " probability; logits go into a column 'logits'"
        )
    if not exclusive:
        return np.log(_positive(given)) - np.log(_positive(1 - given)), named, False
    if given.ndim == 1:
        return np.log(_positive(np.stack([1 - given, given], axis=1))), None, True
    total = given.sum(axis=1)
    wrong = np.abs(total - 1)
    if wrong.max(initial=0.0) > NEAR:
        row = int(wrong.argmax())
        raise EvaluationError(
            f"{columns.source}: column 'probabilities', row {row}: they sum to {total[row]:.6g},"
            " not to 1; scores that are no probabilities go into a column 'logits'"
        )
    if wrong.max(initial=0.0) > EXACT:
        given = given / total[:, None]
    return np.log(_positive(given)), named, True


def _check_matrix(array: np.ndarray, name: str, source: str, exclusive: bool) -> None:
    if exclusive and array.ndim == 2 and array.shape[1] == 1:
        raise EvaluationError(
            f"{source}: column {name!r} has one class: give a column for each, or a single column"
            f" {name!r} of the second of two classes"
        )
    if (array.ndim == 2 and array.shape[1] > 0) or (array.ndim == 1 and exclusive):
        return
    expected = "(rows, classes), or (rows,) of the second of two classes" if exclusive else ""
    raise EvaluationError(
        f"{source}: column {name!r} must be real numbers of shape"
        f" {expected or '(rows, classes)'}, not {array.dtype} of shape {array.shape}"
    )


def _positive(probabilities: np.ndarray) -> np.ndarray:
    return np.maximum(probabilities, np.finfo(np.float64).tiny)
