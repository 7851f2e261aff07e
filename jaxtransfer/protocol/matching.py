"""Tables of several systems brought onto the same rows and classes, so that they can be compared.

A foreign table need not say its split, nor name its classes: what is taken for them is said in a note.
"""

import dataclasses
from collections.abc import Iterator, Sequence

from jaxtransfer.errors import ConfigError, EvaluationError
from jaxtransfer.evaluation.rows import Rows
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol.measuring import VALIDATION, is_halved, rows_of
from jaxtransfer.protocol.problem import TEST
from jaxtransfer.protocol.systems import System


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Matched:
    """Rows to compare.

    Attributes:
      tables: system to its tables, of the rows of the split alone; not yet in one order.
      split: whose rows they are; None for all rows.
      is_halved: whether the split is both halves of validation together.
      notes: what was taken for what a table does not say.
    """

    tables: dict[str, list[Rows]]
    split: str | None
    is_halved: bool
    notes: tuple[str, ...]


def match(found: Sequence[System], split: str | None) -> Matched:
    """The rows of one split of every table, with classes of one naming.

    Args:
      found: the systems.
      split: `test` if left out, or all rows where no table has splits. A table without splits beside
        some that have them is taken whole; if `split` is left out, that is the one with exactly its ids.

    Raises:
      ConfigError: if the tables have several splits in common and none is `test`, or none in common.
      EvaluationError: if a table has no such split, or has no splits and its ids are those of none.
    """
    every = [table for system in found for table in system.tables]
    with_splits = [table for table in every if table.split is not None]
    whole = [table for table in every if table.split is None] if with_splits else []
    chosen = _usual_split(with_splits, whole) if split is None else split
    tables = {
        system.name: [
            table if with_splits and table.split is None else rows_of(table, chosen)
            for table in system.tables
        ]
        for system in found
    }
    notes = [
        f"{system.name} has no column 'split': its rows are compared with those of {chosen}"
        for system in found
        if with_splits and any(table.split is None for table in system.tables)
    ]
    return Matched(
        tables=tables,
        split=chosen,
        is_halved=any(is_halved(table, chosen) for table in with_splits),
        notes=(*notes, *_name_classes(found, tables)),
    )


def _usual_split(with_splits: Sequence[Rows], whole: Sequence[Rows]) -> str | None:
    if not with_splits:
        return None
    names = [set(table.split.tolist()) for table in with_splits if table.split is not None]
    common = set.intersection(*names)
    if whole and common:
        return _split_of(whole, with_splits[0], common)
    if TEST in common:
        return TEST
    if len(set.union(*names)) == 1 and common:
        return common.pop()
    raise ConfigError(
        f"the tables have the splits {sorted(set.union(*names))}, and all of them have"
        f" {sorted(common) or 'none'} in common: choose with --split"
    )


def _split_of(whole: Sequence[Rows], reference: Rows, names: set[str]) -> str:
    """The split that has exactly the ids of the tables without splits, `test` before others."""
    ordered = sorted(names, key=lambda name: (name != TEST, name))
    if is_halved(reference, VALIDATION):
        ordered.append(VALIDATION)
    ids = {name: set(rows_of(reference, name).ids.tolist()) for name in ordered}
    for name in ordered:
        if all(set(table.ids.tolist()) == ids[name] for table in whole):
            return name
    sizes = ", ".join(f"{name} {len(ids[name])}" for name in ordered)
    raise EvaluationError(
        f"{whole[0].source} has no column 'split', and its {len(whole[0])} ids are those of no split of"
        f" {reference.source} (ids: {sizes}): give it a column 'split', or the rows of one split alone"
    )


def _name_classes(found: Sequence[System], tables: dict[str, list[Rows]]) -> Iterator[str]:
    """Numbers that stand for classes in foreign tables are replaced by the names that another table has."""
    named = next(
        (
            table.classes
            for each in tables.values()
            for table in each
            if isinstance(table, Predictions) and not _is_numbered(table)
        ),
        None,
    )
    for system in found:
        each = tables[system.name]
        for place, table in enumerate(each):
            if (
                named is not None
                and system.metric is None
                and isinstance(table, Predictions)
                and _is_numbered(table)
                and len(table.classes) == len(named)
            ):
                each[place] = dataclasses.replace(table, classes=named)
                if place == 0:
                    yield f"{system.name} numbers its classes: they are taken in the order of {list(named)}"


def _is_numbered(table: Predictions) -> bool:
    return table.classes == tuple(map(str, range(len(table.classes))))
