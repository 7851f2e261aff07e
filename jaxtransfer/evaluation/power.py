"""How many more seeds or examples would settle a comparison, from the two variances it found.

A prediction, not a test: plan the next run with it, and test on that run.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.intervals import check_confidence
from jaxtransfer.evaluation.paired import PairedDifference

MOST_SEEDS = 1000
MOST_EXAMPLES = 10**9
ASSUMPTIONS = (
    "the true difference is the one given (an observed one that was picked for being large is"
    " smaller in truth), new seeds and examples vary as these do, and the variances found are the"
    " true ones"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleSize:
    """What would settle a comparison: show that the improvement exceeds the margin.

    Attributes:
      metric: name of the metric.
      effect: the improvement that is taken as true.
      margin: the improvement that is to be exceeded.
      confidence: of the interval that is to lie beyond the margin.
      power: chance of that which is asked for.
      n: examples that there are.
      seeds: seeds that there are.
      power_now: the chance at these sizes; None where it is unknown.
      needed_seeds: the fewest seeds on these examples; None if no number of seeds suffices.
      needed_examples: the fewest examples with these seeds; None if no number of them suffices.
      needed_both: (examples, seeds), the smallest growth of both in proportion; None if none does.
      assumptions: what the prediction takes for granted.
      note: why numbers are None.
    """

    metric: str
    effect: float | None
    margin: float
    confidence: float
    power: float
    n: int
    seeds: int
    power_now: float | None
    needed_seeds: int | None
    needed_examples: int | None
    needed_both: tuple[int, int] | None
    assumptions: str = ASSUMPTIONS
    note: str | None = None

    def __str__(self) -> str:
        head = f"{self.metric}: "
        if self.effect is None or self.power_now is None:
            return f"{head}what would settle it is unknown: {self.note}"
        head += f"power {self.power_now:.2f} at n={self.n}, seeds={self.seeds}"
        if self.power_now >= self.power:
            return f"{head} suffices for a difference of {self.effect:+.3g}"
        ways = []
        if self.needed_seeds is not None:
            ways.append(f"{self.needed_seeds - self.seeds} more seeds")
        if self.needed_examples is not None:
            ways.append(f"{self.needed_examples - self.n} more examples")
        if not ways and self.needed_both is not None:
            ways.append(f"{self.needed_both[0]} examples and {self.needed_both[1]} seeds together")
        text = f"{head}; for {self.power:.0%}: {' or '.join(ways) or 'nothing suffices'}"
        return text if self.note is None else f"{text}; {self.note}"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        document = dataclasses.asdict(self)
        document["needed_both"] = None if self.needed_both is None else list(self.needed_both)
        return document


def power_at(
    difference: PairedDifference,
    *,
    n: int,
    seeds: int,
    effect: float | None = None,
    margin: float | None = None,
    confidence: float | None = None,
) -> float:
    """The chance that the interval lies beyond the margin, with n examples and so many seeds.

    The squared standard error is predicted as V_e n/n' + V_s S/S', the t statistic as noncentral t
    with Satterthwaite's degrees of freedom (of n' - 1 and S' - 1), which has to exceed Cochran's
    quantile as in `paired_difference`.

    Args:
      difference: where the variances come from.
      n: number of examples.
      seeds: number of seeds, at least 2 if they vary.
      effect: the true improvement (positive is better whatever the metric); default: as observed.
      margin: the improvement to be exceeded; default: the difference's own.
      confidence: of the interval; default: the difference's own.

    Raises:
      EvaluationError: if the difference has no standard error, or sizes are too small.
    """
    if difference.standard_error is None or not difference.standard_error:
        raise EvaluationError(f"{difference.metric}: no standard error: {difference.note}")
    least = 2 if difference.seed_variance else 1
    if n < 2 or seeds < least:
        raise EvaluationError(
            f"{n} examples and {seeds} seeds show no variance; give at least 2 and {least}"
        )
    effect = _effect(difference, effect)
    margin = _margin(difference, margin)
    confidence = difference.confidence if confidence is None else confidence
    check_confidence(confidence)
    return _power(difference, np.array([n]), np.array([seeds]), effect - margin, confidence).item()


def to_settle(
    difference: PairedDifference,
    *,
    power: float = 0.8,
    effect: float | None = None,
    margin: float | None = None,
    confidence: float | None = None,
) -> SampleSize:
    """The fewest further seeds, or examples, that would show the improvement with some chance.

    See `power_at` for the model and `ASSUMPTIONS` for what it takes for granted. A difference from
    one pair of seeds says nothing of how seeds vary: only examples are then counted, for these two
    models.

    Args:
      difference: a comparison that did not settle it.
      power: chance asked for.
      effect: the true improvement; default: the size of the observed difference, either way.
      margin: the improvement to be exceeded; default: the difference's own.
      confidence: of the interval; default: the difference's own.

    Raises:
      EvaluationError: if power or confidence are not between 0 and 1, or effect or margin are not
        finite.
    """
    if not 0 < power < 1:
        raise EvaluationError(f"power {power} is not between 0 and 1")
    margin = _margin(difference, margin)
    confidence = difference.confidence if confidence is None else confidence
    check_confidence(confidence)
    effect = _effect(difference, effect) if difference.value is not None else effect
    size: dict[str, Any] = {
        "metric": difference.metric,
        "effect": effect,
        "margin": margin,
        "confidence": confidence,
        "power": power,
        "n": difference.n,
        "seeds": difference.seeds,
    }
    nothing: dict[str, Any] = {
        "power_now": None,
        "needed_seeds": None,
        "needed_examples": None,
        "needed_both": None,
    }
    if effect is None or not difference.standard_error:
        return SampleSize(**size, **nothing, note=difference.note)
    gain = effect - margin
    if gain <= 0:
        reason = f"an improvement of {effect:.3g} does not exceed the margin of {margin:.3g}"
        return SampleSize(**size, **{**nothing, "power_now": 0.0}, note=reason)

    def reached(n: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        return _power(difference, n, seeds, gain, confidence) >= power

    n, seeds = difference.n, difference.seeds
    known = seeds > 1
    counts = np.arange(seeds, MOST_SEEDS + 1)
    needed_seeds = _first(counts, reached(np.full(len(counts), n), counts)) if known else None
    needed_both = None
    if known:
        grown = -(-n * counts // seeds)
        found = _first(np.arange(len(counts)), reached(grown, counts))
        needed_both = None if found is None else (int(grown[found]), int(counts[found]))
    notes = []
    if not known:
        notes.append("one seed: how seeds vary is unknown, so the examples speak of these models")
    elif needed_seeds is None:
        floor = math.sqrt(difference.example_variance or 0.0)
        notes.append(f"no number of seeds alone suffices: the examples' error stays {floor:.2g}")
    needed_examples = _fewest_examples(n, seeds, reached)
    if needed_examples is None:
        floor = math.sqrt(difference.seed_variance or 0.0)
        notes.append(f"no number of examples alone suffices: the seeds' error stays {floor:.2g}")
    return SampleSize(
        **size,
        power_now=_power(difference, np.array([n]), np.array([seeds]), gain, confidence).item(),
        needed_seeds=needed_seeds,
        needed_examples=needed_examples,
        needed_both=needed_both,
        note="; ".join(notes) or None,
    )


def _fewest_examples(n: int, seeds: int, reached: Any) -> int | None:
    """The fewest examples, at least n: on a grid of steps of 2 %, then between two of its points."""
    steps = math.ceil(math.log(MOST_EXAMPLES / n) / math.log(1.02)) if n < MOST_EXAMPLES else 0
    grid = np.unique(np.ceil(n * 1.02 ** np.arange(steps + 1)).astype(np.int64))
    index = _first(np.arange(len(grid)), reached(grid, np.full(len(grid), seeds)))
    if index is None or index == 0:
        return None if index is None else n
    low, high = int(grid[index - 1]), int(grid[index])
    while high - low > 1:
        middle = (low + high) // 2
        if reached(np.array([middle]), np.array([seeds]))[0]:
            high = middle
        else:
            low = middle
    return high


def _first(values: np.ndarray, holds: np.ndarray) -> int | None:
    return int(values[np.argmax(holds)]) if holds.any() else None


def _effect(difference: PairedDifference, effect: float | None) -> float:
    if effect is None:
        return abs(difference.value or 0.0)
    if not math.isfinite(effect):
        raise EvaluationError(f"effect {effect} is not a difference")
    return effect


def _margin(difference: PairedDifference, margin: float | None) -> float:
    if margin is None:
        return difference.margin
    if not math.isfinite(margin):
        raise EvaluationError(f"margin {margin} is not a difference")
    return margin


def _power(
    difference: PairedDifference, n: np.ndarray, seeds: np.ndarray, gain: float, confidence: float
) -> Float[np.ndarray, "m"]:
    """The chance that t exceeds its quantile, for each pair of sizes."""
    from scipy.special import stdtrit
    from scipy.stats import nct

    examples = (difference.example_variance or 0.0) * difference.n / n
    runs = (difference.seed_variance or 0.0) * difference.seeds / seeds
    total = examples + runs
    spread = examples**2 / (n - 1) + runs**2 / np.maximum(1, seeds - 1)
    df = total**2 / spread
    level = 0.5 + confidence / 2
    quantile = examples * stdtrit(n - 1, level) + runs * stdtrit(np.maximum(1, seeds - 1), level)
    return np.asarray(nct.sf(quantile / total, df, gain / np.sqrt(total)))
