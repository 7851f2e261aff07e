"""The criterion of a ladder as typed values: what a rung has to show, fixed before anything runs."""

import dataclasses
from typing import Annotated

from jaxtransfer.protocol.checking import Interval
from jaxtransfer.protocol.sections import Weight


@dataclasses.dataclass(frozen=True, kw_only=True)
class AcceptanceSettings:
    """The rule, fixed beforehand, by which a rung replaces the incumbent.

    Attributes:
      metric: name of a metric of `jaxtransfer.evaluation`.
      margin: what the paired difference has to exceed, in units of the metric.
      confidence: level of the intervals; 1 minus it is the error rate of the family of rungs.
    """

    metric: str = "macro_f1"
    margin: Weight = 0.0
    confidence: Annotated[float, Interval(0.5, 1, open_low=True, open_high=True)] = 0.95
