"""Stratified splits with indices, ids and a hash: two runs can prove they saw the same examples.

The training split is nested: with the same seed, a smaller budget is the prefix of a larger one,
and the other splits do not change with it.
"""

import dataclasses
import hashlib
import json
import math
import numbers
import pathlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jaxtyping import Int, Int64

from jaxtransfer.data.order import permutation
from jaxtransfer.data.source import Table
from jaxtransfer.errors import DataError

NESTED = "train"
REST = "rest"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """Disjoint sets of examples of one table.

    Attributes:
      indices: name of each split to positions (k,) in the table, in a fixed order; `rest` has what
        no split took.
      ids: name of each split to the ids at those positions.
      seed: what they were drawn with.
    """

    indices: Mapping[str, Int64[np.ndarray, "k"]]
    ids: Mapping[str, tuple[str, ...]]
    seed: int

    @property
    def hash(self) -> str:
        """sha256 of names and ids, in order: does not depend on positions in the table."""
        content = json.dumps({name: self.ids[name] for name in sorted(self.ids)})
        return hashlib.sha256(content.encode()).hexdigest()

    def __getitem__(self, name: str) -> Int64[np.ndarray, "k"]:
        return self.indices[name]

    def save(self, path: str | pathlib.Path) -> None:
        """Writes the splits as JSON."""
        content = {
            "seed": self.seed,
            "hash": self.hash,
            "indices": {name: rows.tolist() for name, rows in self.indices.items()},
            "ids": {name: list(ids) for name, ids in self.ids.items()},
        }
        pathlib.Path(path).write_text(json.dumps(content, indent=1) + "\n")

    @staticmethod
    def load(path: str | pathlib.Path, table: Table) -> "Splits":
        """Reads what `save` wrote, for the table it was made of.

        Raises:
          DataError: if the file is damaged, or the table has other examples at the stored
            positions.
        """
        try:
            content = json.loads(pathlib.Path(path).read_text())
            splits = Splits(
                indices={
                    name: np.array(rows, np.int64) for name, rows in content["indices"].items()
                },
                ids={name: tuple(ids) for name, ids in content["ids"].items()},
                seed=content["seed"],
            )
            stored = content["hash"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"cannot read splits from {path}: {error!r}") from error
        if splits.hash != stored or splits.indices.keys() != splits.ids.keys():
            raise DataError(f"{path} was changed: its ids do not have the hash it states")
        for name, rows in splits.indices.items():
            fits = rows.size == 0 or (rows.min() >= 0 and rows.max() < len(table))
            if not fits or tuple(table.ids[rows].tolist()) != splits.ids[name]:
                raise DataError(
                    f"split {name!r} of {path} was made of other examples than this table's"
                )
        return splits


