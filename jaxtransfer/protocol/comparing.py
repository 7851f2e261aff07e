"""Compares systems pair by pair on the same examples: differences, intervals and p-values of one family.

Every pair is paired over examples and seeds, corrected for all pairs, and said with what it does not
show.
"""

import dataclasses
import itertools
import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.correction import correct
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.noninferiority import noninferiority
from jaxtransfer.evaluation.paired import PairedDifference, paired_difference
from jaxtransfer.evaluation.permutation import ExchangeTest, permutation_test
from jaxtransfer.evaluation.power import SampleSize, to_settle
from jaxtransfer.evaluation.rows import Rows
from jaxtransfer.evaluation.seeds import measure_seeds
from jaxtransfer.evaluation.sign_flip import sign_flip_seeds
from jaxtransfer.evaluation.wins import wins
from jaxtransfer.protocol import systems
from jaxtransfer.protocol.compared import Compared, Pair
from jaxtransfer.protocol.decision import Comparison, corrected_family
from jaxtransfer.protocol.matching import match
from jaxtransfer.protocol.measuring import BOTH_HALVES
from jaxtransfer.protocol.systems import System

DEFAULTS = {
    "classification": "macro_f1",
    "multilabel": "macro_f1",
    "regression": "mae",
    "ranking": "ndcg_at_10",
    "tokens": "nll",
}
"""What each kind of table is compared by where nothing says it."""


def compare(
    *given: Any,
    metric: str | None = None,
    split: str | None = None,
    margin: float = 0.0,
    noninferior: bool = False,
    confidence: float = 0.95,
) -> Compared:
    """Compares runs and tables of predictions, each with every other, on the same examples.

    A pair is told apart where its corrected interval lies beyond the margin on either side. With
    `noninferior`, the question is whether the first of a pair is worse than the second by less than
    the margin; all claims are then read off one set of simultaneous intervals.

    Args:
      *given: systems: paths (`WORKDIR`, `WORKDIR:RUNG`, a file, `NAME=file,file` a seed), tables, or
        mappings from a name to a table, one table a seed, or a path.
      metric: by default what the runs decided by, or the usual one of the tables' kind.
      split: `test` by default, or all rows of tables without splits; `validation` is both halves. A table
        without splits beside a run is compared with the run's split that has exactly its ids.
      margin: the difference that counts, at least 0, in units of the metric; fixed beforehand.
      noninferior: whether to ask for non-inferiority at the margin, which then is above 0.
      confidence: of the intervals; 1 minus it is the error rate of all pairs together.

    Raises:
      ConfigError: if there are fewer than two systems, or a name or path is unknown or ambiguous.
      EvaluationError: if the tables are of different tasks (kind, classes, ids, a label), a metric,
        split or margin is none, or the numbers of seeds cannot be paired.
      WorkdirError: if a directory holds no predictions.
    """
    return compare_systems(
        systems.of_objects(given),
        metric=metric,
        split=split,
        margin=margin,
        noninferior=noninferior,
        confidence=confidence,
    )


def compare_systems(
    found: Sequence[System],
    *,
    metric: str | None = None,
    split: str | None = None,
    margin: float = 0.0,
    noninferior: bool = False,
    confidence: float = 0.95,
) -> Compared:
    """Compares systems that are read already; arguments and errors as of `compare`."""
    chosen_metric, usual = asked(found, metric, margin, noninferior)
    matched = match(found, split)
    tables = matched.tables
    reference = next(iter(tables.values()))[0]
    for each in tables.values():
        # Each table meets the first, so that what differs is said before anything is measured.
        each[:] = [table.align(reference) for table in each]
    pairs = list(itertools.combinations(found, 2))
    paired = [_paired(a, b, tables) for a, b in pairs]
    differences = [
        paired_difference(a, b, chosen_metric, confidence=confidence, margin=margin)
        for a, b, _ in paired
    ]
    p_values = [_p_value(difference) for difference in differences]
    names = [(a.name, b.name) for a, b in pairs]
    if noninferior:
        family = _simultaneous(names, differences, p_values, confidence)
    else:
        family = corrected_family(names, differences, p_values, confidence)
    exchanges = [_exchange(a, b, chosen_metric) for a, b, _ in paired]
    adjusted = correct(
        {str(i): None if test is None else test.p_value for i, test in enumerate(exchanges)}
    ).adjusted
    level = 1 - (1 - confidence) / len(pairs)
    results = []
    for index, comparison in enumerate(family):
        a, b, how = paired[index]
        test = None
        if noninferior:
            test = noninferiority(differences[index], margin, alpha=(1 - level) / 2)
        pair = Pair(
            comparison=comparison,
            exchange=exchanges[index],
            exchange_adjusted=adjusted[str(index)],
            wins=tuple(w for x, y in zip(a, b) if (w := wins(x, y, chosen_metric)) is not None),
            noninferiority=test,
            needed=None,
            seeds=how,
        )
        if not pair.is_settled:
            pair = dataclasses.replace(pair, needed=_needed(pair, margin, level))
        results.append(pair)
    return Compared(
        metric=chosen_metric,
        kind=reference.kind,
        split=matched.split,
        margin=margin,
        confidence=confidence,
        asks_noninferiority=noninferior,
        measured={
            name: measure_seeds(each, [chosen_metric], confidence=confidence)[chosen_metric]
            for name, each in tables.items()
        },
        seeds={name: len(each) for name, each in tables.items()},
        pairs=tuple(results),
        notes=(*usual, *matched.notes, *_notes(found, paired, matched.is_halved, noninferior)),
    )


