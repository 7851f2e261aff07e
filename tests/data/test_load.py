import subprocess
import sys

import ml_collections
import numpy as np
import pytest

from jaxtransfer.data.load import LOADERS, load_table
from jaxtransfer.errors import ConfigError


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("body,label\nx,a\ny,b\n")
    return path


def test_a_mapping_or_configdict_names_loader_file_and_options(path):
    config = {"kind": "csv", "path": str(path), "text": "body"}
    for mapping in (config, ml_collections.ConfigDict(config)):
        table = load_table(mapping)
        assert table.inputs == ["x", "y"]
        assert table.classes == ("a", "b")


def test_an_unknown_kind_is_named_with_the_nearest(path):
    with pytest.raises(ConfigError, match="unknown kind of data 'cvs'; nearest: 'csv'"):
        load_table({"kind": "cvs", "path": str(path)})
    with pytest.raises(ConfigError, match="lacks 'kind'"):
        load_table({"path": str(path)})


def test_an_unknown_or_lacking_option_is_named(path):
    with pytest.raises(ConfigError, match="takes no option 'lable'; nearest: 'label'"):
        load_table({"kind": "csv", "path": str(path), "lable": "x"})
    for options in ({}, {"path": ""}, {"path": None}):
        with pytest.raises(ConfigError, match="'csv' needs 'path'"):
            load_table({"kind": "csv", **options})
    with pytest.raises(ConfigError, match="'tfds' needs 'name'"):
        load_table({"kind": "tfds"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": 1}, r"'label' of data of kind 'csv' must be str \| None, not 1"),
        ({"encoding": 3}, r"'encoding' .* must be str \| .*Sequence.*, not 3"),
        ({"classes": "ab"}, r"'classes' .* must be .*Sequence.*, not 'ab'"),
        ({"delimiter": None}, "'delimiter' .* must be str, not None"),
        ({"kind": "pixel_csv", "shape": 28}, r"'shape' .* must be .*Sequence\[int\], not 28"),
        ({"kind": ["csv"]}, r"unknown kind of data \['csv'\]"),
    ],
)
def test_an_option_of_another_type_is_named(path, options, message):
    with pytest.raises(ConfigError, match=message):
        load_table({"kind": "csv", "path": str(path), **options})


def test_kinds():
    assert sorted(LOADERS) == [
        "csv", "image_folder", "jsonl", "npz", "parquet", "pixel_csv", "text_folder", "tfds",
    ]  # fmt: skip


def test_importing_the_data_package_imports_no_reader():
    heavy = ["PIL", "grain", "pyarrow", "tokenizers", "tensorflow_datasets", "pandas"]
    code = f"import sys, jaxtransfer.data; print([n for n in {heavy!r} if n in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_shapes_from_a_configdict_are_accepted(tmp_path):
    np.savetxt(tmp_path / "p.csv", np.array([[1, 2, 0], [3, 4, 1]]), fmt="%d", delimiter=",")
    config = ml_collections.ConfigDict(
        {"kind": "pixel_csv", "path": str(tmp_path / "p.csv"), "shape": (1, 2)}
    )
    assert load_table(config).inputs.shape == (2, 1, 2)
