"""A features table comes back as it was saved, and says where it is malformed."""

import numpy as np
import pytest

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.drift import Batch
from jaxtransfer.evaluation.features import Features


def table(**changes):
    rng = np.random.default_rng(0)
    fields = {
        "ids": np.array(["a", "b", "c"]),
        "features": rng.normal(size=(3, 2)).astype(np.float32),
        "logits": rng.normal(size=(3, 4)),
        "labels": np.array([0, 3, 1]),
        "split": np.array(["x", "y", "x"]),
    }
    return Features(**fields | changes)


def test_what_is_saved_is_loaded(tmp_path):
    saved = table()
    loaded = Features.load(saved.save(tmp_path / "deep" / "features.npz"))
    for name in ("ids", "features", "logits", "labels", "split"):
        assert np.array_equal(getattr(loaded, name), getattr(saved, name))
        assert getattr(loaded, name).dtype == getattr(saved, name).dtype
    bare = Features(ids=[1, 2], features=[[1], [2]])
    again = Features.load(bare.save(tmp_path / "bare.npz"))
    assert again.logits is again.labels is again.split is None
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_rows_are_taken_in_order_and_by_split():
    chosen = table().take([2, 0])
    assert chosen.ids.tolist() == ["c", "a"]
    assert chosen.labels.tolist() == [1, 0]
    assert table().select("x").ids.tolist() == ["a", "c"]
    assert Features(ids=["a"], features=[3.0]).features.shape == (1, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": ["a", "b", "a"]}, "column 'id', row 2: 'a' is also the id of row 0"),
        ({"ids": [], "features": np.zeros((0, 2))}, "no rows"),
        ({"features": np.zeros((2, 2))}, r"'features' must be real numbers of shape \(3, any\)"),
        ({"features": np.array([[1, 2], [3, np.nan], [1, 2]])}, r"row 1 \(id 'b'\), dimension 1"),
        ({"logits": np.array([["1"], ["2"], ["3"]])}, "'logits' must be real numbers"),
        ({"labels": np.array([0, 4, 1])}, r"row 1 \(id 'b'\): 4 is no class; they are 0..3"),
        ({"labels": np.array([0, -1, 1]), "logits": None}, "-1 is no class; they are 0 or more"),
        ({"labels": np.array([0.5, 1, 2])}, "'label' must be integers"),
        ({"split": ["x", "y"]}, r"column 'split' must be strings or integers of shape \(3,\)"),
    ],
)
def test_malformed_columns_are_named(changes, message):
    with pytest.raises(EvaluationError, match=message):
        table(**changes)


def test_malformed_files_are_named(tmp_path):
    with pytest.raises(EvaluationError, match=r"end the name in \.npz"):
        table().save(tmp_path / "features.csv")
    with pytest.raises(EvaluationError, match="no such file"):
        Features.load(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("id,features")
    with pytest.raises(EvaluationError, match=r"text\.npz: not a readable"):
        Features.load(tmp_path / "text.npz")
    np.savez(tmp_path / "odd.npz", id=[1], features=[[1.0]], labels=[0])
    with pytest.raises(EvaluationError, match="unknown column 'labels'; nearest: 'label'"):
        Features.load(tmp_path / "odd.npz")
    np.savez(tmp_path / "lacking.npz", id=[1])
    with pytest.raises(EvaluationError, match="column 'features' is missing"):
        Features.load(tmp_path / "lacking.npz")


def test_what_is_needed_and_lacking_is_named():
    with pytest.raises(EvaluationError, match="no column 'label'"):
        table(labels=None).need("logits", "label")
    with pytest.raises(EvaluationError, match="no row of split 'z'; it has"):
        table().select("z")


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (np.array([True]), r"a mask of shape \(1,\) cannot choose among 3 rows"),
        (np.ones((3, 2), bool), r"a mask of shape \(3, 2\) cannot choose"),
        ([7], "rows cannot be taken: index 7"),
        ([], "the (table|batch) has no rows"),
    ],
)
def test_rows_that_cannot_be_taken_are_refused_by_name(indices, message):
    features = Features(ids=[1, 2, 3], features=np.eye(3), source="f.npz")
    batch = Batch(ids=[1, 2, 3], features=np.eye(3), source="f.npz")
    for rows in (features, batch):
        assert rows.take(slice(1, None)).ids.tolist() == ["2", "3"]
        with pytest.raises(EvaluationError, match=f"f.npz: {message}"):
            rows.take(indices)
