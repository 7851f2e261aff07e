"""Control of false alarms under repeated looks: e-values from p-values, and their running product.

Look t compares its batch with everything seen before it, the reference and the earlier batches
pooled. If all rows are exchangeable, a permutation p-value is uniform given the pooled rows and
everything after them, so the p-values of all looks are independent, although they share the
reference (Vovk, Nouretdinov and Gammerman 2003). An e-value is a non-negative number of mean at
most 1 without drift; the running product of independent ones is a test martingale, and by Ville's
inequality it ever reaches 1 / alpha with probability at most alpha, for any number of looks.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np


def e_value(p: float, permutations: int | None = None) -> float:
    """The e-value of a p-value: the mixture over k in (0, 1) of the calibrators k p^(k - 1).

    The mixture is (1 - p + p ln p) / (p ln(p)^2), whose integral up to p is (p - 1) / ln p (Vovk
    and Wang 2021, section 2). A permutation p-value is a multiple of 1 / (permutations + 1), and
    its e-value the mean of the mixture over the cell that ends at p, so that nothing of the
    integral is lost.

    >>> round(sum(e_value(j / 100, 99) for j in range(1, 101)) / 100, 12)
    1.0
    """
    if permutations is not None:
        cells = permutations + 1
        upper, lower = max(p, 1 / cells), p - 1 / cells
        return cells * (_integral(upper) - (_integral(lower) if lower > 1e-12 else 0.0))
    p = max(p, 1e-300)
    if p > 0.999:
        # Around p = 1 the quotient is 0 / 0; its expansion is 1/2 + (1 - p) / 6 + ...
        return 0.5 + (1 - p) / 6
    log = math.log(p)
    return (1 - p + p * log) / (p * log * log)


def _integral(p: float) -> float:
    gap = 1 - p
    return 1 - gap / 2 - gap * gap / 12 if gap < 1e-6 else -gap / math.log(p)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """Evidence that rows have drifted since some look, as a martingale over looks.

    It mixes the running products that start at look s = 1, 2, ... with weights 1 / (s (s + 1)), so
    a drift that starts late is not held back by the quiet looks before it. The value is 1 at the
    start and has mean at most 1 at every look without drift.

    Attributes:
      log_e: the natural logarithms of the e-values of the looks so far.
    """

    log_e: tuple[float, ...] = ()

    def after(self, e: float) -> "Evidence":
        """The evidence after one more look of e-value e."""
        return Evidence(log_e=(*self.log_e, math.log(max(e, 1e-300))))

    @property
    def path(self) -> list[float]:
        """The natural logarithm of the martingale after each look."""
        values, started = [], -math.inf
        for look, log_e in enumerate(self.log_e, start=1):
            started = log_e + np.logaddexp(started, -math.log(look * (look + 1)))
            values.append(float(np.logaddexp(started, -math.log(look + 1))))
        return values

    def alarm(self, alpha: float) -> int | None:
        """The first look at which the martingale reaches 1 / alpha, counted from 1, or None."""
        for look, value in enumerate(self.path, start=1):
            if value >= -math.log(alpha):
                return look
        return None

    @property
    def likely_start(self) -> int:
        """The look from which on the product of e-values is largest; 1 before any look.

        As a cumulative sum's last minimum estimates a change point; the weights have no part in it.
        """
        if not self.log_e:
            return 1
        return int(np.argmax(np.cumsum(self.log_e[::-1])[::-1])) + 1


def average(e_values: Sequence[float], weights: Sequence[float]) -> float:
    """The weighted mean of e-values, which is one whatever their dependence (Vovk and Wang 2021)."""
    return float(np.average(e_values, weights=weights))
