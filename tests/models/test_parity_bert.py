"""Agreement with the `transformers` library on random weights."""

import json

import jax
import numpy as np
import pytest

from jaxtransfer.models import zoo

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_a_small_bert_agrees_with_transformers(tmp_path, activation):
    """Hidden states within 1e-5, with padding and two segments."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=16,
        hidden_act=activation,
        initializer_range=0.3,
    )
    theirs = transformers.BertModel(config).eval()
    theirs.save_pretrained(tmp_path)
    vocabulary = {"[PAD]": 0, "[UNK]": 1}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    ours = zoo.load(tmp_path)
    generator = np.random.default_rng(0)
    mask = (np.arange(12)[None] < np.array([12, 5, 1])[:, None]).astype(np.int32)
    inputs = {
        "input_ids": generator.integers(0, 50, (3, 12), dtype=np.int32),
        "attention_mask": mask,
        "token_type_ids": generator.integers(0, 2, (3, 12), dtype=np.int32),
    }
    with torch.no_grad():
        expected = theirs(**{name: torch.tensor(x) for name, x in inputs.items()})
    hidden = jax.jit(ours.apply)(ours.variables, inputs)["hidden"]
    np.testing.assert_allclose(
        np.asarray(hidden)[mask > 0],
        expected.last_hidden_state.numpy()[mask > 0],
        atol=1e-5,
        rtol=0,
    )
