"""Sign-flip tests over paired seeds: exact, and silent about significance where there are too few.

With S pairs the smallest p-value is 2/2^S, so fewer than 6 cannot reach 0.05.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.definition import Definition, check_bounds, describe
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.permutation import ExchangeTest, count_extreme
from jaxtransfer.evaluation.rows import Rows
from jaxtransfer.evaluation.statistic import Statistic, Undefined

EXACT_SEEDS = 20
"""Up to so many seeds that differ, all sign flips are enumerated."""


def sign_flip(
    differences: Sequence[float] | Float[np.ndarray, "s"],
    *,
    metric: str = "difference",
    text: str = "mean of paired differences",
    flips: int = 99_999,
    seed: int = 0,
) -> ExchangeTest:
    """Tests whether paired differences, one a seed, have mean 0 (Fisher's randomization test).

    Under the null each difference is as likely as its negative. With S differences the smallest
    p-value is 2/2^S, so fewer than 6 pairs cannot reach 0.05 however far apart the models are;
    differences of 0 count for nothing. Up to 20 that are not 0, all flips are enumerated.

    Args:
      differences: a - b of each seed.
      metric: name that the result carries.
      text: definition that the result carries.
      flips: random flips where there are too many seeds to enumerate.
      seed: of the random flips.

    Raises:
      EvaluationError: if there are none, or one is not finite.

    >>> test = sign_flip([0.1, 0.2, 0.1, 0.3, 0.2])
    >>> test.p_value, test.can_reach(0.05)
    (0.0625, False)
    """
    values = np.asarray(differences, np.float64)
    if values.ndim != 1 or not len(values):
        raise EvaluationError(f"paired differences of shape {values.shape}: give one a seed")
    if not np.isfinite(values).all():
        seed_index = int(np.flatnonzero(~np.isfinite(values))[0])
        raise EvaluationError(f"paired difference {seed_index} is {values[seed_index]}")
    moving = values[values != 0]
    exact = len(moving) <= EXACT_SEEDS
    if exact:
        sums = np.zeros(1)
        for number in np.abs(moving):
            sums = np.concatenate([sums + number, sums - number])
    else:
        rng = np.random.default_rng(seed)
        signs = rng.integers(0, 2, (flips, len(moving)), dtype=np.int8) * 2.0 - 1
        sums = signs @ np.abs(moving)
    extreme = count_extreme(sums, float(moving.sum()))
    smallest = min(1.0, 2.0 ** (1 - len(moving))) if exact else 1 / (1 + len(sums))
    note = None
    if smallest > 0.05:
        seeds = f"{len(moving)} paired seeds that differ"
        note = (
            f"{seeds} cannot reach p = 0.05: the smallest is {smallest:.2g};"
            f" {seeds_to_reach(0.05)} can"
        )
    return ExchangeTest(
        metric=metric,
        value=float(values.mean()),
        p_value=extreme / len(sums) if exact else (1 + extreme) / (1 + len(sums)),
        smallest=smallest,
        n=len(values),
        unit="seeds",
        exchanges=len(sums),
        exact=exact,
        definition=text,
        note=note,
    )


def sign_flip_seeds(a: Sequence[Rows], b: Sequence[Rows], metric: str | Definition) -> ExchangeTest:
    """`sign_flip` of the metric's differences between two methods, pair by pair of seeds.

    The examples are taken as given: the test says whether the methods differ on these ones.

    Raises:
      EvaluationError: if the numbers of tables differ, their rows do, or the metric is a simulation.
    """
    if not a or len(a) != len(b):
        raise EvaluationError(f"{len(a)} tables cannot be paired with {len(b)}: give one a seed")
    defined = definition(metric, a[0].kind)
    if defined.interval == "simulation":
        raise EvaluationError(f"{defined.name} is simulated: it has no paired difference")
    sides: list[list[Statistic]] = []
    for tables in (a, b):
        prepared: list[Statistic] = []
        for table in tables:
            side = defined.statistic(table.align(a[0]))
            if isinstance(side, Undefined):
                return ExchangeTest(
                    metric=defined.name,
                    value=None,
                    p_value=None,
                    smallest=None,
                    n=len(a),
                    unit="seeds",
                    exchanges=0,
                    exact=False,
                    definition=defined.text,
                    note=side.reason,
                )
            check_bounds(defined, side.value)
            prepared.append(side)
        sides.append(prepared)
    differences = [one.value - other.value for one, other in zip(*sides)]
    # Equal values that differ in the last digit are equal: they can carry no sign.
    differences = [0.0 if abs(d) < 1e-12 else d for d in differences]
    return sign_flip(differences, metric=defined.name, text=describe(defined, sides[0][0]))


def seeds_to_reach(alpha: float) -> int:
    """The fewest paired seeds with which a sign-flip test can reach alpha.

    >>> seeds_to_reach(0.05)
    6
    """
    if not 0 < alpha < 1:
        raise EvaluationError(f"alpha {alpha} is not between 0 and 1")
    return max(1, math.ceil(1 - math.log2(alpha) - 1e-12))
