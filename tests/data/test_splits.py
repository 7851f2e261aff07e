import itertools
import json

import numpy as np
import pytest

from jaxtransfer.data.source import from_arrays
from jaxtransfer.data.splits import REST, Splits, halves, nested_subsets, stratified_split
from jaxtransfer.errors import DataError


def table(*sizes):
    labels = [name for name, size in zip("abcdef", sizes) for _ in range(size)]
    return from_arrays([f"text {row}" for row in range(len(labels))], labels)


def counts(data, rows):
    return np.bincount(data.labels[rows], minlength=len(data.classes)).tolist()


def test_splits_are_disjoint_exact_and_leave_the_rest():
    data = table(40, 30, 30)
    splits = stratified_split(data, {"train": 9, "validation": 20, "test": 31}, seed=0)
    assert {name: len(rows) for name, rows in splits.indices.items()} == {
        "train": 9,
        "validation": 20,
        "test": 31,
        REST: 40,
    }
    together = np.concatenate(list(splits.indices.values()))
    assert sorted(together.tolist()) == list(range(100))
    assert splits.ids["test"] == tuple(data.ids[splits["test"]].tolist())


def test_training_is_balanced_and_the_others_proportional():
    data = table(60, 30, 10)
    splits = stratified_split(data, {"train": 6, "validation": 20}, seed=0)
    assert counts(data, splits["train"]) == [2, 2, 2]
    assert counts(data, splits["validation"]) == [12, 6, 2]
    proportional = stratified_split(data, {"train": 10}, seed=0, balanced=())
    assert counts(data, proportional["train"]) == [6, 3, 1]


@pytest.mark.parametrize("balanced", [("train",), ()])
def test_a_smaller_training_budget_is_the_prefix_of_a_larger_and_moves_nothing_else(balanced):
    # With these sizes largest remainders give a class fewer seats as the total grows to 22.
    data = table(60, 44, 36, 30)
    drawn = [
        stratified_split(
            data, {"train": size, "validation": 30, "test": 40}, seed=4, balanced=balanced
        )
        for size in range(1, 60)
    ]
    for smaller, larger in itertools.pairwise(drawn):
        assert larger["train"][:-1].tolist() == smaller["train"].tolist()
        assert larger["test"].tolist() == smaller["test"].tolist()
        assert larger["validation"].tolist() == smaller["validation"].tolist()


def test_seats_go_to_classes_by_sainte_lague():
    # By D'Hondt's divisors it would be [4, 2, 1].
    data = table(53, 24, 23)
    splits = stratified_split(data, {"test": 7}, seed=0)
    assert counts(data, splits["test"]) == [3, 2, 2]


def test_another_test_split_leaves_the_training_split_as_it_was():
    small, large = (
        stratified_split(table(20, 20), {"train": 10, "test": size}, seed=1) for size in (2, 20)
    )
    assert small["train"].tolist() == large["train"].tolist()


def test_classes_are_shuffled_independently():
    splits = stratified_split(table(30, 30), {"train": 60}, seed=0)
    first, second = (splits["train"][start::2] % 30 for start in (0, 1))
    assert sorted(first) == sorted(second)
    assert first.tolist() != second.tolist()


def test_a_share_of_the_table_is_a_size():
    for share in (0.25, np.float32(0.25)):
        splits = stratified_split(table(10, 10), {"test": share}, seed=0)
        assert len(splits["test"]) == 5


def test_shares_are_rounded_down_and_never_exceed_the_table_together():
    splits = stratified_split(table(8, 7), {"a": 0.5, "b": 0.25, "c": 0.25}, seed=0, balanced=())
    assert [len(splits[name]) for name in ("a", "b", "c", REST)] == [7, 3, 3, 2]
    for hundredths in range(1, 100):
        splits = stratified_split(table(60, 40), {"test": hundredths / 100}, seed=0)
        assert len(splits["test"]) == hundredths


def test_splits_do_not_depend_on_the_order_in_which_they_are_named():
    budgets = {"validation": 5, "train": 4, "test": 6}
    one = stratified_split(table(20, 20), budgets, seed=1)
    two = stratified_split(table(20, 20), dict(reversed(budgets.items())), seed=1)
    assert one.hash == two.hash


def test_the_hash_depends_on_the_seed_and_is_that_of_the_saved_file(tmp_path):
    data = table(20, 20)
    splits = stratified_split(data, {"train": 4, "test": 6}, seed=1)
    assert splits.hash != stratified_split(data, {"train": 4, "test": 6}, seed=2).hash
    splits.save(tmp_path / "splits.json")
    loaded = Splits.load(tmp_path / "splits.json", data)
    assert loaded.hash == splits.hash == json.loads((tmp_path / "splits.json").read_text())["hash"]
    assert loaded.seed == 1
    for name, rows in splits.indices.items():
        np.testing.assert_array_equal(loaded[name], rows)


def test_stored_splits_of_another_table_or_changed_ones_are_refused(tmp_path):
    data = table(20, 20)
    path = tmp_path / "splits.json"
    stratified_split(data, {"train": 4}, seed=1).save(path)
    with pytest.raises(DataError, match="made of other examples"):
        Splits.load(path, data.take(np.arange(39, -1, -1)))
    path.write_text(
        path.read_text().replace('"ids": {\n  "train": [\n   "', '"ids": {\n  "train": [\n   "9')
    )
    with pytest.raises(DataError, match="was changed"):
        Splits.load(path, data)
    path.write_text("{")
    with pytest.raises(DataError, match="cannot read splits"):
        Splits.load(path, data)


