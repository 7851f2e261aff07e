"""Debiased linear CKA: how alike two sets of features of the same examples are, up to rotation.

Kornblith et al. (2019), arXiv 1905.00414, with the unbiased estimator of HSIC of Song et al. (2012),
without which features of more dimensions than examples look alike whatever they are.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.analyse.labelled import checked_labels, finite, rounding
from jaxtransfer.analyse.score import Score
from jaxtransfer.errors import EvaluationError

NAME = "debiased CKA"
DEFINITION = (
    "HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y)), linear kernels, each HSIC the unbiased HSIC_1 of Song"
    " et al. 2012 (Kornblith et al. 2019; Nguyen et al. 2021)"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Similarities:
    """Debiased CKA between every two of several sets of features.

    Attributes:
      names: of the sets.
      values: by row and column; None where undefined.
      undefined: why, by the name of the set that is at fault.
      n: number of examples.
      definition: what was computed.
    """

    names: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    undefined: dict[str, str]
    n: int
    definition: str = DEFINITION

    def of(self, first: str, second: str) -> Score:
        """The similarity of two sets, by name."""
        value = self.values[self.names.index(first)][self.names.index(second)]
        reason = None
        if value is None:
            reason = self.undefined.get(first) or self.undefined[second]
        return Score(name=NAME, value=value, n=self.n, definition=self.definition, undefined=reason)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "names": list(self.names),
            "values": [list(row) for row in self.values],
            "undefined": dict(self.undefined),
            "n": self.n,
            "definition": self.definition,
        }


def cka(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n e"]) -> Score:
    """Debiased linear CKA, in [-1, 1]: 1 for features equal up to rotation, scale and shift.

    Its mean is about 0 for independent features, and single values may be below.

    Args:
      x: (n, d), finite.
      y: (n, e), finite, of the same examples.

    Raises:
      EvaluationError: if the arrays are malformed.
    """
    return similarities({"x": x, "y": y}).of("x", "y")


def similarities(sets: Mapping[str, Float[np.ndarray, "n d"]]) -> Similarities:
    """Debiased linear CKA between every two sets of features of the same n examples.

    Raises:
      EvaluationError: if there is no set, or arrays are malformed.
    """
    n = _rows(sets)
    names = tuple(sets)
    if n < 4:
        return Similarities(
            names=names,
            values=tuple((None,) * len(names) for _ in names),
            undefined=dict.fromkeys(names, _too_few(n)),
            n=n,
        )
    widths = [array.shape[1] for array in sets.values()]
    # Gram matrices cost n^2 each and n^2 a pair; features n d e a pair.
    by_gram = n * n * (sum(widths) + len(widths) ** 2) < n * sum(widths) ** 2
    rows = {name: finite(array) for name, array in sets.items()}
    centred = {name: array - array.mean(axis=0) for name, array in rows.items()}
    products = _by_gram(centred) if by_gram else _by_features(centred)
    reasons = {}
    for place, (name, array) in enumerate(centred.items()):
        reason = _undefined(rows[name], array, products[place, place], rounding(sets[name]))
        if reason is not None:
            reasons[name] = reason
    lengths = np.sqrt(np.maximum(np.diagonal(products), 0))
    values = tuple(
        tuple(
            None
            if first in reasons or second in reasons
            else float(products[i, j] / (lengths[i] * lengths[j]))
            for j, second in enumerate(names)
        )
        for i, first in enumerate(names)
    )
    return Similarities(names=names, values=values, undefined=reasons, n=n)


def one_hot(labels: Int[np.ndarray, "n"], classes: int | None = None) -> Float[np.ndarray, "n k"]:
    """The labels as features, whose Gram matrix says which examples share a class.

    >>> one_hot(np.array([1, 0])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]

    Raises:
      EvaluationError: if the labels are malformed.
    """
    _, _, known = checked_labels(labels, classes)
    return np.eye(known)[np.asarray(labels)]


def hsic(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n e"]) -> float:
    """The unbiased Hilbert-Schmidt independence criterion HSIC_1 of linear kernels.

    Song et al. 2012, equation 5; its expectation is 0 for independent x and y.

    Raises:
      EvaluationError: if there are fewer than four rows, or arrays are malformed.
    """
    n = _rows({"x": x, "y": y})
    if n < 4:
        raise EvaluationError(_too_few(n))
    centred = {
        name: array - array.mean(axis=0) for name, array in (("x", finite(x)), ("y", finite(y)))
    }
    return float(_by_features(centred)[0, 1] / (n * (n - 3)))


def _by_features(centred: Mapping[str, np.ndarray]) -> Float[np.ndarray, "s s"]:
    """n (n - 3) HSIC_1 of every two sets, from products of their columns.

    With centred rows the sums over rows of a Gram matrix without its diagonal are minus its
    diagonal, from which Song's three terms follow.
    """
    arrays = list(centred.values())
    n = len(arrays[0])
    squares = np.stack([(array**2).sum(axis=1) for array in arrays])
    totals = squares.sum(axis=1)
    products = np.empty((len(arrays), len(arrays)))
    for i, first in enumerate(arrays):
        for j in range(i, len(arrays)):
            products[i, j] = products[j, i] = ((first.T @ arrays[j]) ** 2).sum()
    products -= squares @ squares.T * (n / (n - 2))
    return products + np.outer(totals, totals) / ((n - 1) * (n - 2))


def _by_gram(centred: Mapping[str, np.ndarray]) -> Float[np.ndarray, "s s"]:
    """The same from Gram matrices centred as Székely and Rizzo (2014) do for the U-statistic."""
    flat = []
    for array in centred.values():
        n = len(array)
        gram = array @ array.T
        np.fill_diagonal(gram, 0)
        means = gram.sum(axis=0) / (n - 2)
        means -= means.sum() / (2 * (n - 1))
        gram -= means[:, None] + means
        np.fill_diagonal(gram, 0)
        flat.append(gram.ravel())
    return np.array([[float(a @ b) for b in flat] for a in flat])


def _undefined(
    rows: np.ndarray, centred: np.ndarray, product: float, precision: float
) -> str | None:
    largest = float(np.abs(rows).max(initial=0))
    if np.abs(centred).max(initial=0) <= 4 * precision * largest:
        return "its features are the same for all examples"
    # The three terms cancel down to the rounding of the largest.
    size = float((centred**2).sum()) ** 2 / len(rows)
    if product <= 1e-11 * size:
        return "HSIC with itself is not positive: every two of its examples are equally far apart"
    return None


def _too_few(n: int) -> str:
    return f"{n} examples are too few: unbiased HSIC needs four"


def _rows(sets: Mapping[str, np.ndarray]) -> int:
    shapes = {name: np.shape(array) for name, array in sets.items()}
    counts = {shape[0] for shape in shapes.values() if len(shape) == 2}
    if len(counts) != 1 or any(len(shape) != 2 or not shape[1] for shape in shapes.values()):
        raise EvaluationError(
            f"sets of features must be (rows, width) of the same examples, not of shapes {shapes}"
        )
    return counts.pop()
