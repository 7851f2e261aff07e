"""Metrics of predicted values; of several quantities, the mean over them."""

import functools
from collections.abc import Callable

import numpy as np

from jaxtransfer.evaluation.definition import Definition
from jaxtransfer.evaluation.payloads import Regression
from jaxtransfer.evaluation.statistic import Statistic, SumsStatistic, Undefined

UNBOUNDED = (float("-inf"), float("inf"))
POSITIVE = (0.0, float("inf"))

ROUNDING = 1e-13
"""A variance of a smaller share of the mean square is what rounding leaves of none."""


def _errors(
    number: Callable[[np.ndarray], np.ndarray],
    function: Callable[[np.ndarray], np.ndarray] = lambda means: means,
) -> Callable[[Regression], Statistic]:
    """The mean over quantities of a function of the mean of a number an error."""

    def prepare(table: Regression) -> Statistic:
        errors = number(_float(table.values) - _float(table.labels))
        return SumsStatistic(
            labels=table.strata,
            numbers=np.hstack([errors, np.ones((len(table), 1))]),
            function=lambda sums: function(sums[:, :-1] / sums[:, -1:]).mean(axis=1),
            detail=_quantities(table),
        )

    return prepare


def _r2(table: Regression) -> Statistic | Undefined:
    labels = _float(table.labels)
    constant = np.flatnonzero((labels == labels[0]).all(axis=0))
    if constant.size:
        return Undefined(
            f"quantity {constant[0]} has the same label in all of n={len(table)}: no variance"
        )
    # Centred, so that differences of large sums keep their digits.
    centred = labels - labels.mean(axis=0)
    squares = (_float(table.values) - labels) ** 2
    d = labels.shape[1]

    def function(sums: np.ndarray) -> np.ndarray:
        n = sums[:, -1:]
        residual, first, second = sums[:, :d], sums[:, d : 2 * d], sums[:, 2 * d : 3 * d]
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = second - first**2 / n
            varies = spread > ROUNDING * second
            return np.where(varies, 1 - residual / spread, np.nan).mean(axis=1)

    return SumsStatistic(
        labels=table.strata,
        numbers=np.hstack([squares, centred, centred**2, np.ones((len(table), 1))]),
        function=function,
        detail=_quantities(table),
    )


def _correlation(
    transform: Callable[[np.ndarray], np.ndarray],
) -> Callable[[Regression], Statistic | Undefined]:
    """Pearson's correlation of transformed columns."""

    def prepare(table: Regression) -> Statistic | Undefined:
        labels, values = transform(_float(table.labels)), transform(_float(table.values))
        for name, side in (("label", labels), ("prediction", values)):
            constant = np.flatnonzero((side == side[0]).all(axis=0))
            if constant.size:
                return Undefined(
                    f"quantity {constant[0]} has the same {name} in all of n={len(table)}"
                )
        x, y = ((side - side.mean(axis=0)) / side.std(axis=0) for side in (labels, values))
        d = x.shape[1]

        def function(sums: np.ndarray) -> np.ndarray:
            n = sums[:, -1:]
            sx, sy, sxx, syy, sxy = (sums[:, i * d : (i + 1) * d] / n for i in range(5))
            spreads = sxx - sx**2, syy - sy**2
            varies = (spreads[0] > ROUNDING * sxx) & (spreads[1] > ROUNDING * syy)
            with np.errstate(divide="ignore", invalid="ignore"):
                found = np.clip((sxy - sx * sy) / np.sqrt(spreads[0] * spreads[1]), -1, 1)
            return np.where(varies, found, np.nan).mean(axis=1)

        return SumsStatistic(
            labels=table.strata,
            numbers=np.hstack([x, y, x**2, y**2, x * y, np.ones((len(table), 1))]),
            function=function,
            detail=_quantities(table),
        )

    return prepare


def _ranks(columns: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return rankdata(columns, axis=0)


def _float(column: np.ndarray) -> np.ndarray:
    return np.asarray(column, np.float64)


def _quantities(table: Regression) -> str:
    d = table.labels.shape[1]
    return "" if d == 1 else f"mean over {d} quantities"


_define = functools.partial(Definition, kind="regression")

REGRESSION: tuple[Definition, ...] = (
    _define(
        name="mae",
        text="mean absolute error",
        prepare=_errors(np.abs),
        bounds=POSITIVE,
        maximise=False,
    ),
    _define(
        name="rmse",
        text="square root of the mean squared error",
        prepare=_errors(np.square, np.sqrt),
        bounds=POSITIVE,
        maximise=False,
    ),
    _define(
        name="bias",
        text="mean of prediction minus label; its size, not its sign, is to be small",
        prepare=_errors(lambda errors: errors),
        bounds=UNBOUNDED,
        maximise=False,
    ),
    _define(
        name="r2",
        text="coefficient of determination: one minus the squared error over that of the"
        " labels' mean",
        prepare=_r2,
        bounds=(float("-inf"), 1.0),
    ),
    _define(
        name="pearson",
        text="Pearson's correlation of prediction and label",
        prepare=_correlation(lambda columns: columns),
        bounds=(-1.0, 1.0),
    ),
    _define(
        name="spearman",
        text="Spearman's rank correlation of prediction and label, ties at their mean rank;"
        " the interval keeps the ranks of the whole table",
        prepare=_correlation(_ranks),
        bounds=(-1.0, 1.0),
    ),
)