def stratified_split(
    table: Table,
    budgets: Mapping[str, int | float],
    seed: int,
    *,
    balanced: Collection[str] | None = None,
) -> Splits:
    """Draws disjoint splits, each with its share of every class.

    Within each class the examples get one random order; `train` takes from its front, the others
    from its back (in the order of their names). Seats of a split go to classes by the method of
    Sainte-Laguë (highest averages): sizes are exact, and a larger split has no fewer of any class,
    which largest remainders do not promise. Ties go to the earlier class.

    Args:
      table: labelled examples without duplicates.
      budgets: name of each split to its size: a count, or a share in (0, 1) of the table, rounded
        down.
      seed: non-negative.
      balanced: splits that take equally many of each class (give or take one where the size is not
        a multiple); the others take in proportion to the class sizes. `train`, if it is there,
        without this argument.

    Returns:
      The splits, and the remaining examples as `rest`, in the table's order.

    Raises:
      DataError: if an argument is of another type; if the table has no labels or an empty class, a share is not one example, a class has
        fewer examples than asked of it (naming class, asked and available), or all splits together
        exceed the table.
    """
    if not isinstance(table, Table):
        raise DataError(
            f"stratified_split takes a table, as load_table gives it, not a {type(table).__name__}"
        )
    if table.labels is None:
        raise DataError("the table has no labels to stratify by")
    if not hasattr(budgets, "items"):
        raise DataError(
            f"the sizes are {budgets!r}; give a mapping, such as {{'train': 100, 'test': 0.2}}"
        )
    if not isinstance(seed, numbers.Integral) or seed < 0:
        raise DataError(f"seed {seed!r} is none; give an integer, at least 0")
    counts = _sizes(budgets, len(table))
    equal = {NESTED} & set(counts) if balanced is None else set(balanced)
    if not equal <= set(counts):
        raise DataError(f"balanced names {sorted(equal - set(counts))}, not among {list(counts)}")
    for name, count in table.counts().items():
        if not count:
            raise DataError(f"class {name!r} has no examples; remove it from the classes")
    if sum(counts.values()) > len(table):
        raise DataError(
            f"the splits ask for {sum(counts.values())} examples ({dict(counts)}),"
            f" but there are {len(table)}"
        )
    queues = [
        list(np.flatnonzero(table.labels == label)[permutation(size, seed, label)])
        for label, size in enumerate(table.counts().values())
    ]
    sizes = [len(queue) for queue in queues]
    drawn: dict[str, list[int]] = {}
    for name in sorted(set(counts) - {NESTED}) + [NESTED] * (NESTED in counts):
        available = [len(queue) for queue in queues]
        weights = [1] * len(sizes) if name in equal else sizes
        limits = None if name in equal or name == NESTED else available
        seats = _seats(counts[name], weights, limits)
        for label, asked in enumerate(np.bincount(seats, minlength=len(sizes)).tolist()):
            if asked > available[label]:
                taken = sizes[label] - available[label]
                raise DataError(
                    f"split {name!r} asks for {asked} examples of class {table.classes[label]!r},"
                    f" but {available[label]} are available"
                    f" ({sizes[label]} in all, {taken} in other splits)"
                )
        position = 0 if name == NESTED else -1
        drawn[name] = [int(queues[label].pop(position)) for label in seats]
    drawn = {name: drawn[name] for name in counts}
    drawn[REST] = sorted(int(row) for queue in queues for row in queue)
    return Splits(
        indices={name: np.array(rows, np.int64) for name, rows in drawn.items()},
        ids={name: tuple(table.ids[rows].tolist()) for name, rows in drawn.items()},
        seed=seed,
    )


def halves(
    indices: Int[np.ndarray, "k"], labels: Int[np.ndarray, "k"], seed: int
) -> tuple[Int64[np.ndarray, "a"], Int64[np.ndarray, "b"]]:
    """Two stratified halves of a split, such as validation's for tuning and for acceptance.

    Args:
      indices: the split's positions.
      labels: the labels of the examples at these positions (not of the whole table).
      seed: non-negative.

    Returns:
      Two sets of positions; their sizes, and their numbers of each class, differ by one at most.

    Raises:
      DataError: if `labels` is not as long as `indices`, or there are fewer than two.
    """
    rows, values = np.asarray(indices, np.int64), np.asarray(labels)
    if rows.shape != values.shape:
        raise DataError(
            f"{len(values)} labels for {len(rows)} positions; give those of the positions alone"
        )
    if len(rows) < 2:
        raise DataError(f"{len(rows)} examples cannot be halved")
    shuffled = permutation(len(rows), seed)
    by_class = shuffled[np.argsort(values[shuffled], kind="stable")]
    return rows[by_class[::2]], rows[by_class[1::2]]


