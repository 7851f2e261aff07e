"""A metric of the user's own: any function of the columns of a table."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.definition import Definition
from jaxtransfer.evaluation.rows import Rows
from jaxtransfer.evaluation.statistic import Statistic


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FunctionStatistic(Statistic):
    """A function of a table's columns and example weights, called once a replicate."""

    function: Callable[..., float]
    columns: tuple[np.ndarray, ...]

    def weighted(self, weights):
        """See Statistic."""
        return np.array([float(self.function(*self.columns, weights=row)) for row in weights])

    def leave_one_out(self):
        """See Statistic."""
        ones = np.ones(len(self.labels))
        values = np.empty(len(ones))
        for row in range(len(ones)):
            ones[row] = 0
            values[row] = float(self.function(*self.columns, weights=ones))
            ones[row] = 1
        return values


def metric_of(
    function: Callable[..., float],
    *,
    name: str,
    text: str,
    bounds: tuple[float, float] = (float("-inf"), float("inf")),
    maximise: bool = True,
    kind: str = "classification",
) -> Definition:
    """A definition that `measure`, `measure_seeds` and `paired_difference` take like one of ours.

    Args:
      function: from the payload's columns, in the order of the table's PAYLOAD (labels and logits of a
        classification), and `weights=` (n,) to a number. An example of weight 2 counts as two of it, one
        of weight 0 is not there; the bootstrap gives fractions too.
      name: what to call it.
      text: what it is, with its class and tie policy.
      bounds: least and greatest value.
      maximise: whether larger is better.
      kind: of the tables that it measures.

    Raises:
      EvaluationError: from the measuring, if the function gives no number for unit weights.

    >>> from jaxtransfer.evaluation.metrics import value
    >>> from jaxtransfer.evaluation.table import Predictions
    >>> first = metric_of(
    ...     lambda labels, logits, weights: np.average(labels == 0, weights=weights),
    ...     name="first", text="share of the first class", bounds=(0, 1))
    >>> table = Predictions(ids=[1, 2], labels=[0, 1], logits=np.eye(2), classes="ab")
    >>> value(table, first)
    0.5
    """

    def prepare(table: Rows) -> Statistic:
        columns: tuple[Any, ...] = tuple(getattr(table, field) for field in table.PAYLOAD)
        statistic = FunctionStatistic(labels=table.strata, function=function, columns=columns)
        if not np.isfinite(statistic.value):
            raise EvaluationError(
                f"{name} of {table.source} (n={len(table)}) is {statistic.value}: let the function"
                " return a finite number, or take rows that define one"
            )
        return statistic

    return Definition(
        name=name, text=text, prepare=prepare, bounds=bounds, maximise=maximise, kind=kind
    )
