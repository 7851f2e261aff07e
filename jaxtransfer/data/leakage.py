"""Leakage: examples of one split that another split holds too, exactly or nearly.

A test example that was trained on measures memory.
"""

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from jaxtransfer.data.minhash import check_pairs, normalise_text
from jaxtransfer.data.near_duplicates import (
    SimilarPairs,
    similar_embeddings,
    similar_images,
    similar_texts,
)
from jaxtransfer.data.source import Table
from jaxtransfer.errors import DataError

Near = Literal["texts", "images", "embeddings"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeakedPair:
    """Two examples with equal or similar content.

    Attributes:
      split_a: split of the first example, and `split_b` of the second.
      split_b: see `split_a`.
      id_a: id of the first example, and `id_b` of the second.
      id_b: see `id_a`.
      kind: 'exact' (equal bytes), 'normalised' (texts equal but for case, white space and Unicode
        form) or 'near'.
      similarity: 1 unless `near`.
      label_a: name of the first one's class, and `label_b` of the second's; None without labels.
      label_b: see `label_a`.
    """

    split_a: str
    id_a: str
    split_b: str
    id_b: str
    kind: str
    similarity: float
    label_a: str | None = None
    label_b: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overlap:
    """What two splits share, or one split has twice.

    Attributes:
      splits: their names; twice the same within a split.
      exact: pairs of equal content, and `normalised` and `near` as in `LeakedPair`.
      normalised: see `exact`.
      near: see `exact`.
      examples: how many examples of each split have a counterpart.
      conflicts: pairs whose labels differ.
    """

    splits: tuple[str, str]
    exact: int
    normalised: int
    near: int
    examples: tuple[int, int]
    conflicts: int

    def __str__(self) -> str:
        a, b = self.splits
        where = f"within {a}" if a == b else f"{a}-{b}"
        counts = f"{self.exact} exact, {self.normalised} normalised, {self.near} near"
        examples = (
            f"{self.examples[0]} examples"
            if a == b
            else f"{self.examples[0]} examples of {a} and {self.examples[1]} of {b}"
        )
        conflicts = f", {self.conflicts} with different labels" if self.conflicts else ""
        return f"{where}: pairs {counts}, {examples}{conflicts}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leakage:
    """Equal and similar examples within and between splits.

    Attributes:
      sizes: examples of each split.
      overlaps: each pair of splits, and each split by itself, those without a pair too.
      pairs: all pairs, between splits before within, exact before near, most similar first.
      shared_ids: ids that more than one split has.
      method: what similarity is, and its threshold; None if only equal content was sought.
      recall: probability of finding a near pair exactly at the threshold.
      without: examples that have no similarity, such as empty texts.
    """

    sizes: Mapping[str, int]
    overlaps: tuple[Overlap, ...]
    pairs: tuple[LeakedPair, ...]
    shared_ids: tuple[str, ...]
    method: str | None
    recall: float | None
    without: int

    def ids(self, split: str, other: str) -> tuple[str, ...]:
        """Ids of a split that have a counterpart in another, sorted: those to remove.

        Raises:
          DataError: if there is no such split.
        """
        for name in (split, other):
            if name not in self.sizes:
                raise DataError(f"there is no split {name!r}; there are {list(self.sizes)}")
        found = {p.id_a for p in self.pairs if (p.split_a, p.split_b) == (split, other)}
        found |= {p.id_b for p in self.pairs if (p.split_b, p.split_a) == (split, other)}
        return tuple(sorted(found))

    def __str__(self) -> str:
        near = f"near: {self.method}" if self.method else "near duplicates not sought"
        lines = [str(overlap) for overlap in self.overlaps]
        if self.shared_ids:
            lines.append(f"{len(self.shared_ids)} ids in several splits: {self.shared_ids[:3]}")
        return "\n".join([*lines, near])

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "sizes": dict(self.sizes),
            "overlaps": [
                {**dataclasses.asdict(o), "splits": list(o.splits), "examples": list(o.examples)}
                for o in self.overlaps
            ],
            "pairs": [dataclasses.asdict(pair) for pair in self.pairs],
            "shared_ids": list(self.shared_ids),
            "method": self.method,
            "recall": self.recall,
            "without": self.without,
        }


