"""Exact duplicates: found by the sha256 of each raw input, and removed before splitting.

Otherwise a document may be trained on and tested on.
"""

import dataclasses
from collections import defaultdict

import numpy as np

from jaxtransfer.data.source import Table
from jaxtransfer.errors import DataError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Duplicates:
    """What `deduplicate` found and removed.

    Attributes:
      total: number of examples looked at.
      groups: ids of examples with equal content, two or more a group; the first is kept (but see
        `conflicts`).
      conflicts: those of the groups whose labels differ.
      removed: ids of the removed examples.
    """

    total: int
    groups: tuple[tuple[str, ...], ...]
    conflicts: tuple[tuple[str, ...], ...]
    removed: tuple[str, ...]

    def summary(self) -> str:
        """One line for a log or a report."""
        if not self.groups:
            return f"no exact duplicates among {self.total} examples"
        kept = self.total - len(self.removed)
        line = (
            f"removed {len(self.removed)} of {self.total} examples as exact duplicates"
            f" ({len(self.groups)} groups), {kept} remain"
        )
        if self.conflicts:
            line += (
                f"; in {len(self.conflicts)} groups the labels differ, such as {self.conflicts[0]}"
            )
        return line


def deduplicate(table: Table, *, conflicts: str = "keep") -> tuple[Table, Duplicates]:
    """Removes exact duplicates; the order of what remains is unchanged.

    Args:
      table: examples; compared by their raw content alone (a file's bytes, a text, an array with
        dtype and shape).
      conflicts: what becomes of equal inputs with different labels: 'keep' the first like any
        other, or 'drop' them all, since one label at least is wrong.

    Returns:
      The table with the first of each group by id, in text order, and what was found.

    Raises:
      DataError: if `conflicts` is neither 'keep' nor 'drop'.
    """
    if not isinstance(table, Table):
        raise DataError(
            f"deduplicate takes a table, as load_table gives it, not a {type(table).__name__}"
        )
    if conflicts not in ("keep", "drop"):
        raise DataError(f"conflicts is {conflicts!r}; choose 'keep' or 'drop'")
    by_content: dict[str, list[int]] = defaultdict(list)
    for row, content in enumerate(table.contents):
        by_content[content].append(row)
    ids = table.ids.tolist()
    groups, conflicting, removed = [], [], set()
    for rows in by_content.values():
        if len(rows) == 1:
            continue
        rows = sorted(rows, key=ids.__getitem__)
        names = tuple(ids[row] for row in rows)
        groups.append(names)
        differ = table.labels is not None and len(set(table.labels[rows].tolist())) > 1
        if differ:
            conflicting.append(names)
        removed.update(rows if differ and conflicts == "drop" else rows[1:])
    keep = np.array([row for row in range(len(table)) if row not in removed], dtype=np.int64)
    found = Duplicates(
        total=len(table),
        groups=tuple(sorted(groups)),
        conflicts=tuple(sorted(conflicting)),
        removed=tuple(ids[row] for row in sorted(removed)),
    )
    return table.take(keep), found
