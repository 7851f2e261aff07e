"""Metrics of items ranked for queries: a number a query, and their mean.

Equal scores are in no order: what a metric expects under random order of them counts.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxtransfer.evaluation.definition import Definition
from jaxtransfer.evaluation.payloads import Ranking
from jaxtransfer.evaluation.statistic import MeanStatistic, Statistic, Undefined


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Query:
    """One query's items in groups of equal score, best first.

    Attributes:
      before: (g,) how many items score higher than a group.
      size: (g,) how many items are in it.
      relevant: (g,) how many of them are relevant.
      gain: (g,) their mean relevance.
      ideal: (m,) the relevances of all items, largest first.
    """

    before: np.ndarray
    size: np.ndarray
    relevant: np.ndarray
    gain: np.ndarray
    ideal: np.ndarray


def _query(relevance: np.ndarray, scores: np.ndarray) -> _Query:
    values, index = np.unique(-scores, return_inverse=True)
    size = np.bincount(index.ravel(), minlength=len(values))
    return _Query(
        before=np.concatenate([[0], np.cumsum(size)[:-1]]),
        size=size,
        relevant=np.bincount(index.ravel(), weights=relevance > 0, minlength=len(values)),
        gain=np.bincount(index.ravel(), weights=relevance, minlength=len(values)) / size,
        ideal=-np.sort(-relevance),
    )


def _expected_hits(query: _Query, k: int) -> float:
    """Relevant items expected among the first k."""
    taken = np.clip(k - query.before, 0, query.size)
    return float((query.relevant * taken / query.size).sum())


def _recall_at(k: int) -> Callable[[_Query], float]:
    return lambda query: _expected_hits(query, k) / float(query.relevant.sum())


def _precision_at(k: int) -> Callable[[_Query], float]:
    return lambda query: _expected_hits(query, k) / k


def _average_precision(query: _Query) -> float:
    hits = np.cumsum(query.relevant)
    depth = query.before + query.size
    return float((query.relevant * hits / depth).sum() / query.relevant.sum())


def _reciprocal_rank(query: _Query) -> float:
    """Expected 1 / rank of the first relevant item."""
    group = int(np.flatnonzero(query.relevant > 0)[0])
    before, size = int(query.before[group]), int(query.size[group])
    relevant = int(query.relevant[group])
    expected, remaining = 0.0, 1.0
    for place in range(size - relevant + 1):
        here = remaining * relevant / (size - place)
        expected += here / (before + place + 1)
        remaining -= here
    return expected


def _ndcg_at(k: int | None) -> Callable[[_Query], float]:
    def ndcg(query: _Query) -> float:
        items = len(query.ideal)
        discount = 1 / np.log2(np.arange(items) + 2)
        discount[items if k is None else k :] = 0
        passed = np.concatenate([[0.0], np.cumsum(discount)])
        inside = passed[query.before + query.size] - passed[query.before]
        return float((query.gain * inside).sum() / (query.ideal * discount).sum())

    return ndcg


def _mean_over_queries(
    number: Callable[[_Query], float],
) -> Callable[[Ranking], Statistic | Undefined]:
    def prepare(table: Ranking) -> Statistic | Undefined:
        order = np.argsort(table.query, kind="stable")
        _, starts = np.unique(table.query[order], return_index=True)
        values, without = [], 0
        for rows in np.split(order, starts[1:]):
            if (table.relevance[rows] > 0).any():
                values.append(number(_query(table.relevance[rows], table.scores[rows])))
            else:
                without += 1
        if not values:
            return Undefined(f"none of {without} queries has a relevant item")
        note = f"{without} queries without a relevant item left out" if without else ""
        return MeanStatistic(
            labels=np.zeros(len(values), np.int64), numbers=np.array(values), detail=note
        )

    return prepare


RANKING: tuple[Definition, ...] = tuple(
    Definition(
        kind="ranking",
        name=name,
        text=f"{text}; mean over queries with a relevant item, ties in expectation; n is queries",
        prepare=_mean_over_queries(number),
    )
    for name, text, number in (
        *(
            (f"recall_at_{k}", f"share of the relevant items among the first {k}", _recall_at(k))
            for k in (1, 5, 10)
        ),
        ("precision_at_10", "share of relevant items among the first 10", _precision_at(10)),
        (
            "mean_average_precision",
            "average precision: mean over relevant items of the precision down to their score",
            _average_precision,
        ),
        ("mean_reciprocal_rank", "1 over the rank of the first relevant item", _reciprocal_rank),
        (
            "ndcg_at_10",
            "discounted cumulative gain of the first 10 over the largest possible, gain is"
            " relevance, discount 1 / log2(rank + 1)",
            _ndcg_at(10),
        ),
        (
            "ndcg",
            "discounted cumulative gain over the largest possible, gain is relevance, discount"
            " 1 / log2(rank + 1)",
            _ndcg_at(None),
        ),
    )
)
