"""Recalibration of predictions by a map fitted on a calibration split, which it never judges.

A fitted scaling remembers which examples it saw, and refuses a table that holds any of them.
"""

import abc
import dataclasses
import hashlib
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.table import Predictions


@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedOn:
    """The calibration examples of a scaling.

    Attributes:
      source: where their table came from.
      n: how many.
      classes: names of the classes.
      ids: a digest of each id, so that the record of a fit does not publish them.
      labelled: SHA-256 of ids and labels, whatever the order of rows.
      predicted: SHA-256 of labels and logits, whatever the order of rows, which renamed ids share.
    """

    source: str
    n: int
    classes: tuple[str, ...]
    ids: frozenset[str]
    labelled: str
    predicted: str

    @classmethod
    def of(cls, table: Predictions) -> "FittedOn":
        """The examples of a calibration table.

        Raises:
          EvaluationError: naming the table, if its labels are all of one class.
        """
        present = np.unique(table.labels)
        if len(present) < 2:
            raise EvaluationError(
                f"{table.source}: all {len(table)} calibration examples are of class"
                f" {table.classes[present[0]]!r}; a scaling needs examples of at least two classes"
            )
        return cls(
            source=table.source,
            n=len(table),
            classes=table.classes,
            ids=frozenset(_digest(id_) for id_ in table.ids.tolist()),
            labelled=labelled_hash(table),
            predicted=predicted_hash(table),
        )

    def check_unseen(self, table: Predictions) -> None:
        """Refuses to judge a fit on its own examples.

        Raises:
          EvaluationError: if the table has other classes, or shares examples.
        """
        if table.classes != self.classes:
            raise EvaluationError(
                f"{table.source} has classes {list(table.classes)}, and the scaling was fitted on"
                f" {list(self.classes)} of {self.source}"
            )
        way_out = "fit on a calibration split that shares none with the split it is applied to"
        if labelled_hash(table) == self.labelled:
            raise EvaluationError(
                f"{table.source} has the ids and labels of the calibration examples of"
                f" {self.source} (hash {self.labelled[:12]}); {way_out}"
            )
        if len(table) == self.n and predicted_hash(table) == self.predicted:
            raise EvaluationError(
                f"{table.source} has the labels and logits of the calibration examples of"
                f" {self.source} under other ids (hash {self.predicted[:12]}); {way_out}"
            )
        shared = [id_ for id_ in table.ids.tolist() if _digest(id_) in self.ids]
        if shared:
            raise EvaluationError(
                f"{table.source} shares {len(shared)} of its {len(table)} ids with the calibration"
                f" examples of {self.source}, such as {shared[0]!r}; {way_out}"
            )

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        fields = dataclasses.asdict(self)
        return {**fields, "classes": list(self.classes), "ids": sorted(self.ids)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "FittedOn":
        """Inverse of `to_json`."""
        sets = {"classes": tuple(document["classes"]), "ids": frozenset(document["ids"])}
        return cls(**{**document, **sets})


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Scaling(abc.ABC):
    """A fitted map from logits to better calibrated ones.

    Attributes:
      fitted_on: the calibration examples.
      note: what was out of the ordinary in the fit, or None.
    """

    fitted_on: FittedOn
    note: str | None = None

    name: ClassVar[str]

    @abc.abstractmethod
    def transform(self, logits: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Finite float64 logits; checks nothing about whose they are."""

    def apply(self, table: Predictions) -> Predictions:
        """The table with its logits transformed.

        Raises:
          EvaluationError: if the table has other classes, or holds calibration examples.
        """
        self.fitted_on.check_unseen(table)
        return dataclasses.replace(
            table, logits=self.transform(table.logits), source=f"{table.source} ({self.name})"
        )

    def parameters(self) -> dict[str, Any]:
        """What was fitted, as plain values by attribute."""
        own = {f.name for f in dataclasses.fields(self)} - {"fitted_on", "note"}
        return {name: _plain(getattr(self, name)) for name in sorted(own)}

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values, of which `recalibration.scaling_from_json` is the inverse."""
        return {
            "name": self.name,
            "parameters": self.parameters(),
            "note": self.note,
            "fitted_on": self.fitted_on.to_json(),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Scaling":
        """Inverse of `to_json`.

        Raises:
          EvaluationError: if the document is of another scaling.
        """
        if document.get("name") != cls.name:
            raise EvaluationError(f"{document.get('name')!r} is not the scaling {cls.name!r}")
        return cls(
            fitted_on=FittedOn.from_json(document["fitted_on"]),
            note=document["note"],
            **{name: _arrays(value) for name, value in document["parameters"].items()},
        )


def labelled_hash(table: Predictions) -> str:
    """SHA-256 of the ids and labels of a table, whatever the order of its rows."""
    order = np.argsort(table.ids)
    digest = hashlib.sha256()
    for id_, label in zip(table.ids[order].tolist(), table.labels[order].tolist()):
        digest.update(f"{len(id_)}:{id_}:{label};".encode())
    return digest.hexdigest()


def predicted_hash(table: Predictions) -> str:
    """SHA-256 of the labels and logits of a table, whatever its ids and the order of its rows."""
    rows = np.column_stack([table.labels.astype(np.float64), table.logits.astype(np.float64)])
    # Adding 0 makes one of the two zeros that are equal but differ in bits.
    lines = np.sort(np.ascontiguousarray(rows + 0.0).view(f"V{8 * rows.shape[1]}").ravel())
    return hashlib.sha256(lines.tobytes()).hexdigest()


def _digest(id_: str) -> str:
    return hashlib.blake2b(id_.encode(), digest_size=8).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _arrays(value: Any) -> Any:
    """Lists of numbers as arrays, and lists of lists as tuples of arrays."""
    if not isinstance(value, list):
        return value
    if value and isinstance(value[0], list):
        return tuple(np.asarray(v, np.float64) for v in value)
    return np.asarray(value, np.float64)
