"""Features with the class of each row, checked: what transferability scores are computed from.

Classes without an example are left out, and that is said.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.analyse.score import joined
from jaxtransfer.errors import EvaluationError


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """Features and the classes that have examples.

    Attributes:
      features: (n, d) float64, finite.
      codes: (n,) the class of each row, numbered over those that have examples.
      counts: (k,) examples of each of them, at least 1.
      classes: how many classes there are, with examples or without.
      precision: the relative rounding of the features as they were given; of float32 if they were,
        though they are float64 here.
    """

    features: Float[np.ndarray, "n d"]
    codes: Int[np.ndarray, "n"]
    counts: Int[np.ndarray, "k"]
    classes: int
    precision: float

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.codes)

    @property
    def absent(self) -> str | None:
        """That classes have no example, in words; None if all have."""
        return left_out(self.classes - len(self.counts), self.classes)

    @property
    def nothing_to_tell(self) -> str | None:
        """Why no score of these is defined; None if two classes have examples."""
        if len(self.counts) >= 2:
            return None
        return f"{len(self.counts)} class has examples: there is nothing to tell apart"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Learnable:
    """The examples of classes that have two or more, of which one can be held out.

    Attributes:
      rows: (m,) which rows of the features they are.
      codes: (m,) their classes, numbered over those.
      classes: how many of them there are.
      undefined: why nothing can be learnt; None if there are two classes.
      note: which examples and classes are left out; None if none.
    """

    rows: Int[np.ndarray, "m"]
    codes: Int[np.ndarray, "m"]
    classes: int
    undefined: str | None
    note: str | None


def learnable(data: Labelled) -> Learnable:
    """Leaves out classes without an example and examples that are alone in their class."""
    kept = data.counts >= 2
    rows = np.flatnonzero(kept[data.codes])
    present, codes = np.unique(data.codes[rows], return_inverse=True)
    alone = int((~kept).sum())
    words = "class has one example, and is" if alone == 1 else "classes have one example, and are"
    reason = None
    if len(present) < 2:
        verb = "class has" if len(present) == 1 else "classes have"
        reason = data.nothing_to_tell or f"{len(present)} {verb} two examples or more"
    return Learnable(
        rows=rows,
        codes=codes,
        classes=len(present),
        undefined=reason,
        note=joined(data.absent, f"{alone} {words} left out" if alone else None),
    )


def left_out(
    missing: int, classes: int, kind: str = "classes", what: str = "example"
) -> str | None:
    """That some of the classes have nothing, in words; None if all have.

    >>> left_out(1, 3)
    '1 of 3 classes has no example and is left out'
    """
    if not missing:
        return None
    words = f"has no {what} and is" if missing == 1 else f"have no {what} and are"
    return f"{missing} of {classes} {kind} {words} left out"


def labelled(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    classes: int | None = None,
) -> Labelled:
    """Checks features and labels.

    Args:
      features: (n, d), finite; n and d at least 1.
      labels: (n,) integers, not negative.
      classes: how many classes there are; one more than the largest label if left out.

    Raises:
      EvaluationError: if shapes do not fit, a feature is not finite, or a label is no class.
    """
    features = np.asarray(features)
    if features.ndim != 2 or not features.size:
        raise EvaluationError(f"features must be (rows, width), not of shape {features.shape}")
    codes, counts, classes = checked_labels(labels, classes)
    if len(codes) != len(features):
        raise EvaluationError(f"{len(features)} rows of features have {len(codes)} labels")
    return Labelled(
        features=finite(features),
        codes=codes,
        counts=counts,
        classes=classes,
        precision=rounding(features),
    )


def checked_labels(
    labels: Int[np.ndarray, "n"], classes: int | None = None
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "k"], int]:
    """Labels numbered over the classes that have examples, their counts, and how many classes are.

    Raises:
      EvaluationError: if there is no label, or one is no class.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not labels.size:
        raise EvaluationError(
            f"labels must be integers of shape (n,), not {labels.dtype} of shape {labels.shape}"
        )
    known = int(labels.max()) + 1 if classes is None else classes
    outside = labels[(labels < 0) | (labels >= known)]
    if outside.size:
        raise EvaluationError(
            f"label {outside[0]} is outside the {known} classes 0..{known - 1};"
            " leave unlabelled examples out"
        )
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return codes, counts, known


def finite(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """The rows in float64.

    Raises:
      EvaluationError: naming row and column, if one is not finite.
    """
    rows = np.asarray(rows, np.float64)
    broken = np.argwhere(~np.isfinite(rows))
    if broken.size:
        raise EvaluationError(f"feature {broken[0][1]} of row {broken[0][0]} is not finite")
    return rows


def rounding(rows: np.ndarray) -> float:
    """The relative rounding of an array's numbers; that of float64 for integers."""
    kind = rows.dtype if np.issubdtype(rows.dtype, np.floating) else np.dtype(np.float64)
    return float(np.finfo(kind).eps)
