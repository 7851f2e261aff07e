"""Confidence intervals: Wilson for a proportion, stratified BCa bootstrap for everything else.

The bootstrap works on weights, how often each example was drawn, so that a statistic takes all
replicates at once.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError

BUDGET = 4_000_000
"""Numbers held at once by one array of the bootstrap; what is larger is done in chunks."""


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927), without continuity correction.

    >>> low, high = wilson(0, 10)
    >>> (low, round(high, 4))
    (0.0, 0.2775)
    """
    check_confidence(confidence)
    if not 0 <= successes <= n or n < 1:
        raise EvaluationError(f"{successes} successes of {n} is not a proportion")
    z = _normal_quantile(0.5 + confidence / 2)
    p = successes / n
    scale = 1 / (1 + z * z / n)
    center = scale * (p + z * z / (2 * n))
    half = scale * z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else float(center - half)
    high = 1.0 if successes == n else float(center + half)
    return low, high


def chunks(replicates: int, width: int) -> Iterator[int]:
    """Splits replicates into chunks whose arrays, `width` numbers each, stay within the budget."""
    size = max(1, BUDGET // max(1, width))
    for start in range(0, replicates, size):
        yield min(size, replicates - start)


def bootstrap_weights(
    strata: Int[np.ndarray, "n"],
    replicates: int,
    rng: np.random.Generator,
    *,
    rescaled: bool = False,
) -> Float[np.ndarray, "replicates n"]:
    """How often each example is drawn when each stratum is resampled to its own size.

    Args:
      strata: (n,) the stratum of each example.
      replicates: number of bootstrap samples.
      rng: source of randomness.
      rescaled: draw one less from each stratum and scale up to its size (Rao and Wu 1988), so that
        the variance of a mean over replicates is unbiased in small strata too; a stratum of one
        example is kept as it is.
    """
    # One example's weights lie together: what is summed over examples reads whole cache lines.
    weights = np.ones((len(strata), replicates)).T
    order = np.argsort(strata, kind="stable")
    _, starts = np.unique(strata[order], return_index=True)
    for members in np.split(order, starts[1:]):
        size = len(members)
        draws = size - 1 if rescaled else size
        if size == 1:
            continue
        drawn = rng.integers(0, size, (replicates, draws)) + size * np.arange(replicates)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=replicates * size)
        weights[:, members] = counts.reshape(replicates, size) * (size / draws)
    return weights


def acceleration(leave_one_out: Float[np.ndarray, "n"], strata: Int[np.ndarray, "n"]) -> float:
    """BCa's acceleration from the statistic without each example, summed over strata.

    Davison and Hinkley, Bootstrap Methods and their Application (1997), section 5.3.2.
    """
    cubes = squares = 0.0
    for stratum in np.unique(strata):
        values = leave_one_out[strata == stratum]
        size = len(values)
        if size == 1:
            continue
        influence = (size - 1) * (values.mean() - values)
        cubes += float((influence**3).sum()) / size**3
        squares += float((influence**2).sum()) / size**2
    return cubes / (6 * squares**1.5) if squares > 0 else 0.0


def bca(
    value: float,
    replicates: Float[np.ndarray, "r"],
    accelerated: float,
    confidence: float = 0.95,
) -> tuple[float, float] | str:
    """Bias-corrected and accelerated bootstrap interval (Efron 1987).

    Args:
      value: the statistic of the sample.
      replicates: the statistic of the bootstrap samples.
      accelerated: the constant of `acceleration`.
      confidence: nominal coverage.

    Returns:
      The interval, or why the bootstrap cannot give one.
    """
    check_confidence(confidence)
    # Replicates equal to the value up to summation order are ties, of which half lie below.
    slack = 1e-12 * max(1.0, abs(value))
    below = (replicates < value - slack).mean()
    ties = (np.abs(replicates - value) <= slack).mean()
    share = float(below + ties / 2)
    if ties == 1:
        return "interval undefined: every bootstrap replicate equals the value"
    if not 0 < share < 1:
        side = "above" if share == 0 else "below"
        return f"interval undefined: every bootstrap replicate lies {side} the value"
    from scipy.special import ndtr

    bias = _normal_quantile(share)
    tails = np.array(
        [_normal_quantile(0.5 - confidence / 2), _normal_quantile(0.5 + confidence / 2)]
    )
    levels = ndtr(bias + (bias + tails) / (1 - accelerated * (bias + tails)))
    low, high = np.quantile(replicates, levels)
    return float(low), float(high)


def cut(interval: tuple[float, float], bounds: tuple[float, float]) -> tuple[float, float]:
    """The part of an interval that lies within bounds.

    >>> cut((0.9, 1.1), (0.0, 1.0))
    (0.9, 1.0)
    """
    return max(bounds[0], interval[0]), min(bounds[1], interval[1])


def check_confidence(confidence: float) -> None:
    """Raises EvaluationError unless the confidence is between 0 and 1, as 0.95 is."""
    if not 0 < confidence < 1:
        raise EvaluationError(f"confidence {confidence} is not between 0 and 1")


def _normal_quantile(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(level))
