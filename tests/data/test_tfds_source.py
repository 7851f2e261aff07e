import sys

import numpy as np
import pytest

from jaxtransfer.data.examples import Examples
from jaxtransfer.data.images import ImagePreprocess
from jaxtransfer.data.stream import Stream
from jaxtransfer.data.tfds_source import Features, tfds
from jaxtransfer.errors import DataError

tensorflow_datasets = pytest.importorskip("tensorflow_datasets")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_a_split_is_read_by_random_access_without_tensorflow():
    with tensorflow_datasets.testing.mock_data(num_examples=5):
        table = tfds("mnist", split="train")
        assert len(table) == 5
        assert table.inputs[3].shape == (28, 28, 1)
        assert table.classes == tuple("0123456789")
        batch = Stream(Examples(table, ImagePreprocess(8)), 4, seed=0).batch(0)
        assert batch["inputs"]["image"].shape == (4, 8, 8, 3)
        np.testing.assert_array_equal(batch["label"], table.labels[batch["id"]])
    assert "tensorflow" not in sys.modules


def test_texts_are_decoded_and_ids_name_the_version():
    with tensorflow_datasets.testing.mock_data(num_examples=2):
        table = tfds("imdb_reviews", split="test", input="text")
        assert isinstance(table.inputs[0], str)
        assert table.ids[1].startswith("imdb_reviews/plain_text/")
        assert table.ids[1].endswith("/test:1")


def test_unknown_data_sets_and_features_are_named_with_the_nearest():
    with pytest.raises(DataError, match=r"unknown TFDS data set 'mnits'; nearest: .*'mnist'"):
        tfds("mnits")
    with pytest.raises(DataError, match="has no feature 'images'; nearest: 'image'"):
        tfds("mnist", input="images")


def test_a_data_set_that_is_not_prepared_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot read split 'train' of 'mnist'"):
        tfds("mnist", data_dir=str(tmp_path))


def test_a_feature_of_bytes_is_a_text_in_utf8_or_an_error_that_names_its_record():
    records = [{"text": "café".encode(), "image": 3}, {"text": b"\xff", "image": 4}]
    assert Features(records, "text")[0] == "café"
    assert list(Features(records, "image")) == [3, 4]
    with pytest.raises(DataError, match="'text' of record 1 is not UTF-8"):
        Features(records, "text")[1]
