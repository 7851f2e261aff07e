"""Does a metric keep a bound? Pass or fail where its interval says so, else how many examples would settle it."""

import dataclasses
import math
from typing import Any, Literal

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.definition import Measured
from jaxtransfer.evaluation.intervals import check_confidence

Verdict = Literal["pass", "fail", "inconclusive"]
MOST = 10**9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """A value against a bound.

    Attributes:
      verdict: `pass` if the whole interval keeps the bound, `fail` if none of it does.
      value: what was measured; None where it is undefined.
      ci: its interval; None where there is none, and nothing is then decided.
      bound: the bound.
      at_least: whether the value has to be at least the bound.
      n: examples measured on.
      needed: examples, with the number of seeds in proportion, that would settle it with the power
        asked for, if the value found is the true one; None if it is settled, or none would.
      note: why it is inconclusive, or what the prediction takes for granted.
    """

    verdict: Verdict
    value: float | None
    ci: tuple[float, float] | None
    bound: float
    at_least: bool
    n: int
    needed: int | None
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {**dataclasses.asdict(self), "ci": None if self.ci is None else list(self.ci)}


def judge(
    measured: Measured, bound: float, *, at_least: bool, confidence: float, power: float = 0.8
) -> Judged:
    """Judges a measured metric by its interval.

    The prediction takes the interval's half on the side of the bound as a normal quantile times the
    standard error, which shrinks with the root of n.

    Args:
      measured: with an interval at `confidence`.
      bound: in units of the metric; a value equal to it keeps it.
      at_least: whether the metric has to be at least the bound.
      confidence: of the interval.
      power: chance of settling it, for the prediction.

    Raises:
      EvaluationError: if the bound is not finite, or confidence or power is not between 0 and 1.

    >>> found = Measured(name="accuracy", value=0.9, ci=(0.85, 0.94), n=100, definition="")
    >>> judge(found, 0.8, at_least=True, confidence=0.95).verdict
    'pass'
    >>> judge(found, 0.92, at_least=True, confidence=0.95).needed
    818
    """
    check_confidence(confidence)
    if not math.isfinite(bound) or not 0 < power < 1:
        raise EvaluationError(f"bound {bound} and power {power}: give a number, and one in (0, 1)")
    fixed: dict[str, Any] = {
        "value": measured.value,
        "ci": measured.ci,
        "bound": bound,
        "at_least": at_least,
        "n": measured.n,
    }
    if measured.value is None or measured.ci is None:
        reason = measured.undefined or "there is no interval"
        return Judged(**fixed, verdict="inconclusive", needed=None, note=reason)
    low, high = measured.ci
    if (low >= bound) if at_least else (high <= bound):
        return Judged(**fixed, verdict="pass", needed=None)
    if (high < bound) if at_least else (low > bound):
        return Judged(**fixed, verdict="fail", needed=None)
    needed, note = _needed(measured.value, (low, high), bound, measured.n, confidence, power)
    return Judged(**fixed, verdict="inconclusive", needed=needed, note=note)


def _needed(
    value: float, ci: tuple[float, float], bound: float, n: int, confidence: float, power: float
) -> tuple[int | None, str]:
    from scipy.special import ndtri

    distance = abs(value - bound)
    quantile = float(ndtri(0.5 + confidence / 2))
    error = (ci[1] - value if bound > value else value - ci[0]) / quantile
    if not distance:
        return None, "the value found is the bound itself: no number of examples would settle it"
    needed = n * ((quantile + float(ndtri(power))) * error / distance) ** 2
    if needed > MOST:
        return None, f"more than {MOST:,} examples would be needed"
    return max(n + 1, math.ceil(needed)), (
        f"for a chance of {power:.0%}, if the value found is the true one, with seeds in proportion"
    )
