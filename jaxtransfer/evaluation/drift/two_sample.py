"""Two-sample tests between a batch and the rows it is compared with.

Means, kernel MMD, energy distance, a classifier, and the Kolmogorov-Smirnov test of each column;
each gives a statistic and a p-value that holds under exchangeability.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.drift.logistic import fit_logistic
from jaxtransfer.evaluation.drift.permutation import block_sums, mean_differences, p_value, subsets


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoSample:
    """A two-sample test's result.

    Attributes:
      name: the test.
      statistic: its value; larger is more different.
      p: its p-value.
      n: rows of the batch.
      n_other: rows it was compared with.
      permutations: of a permutation p-value, how many; None if the p-value is by theory.
      definition: statistic and p-value in words.
    """

    name: str
    statistic: float
    p: float
    n: int
    n_other: int
    permutations: int | None
    definition: str

    def to_json(self) -> dict:
        """Plain values."""
        return dataclasses.asdict(self)

    def __str__(self):
        return f"{self.name}: {self.statistic:.4g}, p = {self.p:.2g} (n = {self.n}, {self.n_other})"


def mean_shift(
    batch: Float[np.ndarray, "m d"],
    other: Float[np.ndarray, "n d"],
    indicators: Float[np.ndarray, "r m+n"],
    *,
    transform: Float[np.ndarray, "d e"] | None = None,
    name: str = "mean shift",
) -> TwoSample:
    """The squared length of the difference of means, after a linear map, by permutation.

    With standardised columns it is the sum of squared standardised mean differences; with a
    whitening map W, W W' the inverse covariance, it is Hotelling's T squared.

    Args:
      batch: the rows in question.
      other: what they are compared with.
      indicators: of `permutation.subsets`.
      transform: the map; None is the identity.
      name: what the result calls it.
    """
    pooled = _pool(batch, other)
    if transform is not None:
        pooled = pooled @ transform
    m, n = len(batch), len(other)
    squares = (mean_differences(pooled, indicators) ** 2).sum(axis=1) * (m * n / (m + n))
    return TwoSample(
        name=name,
        statistic=float(squares[0]),
        p=p_value(squares),
        n=m,
        n_other=n,
        permutations=len(indicators) - 1,
        definition="m n / (m + n) times the squared length of the difference of means"
        f"{'' if transform is None else ' in whitened coordinates'}; permutation",
    )


def squared_distances(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n n"]:
    """Squared Euclidean distances between all rows; exactly 0 on the diagonal."""
    centred = rows - rows.mean(axis=0)
    norms = (centred**2).sum(axis=1)
    squares = np.maximum(norms[:, None] + norms - 2 * centred @ centred.T, 0)
    np.fill_diagonal(squares, 0)
    return squares


def median_bandwidth(rows: Float[np.ndarray, "n d"]) -> float:
    """The median distance between different rows (Gretton et al. 2012, section 8).

    Raises:
      EvaluationError: if it is 0, because most rows are equal.
    """
    distances = np.sqrt(squared_distances(rows)[np.triu_indices(len(rows), 1)])
    median = float(np.median(distances)) if distances.size else 0.0
    if not median > 0:
        raise EvaluationError(
            f"the median distance among {len(rows)} reference rows is 0: column"
            " 'features' is mostly equal, so there is no scale to compare by; leave it out"
        )
    return median


def mmd(
    batch: Float[np.ndarray, "m d"],
    other: Float[np.ndarray, "n d"],
    indicators: Float[np.ndarray, "r m+n"],
    *,
    bandwidth: float,
) -> TwoSample:
    """Unbiased squared maximum mean discrepancy, kernel exp(-|x - y|^2 / (2 h^2)), by permutation.

    Gretton et al. 2012, equation 3.
    """
    return _kernel_tests(batch, other, indicators, bandwidth)[0]


def energy_distance(
    batch: Float[np.ndarray, "m d"],
    other: Float[np.ndarray, "n d"],
    indicators: Float[np.ndarray, "r m+n"],
) -> TwoSample:
    """Energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'| of the two samples, by permutation.

    Székely and Rizzo 2013; the means within a sample are over all pairs, equal ones included, so in
    one dimension it is the square of `scipy.stats.energy_distance`.
    """
    return _kernel_tests(batch, other, indicators, 1.0)[1]


def _kernel_tests(
    batch: np.ndarray, other: np.ndarray, indicators: np.ndarray, bandwidth: float
) -> tuple[TwoSample, TwoSample]:
    squares = squared_distances(_pool(batch, other))
    m, n = len(batch), len(other)
    if m < 2 or n < 2:
        raise EvaluationError(f"MMD needs at least two rows on each side, not {m} and {n}")
    inside, outside, between = block_sums(np.exp(squares / (-2 * bandwidth**2)), indicators)
    # The diagonal of the kernel is 1, which the unbiased estimate leaves out.
    unbiased = (inside - m) / (m * (m - 1)) + (outside - n) / (n * (n - 1)) - 2 * between / (m * n)
    within, without, across = block_sums(np.sqrt(squares), indicators)
    energy = 2 * across / (m * n) - within / m**2 - without / n**2
    count = len(indicators) - 1
    return (
        TwoSample(
            name="MMD",
            statistic=float(unbiased[0]),
            p=p_value(unbiased),
            n=m,
            n_other=n,
            permutations=count,
            definition=f"unbiased squared MMD, Gaussian kernel of bandwidth {bandwidth:.4g};"
            " permutation",
        ),
        TwoSample(
            name="energy distance",
            statistic=float(energy[0]),
            p=p_value(energy),
            n=m,
            n_other=n,
            permutations=count,
            definition="2 E|X - Y| - E|X - X'| - E|Y - Y'|; permutation",
        ),
    )


def kernel_tests(
    batch: Float[np.ndarray, "m d"],
    other: Float[np.ndarray, "n d"],
    rng: np.random.Generator,
    *,
    bandwidth: float,
    permutations: int,
) -> tuple[TwoSample, TwoSample]:
    """`mmd` and `energy_distance` of the same permutations and distances."""
    indicators = subsets(len(batch) + len(other), len(batch), permutations, rng)
    return _kernel_tests(batch, other, indicators, bandwidth)


def held_out_margins(
    batch: Float[np.ndarray, "m d"],
    other: Float[np.ndarray, "n d"],
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "p"], Float[np.ndarray, "q"], float]:
    """Tells batch from other by a logistic regression learnt on a random half of either side.

    Each side counts equally in the fit; the penalty is d |w|^2 / 2 in log-likelihood units, that is
    C = 1 / d. Given the fit, held-out rows of both sides are exchangeable if the sides are.

    Returns:
      The products of weights and held-out rows of the batch, those of the other, and the intercept
      to add to either; a sum above 0 says batch.

    Raises:
      EvaluationError: if there are fewer than four rows on a side.
    """
    _pool(batch, other)
    if min(len(batch), len(other)) < 4:
        raise EvaluationError(
            f"the classifier test needs at least four rows on each side, not {len(batch)} and"
            f" {len(other)}"
        )
    halves = [rng.permutation(len(rows)) for rows in (batch, other)]
    cuts = [len(half) // 2 for half in halves]
    learn = np.concatenate([batch[halves[0][: cuts[0]]], other[halves[1][: cuts[1]]]])
    side = np.repeat([1.0, 0.0], cuts)
    balance = np.repeat([len(side) / (2 * cut) for cut in cuts], cuts)
    weights, intercept = fit_logistic(learn, side, penalty=float(batch.shape[1]), weights=balance)
    positive, negative = (
        rows[half[cut:]] @ weights for rows, half, cut in zip((batch, other), halves, cuts)
    )
    return positive, negative, intercept


def classifier(
    batch: Float[np.ndarray, "m d"],
    other: Float[np.ndarray, "n d"],
    rng: np.random.Generator,
) -> TwoSample:
    """Classifier two-sample test (Lopez-Paz and Oquab 2017): the AUC of a linear classifier.

    The classifier is that of `held_out_margins`, and the statistic the area under the ROC curve on
    the held-out halves, which is 0.5 if it cannot tell. The p-value is that of the one-sided
    Mann-Whitney test of the held-out scores, normal approximation with tie correction.
    """
    from scipy.special import ndtr
    from scipy.stats import rankdata

    positive, negative, _ = held_out_margins(batch, other, rng)
    m, n = len(positive), len(negative)
    scores = np.concatenate([positive, negative])
    wins = rankdata(scores)[:m].sum() - m * (m + 1) / 2
    ties = np.unique(scores, return_counts=True)[1].astype(np.float64)
    total = m + n
    variance = m * n / 12 * (total + 1 - (ties**3 - ties).sum() / (total * (total - 1)))
    p = float(ndtr(-(wins - m * n / 2 - 0.5) / np.sqrt(variance))) if variance > 0 else 1.0
    return TwoSample(
        name="classifier",
        statistic=float(wins / (m * n)),
        p=p,
        n=m,
        n_other=n,
        permutations=None,
        definition="AUC of a logistic regression on held-out halves; one-sided Mann-Whitney",
    )


def ks_distances(
    batch: Float[np.ndarray, "m d"], other: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "d"]:
    """The two-sample Kolmogorov-Smirnov distance of each column."""
    pooled = _pool(batch, other)
    m, n = len(batch), len(other)
    order = np.argsort(pooled, axis=0, kind="stable")
    values = np.take_along_axis(pooled, order, axis=0)
    gaps = np.abs(np.cumsum(np.where(order < m, 1 / m, -1 / n), axis=0))
    # Distribution functions may be compared only after the last of equal values.
    last = np.ones(gaps.shape, bool)
    last[:-1] = values[1:] != values[:-1]
    return np.where(last, gaps, 0).max(axis=0)


def ks_p_values(distances: Float[np.ndarray, "d"], m: int, n: int) -> Float[np.ndarray, "d"]:
    """Two-sided asymptotic p-values of Kolmogorov-Smirnov distances.

    By the one-sample distribution at the effective size m n / (m + n), rounded, as
    `scipy.stats.ks_2samp(method="asymp")`; conservative where values are tied.
    """
    from scipy.stats import kstwo

    return np.minimum(1.0, kstwo.sf(distances, max(1, np.round(m * n / (m + n)))))


def largest_ks(batch: Float[np.ndarray, "m d"], other: Float[np.ndarray, "n d"]) -> TwoSample:
    """The largest Kolmogorov-Smirnov distance of the columns, Bonferroni-corrected for them."""
    distance = float(ks_distances(batch, other).max())
    p = float(ks_p_values(np.array([distance]), len(batch), len(other))[0])
    columns = batch.shape[1]
    return TwoSample(
        name="largest KS",
        statistic=distance,
        p=min(1.0, columns * p),
        n=len(batch),
        n_other=len(other),
        permutations=None,
        definition=f"largest Kolmogorov-Smirnov distance of {columns} column"
        f"{'s' * (columns > 1)}; asymptotic, Bonferroni",
    )


def _pool(batch: np.ndarray, other: np.ndarray) -> np.ndarray:
    if batch.ndim != 2 or other.ndim != 2 or batch.shape[1] != other.shape[1]:
        raise EvaluationError(
            f"two samples of one width are compared, not shapes {batch.shape} and {other.shape}"
        )
    return np.concatenate([batch, other])
