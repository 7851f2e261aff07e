"""Is a number higher inside a slice than outside? Exact for errors, by permutation for losses."""

import numpy as np
from jaxtyping import Bool, Float

from jaxtransfer.evaluation.intervals import chunks, wilson


def exact_p_values(
    rows: Bool[np.ndarray, "s n"], wrong: Bool[np.ndarray, "n"]
) -> Float[np.ndarray, "s"]:
    """For each slice, the chance of as many of the errors in it if they fell anywhere.

    Fisher's exact test, one-sided: the upper tail of the hypergeometric distribution.

    >>> exact_p_values(np.array([[True, True, False, False]]), np.array([True, True, False, False]))
    array([0.16666667])
    """
    from scipy.stats import hypergeom

    inside = np.array([np.count_nonzero(members & wrong) for members in rows])
    p_values = hypergeom.sf(inside - 1, rows.shape[1], int(wrong.sum()), rows.sum(axis=1))
    return np.clip(p_values, 0.0, 1.0)


def largest_of_permutations(
    rows: Bool[np.ndarray, "s n"], numbers: Float[np.ndarray, "n"], permutations: int, seed: int
) -> tuple[Float[np.ndarray, "s"], Float[np.ndarray, "s"]]:
    """One-sided p-values of each slice's mean, alone and adjusted for all of them.

    The mean is standardised by its variance under permutation, so that small slices do not rule the
    largest of all; an adjusted p-value is the share of permutations, the observed one among them,
    in which any slice is as extreme (Westfall and Young 1993, single step).
    """
    n = len(numbers)
    sizes = rows.sum(axis=1)
    centered = numbers - numbers.mean()
    spread = np.sqrt(centered @ centered / max(1, n - 1))
    variance = np.maximum(sizes * (n - sizes) / n, 0.0)
    defined = (variance > 0) & (spread > 0)
    scale = np.where(defined, spread * np.sqrt(np.where(defined, variance, 1.0)), np.inf)
    members = rows.astype(np.float64)
    observed = members @ centered / scale
    rng = np.random.default_rng(seed)
    alone = np.ones(len(rows))
    family = np.ones(len(rows))
    for size in chunks(permutations, n + len(rows)):
        drawn = rng.permuted(np.tile(centered, (size, 1)), axis=1)
        simulated = members @ drawn.T / scale[:, None] + 1e-12
        alone += (simulated >= observed[:, None]).sum(axis=1)
        family += (simulated.max(axis=0) >= observed[:, None]).sum(axis=1)
    return alone / (1 + permutations), family / (1 + permutations)


def difference_interval(
    inside: Float[np.ndarray, "a"],
    outside: Float[np.ndarray, "b"],
    *,
    proportions: bool,
    confidence: float = 0.95,
) -> tuple[float, float] | None:
    """Interval of a difference of means of independent examples.

    Of proportions, from both Wilson intervals (Newcombe 1998, method 10); else Welch's t.

    Returns:
      The interval, or None where a part is empty, or too small to have a variance.
    """
    n, m = len(inside), len(outside)
    if not n or not m:
        return None
    value = float(inside.mean() - outside.mean())
    if proportions:
        p, q = float(inside.mean()), float(outside.mean())
        low, high = wilson(round(p * n), n, confidence)
        other_low, other_high = wilson(round(q * m), m, confidence)
        down = np.hypot(p - low, other_high - q)
        return value - float(down), value + float(np.hypot(high - p, q - other_low))
    if min(n, m) < 2:
        return None
    parts = np.array([inside.var(ddof=1) / n, outside.var(ddof=1) / m])
    if parts.sum() == 0:
        return None
    from scipy.special import stdtrit

    freedom = parts.sum() ** 2 / (parts**2 / [n - 1, m - 1]).sum()
    half = float(stdtrit(freedom, 0.5 + confidence / 2)) * float(np.sqrt(parts.sum()))
    return value - half, value + half
