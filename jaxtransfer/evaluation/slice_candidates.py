"""What a search for slices looks at: values of group columns, quantile groups, clusters, pairs."""

import hashlib
import itertools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.clusters import k_means
from jaxtransfer.evaluation.table import Predictions


def cut_at_quantiles(
    numbers: Float[np.ndarray, "n"], bins: int = 4, *, name: str = "number"
) -> np.ndarray:
    """A group column from a number per example, such as a text's length or a picture's brightness.

    Groups hold about equally many examples; equal numbers are in one group, so there are fewer
    where a number is frequent. The names sort in the order of the numbers, and have the least and
    the greatest number of the group.

    Args:
      numbers: (n,), finite.
      bins: how many groups at most.
      name: of the quantity, for messages.

    Returns:
      (n,) str, such as `2/4: 120 to 260`.

    Raises:
      EvaluationError: if a number is not finite, or there are fewer than 2 bins.

    >>> cut_at_quantiles(np.arange(8), 2).tolist()[3:5]
    ['1/2: 0 to 3', '2/2: 4 to 7']
    """
    values = np.asarray(numbers, np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise EvaluationError(f"{name} must be (n,), not of shape {values.shape}")
    broken = np.flatnonzero(~np.isfinite(values))
    if broken.size:
        raise EvaluationError(f"{name}, row {broken[0]}: {values[broken[0]]} is not finite")
    if bins < 2:
        raise EvaluationError(f"{bins} bins of {name} are no groups; give 2 or more")
    # By the middle rank of equal numbers, so that a frequent one is apart at either end.
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    _, index = np.unique(np.floor(middle * bins / len(values))[place], return_inverse=True)
    count = index.max() + 1
    digits = len(str(count))
    names = []
    for group in range(count):
        members = values[index == group]
        text = f"{members.min():.4g} to {members.max():.4g}"
        names.append(f"{group + 1:0{digits}}/{count}: {text}")
    return np.asarray(names)[index]


def first_half(ids: np.ndarray, seed: int) -> Bool[np.ndarray, "n"]:
    """Half of the examples, chosen by a hash of seed and id: the row order does not matter."""
    keys = np.array([hashlib.sha256(f"{seed}:{name}".encode()).hexdigest() for name in ids])
    first = np.zeros(len(ids), bool)
    first[np.argsort(keys)[: (len(ids) + 1) // 2]] = True
    return first


def clustered(
    table: Predictions, embeddings: np.ndarray, first: np.ndarray, clusters: int, seed: int
) -> tuple[np.ndarray, dict[str, tuple[str, ...]]]:
    """A group column of clusters fitted on the half searched, and each one's three nearest ids.

    Raises:
      EvaluationError: if shapes do not fit, or there are fewer different rows than clusters.
    """
    features = np.asarray(embeddings, np.float64)
    if features.ndim != 2 or len(features) != len(table):
        raise EvaluationError(
            f"embeddings have shape {features.shape}; give (rows, width) for {len(table)} rows"
        )
    fitted = k_means(features[first], clusters, seed=seed)
    index = fitted.assign(features)
    digits = len(str(clusters))
    names = np.array([f"{cluster + 1:0{digits}} of {clusters}" for cluster in range(clusters)])
    nearest = {}
    for cluster in range(clusters):
        rows = np.flatnonzero(index == cluster)
        distance = ((features[rows] - fitted.centers[cluster]) ** 2).sum(axis=1)
        closest = rows[np.lexsort((table.ids[rows], distance))[:3]]
        nearest[str(names[cluster])] = tuple(table.ids[closest].tolist())
    return names[index], nearest


def candidates(
    named: Mapping[str, np.ndarray], first: Bool[np.ndarray, "n"], minimum: int, pairs: bool
) -> tuple[list[tuple[dict[str, str], Bool[np.ndarray, "n"]]], int]:
    """Slices with enough examples, and enough outside, in the half searched.

    A set of examples is there once, under its first and shortest description.

    Args:
      named: group columns.
      first: the half searched.
      minimum: examples inside and outside.
      pairs: combine values of two columns.

    Returns:
      (column to group, members) of each, and how many that were looked at are too small. A pair
      with a group that is itself too small is not looked at.
    """
    singles: dict[str, list[tuple[str, np.ndarray]]] = {}
    too_small = 0
    for column, groups in named.items():
        values, counts = np.unique(groups[first], return_counts=True)
        too_small += int((counts < minimum).sum())
        singles[column] = [(str(v), groups == v) for v in values[counts >= minimum]]
    described = [({c: value}, mask) for c, values in singles.items() for value, mask in values]
    kept, seen = [], set()
    combined = itertools.chain(described, _pairs(singles) if pairs else ())
    for values, mask in combined:
        size = int(mask[first].sum())
        if min(size, int(first.sum()) - size) < minimum:
            too_small += size > 0
            continue
        key = hashlib.sha256(mask[first].tobytes()).digest()
        if key not in seen:
            seen.add(key)
            kept.append((values, mask))
    return kept, too_small


def _pairs(singles: Mapping[str, list[tuple[str, np.ndarray]]]):
    for one, other in itertools.combinations(singles, 2):
        for (value, mask), (second, more) in itertools.product(singles[one], singles[other]):
            yield {one: value, other: second}, mask & more
