"""Confidence intervals: Wilson for a proportion, logit for an area under a curve, else BCa bootstrap.

The bootstrap works on weights, how often each example was drawn, so that a statistic takes all
replicates at once. Which of them covers what it claims is measured in
`experiments/studies/interval_coverage.py`.
"""

import math
import numbers
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError

BUDGET = 4_000_000
"""Numbers held at once by one array of the bootstrap; what is larger is done in chunks."""

LEAST = 1e-300
"""No tail is given as smaller than this."""


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
        with np.errstate(invalid="ignore", over="ignore"):
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
    if reason := undefined_samples(replicates):
        return reason
    if not math.isfinite(accelerated):
        return "interval undefined: without one of the examples there is no value"
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


def undefined_samples(replicates: Float[np.ndarray, "r"]) -> str | None:
    """Why bootstrap samples give no interval: some of them do not define the statistic."""
    undefined = int((~np.isfinite(replicates)).sum())
    if not undefined:
        return None
    return (
        f"interval undefined: {undefined} of {len(replicates)} bootstrap samples do not define"
        " the value"
    )


def influences(
    leave_one_out: Float[np.ndarray, "n"], strata: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """What each example does to the statistic, by the jackknife: (n - 1)(mean - without it).

    An example that is alone in its stratum has none, as the statistic is not the same without it.
    """
    _, index, counts = np.unique(strata, return_inverse=True, return_counts=True)
    shared = counts[index.ravel()] > 1
    values = leave_one_out[shared]
    found = np.zeros(len(leave_one_out))
    if len(values):
        found[shared] = (len(leave_one_out) - 1) * (values.mean() - values)
    return found


def share_variance(influence: Float[np.ndarray, "n"], strata: Int[np.ndarray, "n"]) -> float:
    """Variance that a statistic has because the strata's shares of a plain sample are random.

    What the variance of the mean influence, S^2/n, exceeds the stratified variance by; at least 0.
    A bootstrap stratified by label leaves this out.
    """
    n = len(influence)
    if n < 2:
        return 0.0
    total = float(((influence - influence.mean()) ** 2).sum()) / (n * (n - 1))
    within = 0.0
    for stratum in np.unique(strata):
        values = influence[strata == stratum]
        if len(values) > 1:
            within += len(values) * float(values.var(ddof=1)) / n**2
    return max(0.0, total - within)


def logit_t(
    value: float,
    leave_one_out: Float[np.ndarray, "n"],
    strata: Int[np.ndarray, "n"],
    confidence: float = 0.95,
) -> tuple[float, float] | str:
    """Student's t interval on the logit scale from the jackknife, for an area under the ROC curve.

    The variance within strata is DeLong's (DeLong, DeLong and Clarke-Pearson 1988), which the
    jackknife over each class gives; to it comes that of the classes' shares. The logit keeps the
    interval within (0, 1) and follows the skewness near 1 (Pepe 2003, section 5.2; Qin and
    Hotilovac 2008). Few discordant examples make the variance itself uncertain, so each stratum has
    the degrees of freedom of a variance with the kurtosis k found, 2/(2/(n - 1) + (k - 3)/n), at
    most n - 1 (O'Neill 2014), combined after Satterthwaite (1946).

    Args:
      value: the statistic, in [0, 1].
      leave_one_out: (n,) the statistic without each example.
      strata: (n,) the classes.
      confidence: nominal coverage.

    Returns:
      The interval, or why there is none.
    """
    check_confidence(confidence)
    if not 0 < value < 1:
        return f"interval undefined: at {value:g} no pair of examples is ranked otherwise"
    parts: list[tuple[float, float]] = []
    for stratum in np.unique(strata):
        values = leave_one_out[strata == stratum]
        size = len(values)
        if size == 1:
            return "interval undefined: a class of one example does not show how its scores vary"
        squares = (values - values.mean()) ** 2
        spread = float(squares.mean())
        if spread > 1e-24:
            kurtosis = float((squares**2).mean()) / spread**2
            freedom = 2 / max(2 / (size - 1), 2 / (size - 1) + (kurtosis - 3) / size)
            parts.append(((size - 1) * spread, freedom))
    parts.append((share_variance(influences(leave_one_out, strata), strata), len(strata) - 1.0))
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return "interval undefined: no example changes the value"
    from scipy.special import expit, logit, stdtrit

    df = variance**2 / sum(part**2 / freedom for part, freedom in parts)
    half = float(stdtrit(df, 0.5 + confidence / 2)) * np.sqrt(variance) / (value * (1 - value))
    center = logit(value)
    return float(expit(center - half)), float(expit(center + half))


def t_quantile(variances: Sequence[float], freedoms: Sequence[float], level: float) -> float:
    """The quantile of a mean whose squared standard error is a sum of estimated variances.

    Cochran's: Student's quantiles of each variance's degrees of freedom, weighted by the variances
    (Cochran 1964). Satterthwaite's single degrees of freedom reject a true null of three seeds in up
    to 8 % of cases at 5 %, because a seed variance that came out small also weighs little; Cochran's
    in at most 5 %, which costs width where both variances count and seeds are few.

    >>> round(t_quantile([1.0, 0.0], [8, 2], 0.975), 3)
    2.306
    """
    from scipy.special import stdtrit

    parts = [(v, f) for v, f in zip(variances, freedoms) if v > 0]
    return sum(v * float(stdtrit(f, level)) for v, f in parts) / sum(v for v, _ in parts)


def t_tail(statistic: float, variances: Sequence[float], freedoms: Sequence[float]) -> float:
    """The chance of a larger statistic: the level at which `t_quantile` is the statistic.

    >>> round(t_tail(2.306, [1.0, 0.0], [8, 2]), 4)
    0.025
    """
    from scipy.optimize import brentq
    from scipy.special import stdtr

    parts = [(v, f) for v, f in zip(variances, freedoms) if v > 0]
    tails = [float(stdtr(f, -abs(statistic))) for _, f in parts]
    low, high = max(min(tails), LEAST), max(max(tails), LEAST)
    tail = low
    if high > low * (1 + 1e-12):
        # The quantile is between those of the parts, and so is the tail; its logarithm is smooth.
        values, sizes = [v for v, _ in parts], [f for _, f in parts]
        tail = math.exp(
            brentq(
                lambda x: t_quantile(values, sizes, math.exp(x)) + abs(statistic),
                math.log(low) - 1e-9,
                math.log(high) + 1e-9,
                xtol=1e-14,
            )
        )
    return tail if statistic >= 0 else 1 - tail


def cut(interval: tuple[float, float], bounds: tuple[float, float]) -> tuple[float, float]:
    """The part of an interval that lies within bounds.

    >>> cut((0.9, 1.1), (0.0, 1.0))
    (0.9, 1.0)
    """
    return max(bounds[0], interval[0]), min(bounds[1], interval[1])


def check_confidence(confidence: float) -> None:
    """Raises EvaluationError unless the confidence is between 0 and 1, as 0.95 is."""
    if not isinstance(confidence, numbers.Real) or not 0 < confidence < 1:
        raise EvaluationError(f"confidence {confidence!r} is not between 0 and 1")


def _normal_quantile(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(level))
