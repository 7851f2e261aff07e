"""Metrics of a language model's token losses: every token counts the same, texts are resampled."""

import functools
from collections.abc import Callable

import numpy as np

from jaxtransfer.evaluation.definition import Definition
from jaxtransfer.evaluation.payloads import TokenLosses
from jaxtransfer.evaluation.statistic import Statistic, SumsStatistic, Undefined


def _ratio(
    part: str, whole: str, function: Callable[[np.ndarray], np.ndarray] = lambda ratio: ratio
) -> Callable[[TokenLosses], Statistic | Undefined]:
    """A function of the ratio of two columns' sums."""

    def prepare(table: TokenLosses) -> Statistic | Undefined:
        columns = [getattr(table, name) for name in (part, whole)]
        for name, column in zip((part, whole), columns):
            if column is None:
                return Undefined(f"the table has no column {name!r}, n={len(table)}")
        return SumsStatistic(
            labels=table.strata,
            numbers=np.stack(columns, axis=1).astype(np.float64),
            function=lambda sums: function(sums[:, 0] / sums[:, 1]),
            detail=f"{int(table.tokens.sum())} tokens",
        )

    return prepare


POSITIVE = (0.0, float("inf"))

_define = functools.partial(Definition, kind="tokens")

TOKENS: tuple[Definition, ...] = (
    _define(
        name="nll",
        text="negative log-likelihood of a token in nats, mean over all tokens; n is texts",
        prepare=_ratio("loss", "tokens"),
        bounds=POSITIVE,
        maximise=False,
    ),
    _define(
        name="perplexity",
        text="exponential of the mean negative log-likelihood over all tokens; n is texts",
        prepare=_ratio("loss", "tokens", np.exp),
        bounds=(1.0, float("inf")),
        maximise=False,
    ),
    _define(
        name="bits_per_byte",
        text="negative log-likelihood in bits over the bytes of the texts; n is texts",
        prepare=_ratio("loss", "bytes", lambda ratio: ratio / np.log(2)),
        bounds=POSITIVE,
        maximise=False,
    ),
    _define(
        name="token_accuracy",
        text="share of tokens that had the highest logit; n is texts",
        prepare=_ratio("correct", "tokens"),
    ),
)
