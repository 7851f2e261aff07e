"""Tests run on eight virtual CPU devices, with rank promotion an error.

The fixtures are a tiny pretrained model and a tiny corpus, for tests of the whole path.
"""

import json
import os

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

# Scripts that make fixtures import the peers whose answers they write down.
collect_ignore_glob = ["*/fixtures/make_*.py"]

TOPICS = {
    "animals": ["cat", "dog", "horse", "bird", "fish"],
    "food": ["bread", "soup", "apple", "rice", "cake"],
    "tools": ["hammer", "saw", "drill", "nail", "screw"],
}
FILLERS = ["the", "a", "with", "and", "some", "then", "here", "there"]
WIDTH, HIDDEN, LAYERS, LENGTH = 16, 24, 2, 12


def _weights(vocabulary):
    """Weights of a small BERT by their Hugging Face names, random but for the first embeddings."""
    shapes = {
        "embeddings.word_embeddings.weight": (vocabulary, WIDTH),
        "embeddings.position_embeddings.weight": (LENGTH, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm": (WIDTH,),
    }
    linear = {
        "attention.self.query": (WIDTH, WIDTH),
        "attention.self.key": (WIDTH, WIDTH),
        "attention.self.value": (WIDTH, WIDTH),
        "attention.output.dense": (WIDTH, WIDTH),
        "attention.output.LayerNorm": (WIDTH,),
        "intermediate.dense": (HIDDEN, WIDTH),
        "output.dense": (WIDTH, HIDDEN),
        "output.LayerNorm": (WIDTH,),
    }
    for layer in range(LAYERS):
        for name, shape in linear.items():
            shapes[f"encoder.layer.{layer}.{name}"] = shape
    rng = np.random.default_rng(0)
    arrays = {}
    for name, shape in shapes.items():
        if name.endswith(".weight"):
            arrays[name] = rng.normal(size=shape).astype(np.float32)
        elif "LayerNorm" in name:
            arrays[f"{name}.weight"] = np.ones(shape, np.float32)
            arrays[f"{name}.bias"] = np.zeros(shape, np.float32)
        else:
            arrays[f"{name}.weight"] = rng.normal(scale=0.2, size=shape).astype(np.float32)
            arrays[f"{name}.bias"] = np.zeros(shape[:1], np.float32)
    return arrays


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """A directory in Hugging Face's layout with a two-layer BERT that knows the topics' words."""
    from safetensors.numpy import save_file

    directory = tmp_path_factory.mktemp("tiny-bert")
    words = ["[PAD]", "[UNK]", *FILLERS, *(word for topic in TOPICS.values() for word in topic)]
    config = {
        "model_type": "bert",
        "vocab_size": len(words),
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": HIDDEN,
        "max_position_embeddings": LENGTH,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
    }
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate(words)},
            "unk_token": "[UNK]",
        },
    }
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    save_file(_weights(len(words)), directory / "model.safetensors")
    return directory


@pytest.fixture(scope="session")
def topics():
    """Ninety texts about three topics, and their labels; each names its topic's words among others."""
    rng = np.random.default_rng(1)
    texts, labels = [], []
    for label, own in TOPICS.items():
        for _ in range(30):
            words = [*rng.choice(own, 3), *rng.choice(FILLERS, 4)]
            stray = rng.choice([w for other in TOPICS.values() for w in other])
            texts.append(" ".join(rng.permutation([*words, stray])))
            labels.append(label)
    return texts, labels


@pytest.fixture(scope="session")
def topic_folder(tmp_path_factory, topics):
    """The texts as files, one folder a topic; two of them are copies of others."""
    directory = tmp_path_factory.mktemp("topics")
    for number, (text, label) in enumerate(zip(*topics)):
        (directory / label).mkdir(exist_ok=True)
        (directory / label / f"{number:03}.txt").write_text(text)
    for label in ("animals", "food"):
        first = sorted((directory / label).iterdir())[0]
        (directory / label / "copy.txt").write_text(first.read_text())
    return directory


@pytest.fixture(scope="session")
def ladder_values(tiny_bert, topic_folder):
    """Settings of a ladder that runs in seconds, as plain values."""
    return {
        "name": "topics",
        "model": {"uri": str(tiny_bert), "options": {"max_length": LENGTH}},
        "data": {"kind": "text_folder", "path": str(topic_folder)},
        "splits": {
            "sizes": {"validation": 24, "calibration": 12, "test": 30},
            "train_per_class": 4,
            "seed": 0,
        },
        "train": {"steps": 6, "batch_size": 8, "evaluate_every": 3},
        "seeds": (0, 1),
        "negative_transfer": False,
        "acceptance": {"metric": "macro_f1", "margin": 0.0, "confidence": 0.95},
        "rungs": (
            "majority_class",
            "nearest_mean",
            "linear_probe",
            "bitfit",
            "lora",
            "last_block",
            "lp_ft",
            "full",
        ),
        "methods": {
            "majority_class": {"method": "majority_class"},
            "nearest_mean": {"method": "nearest_mean"},
            "linear_probe": {"method": "linear_probe", "learning_rates": (0.03, 0.1)},
            "bitfit": {"method": "bitfit", "learning_rates": (0.01,)},
            "lora": {"method": "lora", "options": {"rank": 2}, "learning_rates": (0.01,)},
            "last_block": {
                "method": "top_stages",
                "options": {"count": 1},
                "learning_rates": (0.01,),
            },
            "lp_ft": {
                "method": "lp_ft",
                "learning_rates": (0.003,),
                "first_phase": {"learning_rate": 0.05, "steps": 5},
            },
            "full": {"method": "full", "learning_rates": (0.003, 0.01)},
        },
    }
