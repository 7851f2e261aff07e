import pickle

import numpy as np
import pytest

from jaxtransfer.data.examples import UNLABELLED, ArrayExamples, Examples
from jaxtransfer.data.source import from_arrays
from jaxtransfer.errors import DataError


class Lengths:
    """Counts how many texts it was given."""

    fingerprint = "lengths"

    def __init__(self):
        self.seen = 0

    def __call__(self, texts):
        self.seen += len(texts)
        return {"length": np.array([len(text) for text in texts], np.int32)}


def texts():
    return from_arrays(["a", "bb", "ccc", "dddd"], ["x", "y", "x", "y"])


def test_inputs_follow_the_indices_and_repeat_where_they_do():
    examples = Examples(texts(), Lengths())
    assert examples.inputs([3, 0, 3])["length"].tolist() == [4, 1, 4]
    assert examples.inputs([1, 2])["length"].tolist() == [2, 3]


def test_each_example_is_preprocessed_once_while_all_fit():
    count = Lengths()
    examples = Examples(texts(), count)
    for _ in range(3):
        examples.inputs([0, 1])
        examples.inputs([1, 2, 3])
    assert count.seen == 4


def test_beyond_the_memory_budget_nothing_is_kept():
    count = Lengths()
    examples = Examples(texts(), count, memory_budget=15)
    for _ in range(2):
        assert examples.inputs([0, 3])["length"].tolist() == [1, 4]
    assert count.seen == 4


def test_what_a_caller_does_to_a_batch_does_not_change_the_next():
    examples = Examples(texts(), Lengths())
    examples.inputs([0])["length"][:] = 9
    assert examples.inputs([0])["length"].tolist() == [1]


def test_labels_are_int32_and_unlabelled_where_there_are_none():
    assert Examples(texts()).labels.dtype == np.int32
    assert Examples(from_arrays(["a"])).labels.tolist() == [UNLABELLED]


def test_without_preprocessing_raw_arrays_are_stacked():
    examples = Examples(from_arrays(np.arange(6.0).reshape(3, 2)))
    np.testing.assert_array_equal(examples.inputs([2, 1])["inputs"], [[4, 5], [2, 3]])


def test_fingerprint_depends_on_table_and_preprocessing():
    other = Lengths()
    other.fingerprint = "other"
    prints = {
        Examples(texts(), Lengths()).fingerprint,
        Examples(texts(), other).fingerprint,
        Examples(texts().take([0, 1]), Lengths()).fingerprint,
    }
    assert len(prints) == 3
    assert Examples(texts(), Lengths()).fingerprint in prints


def test_examples_travel_to_another_process_without_kept_arrays():
    examples = Examples(from_arrays(np.arange(4.0).reshape(4, 1)))
    examples.inputs([0])
    copy = pickle.loads(pickle.dumps(examples))
    np.testing.assert_array_equal(copy.inputs([3])["inputs"], [[3]])


def test_preprocessing_that_loses_rows_is_refused():
    class Lossy(Lengths):
        def __call__(self, texts):
            return {"length": np.zeros(1)}

    with pytest.raises(DataError, match="made 1 rows of 'length' from 2 inputs"):
        Examples(texts(), Lossy()).inputs([0, 1])


@pytest.mark.parametrize("budget", [0, 10**6])
def test_rows_of_another_dtype_or_shape_are_refused_and_neither_cast_nor_broadcast(budget):
    for first, second in (([1, 2], [0.5, 0.25]), ([0.0, 0.0], [1.0]), ([0.0], [1.0, 2.0])):
        table = from_arrays([np.array(first), np.array(second)])
        with pytest.raises(DataError, match=r"'inputs' of example 1 is .* one shape and dtype"):
            Examples(table, memory_budget=budget).inputs([0, 1])
    examples = Examples(from_arrays([np.array([1, 2]), np.array([0.5, 0.25])]))
    examples.inputs([0])
    with pytest.raises(DataError, match=r"'inputs' of example 1 is float64.* int64"):
        examples.inputs([1])


def test_no_indices_give_arrays_of_no_rows():
    assert Examples(texts(), Lengths()).inputs([])["length"].shape == (0,)


def arrays(**changes):
    fields = {"ids": ["a", "b"], "labels": [0, 1], "arrays": {"f": np.array([[1.0], [2.0]])}}
    return ArrayExamples(**{**fields, **changes})


def test_array_examples_have_the_members_of_examples():
    taken = arrays().take([1])
    assert taken.ids.tolist() == ["b"]
    assert taken.labels.tolist() == [1]
    np.testing.assert_array_equal(taken.inputs([0])["f"], [[2.0]])
    assert len(taken) == 1


def test_array_fingerprint_depends_on_content_or_the_key_that_stands_for_it():
    other = {"f": np.array([[1.0], [3.0]])}
    assert arrays().fingerprint != arrays(arrays=other).fingerprint
    assert arrays(key="k").fingerprint == arrays(arrays=other, key="k").fingerprint
    assert arrays(key="k").take([0]).fingerprint != arrays(key="k").take([1]).fingerprint


def test_array_examples_read_memory_maps(tmp_path):
    np.save(tmp_path / "f.npy", np.arange(6.0).reshape(3, 2))
    mapped = np.load(tmp_path / "f.npy", mmap_mode="r")
    examples = ArrayExamples(["a", "b", "c"], [0, 0, 0], {"f": mapped})
    batch = examples.inputs([2, 0])["f"]
    np.testing.assert_array_equal(batch, [[4, 5], [0, 1]])


def test_arrays_of_another_length_are_refused():
    with pytest.raises(DataError, match="f has 1 rows, but there are 2 ids"):
        arrays(arrays={"f": np.zeros((1, 1))})
