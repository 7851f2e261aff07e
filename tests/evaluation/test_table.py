"""The predictions table refuses what is malformed by name, and survives its file."""

import pathlib

import numpy as np
import pytest

from jaxtransfer.errors import EvaluationError, WorkdirError
from jaxtransfer.evaluation.metrics import value
from jaxtransfer.evaluation.rows import concatenate
from jaxtransfer.evaluation.table import Predictions


def make(**changes):
    columns = {
        "ids": np.array(["a", "b", "c"]),
        "labels": np.array([0, 1, 1], np.int32),
        "logits": np.array([[1, 0], [0, 2], [3, 1]], np.float32),
        "classes": ("no", "yes"),
        "split": np.array(["test", "test", "validation"]),
        "groups": {"length": np.array(["short", "long", "long"])},
    }
    return Predictions(**{**columns, **changes})


def test_a_table_returns_from_its_file_to_the_bit(tmp_path):
    table = make()
    loaded = Predictions.load(table.save(tmp_path / "deep" / "t.npz"))
    for name in ("ids", "labels", "logits", "split"):
        a, b = getattr(table, name), getattr(loaded, name)
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    assert loaded.classes == table.classes
    np.testing.assert_array_equal(loaded.groups["length"], table.groups["length"])
    assert loaded.source.endswith("t.npz")


def test_equal_tables_are_equal_files(tmp_path):
    first, second = (make().save(tmp_path / name).read_bytes() for name in ("a.npz", "b.npz"))
    assert first == second
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_float64_logits_stay_float64_and_others_become_float32():
    assert make(logits=np.ones((3, 2), np.float64)).logits.dtype == np.float64
    assert make(logits=np.ones((3, 2), np.float16)).logits.dtype == np.float32


def test_bfloat16_logits_become_float32():
    import jax.numpy as jnp

    assert make(logits=jnp.ones((3, 2), jnp.bfloat16)).logits.dtype == np.float32


def test_integer_ids_become_strings():
    assert make(ids=np.arange(3)).ids.tolist() == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": np.array(["a", "b", "a"])}, "column 'id', row 2: 'a' is also the id of row 0"),
        ({"ids": np.array([1.0, 2.0, 3.0])}, "column 'id' must be strings or integers"),
        ({"labels": np.array([0, 1, 2])}, r"'label', row 2 \(id 'c'\): 2 is outside the 2 classes"),
        ({"labels": np.array([0, 1, -1])}, r"'label', row 2 \(id 'c'\): -1 is outside"),
        ({"labels": np.array([0.0, 1.0, 1.0])}, "column 'label' must be integers"),
        (
            {"logits": np.array([[0, 0], [0, np.nan], [0, np.inf]])},
            r"'logits', row 1 \(id 'b'\), class 'yes': nan is not finite \(2 such rows\)",
        ),
        ({"logits": np.ones((3, 3))}, r"= \(3, 2\), not float64 of shape \(3, 3\)"),
        ({"classes": ("no", "no")}, "at least two different names"),
        ({"split": np.array(["test"])}, r"column 'split' must be .* of shape \(3,\)"),
        ({"groups": {"age": np.array([1.5, 2, 3])}}, "column 'group_age' must be strings"),
        ({"ids": np.array([])}, "has no rows"),
    ],
)
def test_a_malformed_column_is_refused_by_source_column_and_row(changes, message):
    with pytest.raises(EvaluationError, match=message):
        make(**changes, source="runs/x.npz")


def test_a_missing_and_an_unknown_column_are_named_with_the_file(tmp_path):
    np.savez(tmp_path / "t.npz", id=np.array(["a"]), logits=np.ones((1, 2)))
    with pytest.raises(EvaluationError, match=r"t\.npz: column 'label' is missing"):
        Predictions.load(tmp_path / "t.npz")
    np.savez(
        tmp_path / "u.npz",
        id=np.array(["a"]),
        label=np.array([0]),
        logits=np.ones((1, 2)),
        splits=1,
    )
    with pytest.raises(EvaluationError, match=r"u\.npz: unknown column 'splits'; nearest: 'split'"):
        Predictions.load(tmp_path / "u.npz")


