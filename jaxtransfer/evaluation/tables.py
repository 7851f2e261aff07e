"""Reads a table of predictions of any kind; the columns say which."""

import os
import pathlib

from jaxtransfer.errors import EvaluationError, nearest
from jaxtransfer.evaluation import formats
from jaxtransfer.evaluation.payloads import MultiLabel, Ranking, Regression, TokenLosses
from jaxtransfer.evaluation.rows import Rows
from jaxtransfer.evaluation.table import Predictions

KINDS: dict[str, type[Rows]] = {
    table.kind: table for table in (Predictions, MultiLabel, Regression, Ranking, TokenLosses)
}
"""Classes of tables by kind."""


def load_table(path: str | os.PathLike) -> Rows:
    """Reads a `.npz`, Parquet or CSV file of predictions.

    Its kind is the column `kind`, if there is one. Otherwise `relevance` makes a ranking; `tokens` or
    `losses` token losses; `prediction` a regression; a matrix of labels several labels an example; and
    anything else one class an example.

    Raises:
      EvaluationError: naming the file, if it cannot be read, lacks a column, has an unknown one, or
        one is malformed (naming column and row).
    """
    columns = formats.read(pathlib.Path(path))
    return KINDS[_kind_of(columns)].from_columns(columns)


def _kind_of(columns: formats.Columns) -> str:
    if "kind" in columns:
        found = sorted(set(columns["kind"].reshape(-1).tolist()))
        if len(found) != 1 or found[0] not in KINDS:
            raise EvaluationError(
                f"{columns.source}: column 'kind' holds {found[:3]}; it is one of"
                f" {nearest(str(found[0]) if found else '', KINDS)}"
            )
        return str(found[0])
    if "relevance" in columns:
        return Ranking.kind
    if "tokens" in columns or columns.has("losses"):
        return TokenLosses.kind
    if columns.has("prediction"):
        return Regression.kind
    if "label" in columns:
        # Lists of different length are an array of arrays.
        several = columns["label"].ndim == 2 or columns["label"].dtype.kind == "O"
        return MultiLabel.kind if several else Predictions.kind
    return MultiLabel.kind if columns.has("label") else Predictions.kind
