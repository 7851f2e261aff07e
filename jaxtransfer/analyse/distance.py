"""How far two sets of features lie apart: MMD, the proxy A-distance and a classifier's accuracy.

Each has a permutation p-value of no difference, for a distance between two samples of one
distribution is not 0 either.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxtransfer.analyse.labelled import finite
from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.drift.permutation import mean_differences, p_value, subsets
from jaxtransfer.evaluation.drift.two_sample import held_out_margins, median_bandwidth, mmd

MMD = "MMD"
A_DISTANCE = "proxy A-distance"
ACCURACY = "domain classifier accuracy"
MMD_DEFINITION = (
    "unbiased squared maximum mean discrepancy, Gaussian kernel of the pooled rows' median distance,"
    " pooled columns standardised (Gretton et al. 2012); permutation"
)
CLASSIFIER = (
    "of a logistic regression that learnt on a random half of either side to tell them apart, on the"
    " other halves, both sides weighing the same"
)
A_DEFINITION = (
    f"2 (1 - 2 e), e the error {CLASSIFIER} (Ben-David et al. 2007): 0 where it guesses, 2 where it"
    " never errs, below 0 by chance; permutation of the held-out rows"
)
ACCURACY_DEFINITION = (
    f"accuracy {CLASSIFIER} (Lopez-Paz and Oquab 2017); permutation of the held-out rows"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distance:
    """A distance between two samples.

    Attributes:
      name: which.
      value: larger is farther; None where undefined.
      p_value: of no difference, from permutations; None where undefined.
      n: rows of the first sample that it was measured on.
      n_other: rows of the second.
      permutations: how many.
      definition: what exactly was computed, and its source.
      undefined: why there is no value; None where there is one.
    """

    name: str
    value: float | None
    p_value: float | None
    n: int
    n_other: int
    permutations: int
    definition: str
    undefined: str | None = None

    def __str__(self) -> str:
        size = f"n={self.n}, {self.n_other}"
        if self.value is None:
            return f"{self.name} undefined: {self.undefined} ({size})"
        return f"{self.name} {self.value:.4g}, p={self.p_value:.2g} ({size})"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return dataclasses.asdict(self)


def distances(
    first: Float[np.ndarray, "m d"],
    second: Float[np.ndarray, "n d"],
    *,
    permutations: int = 999,
    rows: int = 1000,
    seed: int = 0,
) -> tuple[Distance, Distance, Distance]:
    """MMD, proxy A-distance and domain classifier accuracy of two samples of features.

    The p-values hold whatever the distributions are, if rows are independent: an example that occurs
    in both samples, or near copies within one, make them wrong.

    Args:
      first: (m, d), finite.
      second: (n, d), finite.
      permutations: for each p-value, which is at least 1 / (permutations + 1).
      rows: at most so many of either sample, drawn at random.
      seed: of draws, halves and permutations.

    Raises:
      EvaluationError: if the arrays are malformed, or there is no permutation.
    """
    samples = [np.asarray(first), np.asarray(second)]
    if (
        any(sample.ndim != 2 for sample in samples)
        or samples[0].shape[1:] != samples[1].shape[1:]
        or not samples[0].shape[1]
    ):
        raise EvaluationError(
            "two samples of one width are compared, not shapes"
            f" {samples[0].shape} and {samples[1].shape}"
        )
    if permutations < 1:
        raise EvaluationError(f"{permutations} permutations give no p-value; give 99 or more")
    rng = np.random.default_rng(seed)
    one, other = (_drawn(finite(sample), rows, rng) for sample in samples)
    m, n = len(one), len(other)
    sizes: dict[str, Any] = {"n": m, "n_other": n, "permutations": permutations}
    if min(m, n) < 4:
        return _undefined(f"{m} and {n} rows are too few: four on each side are needed", sizes)
    # Scale and bandwidth are the same for every relabelling, as exchangeability asks.
    pooled = np.concatenate([one, other])
    centred = pooled - pooled.mean(axis=0)
    scale = centred.std(axis=0)
    constant = scale <= 1e-12 * np.abs(pooled).max(axis=0)
    pooled = np.where(constant, 0.0, centred / np.where(constant, 1.0, scale))
    one, other = pooled[:m], pooled[m:]
    if constant.all():
        return _undefined("all rows of both samples are equal", sizes)
    try:
        bandwidth = median_bandwidth(pooled)
    except EvaluationError as error:
        kernel = Distance(
            name=MMD,
            value=None,
            p_value=None,
            definition=MMD_DEFINITION,
            undefined=str(error),
            **sizes,
        )
    else:
        test = mmd(one, other, subsets(m + n, m, permutations, rng), bandwidth=bandwidth)
        kernel = Distance(
            name=MMD,
            value=test.statistic,
            p_value=test.p,
            definition=MMD_DEFINITION,
            **sizes,
        )
    accuracy, p = _accuracy(one, other, permutations, rng)
    return (
        kernel,
        Distance(
            name=A_DISTANCE,
            value=2 * (1 - 2 * (1 - accuracy)),
            p_value=p,
            definition=A_DEFINITION,
            **sizes,
        ),
        Distance(name=ACCURACY, value=accuracy, p_value=p, definition=ACCURACY_DEFINITION, **sizes),
    )


def _accuracy(
    one: np.ndarray, other: np.ndarray, permutations: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Balanced accuracy on held-out halves, and its p-value by relabelling them."""
    positive, negative, intercept = held_out_margins(one, other, rng)
    says_first = (np.concatenate([positive, negative]) + intercept > 0).astype(np.float64)
    indicators = subsets(len(says_first), len(positive), permutations, rng)
    values = (1 + mean_differences(says_first[:, None], indicators)[:, 0]) / 2
    return float(values[0]), p_value(values)


def _undefined(reason: str, sizes: dict[str, Any]) -> tuple[Distance, Distance, Distance]:
    mmd_, a, accuracy = (
        Distance(
            name=name, value=None, p_value=None, definition=definition, undefined=reason, **sizes
        )
        for name, definition in (
            (MMD, MMD_DEFINITION),
            (A_DISTANCE, A_DEFINITION),
            (ACCURACY, ACCURACY_DEFINITION),
        )
    )
    return mmd_, a, accuracy


def _drawn(sample: np.ndarray, rows: int, rng: np.random.Generator) -> np.ndarray:
    if len(sample) <= rows:
        return sample
    return sample[rng.choice(len(sample), rows, replace=False)]
