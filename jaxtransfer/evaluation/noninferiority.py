"""Is the cheaper model good enough? Non-inferiority and equivalence of a paired difference, with a margin.

A difference that is not significant shows neither: only an interval that stays within the margin
does.
"""

import dataclasses
import math
from typing import Any, Literal

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.paired import PairedDifference

Conclusion = Literal["non_inferior", "inferior", "inconclusive"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class NonInferiority:
    """Whether a is worse than b by no more than a margin.

    Attributes:
      metric: name of the metric.
      improvement: a over b, positive where a is better whatever the metric; None where undefined.
      margin: the loss that is accepted, in units of the metric.
      alpha: level of each one-sided test.
      ci: interval of the improvement at confidence 1 - 2 alpha; None where there is none.
      p_value: one-sided, of a being worse than b by the margin or more.
      p_equivalence: of a being worse or better by the margin or more: the larger of the two
        one-sided p-values (TOST).
      verdict: `non_inferior` if the whole interval lies above -margin, `inferior` if it lies below,
        else `inconclusive`.
      equivalent: whether the whole interval lies between -margin and margin.
      n: number of examples.
      seeds: number of pairs of tables.
      note: what the difference assumes, or why there is no interval.
    """

    metric: str
    improvement: float | None
    margin: float
    alpha: float
    ci: tuple[float, float] | None
    p_value: float | None
    p_equivalence: float | None
    verdict: Conclusion
    equivalent: bool
    n: int
    seeds: int
    note: str | None = None

    def __str__(self) -> str:
        words = self.verdict.replace("_", "-") + (", equivalent" if self.equivalent else "")
        size = f"n={self.n}, seeds={self.seeds}"
        if self.improvement is None or self.p_value is None:
            return f"{self.metric} {words}: {self.note} ({size})"
        interval = f" [{self.ci[0]:+.3f}, {self.ci[1]:+.3f}]" if self.ci else ""
        return (
            f"{self.metric} {words} at margin {self.margin:g}: improvement"
            f" {self.improvement:+.3f}{interval} p={self.p_value:.2g} ({size})"
        )

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        document = dataclasses.asdict(self)
        document["ci"] = None if self.ci is None else list(self.ci)
        return document


def noninferiority(
    difference: PairedDifference, margin: float, *, alpha: float = 0.025
) -> NonInferiority:
    """Tests non-inferiority of the first model, and equivalence of both, at one margin.

    Non-inferiority is a one-sided test against -margin; at the usual level of 0.025 it agrees with
    the 95 % interval. Equivalence is two one-sided tests, each at alpha (Schuirmann 1987). The
    margin has to be fixed before the numbers are seen.

    Where the two models do not differ on any example there is no standard error; the share of
    examples on which they would differ is then at most 1 - alpha^(1/n) with confidence 1 - alpha,
    and the margin has to exceed what the metric's range makes of it, which is exact for accuracy
    and an approximation for other metrics.

    Args:
      difference: of `paired_difference`; a metric to be minimised is turned.
      margin: the loss that is accepted, above 0, in units of the metric.
      alpha: level of each one-sided test, in (0, 0.5).

    Raises:
      EvaluationError: if margin or alpha are out of range.
    """
    if not 0 < margin < math.inf:
        raise EvaluationError(f"margin {margin} accepts no loss; give a positive number")
    if not 0 < alpha < 0.5:
        raise EvaluationError(f"alpha {alpha} is not between 0 and 0.5")
    improvement = difference.improvement
    fixed: dict[str, Any] = {
        "metric": difference.metric,
        "improvement": improvement,
        "margin": margin,
        "alpha": alpha,
        "n": difference.n,
        "seeds": difference.seeds,
    }
    interval = difference.interval(1 - 2 * alpha)
    if improvement is None or interval is None:
        return _untested(fixed, difference.note)
    if not difference.standard_error:
        return _alike(fixed, difference, margin, alpha)
    low, high = interval if difference.maximise else (-interval[1], -interval[0])
    worse, better = difference.tail(-margin), 1 - difference.tail(margin)
    verdict: Conclusion = "inconclusive"
    if worse < alpha:
        verdict = "non_inferior"
    elif high < -margin:
        verdict = "inferior"
    return NonInferiority(
        **fixed,
        ci=(low, high),
        p_value=worse,
        p_equivalence=max(worse, better),
        verdict=verdict,
        equivalent=max(worse, better) < alpha,
        note=difference.note,
    )


def _alike(
    fixed: dict[str, Any], difference: PairedDifference, margin: float, alpha: float
) -> NonInferiority:
    """The test where no example tells the models apart."""
    if difference.span is None:
        reason = "the two do not differ on these examples, and the metric has no range"
        return _untested(fixed, reason)
    p_value = max(0.0, 1 - margin / difference.span) ** difference.n
    reach = difference.span * (1 - alpha ** (1 / difference.n))
    shown = p_value < alpha
    return NonInferiority(
        **fixed,
        ci=(-reach, reach),
        p_value=p_value,
        p_equivalence=p_value,
        verdict="non_inferior" if shown else "inconclusive",
        equivalent=shown,
        note=f"the two do not differ on these examples: the interval is what n={difference.n}"
        " examples without a difference allow",
    )


def _untested(fixed: dict[str, Any], reason: str | None) -> NonInferiority:
    return NonInferiority(
        **fixed,
        ci=None,
        p_value=None,
        p_equivalence=None,
        verdict="inconclusive",
        equivalent=False,
        note=reason,
    )
