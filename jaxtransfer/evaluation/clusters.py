"""K-means in NumPy: clusters of embeddings, the same for the same seed."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Clusters:
    """Centres of clusters.

    Attributes:
      centers: (k, d).
      inertia: sum of squared distances of the fitted rows to their centres.
    """

    centers: Float[np.ndarray, "k d"]
    inertia: float

    def assign(self, features: Float[np.ndarray, "n d"]) -> Int[np.ndarray, "n"]:
        """The nearest centre of each row, the first among ties."""
        return _squared_distances(np.asarray(features, np.float64), self.centers).argmin(axis=1)


def k_means(
    features: Float[np.ndarray, "n d"],
    k: int,
    *,
    seed: int = 0,
    restarts: int = 4,
    iterations: int = 100,
) -> Clusters:
    """The best of several runs of Lloyd's algorithm, started by k-means++.

    Arthur and Vassilvitskii (2007) for the starts. A cluster that loses its last row moves to the
    row that is farthest from its centre.

    Args:
      features: (n, d), finite.
      k: number of clusters, at most as many as there are different rows.
      seed: of the starts.
      restarts: runs, of which that of least inertia is kept.
      iterations: at most, in each run.

    Raises:
      EvaluationError: if features are not finite or (n, d), or have fewer than k different rows.
    """
    rows = np.asarray(features, np.float64)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise EvaluationError(
            f"features to cluster must be finite and (rows, width), not of shape {rows.shape}"
        )
    distinct = len(np.unique(rows, axis=0)) if k > 1 else min(1, len(rows))
    if not 1 <= k <= distinct:
        raise EvaluationError(f"{k} clusters of {distinct} different rows cannot be made")
    # Distances are differences of large squares unless rows are centred.
    mean = rows.mean(axis=0)
    rng = np.random.default_rng(seed)
    runs = [_lloyd(rows - mean, k, rng, iterations) for _ in range(restarts)]
    centers, inertia = min(runs, key=lambda run: run[1])
    return Clusters(centers=centers + mean, inertia=inertia)


def _lloyd(
    rows: np.ndarray, k: int, rng: np.random.Generator, iterations: int
) -> tuple[np.ndarray, float]:
    centers = _plus_plus(rows, k, rng)
    previous = None
    for _ in range(iterations):
        distances = _squared_distances(rows, centers)
        nearest = distances.argmin(axis=1)
        if previous is not None and np.array_equal(nearest, previous):
            break
        previous = nearest.copy()
        own = distances[np.arange(len(rows)), nearest]
        for empty in np.setdiff1d(np.arange(k), nearest):
            farthest = int(own.argmax())
            nearest[farthest], own[farthest] = empty, -1.0
        sums = np.stack([np.bincount(nearest, column, minlength=k) for column in rows.T], axis=1)
        centers = sums / np.bincount(nearest, minlength=k)[:, None]
    return centers, float(_squared_distances(rows, centers).min(axis=1).sum())


def _plus_plus(rows: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    chosen = [int(rng.integers(len(rows)))]
    nearest = ((rows - rows[chosen[0]]) ** 2).sum(axis=1)
    for _ in range(k - 1):
        chosen.append(int(rng.choice(len(rows), p=nearest / nearest.sum())))
        nearest = np.minimum(nearest, ((rows - rows[chosen[-1]]) ** 2).sum(axis=1))
    return rows[chosen]


def _squared_distances(rows: np.ndarray, centers: np.ndarray) -> np.ndarray:
    squares = (rows**2).sum(axis=1)[:, None] + (centers**2).sum(axis=1) - 2 * rows @ centers.T
    return np.maximum(squares, 0.0)
