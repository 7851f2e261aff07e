"""Tables of other kinds than one class out of several: several labels, values, ranked items, tokens."""

import dataclasses
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.formats import Columns
from jaxtransfer.evaluation.rows import Rows, numbers, strings
from jaxtransfer.evaluation.table import checked_classes, checked_logits, read_logits


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MultiLabel(Rows):
    """Predictions of k labels that are true or not, each by itself, for n examples.

    Attributes:
      labels: (n, k) 0 or 1.
      logits: (n, k) log odds of each label, finite; predicted where positive.
      classes: the k names, unique.

    A file has `id`, `label` (n, k), or in CSV `label_<class>`, and `logits` or `probabilities`.
    """

    labels: Int[np.ndarray, "n k"]
    logits: Float[np.ndarray, "n k"]
    classes: tuple[str, ...]

    kind: ClassVar[str] = "multilabel"
    PAYLOAD: ClassVar[tuple[str, ...]] = ("labels", "logits")
    TRUTH: ClassVar[tuple[str, ...]] = ("labels",)

    def _checked(self) -> dict[str, Any]:
        classes = checked_classes(self.classes, self.source, 1)
        labels = np.asarray(self.labels)
        if labels.dtype.kind == "U":
            labels = np.where(labels == "1", 1, np.where(labels == "0", 0, -1))
        shape = (len(self.ids), len(classes))
        if labels.dtype.kind not in "biuf" or labels.shape != shape:
            raise EvaluationError(
                f"{self.source}: column 'label' must be 0 or 1 of shape (rows, classes) = {shape},"
                f" not {labels.dtype} of shape {labels.shape}"
            )
        wrong = (labels != 0) & (labels != 1)
        if wrong.any():
            row, place = np.argwhere(wrong)[0]
            raise EvaluationError(
                f"{self.source}: column 'label', row {row} (id {str(self.ids[row])!r}), class"
                f" {classes[place]!r}: {np.asarray(self.labels)[row, place]} is neither 0 nor 1"
            )
        return {
            "classes": classes,
            "labels": labels.astype(np.int64),
            "logits": checked_logits(self.logits, self.source, self.ids, classes),
        }

    def _same(self) -> tuple[tuple[str, Any], ...]:
        return (("classes", self.classes),)

    def _columns(self) -> dict[str, np.ndarray]:
        return {
            "label": self.labels,
            "logits": self.logits,
            "classes": np.asarray(self.classes, dtype=np.str_),
        }

    @classmethod
    def _from_columns(cls, columns: Columns) -> dict[str, Any]:
        labels, named = columns.matrix("label")
        if labels is None:
            labels = columns.need("label")
        logits, of_logits, _ = read_logits(columns, exclusive=False)
        if named is not None and of_logits is not None and set(named) == set(of_logits):
            # Columns of a text file may stand in another order than those of the labels.
            logits = logits[:, [of_logits.index(name) for name in named]]
        elif named is not None and of_logits is not None:
            raise EvaluationError(
                f"{columns.source}: columns 'label_...' are of {list(named)}, 'logits_...' of"
                f" {list(of_logits)}"
            )
        classes = columns.find("classes")
        if classes is None:
            width = logits.shape[1] if logits.ndim == 2 else 0
            classes = np.asarray(named or of_logits or np.arange(width).astype(np.str_), np.str_)
        return {
            "labels": labels,
            "logits": logits,
            "classes": tuple(strings(classes, columns.source, "classes", None).tolist()),
        }

    @property
    def predicted(self) -> Int[np.ndarray, "n k"]:
        """1 where the logit is positive: a probability above one half."""
        return (self.logits > 0).astype(np.int64)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Regression(Rows):
    """Predicted values of d quantities for n examples.

    Attributes:
      labels: (n, d) true values, finite; (n,) is one quantity.
      values: (n, d) predicted values.

    A file has `id`, `label` and `prediction`, each (n,) or (n, d), or `label_0`, ... in CSV.
    """

    labels: Float[np.ndarray, "n d"]
    values: Float[np.ndarray, "n d"]

    kind: ClassVar[str] = "regression"
    PAYLOAD: ClassVar[tuple[str, ...]] = ("labels", "values")
    TRUTH: ClassVar[tuple[str, ...]] = ("labels",)

    def _checked(self) -> dict[str, Any]:
        labels, values = np.asarray(self.labels), np.asarray(self.values)
        if labels.dtype.kind == "U":
            labels = _floats(labels, self.source, "label")
        labels, values = (a[:, None] if a.ndim == 1 else a for a in (labels, values))
        labels = numbers(labels, (len(self.ids), None), self.source, "label", self.ids)
        shape = (len(self.ids), labels.shape[1])
        return {
            "labels": labels,
            "values": numbers(values, shape, self.source, "prediction", self.ids),
        }

    def _columns(self) -> dict[str, np.ndarray]:
        columns = {"label": self.labels, "prediction": self.values}
        return {n: c[:, 0] if c.shape[1] == 1 else c for n, c in columns.items()}

    @classmethod
    def _from_columns(cls, columns: Columns) -> dict[str, Any]:
        found, names = {}, {}
        for field, name in (("labels", "label"), ("values", "prediction")):
            matrix, names[field] = columns.matrix(name)
            found[field] = columns.need(name) if matrix is None else matrix
        labelled, predicted = names["labels"], names["values"]
        if labelled is not None and predicted is not None:
            if set(labelled) != set(predicted):
                raise EvaluationError(
                    f"{columns.source}: columns 'label_...' are of {list(labelled)},"
                    f" 'prediction_...' of {list(predicted)}"
                )
            # Columns of a text file may stand in another order than those of the labels.
            found["values"] = found["values"][:, [predicted.index(name) for name in labelled]]
        return found


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Ranking(Rows):
    """Scores of items for queries: a row a pair of query and item.

    Attributes:
      query: (n,) str, what the items are ranked for.
      relevance: (n,) at least 0; more is better, and an item is relevant where it is positive.
      scores: (n,) finite; the highest comes first.

    A file has `id` (of the pair), `query`, `relevance` and `score`; `item` may stand in place of
    `id`, which is then `<query>/<item>`.
    """

    query: np.ndarray
    relevance: Float[np.ndarray, "n"]
    scores: Float[np.ndarray, "n"]

    kind: ClassVar[str] = "ranking"
    PAYLOAD: ClassVar[tuple[str, ...]] = ("query", "relevance", "scores")
    TRUTH: ClassVar[tuple[str, ...]] = ("query", "relevance")

    def _checked(self) -> dict[str, Any]:
        rows = (len(self.ids),)
        relevance = numbers(self.relevance, rows, self.source, "relevance", self.ids)
        if (relevance < 0).any():
            row = int(np.flatnonzero(relevance < 0)[0])
            raise EvaluationError(
                f"{self.source}: column 'relevance', row {row} (id {str(self.ids[row])!r}):"
                f" {relevance[row]} is negative"
            )
        return {
            "query": strings(self.query, self.source, "query", len(self.ids)),
            "relevance": relevance.astype(np.float64),
            "scores": numbers(self.scores, rows, self.source, "score", self.ids),
        }

    def _columns(self) -> dict[str, np.ndarray]:
        return {"query": self.query, "relevance": self.relevance, "score": self.scores}

    @classmethod
    def _from_columns(cls, columns: Columns) -> dict[str, Any]:
        query = columns.need("query")
        item = columns.find("item")
        if item is not None and "id" not in columns:
            pairs = zip(query.tolist(), item.tolist())
            columns["id"] = np.array([f"{one}/{other}" for one, other in pairs], np.str_)
        return {
            "query": query,
            "relevance": columns.need("relevance"),
            "scores": columns.need("score"),
        }


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TokenLosses(Rows):
    """Losses of a language model on n texts, summed over the tokens of each.

    Attributes:
      loss: (n,) summed negative log-likelihood in nats.
      tokens: (n,) how many tokens were predicted, at least 1.
      correct: (n,) how many of them had the highest logit, or None.
      bytes: (n,) length of the text in bytes, or None.

    A file has `id`, `loss` and `tokens`, or `losses`: one number a token, as lists of Parquet or as
    (n, t) beside a `mask` of 0 and 1. It may have `correct` and `bytes`.
    """

    loss: Float[np.ndarray, "n"]
    tokens: Int[np.ndarray, "n"]
    correct: Int[np.ndarray, "n"] | None = None
    bytes: Int[np.ndarray, "n"] | None = None

    kind: ClassVar[str] = "tokens"
    PAYLOAD: ClassVar[tuple[str, ...]] = ("loss", "tokens", "correct", "bytes")
    TRUTH: ClassVar[tuple[str, ...]] = ()

    def _checked(self) -> dict[str, Any]:
        rows = (len(self.ids),)
        loss = numbers(self.loss, rows, self.source, "loss", self.ids).astype(np.float64)
        if (loss < 0).any():
            row = int(np.flatnonzero(loss < 0)[0])
            raise EvaluationError(
                f"{self.source}: column 'loss', row {row} (id {str(self.ids[row])!r}): {loss[row]}"
                " is negative; a loss is a negative log-likelihood in nats"
            )
        tokens = self._counts("tokens", 1, None)
        assert tokens is not None
        return {
            "loss": loss,
            "tokens": tokens,
            "correct": self._counts("correct", 0, tokens),
            "bytes": self._counts("bytes", 1, None),
        }

    def _counts(self, name: str, least: int, most: np.ndarray | None) -> np.ndarray | None:
        column = getattr(self, name)
        if column is None:
            return None
        found = numbers(column, (len(self.ids),), self.source, name, self.ids)
        wrong = (found < least) | (found != np.floor(found))
        if most is not None:
            wrong |= found > most
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            limit = f"of at least {least}" if most is None else f"from {least} to its tokens"
            raise EvaluationError(
                f"{self.source}: column {name!r}, row {row} (id {str(self.ids[row])!r}):"
                f" {found[row]:g} is no count {limit}"
            )
        return found.astype(np.int64)

    def _columns(self) -> dict[str, np.ndarray]:
        return {n: c for n in self.PAYLOAD if (c := getattr(self, n)) is not None}

    @classmethod
    def _from_columns(cls, columns: Columns) -> dict[str, Any]:
        losses, _ = columns.matrix("losses", ragged=True)
        if losses is None:
            summed = {"loss": columns.need("loss"), "tokens": columns.need("tokens")}
        elif losses.dtype.kind == "O" and columns.has("mask"):
            raise EvaluationError(f"{columns.source}: lists of losses need no 'mask'")
        else:
            mask, _ = columns.matrix("mask")
            summed = _summed(losses, mask, columns.source)
        return {**summed, "correct": columns.find("correct"), "bytes": columns.find("bytes")}


