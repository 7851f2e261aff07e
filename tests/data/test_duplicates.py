import numpy as np
import pytest

from jaxtransfer.data.duplicates import deduplicate
from jaxtransfer.data.source import Table, from_arrays
from jaxtransfer.errors import DataError


def repeated():
    return Table(
        ids=np.array(["d", "c", "b", "a", "e"]),
        inputs=["same", "Same", "same", "twice", "twice"],
        labels=np.array([0, 0, 0, 0, 1]),
        classes=("x", "y"),
    )


def test_the_first_by_id_is_kept_and_the_order_is_not_changed():
    table, found = deduplicate(repeated())
    assert table.ids.tolist() == ["c", "b", "a"]
    assert found.groups == (("a", "e"), ("b", "d"))
    assert found.removed == ("d", "e")


def test_equal_inputs_with_different_labels_are_reported_and_dropped_on_demand():
    _, found = deduplicate(repeated())
    assert found.conflicts == (("a", "e"),)
    assert "removed 2 of 5" in found.summary()
    assert "the labels differ" in found.summary()
    table, found = deduplicate(repeated(), conflicts="drop")
    assert table.ids.tolist() == ["c", "b"]
    assert found.removed == ("d", "a", "e")
    with pytest.raises(DataError, match="choose 'keep' or 'drop'"):
        deduplicate(repeated(), conflicts="ignore")


def test_what_remains_holds_no_duplicates():
    once, _ = deduplicate(repeated())
    again, found = deduplicate(once)
    assert again.ids.tolist() == once.ids.tolist()
    assert found.summary() == "no exact duplicates among 3 examples"


def test_arrays_are_compared_by_value():
    table, _ = deduplicate(from_arrays(np.array([[1, 2], [3, 4], [1, 2]])))
    assert table.ids.tolist() == ["0", "1"]
