"""Leakage counts pairs between and within splits, and says which examples to remove."""

import json

import numpy as np
import pytest

from jaxtransfer.data.leakage import leakage, split_tables
from jaxtransfer.data.source import from_arrays
from jaxtransfer.data.splits import stratified_split
from jaxtransfer.errors import DataError

LONG = "the quick brown fox jumps over the lazy dog and runs far away from the old farm house"


def splits():
    train = from_arrays(
        [LONG, "only here", "spam", "spam"], ["a", "b", "a", "a"], ids=["t0", "t1", "t2", "t3"]
    )
    test = from_arrays(
        [LONG.upper(), LONG + " today", "spam", "something else"],
        ["a", "b", "b", "a"],
        ids=["t0", "x1", "x2", "x3"],
    )
    return {"train": train, "test": test}


def test_pairs_are_counted_by_kind_between_and_within_splits():
    found = leakage(splits(), near="texts")
    between, within_train, within_test = found.overlaps
    assert between.splits == ("train", "test")
    assert (between.exact, between.normalised, between.near) == (2, 1, 1)
    assert between.examples == (3, 3)
    assert between.conflicts == 3
    assert (within_train.exact, within_train.examples) == (1, (2, 2))
    assert (within_test.near, within_test.examples) == (1, (2, 2))
    assert [pair.kind for pair in found.pairs[:4]] == ["exact", "exact", "normalised", "near"]
    assert found.pairs[3].similarity == pytest.approx(16 / 17)
    assert found.shared_ids == ("t0",)
    assert "train-test: pairs 2 exact, 1 normalised, 1 near" in str(found)
    json.dumps(found.to_json(), allow_nan=False)


def test_the_ids_to_remove_are_those_with_a_counterpart_in_the_other_split():
    found = leakage(splits(), near="texts")
    assert found.ids("train", "test") == ("t0", "t2", "t3")
    assert found.ids("test", "train") == ("t0", "x1", "x2")
    assert found.ids("train", "train") == ("t2", "t3")
    with pytest.raises(DataError, match="no split 'dev'; there are"):
        found.ids("dev", "test")
    kept = {
        name: table.take([i for i, x in enumerate(table.ids) if x not in found.ids(name, "test")])
        for name, table in splits().items()
        if name == "train"
    }
    again = leakage({**kept, "test": splits()["test"]}, near="texts")
    assert again.overlaps[0].examples == (0, 0)


def test_without_near_only_equal_content_is_sought():
    found = leakage(splits())
    assert [pair.kind for pair in found.pairs] == ["exact", "exact", "normalised", "exact"]
    assert found.method is None
    assert "near duplicates not sought" in str(found)


def test_arrays_leak_by_embedding_and_by_picture():
    rng = np.random.default_rng(0)
    pictures = np.kron(rng.random((6, 4, 4)), np.ones((8, 8))) * 255
    pictures[4] = pictures[0] * 0.9
    pictures[5] = pictures[1]
    one, other = from_arrays(pictures[:3]), from_arrays(pictures[3:], ids=list("xyz"))
    seen = leakage({"train": one, "test": other}, near="images")
    assert [(p.id_a, p.id_b, p.kind) for p in seen.pairs] == [
        ("1", "z", "exact"),
        ("0", "y", "near"),
    ]
    rows = {"train": np.eye(3), "test": np.array([[0, 0, 2.0], [1, 1, 1], [0, 1, 0.05]])}
    felt = leakage({"train": one, "test": other}, near="embeddings", embeddings=rows)
    near = [(p.id_a, p.id_b) for p in felt.pairs if p.kind == "near"]
    assert near == [("2", "x")]
    assert felt.pairs[0].label_a is None


def test_a_split_after_removing_duplicates_has_no_exact_leak():
    texts = [f"text number {i} about {i * i}" for i in range(40)]
    table = from_arrays(texts, [str(i % 2) for i in range(40)])
    indices = stratified_split(table, {"train": 10, "test": 10}, 0).indices
    tables = split_tables(table, indices)
    assert set(tables) == {"train", "test", "rest"}
    found = leakage(tables)
    assert found.pairs == ()
    assert sum(found.sizes.values()) == 40


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match="no splits"):
        leakage({})
    with pytest.raises(DataError, match=r"options \['threshold'\] serve near duplicates"):
        leakage(splits(), threshold=0.5)
    with pytest.raises(DataError, match="near 'sound' is unknown"):
        leakage(splits(), near="sound")
    with pytest.raises(DataError, match="give embeddings of each of the splits"):
        leakage(splits(), near="embeddings", embeddings={"train": np.eye(4)})
    rows = {"train": np.eye(4), "test": np.eye(4)[:3]}
    with pytest.raises(DataError, match="split 'test' has 4 examples and 3 embeddings"):
        leakage(splits(), near="embeddings", embeddings=rows)
    with pytest.raises(DataError, match="input 0 of split 'a' is a ndarray, not a text"):
        leakage({"a": from_arrays(np.ones((2, 2)))}, near="texts")
