"""What fitting and loading give: one adapted model, or several whose probabilities are averaged."""

import abc
import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jaxtransfer.adapt import package
from jaxtransfer.adapt.adapted import Adapted
from jaxtransfer.checking import check_path
from jaxtransfer.data.examples import Examples
from jaxtransfer.data.source import from_arrays
from jaxtransfer.errors import PretrainedError
from jaxtransfer.evaluation.probabilities import mean_log_probabilities
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.given import ClassLabel, checked, labelled, listed
from jaxtransfer.models.model import Model
from jaxtransfer.train.predict import predict as predict_logits

UNLABELLED_BATCH = 25


class Classifier(abc.ABC):
    """Anything that gives raw inputs logits over classes."""

    classes: tuple[ClassLabel, ...]

    @abc.abstractmethod
    def logits(self, inputs: Sequence[Any]) -> Float[np.ndarray, "n k"]:
        """Logits (n, classes) of raw inputs (texts, images), in their order.

        Raises:
          DataError: if `inputs` is one text, and not a list of them.
        """

    @property
    def names(self) -> tuple[str, ...]:
        """The classes as text, as tables of predictions name them."""
        return tuple(map(str, self.classes))

    def predict(self, inputs: Sequence[Any]) -> list[ClassLabel]:
        """The most probable class of each input, as `fit` was given it: a number for a number."""
        return [self.classes[index] for index in self.logits(inputs).argmax(axis=1)]

    def probabilities(self, inputs: Sequence[Any]) -> Float[np.ndarray, "n k"]:
        """Class probabilities (n, classes), each row summing to 1."""
        return np.asarray(jax.nn.softmax(self.logits(inputs), axis=-1))

    def predictions(self, inputs: Sequence[Any], labels: Sequence[Any]) -> Predictions:
        """The predictions table of labelled inputs; all of evaluation takes such tables.

        Raises:
          DataError: if a label is missing or none of the classes, naming it and its row.
        """
        table = labelled(inputs, listed(labels), self.names)
        assert table.labels is not None
        return Predictions(
            ids=table.ids, labels=table.labels, logits=self.logits(inputs), classes=self.names
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Fitted(Classifier):
    """A pretrained model adapted to a classification task.

    Attributes:
      adapted: model, method and trained variables.
      classes: the classes as they were given, numbers as numbers, in the order of the logits.
      base_hash: fingerprint of the pretrained variables that training began from.
      history: a row a training step; empty for one that was loaded.
    """

    adapted: Adapted
    classes: tuple[ClassLabel, ...]
    base_hash: str
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)

    def logits(self, inputs: Sequence[Any]) -> Float[np.ndarray, "n k"]:
        """See `Classifier.logits`."""
        examples = Examples(from_arrays(checked(inputs)), self.adapted.model.preprocess)
        return predict_logits(
            self.adapted, self.adapted.variables, examples, batch_size=UNLABELLED_BATCH
        )

    def save(self, directory: str | os.PathLike[str]) -> pathlib.Path:
        """Saves what was trained as a shareable directory; the base is named by URI and hash.

        Raises:
          ConfigError: if the directory is no path.
        """
        path = check_path("directory", directory)
        return package.save(self.adapted, path, classes=self.classes, base_hash=self.base_hash)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Ensemble(Classifier):
    """The mean of several models' probabilities: a deep ensemble (Lakshminarayanan et al. 2017).

    Attributes:
      members: models of one task, such as the seeds of a rung; serving costs that of all.

    Raises:
      PretrainedError: if there is none, or their classes differ.
    """

    members: tuple[Fitted, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.members, list | tuple) or not all(
            isinstance(member, Fitted) for member in self.members
        ):
            raise PretrainedError(
                "the members of an ensemble are a tuple of fitted models, as fit and load give them; of an"
                " ensemble within it, give the members"
            )
        object.__setattr__(self, "members", tuple(self.members))
        if not self.members:
            raise PretrainedError("an ensemble needs at least one member")
        for member in self.members[1:]:
            if member.classes != self.members[0].classes:
                raise PretrainedError(
                    f"the members of an ensemble have different classes: {list(self.members[0].classes)}"
                    f" and {list(member.classes)}"
                )

    @property
    def classes(self) -> tuple[ClassLabel, ...]:  # type: ignore[override]
        """Those of every member, in the order of the logits."""
        return self.members[0].classes

    def logits(self, inputs: Sequence[Any]) -> Float[np.ndarray, "n k"]:
        """Logarithms of the mean probabilities (n, classes) of raw inputs, in their order."""
        return mean_log_probabilities([member.logits(inputs) for member in self.members])

    def save(self, directory: str | os.PathLike[str]) -> pathlib.Path:
        """Saves each member in a directory of its own, `member<k>`; `load` reads them together.

        Raises:
          PretrainedError: if the directory holds anything else.
          ConfigError: if it is no path.
        """
        path = check_path("directory", directory)
        names = [f"member{index}" for index in range(len(self.members))]
        others = sorted({one.name for one in path.iterdir()} - set(names)) if path.is_dir() else []
        if others:
            raise PretrainedError(
                f"{path} holds {others[:3]} besides what an ensemble of {len(names)} writes, and would"
                " be read with it: give a directory of its own"
            )
        for name, member in zip(names, self.members):
            member.save(path / name)
        return path


def member_directories(path: pathlib.Path) -> list[pathlib.Path]:
    """The adapters of an ensemble's directory, by name; none if it is no such directory."""
    if not path.is_dir():
        return []
    visible = [one for one in path.iterdir() if not one.name.startswith(".")]
    inside = sorted(visible, key=lambda one: (len(one.name), one.name))
    return inside if inside and all(map(package.is_package, inside)) else []


def load_fitted(path: pathlib.Path, base: Model | None = None) -> Fitted:
    """Reads one adapter directory. Errors as of `package.load`."""
    adapted, classes = package.load(path, base)
    description = package.read_description(path)["base"]
    return Fitted(adapted=adapted, classes=classes, base_hash=description["hash"])
