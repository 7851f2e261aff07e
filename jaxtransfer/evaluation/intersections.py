"""Every column of groups of a table, and every pair of columns whose groups can be compared.

A model that is fair by sex and fair by age may fail one sex of one age (Buolamwini and Gebru 2018).
"""

import itertools
from collections.abc import Sequence
from typing import Any

from jaxtransfer.evaluation.definition import Definition
from jaxtransfer.evaluation.groups import GroupReport, by_group, intersect
from jaxtransfer.evaluation.table import Predictions


def by_every_group(
    table: Predictions, names: Sequence[str | Definition] | None = None, **options: Any
) -> dict[str, GroupReport]:
    """Measures the groups of each column, and those of each two columns together.

    A column with fewer than two groups of the minimum size is measured and not crossed with
    others: it would do no more than rename their groups.

    Args:
      table: predictions with any number of group columns.
      names: metrics; None means all of the table's kind.
      **options: of `by_group`, such as `minimum`.

    Returns:
      Column, or `one & other`, to its report; columns first.

    Raises:
      EvaluationError: as `by_group` and `intersect` do.
    """
    columns = list(table.groups)
    reports = {column: by_group(table, column, names, **options) for column in columns}
    crossing = [column for column in columns if _comparable(reports[column]) > 1]
    for pair in itertools.combinations(crossing, 2):
        crossed, both = intersect(table, *pair)
        reports[both] = by_group(crossed, both, names, **options)
    return reports


def _comparable(report: GroupReport) -> int:
    """How many groups are large enough to be compared."""
    return sum(group.n >= report.minimum for group in report.groups)
