import pickle

import numpy as np
import pytest
import tokenizers

from jaxtransfer.data.text import Tokenize
from jaxtransfer.errors import DataError

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "the", "cat", "sat"]


@pytest.fixture
def file(tmp_path):
    """A whole-word tokenizer with BERT's template; its file truncates and pads by itself."""
    model = tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(WORDS[:4])
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_rows_have_one_length_with_special_tokens_kept(file):
    batch = Tokenize(file, 5)(["the cat", "the cat sat the cat", ""])
    expected = [[1, 4, 5, 2, 0], [1, 4, 5, 6, 2], [1, 2, 0, 0, 0]]
    np.testing.assert_array_equal(batch["input_ids"], expected)
    np.testing.assert_array_equal(
        batch["attention_mask"], [[1, 1, 1, 1, 0], [1] * 5, [1, 1, 0, 0, 0]]
    )
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int32)}


def test_a_row_does_not_depend_on_its_batch(file):
    tokenize = Tokenize(file, 6)
    texts = ["the cat", "sat", "the dog sat the the the"]
    whole = tokenize(texts)["input_ids"]
    for row, text in enumerate(texts):
        np.testing.assert_array_equal(tokenize([text])["input_ids"][0], whole[row])


def test_what_is_cut_is_counted(file):
    tokenize = Tokenize(file, 5)
    texts = ["the cat", "the cat sat", "the cat sat the"]
    assert tokenize.lengths(texts).tolist() == [4, 5, 6]
    assert tokenize.truncated(texts) == 1


def test_no_texts_give_no_rows(file):
    assert Tokenize(file, 5)([])["input_ids"].shape == (0, 5)


def test_fingerprint_covers_file_length_and_padding(file, tmp_path):
    base = Tokenize(file, 5).fingerprint
    assert Tokenize(str(file), 5).fingerprint == base
    assert Tokenize(file, 6).fingerprint != base
    assert Tokenize(file, 5, pad_token="[UNK]").fingerprint != base
    moved = tmp_path / "elsewhere.json"
    moved.write_bytes(file.read_bytes())
    assert Tokenize(moved, 5).fingerprint == base
    moved.write_bytes(file.read_bytes() + b"\n")
    assert Tokenize(moved, 5).fingerprint != base


def test_the_padding_token_is_stated_and_must_exist(file):
    assert Tokenize(file, 5, pad_token="[UNK]")(["cat"])["input_ids"].tolist() == [[1, 5, 2, 3, 3]]
    with pytest.raises(DataError, match=r"no token '<pad>' to pad with; .*'\[PAD\]'"):
        Tokenize(file, 5, pad_token="<pad>")(["cat"])


def test_a_length_without_room_for_text_is_refused(file):
    with pytest.raises(DataError, match=r"max_length 2 leaves no room .* 2 special tokens"):
        Tokenize(file, 2)(["cat"])


def test_a_bad_file_or_input_is_named(file, tmp_path):
    with pytest.raises(DataError, match=r"cannot read tokenizer .*none\.json"):
        Tokenize(tmp_path / "none.json", 5)(["cat"])
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(DataError, match=r"bad\.json is not a tokenizer\.json"):
        Tokenize(tmp_path / "bad.json", 5)(["cat"])
    with pytest.raises(DataError, match="input 1 is a float, not a text"):
        Tokenize(file, 5)(["cat", 0.5])


def test_it_travels_to_another_process(file):
    tokenize = Tokenize(file, 5)
    tokenize(["cat"])
    copy = pickle.loads(pickle.dumps(tokenize))
    assert copy == tokenize
    assert copy(["cat"])["input_ids"].tolist() == [[1, 5, 2, 0, 0]]