def _summed(losses: np.ndarray, mask: np.ndarray | None, source: str) -> dict[str, np.ndarray]:
    """Sum and count of each row's losses: a matrix, with a mask or whole, or an array of arrays."""
    if losses.dtype.kind == "O":
        width = max(len(row) for row in losses)
        kept = np.array([len(row) for row in losses])[:, None] > np.arange(width)
        padded = np.zeros(kept.shape)
        padded[kept] = np.concatenate(losses)
        losses = padded
    elif losses.ndim != 2 or losses.dtype.kind not in "fiu":
        raise EvaluationError(
            f"{source}: column 'losses' must be real numbers of shape (rows, tokens), not"
            f" {losses.dtype} of shape {losses.shape}"
        )
    else:
        kept = _kept(losses, mask, source)
    wrong = kept & ~((losses >= 0) & (losses < np.inf))
    if wrong.any():
        row, token = np.argwhere(wrong)[0]
        raise EvaluationError(
            f"{source}: column 'losses', row {row}, token {token}: {losses[row, token]} is no finite"
            f" negative log-likelihood in nats ({int(wrong.any(axis=1).sum())} such rows)"
        )
    tokens = kept.sum(axis=1)
    if (tokens == 0).any():
        row = int(np.flatnonzero(tokens == 0)[0])
        raise EvaluationError(f"{source}: column 'losses', row {row}: no token has a loss")
    return {"loss": np.where(kept, losses, 0).sum(axis=1, dtype=np.float64), "tokens": tokens}


def _kept(losses: np.ndarray, mask: np.ndarray | None, source: str) -> np.ndarray:
    """Which losses count, (rows, tokens) bool."""
    if mask is None:
        return np.ones(losses.shape, bool)
    if mask.shape != losses.shape or mask.dtype.kind not in "biuf":
        raise EvaluationError(
            f"{source}: column 'mask' has shape {mask.shape} of {mask.dtype}, and 'losses'"
            f" {losses.shape}; give 0 or 1 for each"
        )
    wrong = (mask != 0) & (mask != 1)
    if wrong.any():
        row, token = np.argwhere(wrong)[0]
        raise EvaluationError(
            f"{source}: column 'mask', row {row}, token {token}: {mask[row, token]} is neither 0"
            " nor 1"
        )
    return mask == 1


def _floats(texts: np.ndarray, source: str, name: str) -> np.ndarray:
    try:
        return texts.astype(np.float64)
    except ValueError:
        for place in np.ndindex(texts.shape):
            try:
                float(texts[place])
            except ValueError:
                raise EvaluationError(
                    f"{source}: column {name!r}, row {place[0]}: {str(texts[place])!r} is no number"
                ) from None
        raise
