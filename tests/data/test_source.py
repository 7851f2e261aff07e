import numpy as np
import pytest

from jaxtransfer.data.source import Table, encode_labels, from_arrays
from jaxtransfer.errors import DataError


def letters(**changes):
    fields = {
        "ids": np.array(["x", "y", "z"]),
        "inputs": ["a", "b", "c"],
        "labels": np.array([0, 1, 0]),
        "classes": ("no", "yes"),
        "metadata": {"domain": np.array(["d", "e", "f"])},
    }
    return Table(**{**fields, **changes})


def test_take_keeps_columns_together_in_the_order_asked():
    table = letters().take([2, 0])
    assert table.ids.tolist() == ["z", "x"]
    assert table.inputs == ["c", "a"]
    assert table.labels.tolist() == [0, 0]
    assert table.metadata["domain"].tolist() == ["f", "d"]


@pytest.mark.parametrize(
    "changes",
    [
        {"ids": np.array(["x", "y", "w"])},
        {"inputs": ["a", "b", "C"]},
        {"labels": np.array([0, 1, 1])},
        {"classes": ("nay", "yes")},
    ],
)
def test_fingerprint_depends_on_ids_contents_labels_and_classes(changes):
    assert letters(**changes).fingerprint != letters().fingerprint


def test_fingerprint_depends_on_order_and_not_on_identity():
    assert letters().fingerprint == letters().fingerprint
    assert letters().take([1, 0, 2]).fingerprint != letters().fingerprint


def test_identity_counts_metadata_and_predictions_do_not():
    plain, domains = letters(metadata={}), {"domain": np.array(["web", "web", "print"])}
    found = letters(metadata=domains)
    assert plain.identity == plain.fingerprint == found.fingerprint != found.identity
    others = (
        {"domain": np.array(["web", "print", "print"])},
        {"source": domains["domain"]},
        domains | {"year": np.array([1, 2, 3])},
    )
    assert len({found.identity, *(letters(metadata=one).identity for one in others)}) == 4
    year, same = {"year": np.array([1, 2, 3])}, {"domain": domains["domain"].astype("<U9")}
    assert letters(metadata=domains | year).identity == letters(metadata=year | domains).identity
    assert letters(metadata=same).identity == found.identity


def test_arrays_of_equal_bytes_and_different_shape_or_dtype_differ_in_content():
    flat = from_arrays(np.zeros((1, 4), np.uint8)).contents
    square = from_arrays(np.zeros((1, 2, 2), np.uint8)).contents
    signed = from_arrays(np.zeros((1, 4), np.int8)).contents
    assert len({flat, square, signed}) == 3


def test_a_repeated_id_is_named():
    with pytest.raises(DataError, match=r"1 ids occur more than once, such as \['x'\]"):
        letters(ids=np.array(["x", "y", "x"]))


def test_columns_of_different_length_are_refused():
    with pytest.raises(DataError, match="inputs has 2 rows, but there are 3 ids"):
        letters(inputs=["a", "b"])


def test_a_label_out_of_range_is_named_with_its_example():
    with pytest.raises(DataError, match=r"label 2 of 'y' is outside 0\.\.1"):
        letters(labels=np.array([0, 2, 0]))


def test_counts_include_classes_without_examples():
    assert letters(classes=("no", "yes", "perhaps")).counts() == {"no": 2, "yes": 1, "perhaps": 0}


def test_classes_are_sorted_by_name_and_whole_numbers_by_value():
    assert encode_labels(["b", "a"], ["1", "2"])[1] == ("a", "b")
    assert encode_labels(["10", "9"], ["1", "2"])[1] == ("9", "10")


def test_given_classes_keep_their_order():
    labels, classes = encode_labels(["b", "a"], ["1", "2"], classes=["b", "a"])
    assert labels.tolist() == [0, 1]
    assert classes == ("b", "a")


def test_a_label_unseen_in_training_is_named_with_its_place_and_the_nearest_class():
    with pytest.raises(DataError, match=r"'sprots' of f\.csv:7 is not a known class; .*'sports'"):
        encode_labels(["sprots"], ["f.csv:7"], classes=["sports", "tech"])


def test_an_empty_label_is_named_with_its_place():
    with pytest.raises(DataError, match=r"f\.csv:7 has an empty label"):
        encode_labels([""], ["f.csv:7"])


def test_integer_labels_are_positions_in_given_classes_and_names_otherwise():
    named = from_arrays(["a", "b"], [1, 0], classes=["no", "yes"])
    assert [named.classes[k] for k in named.labels] == ["yes", "no"]
    numbered = from_arrays(["a", "b", "c"], np.array([30, 4, 30]))
    assert numbered.classes == ("4", "30")
    assert numbered.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.eye(2), r"labels have shape \(2, 2\)"),
        (np.eye(2, dtype=int), r"labels have shape \(2, 2\)"),
        (np.array(1), r"labels have shape \(\)"),
        (np.array([b"a", b"b"]), r"dtype \|S1; give one class name or number"),
        (np.array([0.0, np.nan]), "the label of row 1 is nan"),
    ],
)
def test_labels_that_name_no_class_are_refused(labels, message):
    with pytest.raises(DataError, match=message):
        from_arrays(["a", "b"], labels)


def test_a_text_without_utf8_is_named_by_its_row():
    with pytest.raises(DataError, match=r"input 1 holds .* half of a character"):
        _ = from_arrays(["a", "b\ud800"]).fingerprint


def test_labels_of_another_length_are_refused():
    with pytest.raises(DataError, match="labels has 1 rows, but there are 2 inputs"):
        from_arrays(["a", "b"], ["x"])
