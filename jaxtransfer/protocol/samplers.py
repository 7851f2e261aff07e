"""Where a sweep looks: random and Sobol points, and the schedule of successive halving.

Each is a pure function of its seed and of what is asked, so that a killed sweep asks the same again.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxtransfer.errors import ConfigError

RANDOM, SOBOL, HALVING, OPTUNA = "random", "sobol", "halving", "optuna"
SAMPLERS = (RANDOM, SOBOL, HALVING, OPTUNA)
ETA = 3
"""The share of trials that successive halving promotes is one in so many."""


class Stage(NamedTuple):
    """A rung of successive halving: how many trials run up to which step."""

    trials: int
    steps: int


def points(
    sampler: str, count: int, dimensions: int, seed: int
) -> Float[np.ndarray, "count dimensions"]:
    """Points in the unit cube; the first so many of a longer series are the shorter series.

    Sobol points are scrambled by the seed (Owen 1998) and balanced where their number is a power of
    two; any other number is the beginning of a balanced set.

    Args:
      sampler: `sobol`, or another one, whose points are random.
      count: how many.
      dimensions: parameters of the space.
      seed: of the points.

    >>> points("random", 2, 3, seed=0).shape
    (2, 3)
    """
    if sampler == SOBOL:
        from scipy.stats import qmc

        engine = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed))
        return engine.random_base2(math.ceil(math.log2(max(count, 1))))[:count]
    return np.random.default_rng(seed).random((count, dimensions))


def note(sampler: str, count: int) -> str | None:
    """What is to be said of a number of points, or None.

    >>> note("sobol", 31)
    '31 Sobol points are not balanced; 32 are, with --trials 33 (the first trial is the default)'
    """
    if sampler != SOBOL or count < 1 or math.log2(count).is_integer():
        return None
    balanced = 2 ** math.ceil(math.log2(count))
    return (
        f"{count} Sobol points are not balanced; {balanced} are, with --trials {balanced + 1}"
        " (the first trial is the default)"
    )


def halving(trials: int, steps: int, eta: int = ETA) -> tuple[Stage, ...]:
    """The stages of successive halving (Jamieson and Talwalkar 2016), the last one to full length.

    Each stage keeps one trial in `eta` and lets it go on to `eta` times as many steps. There are as
    many stages as trials and steps allow.

    Args:
      trials: that the first stage runs.
      steps: of the last stage.
      eta: 2 or more.

    Raises:
      ConfigError: if there are fewer trials or steps than make two stages.

    >>> halving(9, 90)
    (Stage(trials=9, steps=10), Stage(trials=3, steps=30), Stage(trials=1, steps=90))
    """
    if eta < 2 or trials < eta or steps < eta:
        raise ConfigError(
            f"successive halving keeps one trial in {eta} and multiplies the steps by {eta}:"
            f" {trials} trials of {steps} steps make one stage; give at least {eta} of each, or"
            " another --sampler"
        )
    depth = 0
    while trials // eta ** (depth + 1) >= 1 and steps // eta ** (depth + 1) >= 1:
        depth += 1
    return tuple(
        Stage(trials // eta**level, steps // eta ** (depth - level)) for level in range(depth + 1)
    )


def promoted(values: Sequence[float | None], count: int, *, maximise: bool) -> list[int]:
    """Positions of the best values, in order of position; of equal ones the earlier is better.

    Trials without a value, which diverged, are not promoted.

    >>> promoted([0.5, None, 0.7, 0.5], 2, maximise=True)
    [0, 2]
    """
    sign = -1.0 if maximise else 1.0
    ranked = sorted((sign * v, place) for place, v in enumerate(values) if v is not None)
    return sorted(place for _, place in ranked[:count])