def asked(
    found: Sequence[System], metric: str | None, margin: float, noninferior: bool
) -> tuple[str, tuple[str, ...]]:
    """The metric that is compared, and a note where nothing says it.

    Raises:
      EvaluationError: if the metric is unknown or a simulation, or the margin is out of range.
    """
    if not isinstance(margin, numbers.Real) or not 0 <= margin < math.inf:
        raise EvaluationError(f"margin {margin!r} is no difference that counts; give 0 or more")
    if noninferior and not margin:
        raise EvaluationError(
            "non-inferiority is by a margin: give the loss that you accept, --margin above 0"
        )
    kind = found[0].tables[0].kind
    notes: tuple[str, ...] = ()
    if metric is None:
        decided = sorted({system.metric for system in found if system.metric is not None})
        metric = decided[0] if len(decided) == 1 else DEFAULTS[kind]
        if len(decided) != 1:
            why = (
                f"the runs decided by {' and '.join(decided)}"
                if decided
                else "no run says by what it decided"
            )
            notes = (f"by {metric}, the usual metric of {kind}: {why}",)
    defined = definition(metric, kind)
    if defined.interval == "simulation":
        raise EvaluationError(f"{metric} is simulated: it has no paired difference; choose another")
    if defined.bounds == (-math.inf, math.inf):
        raise EvaluationError(
            f"{metric} has a sign, and neither more nor less of it is better; compare by another,"
            f" such as {DEFAULTS[kind]}"
        )
    return metric, notes


def _paired(
    a: System, b: System, tables: dict[str, list[Rows]]
) -> tuple[list[Rows], list[Rows], str]:
    """The tables of both, as many on either side, and how they were paired."""
    left, right = tables[a.name], tables[b.name]
    if len(left) == len(right) == 1:
        return left, right, "one table each"
    if a.seeds and b.seeds and set(a.seeds) == set(b.seeds):
        order = [b.seeds.index(seed) for seed in a.seeds]
        return left, [right[index] for index in order], f"by seed: {', '.join(a.seeds)}"
    if len(left) == len(right):
        return left, right, f"{len(left)} tables each, in the order given"
    for one, other in ((a, b), (b, a)):
        if len(tables[one.name]) == 1:
            size = len(tables[other.name])
            left = left * size if one is a else left
            right = right * size if one is b else right
            return left, right, f"the one table of {one.name} with each of {size} of {other.name}"
    shown = [f"{one.name} has {one.seeds or len(tables[one.name])}" for one in (a, b)]
    raise EvaluationError(
        f"seeds cannot be paired: {' and '.join(shown)}; give as many of both, by naming the files:"
        f" {a.name}=FILE,FILE"
    )


def _p_value(difference: PairedDifference) -> float | None:
    """Two-sided, of the true difference being within the margin.

    Twice the smaller tail, so that it is at most alpha exactly where the (1 - alpha) interval lies
    beyond the margin on one side.
    """
    if difference.p_value is None or not difference.standard_error or not difference.margin:
        return difference.p_value
    tails = difference.tail(difference.margin), 1 - difference.tail(-difference.margin)
    return min(1.0, 2 * min(tails))


def _simultaneous(
    names: Sequence[tuple[str, str]],
    differences: Sequence[PairedDifference],
    p_values: Sequence[float | None],
    confidence: float,
) -> list[Comparison]:
    """Bonferroni's intervals, which hold together: whatever is read off them, the rate is kept."""
    alpha, size = 1 - confidence, len(names)
    known = [1.0 if p is None else p for p in p_values]
    return [
        Comparison(
            first=first,
            second=second,
            difference=difference,
            ci=difference.interval(1 - alpha / size),
            p_value=p,
            p_adjusted=min(1.0, size * p),
            is_significant=size * p <= alpha,
        )
        for (first, second), difference, p in zip(names, differences, known)
    ]


def _exchange(a: Sequence[Rows], b: Sequence[Rows], metric: str) -> ExchangeTest | None:
    if _without_seeds(a) and _without_seeds(b):
        return permutation_test(a[0], b[0], metric)
    return sign_flip_seeds(a, b, metric)


def _without_seeds(tables: Sequence[Rows]) -> bool:
    """Whether all tables predict the same, as those of a method that draws nothing."""
    return all(
        np.array_equal(getattr(table, name), getattr(tables[0], name))
        for table in tables[1:]
        for name in table.PAYLOAD
        if name not in table.TRUTH
    )


def _needed(pair: Pair, margin: float, level: float) -> SampleSize:
    difference = pair.comparison.difference
    if pair.noninferiority is None or difference.improvement is None:
        return to_settle(difference, confidence=level)
    return to_settle(difference, effect=difference.improvement, margin=-margin, confidence=level)


def _notes(
    found: Sequence[System],
    paired: Sequence[tuple[Any, Any, str]],
    halved: bool,
    noninferior: bool,
) -> tuple[str, ...]:
    notes = [f"paired: {how}" for how in dict.fromkeys(how for _, _, how in paired)]
    if any(how.startswith("the one table") for _, _, how in paired):
        notes.append("how the training of a system with one table varies is not in its intervals")
    if halved:
        notes.append(BOTH_HALVES)
    if len({system.data for system in found if system.data}) > 1:
        notes.append(
            "the runs were made of data with different hashes: the same ids and labels may stand for"
            " other inputs"
        )
    if noninferior:
        notes.append("a margin shows non-inferiority only if it was fixed before these numbers")
    return tuple(notes)
