"""Whether training subsets are nested: a learning curve's differences are then those of its size."""

from collections.abc import Collection, Mapping, Sequence

from jaxtransfer.errors import EvaluationError


def check_nested(
    subsets: Mapping[int, Sequence[Collection[str]]],
    sizes: Sequence[int],
    seeds: Sequence[int],
    *,
    test: Collection[str] = (),
) -> None:
    """Checks the training subsets of a learning curve.

    Args:
      subsets: by size, the ids of each seed's subset.
      sizes: ascending sizes of the curve.
      seeds: the seeds' names.
      test: ids of the test examples.

    Raises:
      EvaluationError: naming size, seed and an id, if a subset has another number of ids than its
        size, repeats one, is not contained in the next larger one, or holds a test example.
    """
    if sorted(subsets) != list(sizes):
        raise EvaluationError(
            f"subsets are of {sorted(subsets)} labels, the tables of {list(sizes)}"
        )
    measured = set(test)
    before: list[set[str]] = [set() for _ in seeds]
    smaller = 0
    for size in sizes:
        if len(subsets[size]) != len(seeds):
            raise EvaluationError(
                f"{size} labels: {len(subsets[size])} subsets for {len(seeds)} seeds"
            )
        for index, (name, ids) in enumerate(zip(seeds, subsets[size])):
            where = f"{size} labels, seed {name}"
            present = set(ids)
            if len(ids) != size or len(present) != size:
                raise EvaluationError(
                    f"{where}: the subset has {len(ids)} ids, {len(present)} of them different"
                )
            lost = sorted(before[index] - present)
            if lost:
                raise EvaluationError(
                    f"{where}: the subset of {smaller} labels is not contained in it: {lost[0]!r} is"
                    f" missing ({len(lost)} such ids); draw them with data.splits.nested_subsets"
                )
            leaked = sorted(present & measured)
            if leaked:
                raise EvaluationError(
                    f"{where}: {leaked[0]!r} is also a test example ({len(leaked)} such ids)"
                )
            before[index] = present
        smaller = size
