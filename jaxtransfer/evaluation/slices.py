"""Slices in which a model does worse, searched on half of the examples and confirmed on the other.

Among hundreds of slices some look bad by luck: the search is corrected for how many it tried, and
only a fresh test on examples that took no part in it confirms.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.correction import holm
from jaxtransfer.evaluation.intervals import check_confidence
from jaxtransfer.evaluation.rates import group_column
from jaxtransfer.evaluation.slice_candidates import (
    candidates,
    clustered,
    cut_at_quantiles,
    first_half,
)
from jaxtransfer.evaluation.slice_tests import (
    difference_interval,
    exact_p_values,
    largest_of_permutations,
)
from jaxtransfer.evaluation.table import Predictions


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """A slice that the search proposed, and what the other half says of it.

    Attributes:
      description: such as `length=long & topic=sport`.
      values: column to group.
      n_search: its examples in the half searched, and `n_confirm` in the half that confirms.
      n_confirm: see `n_search`.
      search_inside: mean of the number measured (the error rate) inside it, in the half searched;
        biased upward by the search.
      search_outside: the same outside of it.
      p_search: of no difference there, one-sided, adjusted for all slices searched.
      inside: the mean inside it in the confirming half; None without examples.
      outside: the same outside of it.
      difference: inside minus outside.
      ci: interval of the difference, of this slice by itself.
      p_confirm: of no difference in the confirming half, one-sided, adjusted for those proposed.
      confirmed: whether `p_confirm` is at most the level.
      rows: (n,) which of the table's examples belong to it.
    """

    description: str
    values: Mapping[str, str]
    n_search: int
    n_confirm: int
    search_inside: float
    search_outside: float
    p_search: float
    inside: float | None
    outside: float | None
    difference: float | None
    ci: tuple[float, float] | None
    p_confirm: float
    confirmed: bool
    rows: Bool[np.ndarray, "n"]

    def __str__(self) -> str:
        state = "confirmed" if self.confirmed else "not confirmed"
        if self.difference is None or self.ci is None:
            return f"{self.description}: {state}, n={self.n_confirm} in the confirming half"
        return (
            f"{self.description}: {self.inside:.3f} against {self.outside:.3f},"
            f" difference {self.difference:+.3f} [{self.ci[0]:+.3f}, {self.ci[1]:+.3f}]"
            f" (n={self.n_confirm}, p={self.p_confirm:.3g}), {state}"
        )

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values, without `rows`."""
        fields = (field.name for field in dataclasses.fields(self) if field.name != "rows")
        document = {name: getattr(self, name) for name in fields}
        return {**document, "values": dict(self.values), "ci": self.ci and list(self.ci)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceReport:
    """What a search for slices found.

    Attributes:
      measured: what is compared: `error rate`, or the caller's number.
      searched: number of different slices tested.
      too_small: slices below the minimum, which were not.
      minimum: examples in the half searched that a slice, and its rest, must have.
      n_search: examples in the half searched, and `n_confirm` in the other.
      n_confirm: see `n_search`.
      level: family-wise level of confirmation.
      slices: those proposed, by p-value in the search.
      representatives: for each cluster, the ids of the examples nearest to its centre.
      definition: what exactly was computed.
    """

    measured: str
    searched: int
    too_small: int
    minimum: int
    n_search: int
    n_confirm: int
    level: float
    slices: tuple[Slice, ...]
    representatives: Mapping[str, tuple[str, ...]]
    definition: str

    @property
    def confirmed(self) -> tuple[Slice, ...]:
        """The slices that the other half confirms."""
        return tuple(found for found in self.slices if found.confirmed)

    def __str__(self) -> str:
        head = (
            f"{self.searched} slices searched on {self.n_search} examples ({self.too_small} more"
            f" below {self.minimum} examples), {len(self.slices)} proposed,"
            f" {len(self.confirmed)} confirmed on {self.n_confirm} others"
        )
        return "\n".join([head, *map(str, self.slices)])

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        fields = (field.name for field in dataclasses.fields(self))
        return {
            **{name: getattr(self, name) for name in fields},
            "slices": [found.to_json() for found in self.slices],
            "representatives": {name: list(ids) for name, ids in self.representatives.items()},
        }


def find_slices(
    table: Predictions,
    *,
    columns: Sequence[str] | None = None,
    numeric: Mapping[str, Float[np.ndarray, "n"]] | None = None,
    embeddings: Float[np.ndarray, "n d"] | None = None,
    losses: Float[np.ndarray, "n"] | None = None,
    bins: int = 4,
    clusters: int = 10,
    pairs: bool = True,
    minimum: int = 20,
    proposals: int = 10,
    overlap: float = 0.5,
    level: float = 0.05,
    confidence: float = 0.95,
    seed: int = 0,
    permutations: int = 2000,
) -> SliceReport:
    """Searches slices with more errors than the rest, and confirms them on examples held back.

    Slices are all values of the group columns, of numeric columns cut at quantiles and of clusters
    of embeddings, and all pairs of values of two columns. Half of the examples, by a hash of seed
    and id, are searched; the clusters are fitted on them alone. The slices of least p-value there,
    each overlapping those before it by less than `overlap` (Jaccard) and with an unadjusted p-value
    of at most the level, are proposed, and tested afresh on the other half. The chance that any
    slice is confirmed although none differs is at most the level.

    For the error rate, p-values are exact (hypergeometric, one-sided, as Fisher's) with Holm's
    correction; for a mean loss, they come from permutations of the standardised difference, and the
    correction from the largest of each permutation (Westfall and Young 1993).

    Args:
      table: the predictions; of any kind, if `losses` are given.
      columns: group columns; None means all of the table's.
      numeric: name to a number per example, cut at quantiles of all examples.
      embeddings: (n, d), clustered by k-means.
      losses: (n,) what to compare in place of the error rate; higher is worse.
      bins: quantile groups of a numeric column.
      clusters: number of clusters.
      pairs: search pairs of columns too.
      minimum: examples that a slice and its rest need in the half searched.
      proposals: slices at most that go to confirmation.
      overlap: Jaccard index from which a slice repeats a better one.
      level: family-wise level of the confirmation.
      confidence: nominal coverage of the difference's interval.
      seed: of the halves, the clusters and the permutations.
      permutations: for a mean loss.

    Raises:
      EvaluationError: if there is nothing to search, a column is unknown, or shapes do not fit.
    """
    check_confidence(confidence)
    n = len(table)
    numbers, measured = _numbers(table, losses)
    first = first_half(table.ids, seed)
    if minimum < 1:
        raise EvaluationError(f"minimum {minimum}: a slice needs at least 1 example")
    if first.sum() < 2 * minimum:
        raise EvaluationError(
            f"{table.source}: half of {n} examples is not two slices of {minimum}; lower the"
            " minimum, or give more examples"
        )
    representatives: dict[str, tuple[str, ...]] = {}
    named = {c: group_column(table, c) for c in (table.groups if columns is None else columns)}
    for name, values in (numeric or {}).items():
        if len(values) != n:
            raise EvaluationError(f"{name} has {len(values)} numbers for {n} examples")
        named[name] = cut_at_quantiles(values, bins, name=name)
    if embeddings is not None:
        named["cluster"], representatives = clustered(table, embeddings, first, clusters, seed)
    if not named:
        raise EvaluationError(
            f"{table.source}: there is nothing to search; give group columns, numeric columns or"
            " embeddings"
        )
    searched, too_small = candidates(named, first, minimum, pairs)
    definition = (
        f"{measured} inside a slice minus outside; searched on half of the examples by a hash of"
        " seed and id, confirmed on the other half; one-sided, family-wise over all searched, then"
        " over those proposed"
    )
    found: list[Slice] = []
    if searched:
        rows = np.stack([mask for _, mask in searched])
        search = _p_values(rows[:, first], numbers[first], losses is None, permutations, seed)
        chosen = _proposed(rows[:, first], search[0], proposals, overlap, level)
        inside = rows[chosen][:, ~first]
        fresh = _p_values(inside, numbers[~first], losses is None, permutations, seed + 1)
        for index, p_confirm in zip(chosen, fresh[1]):
            groups, mask = searched[index]
            here, there = _means(mask[first], numbers[first])
            within, without = _means(mask[~first], numbers[~first])
            difference = None if within is None or without is None else within - without
            found.append(
                Slice(
                    description=" & ".join(f"{column}={group}" for column, group in groups.items()),
                    values=groups,
                    n_search=int(mask[first].sum()),
                    n_confirm=int(mask[~first].sum()),
                    search_inside=float(here or 0.0),
                    search_outside=float(there or 0.0),
                    p_search=float(search[1][index]),
                    inside=within,
                    outside=without,
                    difference=difference,
                    ci=difference_interval(
                        numbers[~first][mask[~first]],
                        numbers[~first][~mask[~first]],
                        proportions=losses is None,
                        confidence=confidence,
                    ),
                    p_confirm=float(p_confirm),
                    confirmed=bool(p_confirm <= level),
                    rows=mask,
                )
            )
    return SliceReport(
        measured=measured,
        searched=len(searched),
        too_small=too_small,
        minimum=minimum,
        n_search=int(first.sum()),
        n_confirm=int((~first).sum()),
        level=level,
        slices=tuple(found),
        representatives=representatives,
        definition=definition,
    )


def _numbers(table: Predictions, losses: np.ndarray | None) -> tuple[np.ndarray, str]:
    if losses is None:
        if table.kind != "classification":
            raise EvaluationError(
                f"{table.source}: a table of {table.kind} has no error rate; give losses"
            )
        return (table.predicted != table.labels).astype(np.float64), "error rate"
    numbers = np.asarray(losses, np.float64)
    if numbers.shape != (len(table),) or not np.isfinite(numbers).all():
        raise EvaluationError(
            f"losses must be finite and ({len(table)},), not of shape {numbers.shape}"
        )
    return numbers, "mean loss"


def _p_values(
    rows: Bool[np.ndarray, "s n"],
    numbers: np.ndarray,
    proportions: bool,
    permutations: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """One-sided p-values of each slice against its rest: alone, and adjusted for the family."""
    if not len(rows):
        return np.zeros(0), np.zeros(0)
    if proportions:
        alone = exact_p_values(rows, numbers > 0)
        return alone, holm(alone.tolist())
    return largest_of_permutations(rows, numbers, permutations, seed)


def _proposed(
    rows: np.ndarray, p_values: np.ndarray, proposals: int, overlap: float, level: float
) -> list[int]:
    """The slices of least p-value, none of which repeats another."""
    chosen: list[int] = []
    for index in np.argsort(p_values, kind="stable"):
        if len(chosen) == proposals or p_values[index] > level:
            break
        shared = (rows[chosen] & rows[index]).sum(axis=1)
        either = (rows[chosen] | rows[index]).sum(axis=1)
        if (shared < overlap * either).all():
            chosen.append(int(index))
    return chosen


def _means(mask: np.ndarray, numbers: np.ndarray) -> tuple[float | None, float | None]:
    parts = numbers[mask], numbers[~mask]
    inside, outside = (float(part.mean()) if len(part) else None for part in parts)
    return inside, outside