def test_a_class_with_too_few_examples_is_named_with_asked_and_available():
    message = r"'train' asks for 5 examples of class 'b', but 3 are available \(3 in all, 0 in"
    with pytest.raises(DataError, match=message):
        stratified_split(table(20, 3), {"train": 10}, seed=0)


def test_a_class_without_examples_is_named():
    data = from_arrays(["x", "y"], ["a", "b"], classes=["a", "b", "c"])
    with pytest.raises(DataError, match="class 'c' has no examples"):
        stratified_split(data, {"train": 2}, seed=0)


def test_more_than_there_are_is_refused():
    with pytest.raises(DataError, match=r"ask for 11 examples .* there are 10"):
        stratified_split(table(5, 5), {"train": 4, "test": 7}, seed=0)


def test_proportional_splits_can_use_up_the_table_exactly():
    data = table(3, 3, 3, 1)
    splits = stratified_split(data, {"a": 4, "b": 3, "c": 3}, seed=0, balanced=())
    assert [len(splits[name]) for name in ("a", "b", "c", REST)] == [4, 3, 3, 0]


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        ({"rest": 1}, "is what the other splits leave"),
        ({"train": -1}, "asks for -1"),
        ({"train": 1.5}, "asks for 1.5 examples; a size is a count, or a share in"),
        ({"train": 1.0}, "asks for 1.0"),
        ({"train": float("nan")}, "asks for nan"),
        ({"train": True}, "asks for True"),
        ({"train": "2"}, "asks for '2'"),
        ({"test": 0.09}, "asks for the share 0.09 of 10 examples, which is not one"),
    ],
)
def test_budgets_without_meaning_are_refused(budgets, message):
    with pytest.raises(DataError, match=message):
        stratified_split(table(5, 5), budgets, seed=0)


def test_a_table_without_labels_cannot_be_stratified():
    with pytest.raises(DataError, match="no labels to stratify by"):
        stratified_split(from_arrays(["x"]), {"train": 1}, seed=0)


def test_balanced_names_a_split():
    with pytest.raises(DataError, match=r"balanced names \['tain'\]"):
        stratified_split(table(5, 5), {"train": 2}, seed=0, balanced=["tain"])


@pytest.mark.parametrize("sizes", [(7, 5, 2), (1, 1, 1), (10, 10)])
def test_halves_are_disjoint_and_differ_by_one_at_most_in_size_and_every_class(sizes):
    data = table(*sizes)
    rows = np.arange(len(data))[::-1]
    first, second = halves(rows, data.labels[rows], seed=3)
    assert sorted([*first, *second]) == list(range(len(data)))
    assert len(first) - len(second) in (0, 1)
    difference = np.array(counts(data, first)) - counts(data, second)
    assert np.abs(difference).max() <= 1


def test_halves_refuse_labels_of_the_whole_table():
    with pytest.raises(DataError, match="give those of the positions alone"):
        halves(np.arange(4), np.zeros(9, int), seed=0)


def test_nested_subsets_are_prefixes_of_one_order_and_stratified():
    data = table(40, 30, 20)
    pool = np.arange(5, 85)
    labels = data.labels[pool]
    drawn = nested_subsets(pool, labels, [30, 6, 15], seed=3)
    assert list(drawn) == [6, 15, 30]
    for smaller, larger in itertools.pairwise(drawn.values()):
        assert larger[: len(smaller)].tolist() == smaller.tolist()
    assert counts(data, drawn[15]) == [5, 5, 5]
    assert set(drawn[30].tolist()) <= set(pool.tolist())
    assert len(set(drawn[30].tolist())) == 30
    proportional = nested_subsets(np.arange(90), data.labels, [9], seed=3, balanced=False)
    assert counts(data, proportional[9]) == [4, 3, 2]


def test_nested_subsets_depend_on_seed_and_pool_alone():
    pool, labels = np.arange(40), np.repeat([0, 1], 20)
    one = nested_subsets(pool, labels, [10, 20], seed=1)
    assert nested_subsets(pool, labels, [10], seed=1)[10].tolist() == one[10].tolist()
    assert nested_subsets(pool, labels, [10], seed=2)[10].tolist() != one[10].tolist()


def test_nested_subsets_that_cannot_be_drawn_are_refused():
    pool, labels = np.arange(12), np.repeat([0, 1], [9, 3])
    cases = [
        (labels[:5], [4], "5 labels for 12 positions"),
        (labels, [], "not different positive numbers"),
        (labels, [0, 4], "not different positive numbers"),
        (labels, [4, 4], "not different positive numbers"),
        (labels, [13], "a subset of 13 is asked of a pool of 12"),
        (labels, [4, 8], "class 1 has 3 examples in the pool of 12: .* that it allows is 7"),
    ]
    for given, sizes, message in cases:
        with pytest.raises(DataError, match=message):
            nested_subsets(pool, given, sizes, seed=0)
    assert len(nested_subsets(pool, labels, [7], seed=0)[7]) == 7