def nested_subsets(
    indices: Int[np.ndarray, "k"],
    labels: Int[np.ndarray, "k"],
    sizes: Sequence[int],
    seed: int,
    *,
    balanced: bool = True,
) -> dict[int, Int64[np.ndarray, "size"]]:
    """Training subsets of several sizes for a learning curve, each contained in the next.

    One order is drawn from the seed, and a subset is its prefix, as `stratified_split` does for
    `train`; here the pool is given, so that several seeds draw from one pool beside one test split.

    Args:
      indices: positions of the pool in the table, such as what the test split leaves.
      labels: the labels of the examples at these positions (not of the whole table).
      sizes: sizes of the subsets, in any order.
      seed: non-negative.
      balanced: equally many of each class, give or take one; else in proportion to the pool.

    Returns:
      Size to positions, ascending in size. Classes take turns, so that each subset is stratified.

    Raises:
      DataError: if `labels` is not as long as `indices`, a size is not positive or occurs twice, or
        a class has fewer examples in the pool than the largest size asks of it.

    >>> pool, labels = np.arange(8), np.array([0, 0, 0, 0, 1, 1, 1, 1])
    >>> drawn = nested_subsets(pool, labels, [2, 4], seed=0)
    >>> [sorted(labels[rows].tolist()) for rows in drawn.values()]
    [[0, 1], [0, 0, 1, 1]]
    """
    rows, values = np.asarray(indices, np.int64), np.asarray(labels)
    if rows.shape != values.shape:
        raise DataError(
            f"{len(values)} labels for {len(rows)} positions; give those of the positions alone"
        )
    if not sizes or min(sizes) < 1 or len(set(sizes)) != len(sizes):
        raise DataError(f"sizes {list(sizes)} are not different positive numbers of examples")
    if max(sizes) > len(rows):
        raise DataError(f"a subset of {max(sizes)} is asked of a pool of {len(rows)} examples")
    present = np.unique(values).tolist()
    queues = [
        rows[values == label][permutation(int((values == label).sum()), seed, int(label))]
        for label in present
    ]
    counts = [len(queue) for queue in queues]
    seats = _seats(max(sizes), [1] * len(counts) if balanced else counts, None)
    order, taken = [], [0] * len(counts)
    for place, index in enumerate(seats):
        if taken[index] == counts[index]:
            raise DataError(
                f"class {present[index]} has {counts[index]} examples in the pool of {len(rows)}: a"
                f" stratified subset of {max(sizes)} needs more; the largest that it allows is {place}"
            )
        order.append(int(queues[index][taken[index]]))
        taken[index] += 1
    return {int(size): np.array(order[:size], np.int64) for size in sorted(sizes)}


def _sizes(budgets: Mapping[str, int | float], count: int) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name, asked in budgets.items():
        if name == REST:
            raise DataError(f"{REST!r} is what the other splits leave; name the split otherwise")
        if isinstance(asked, numbers.Integral) and asked >= 0 and not isinstance(asked, bool):
            sizes[name] = int(asked)
        elif isinstance(asked, numbers.Real) and 0 < asked < 1:
            sizes[name] = share_of(count, float(asked))
            if not sizes[name]:
                raise DataError(
                    f"split {name!r} asks for the share {asked} of {count} examples, which is not"
                    " one; give it a larger share, or a count"
                )
        else:
            raise DataError(
                f"split {name!r} asks for {asked!r} examples; a size is a count, or a share in (0, 1)"
            )
    return sizes


def share_of(count: int, share: float) -> int:
    """Examples in a share, rounded down, so that shares of one set never exceed it together.

    >>> share_of(100, 0.29)
    29
    """
    return math.floor(share * count + 1e-9)  # 0.29 * 100 is a little less than 29


def _seats(count: int, weights: Sequence[int], limits: Sequence[int] | None) -> list[int]:
    """Class of each of `count` seats, in the order in which they are given out."""
    given = [0] * len(weights)
    seats = []
    for _ in range(count):
        free = [k for k in range(len(weights)) if limits is None or given[k] < limits[k]]
        winner = min(free, key=lambda k: ((2 * given[k] + 1) / weights[k], k))
        given[winner] += 1
        seats.append(winner)
    return seats
