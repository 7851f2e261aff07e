"""The ensemble of a rung's seeds: the mean of their probabilities, from their tables alone.

An ensemble of k seeds is one draw. Its table stands once for each of the k seeds that it is paired with, so that the
interval of a difference counts the examples and the spread of the single seeds; how ensembles of other seeds would
vary is not in it.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.probabilities import mean_log_probabilities
from jaxtransfer.evaluation.table import Predictions


def average_seeds(tables: Sequence[Predictions]) -> list[Predictions]:
    """One table of mean probabilities, as often as there are seeds.

    Args:
      tables: one a seed, on the same examples; rows are matched by id.

    Raises:
      EvaluationError: if there is no table, or ids, labels or classes differ.
    """
    if not tables:
        raise EvaluationError("there is no seed to average")
    aligned = [tables[0], *(table.align(tables[0]) for table in tables[1:])]
    if all(np.array_equal(table.logits, aligned[0].logits) for table in aligned[1:]):
        return [aligned[0]] * len(aligned)
    mean = mean_log_probabilities([table.logits for table in aligned])
    averaged = dataclasses.replace(
        aligned[0], logits=mean, normalised=False, source="mean over seeds"
    )
    return [averaged] * len(aligned)