def leakage(
    splits: Mapping[str, Table],
    *,
    near: Near | None = None,
    embeddings: Mapping[str, Float[np.ndarray, "n d"]] | None = None,
    **options: Any,
) -> Leakage:
    """Finds equal and similar examples within and between splits.

    Args:
      splits: name to examples; see `split_tables` for those of one table.
      near: how to find similar ones: 'texts' (`similar_texts`), 'images' (`similar_images`),
        'embeddings' (`similar_embeddings`); None seeks equal content alone.
      embeddings: name of each split to (n, d), for 'embeddings'.
      **options: of that function, such as `threshold`.

    Raises:
      DataError: if there are no splits, embeddings do not fit, or an option or an input does not
        suit `near`.
    """
    if not splits:
        raise DataError("there are no splits to compare")
    owner = [(name, row) for name, table in splits.items() for row in range(len(table))]
    texts = near == "texts" or all(_all_texts(table) for table in splits.values())
    inputs = [table.inputs[row] for table in splits.values() for row in range(len(table))]
    kinds: dict[tuple[int, int], tuple[str, float]] = {}
    contents = [content for table in splits.values() for content in table.contents]
    _equal(contents, "exact", kinds)
    similar: SimilarPairs | None = None
    if texts:
        _equal([_normal(value, owner[i]) for i, value in enumerate(inputs)], "normalised", kinds)
    if near is not None:
        similar = _similar(near, inputs, splits, embeddings, options)
        for (one, other), value in zip(similar.pairs.tolist(), similar.similarity.tolist()):
            kinds.setdefault((one, other), ("near", value))
    elif options or embeddings is not None:
        raise DataError(f"options {[*options]} serve near duplicates; say which with near=")
    pairs = [_pair(splits, owner[i], owner[j], *found) for (i, j), found in kinds.items()]
    order = ("exact", "normalised", "near")
    pairs.sort(
        key=lambda p: (
            p.split_a == p.split_b,
            order.index(p.kind),
            -p.similarity,
            (p.split_a, p.id_a, p.split_b, p.id_b),
        )
    )
    where: dict[str, set[str]] = defaultdict(set)
    for name, table in splits.items():
        for identity in table.ids.tolist():
            where[identity].add(name)
    names = list(splits)
    between = [*itertools.combinations(names, 2), *((name, name) for name in names)]
    return Leakage(
        sizes={name: len(table) for name, table in splits.items()},
        overlaps=tuple(_overlap(both, pairs) for both in between),
        pairs=tuple(pairs),
        shared_ids=tuple(sorted(identity for identity, of in where.items() if len(of) > 1)),
        method=None if similar is None else f"{similar.method}, at least {similar.threshold:.4g}",
        recall=None if similar is None else similar.recall,
        without=0 if similar is None else len(similar.without),
    )


def split_tables(table: Table, indices: Mapping[str, np.ndarray]) -> dict[str, Table]:
    """The tables of some splits of one table, such as `Splits.indices`; empty ones are left out."""
    return {name: table.take(rows) for name, rows in indices.items() if len(rows)}


def _all_texts(table: Table) -> bool:
    return isinstance(table.inputs, list | tuple) and all(isinstance(v, str) for v in table.inputs)


def _normal(value: Any, place: tuple[str, int]) -> str:
    if not isinstance(value, str):
        raise DataError(
            f"input {place[1]} of split {place[0]!r} is a {type(value).__name__}, not a text"
        )
    return normalise_text(value)


def _equal(keys: Sequence[str], kind: str, kinds: dict[tuple[int, int], tuple[str, float]]) -> None:
    groups: dict[str, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        groups[key].append(position)
    check_pairs(sum(len(rows) * (len(rows) - 1) // 2 for rows in groups.values()))
    for rows in groups.values():
        for pair in itertools.combinations(rows, 2):
            kinds.setdefault(pair, (kind, 1.0))


def _similar(
    near: str,
    inputs: list[Any],
    splits: Mapping[str, Table],
    embeddings: Mapping[str, np.ndarray] | None,
    options: dict[str, Any],
) -> SimilarPairs:
    if near == "texts":
        return similar_texts(inputs, **options)
    if near == "images":
        return similar_images(inputs, **options)
    if near != "embeddings":
        raise DataError(f"near {near!r} is unknown; choose 'texts', 'images' or 'embeddings'")
    if embeddings is None or set(embeddings) != set(splits):
        raise DataError(f"give embeddings of each of the splits {list(splits)}")
    for name, table in splits.items():
        if len(embeddings[name]) != len(table):
            raise DataError(
                f"split {name!r} has {len(table)} examples and {len(embeddings[name])} embeddings"
            )
    return similar_embeddings(np.concatenate([embeddings[name] for name in splits]), **options)


def _pair(
    splits: Mapping[str, Table],
    a: tuple[str, int],
    b: tuple[str, int],
    kind: str,
    similarity: float,
) -> LeakedPair:
    labels = []
    for name, row in (a, b):
        table = splits[name]
        labels.append(None if table.labels is None else table.classes[table.labels[row]])
    return LeakedPair(
        split_a=a[0],
        id_a=str(splits[a[0]].ids[a[1]]),
        split_b=b[0],
        id_b=str(splits[b[0]].ids[b[1]]),
        kind=kind,
        similarity=similarity,
        label_a=labels[0],
        label_b=labels[1],
    )


def _overlap(both: tuple[str, str], pairs: Sequence[LeakedPair]) -> Overlap:
    own = [pair for pair in pairs if (pair.split_a, pair.split_b) == both]
    first, second = {pair.id_a for pair in own}, {pair.id_b for pair in own}
    if both[0] == both[1]:
        first = second = first | second
    counts = {
        kind: sum(pair.kind == kind for pair in own) for kind in ("exact", "normalised", "near")
    }
    return Overlap(
        splits=both,
        **counts,
        examples=(len(first), len(second)),
        conflicts=sum(pair.label_a != pair.label_b for pair in own),
    )