def test_a_foreign_table_needs_three_columns(tmp_path):
    np.savez(
        tmp_path / "t.npz",
        id=np.arange(2),
        label=np.array([0, 1]),
        logits=np.eye(2),
        group=np.array(["x", "y"]),
        group_age=np.array([30, 40]),
    )
    table = Predictions.load(tmp_path / "t.npz")
    assert table.classes == ("0", "1")
    assert table.split is None
    assert {name: column.tolist() for name, column in table.groups.items()} == {
        "group": ["x", "y"],
        "age": ["30", "40"],
    }


@pytest.mark.parametrize("kind", ["pickle", "truncated", "text", "npy"])
def test_an_unreadable_file_is_refused_by_name(tmp_path, kind):
    path = tmp_path / "t.npz"
    if kind == "pickle":
        np.savez(path, id=np.array([{}], dtype=object))
    elif kind == "truncated":
        make().save(path)
        path.write_bytes(path.read_bytes()[:300])
    elif kind == "text":
        path.write_text("id,label\n")
    else:
        with path.open("wb") as file:
            np.save(file, np.ones(3))
    with pytest.raises(EvaluationError, match=r"t\.npz: not a readable"):
        Predictions.load(path)


def test_a_missing_file_is_said():
    with pytest.raises(EvaluationError, match=r"nowhere\.npz: there is no such file"):
        Predictions.load("nowhere.npz")


def test_a_failed_write_keeps_the_old_file_and_names_it(tmp_path, monkeypatch):
    path = make().save(tmp_path / "t.npz")
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(WorkdirError, match=r"t\.npz: .*No space left"):
        make(labels=np.array([1, 1, 1])).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["t.npz"]


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(EvaluationError, match=r"end the name in one"):
        make().save(pathlib.Path(tmp_path) / "t.json")


def test_select_takes_a_split_and_names_those_there_are():
    assert make().select("test").ids.tolist() == ["a", "b"]
    with pytest.raises(EvaluationError, match=r"no row of split 'tset'; it has \['test', 'valid"):
        make().select("tset")
    with pytest.raises(EvaluationError, match="no column 'split'"):
        make(split=None).select("test")


def test_concatenate_inverts_select():
    table = make()
    joined = concatenate([table.select("test"), table.select("validation")])
    np.testing.assert_array_equal(joined.ids, table.ids)
    np.testing.assert_array_equal(joined.logits, table.logits)
    with pytest.raises(EvaluationError, match="'a' is also the id of row 0"):
        concatenate([table, table])
    with pytest.raises(EvaluationError, match="different columns"):
        concatenate([table, make(split=None)])
    with pytest.raises(EvaluationError, match="different classes"):
        concatenate([table, make(classes=("a", "b"))])


def test_align_pairs_by_id_and_refuses_what_does_not_pair():
    table, shuffled = make(), make().take([2, 0, 1])
    np.testing.assert_array_equal(shuffled.align(table).logits, table.logits)
    with pytest.raises(EvaluationError, match="2 ids are in one of them only, such as"):
        make(ids=np.array(["a", "b", "d"])).align(table)
    with pytest.raises(EvaluationError, match="disagree on the label of id 'b': 0 and 1"):
        make(labels=np.array([0, 0, 1])).align(table)


def test_logits_beyond_exp_rank_and_tie_without_a_nan():
    table = Predictions(
        ids=list("abc"),
        labels=[0, 1, 1],
        logits=1e308 * np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, -1.0]]),
        classes=("x", "y"),
    )
    # The second positive ties with the negative and counts one half.
    assert value(table, "auroc_ovr_macro") == 0.75
