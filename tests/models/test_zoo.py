import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxtransfer import trees
from jaxtransfer.errors import ConfigError, PretrainedError
from jaxtransfer.models import zoo
from jaxtransfer.models.efficientnet import EfficientNetLite, blocks

CONFIG = {
    "model_type": "bert",
    "vocab_size": 12,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 10,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
LAYER = {
    "attention.self.query": (16, 16),
    "attention.self.key": (16, 16),
    "attention.self.value": (16, 16),
    "attention.output.dense": (16, 16),
    "attention.output.LayerNorm": (16,),
    "intermediate.dense": (24, 16),
    "output.dense": (16, 24),
    "output.LayerNorm": (16,),
}


def bert_arrays():
    shapes = {
        "embeddings.word_embeddings.weight": (12, 16),
        "embeddings.position_embeddings.weight": (10, 16),
        "embeddings.token_type_embeddings.weight": (2, 16),
        "embeddings.LayerNorm.weight": (16,),
        "embeddings.LayerNorm.bias": (16,),
        "pooler.dense.weight": (16, 16),
    }
    for number in range(2):
        for name, shape in LAYER.items():
            shapes[f"encoder.layer.{number}.{name}.weight"] = shape
            shapes[f"encoder.layer.{number}.{name}.bias"] = shape[:1]
    generator = np.random.default_rng(0)
    arrays = {name: generator.normal(size=s).astype(np.float32) for name, s in shapes.items()}
    return {**arrays, "embeddings.position_ids": np.arange(10)[None]}


def write_bert(directory, config=None, arrays=None):
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps({**CONFIG, **(config or {})}))
    save_file(arrays or bert_arrays(), directory / "model.safetensors")
    words = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "a", "b", "c"])}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"},
    }
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    return directory


def test_a_directory_with_a_config_is_read_to_the_last_leaf(tmp_path):
    model = zoo.load(write_bert(tmp_path), max_length=6)
    arrays = bert_arrays()
    flat = trees.flatten_variables(model.variables)
    kernel = arrays["encoder.layer.1.intermediate.dense.weight"].T
    np.testing.assert_array_equal(flat["layer_1/mlp/up/kernel"], kernel)
    np.testing.assert_array_equal(
        flat["layer_0/attention/norm/scale"],
        arrays["encoder.layer.0.attention.output.LayerNorm.weight"],
    )
    assert model.stages == ("embeddings", "layer_0", "layer_1", "pool")
    assert model.features == 16
    inputs = model.preprocess(["a b c", "c"])
    assert {name: x.shape for name, x in inputs.items()} == {
        name: (2, *x.shape[1:]) for name, x in model.example.items()
    }
    assert model.apply(model.variables, inputs)["features"].shape == (2, 16)


def test_the_weights_file_beside_a_config_is_the_same_model(tmp_path):
    whole = zoo.load(write_bert(tmp_path))
    file = zoo.load(tmp_path / "model.safetensors")
    assert file.module == whole.module
    assert whole.example["input_ids"].shape == (2, 10)


def test_names_with_a_prefix_and_language_model_heads_are_read(tmp_path):
    arrays = {f"bert.{name}": array for name, array in bert_arrays().items()}
    arrays = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("Norm.bias", "Norm.beta"): a
        for name, a in arrays.items()
    }
    arrays["cls.predictions.bias"] = np.zeros(12, np.float32)
    prefixed = zoo.load(write_bert(tmp_path / "a", arrays=arrays))
    plain = zoo.load(write_bert(tmp_path / "b"))
    for a, b in zip(jax.tree.leaves(prefixed.variables), jax.tree.leaves(plain.variables)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("mode", "pooling"),
    [("mean_tokens", "mean"), ("cls_token", "cls"), ("max_tokens", "max")],
)
def test_sentence_transformers_pooling_and_length_are_honoured(tmp_path, mode, pooling):
    directory = write_bert(tmp_path)
    kind = "sentence_transformers.models."
    modules = [
        {"path": "", "type": f"{kind}Transformer"},
        {"path": "1_P", "type": f"{kind}Pooling"},
    ]
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_P").mkdir()
    settings = {f"pooling_mode_{m}": m == mode for m in ("mean_tokens", "cls_token", "max_tokens")}
    (directory / "1_P" / "config.json").write_text(json.dumps(settings))
    (directory / "sentence_bert_config.json").write_text('{"max_seq_length": 7}')
    model = zoo.load(directory)
    assert model.module.pooling == pooling
    assert model.preprocess.max_length == 7
    assert zoo.load(directory, pooling="cls").module.pooling == "cls"


def test_unsupported_pooling_is_refused(tmp_path):
    directory = write_bert(tmp_path)
    (directory / "modules.json").write_text('[{"path": "2_Dense", "type": "x.Dense"}]')
    with pytest.raises(PretrainedError, match="a Dense module is not supported"):
        zoo.load(directory)
    assert zoo.load(directory, pooling="mean").module.pooling == "mean"


def test_a_config_of_another_shape_lists_what_does_not_fit(tmp_path):
    directory = write_bert(tmp_path, config={"num_hidden_layers": 3, "intermediate_size": 20})
    with pytest.raises(PretrainedError, match=r"missing 16: 'layer_2/.*of another shape.*mlp/up"):
        zoo.load(directory)
    arrays = bert_arrays()
    arrays["encoder.layer.0.adapter.weight"] = np.zeros(2, np.float32)
    directory = write_bert(tmp_path, arrays=arrays)
    with pytest.raises(PretrainedError, match=r"match no name rule.*layer\.0\.adapter"):
        zoo.load(directory)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "t5"}, "model_type 't5' is not supported"),
        ({"position_embedding_type": "relative_key"}, "'relative_key'"),
        ({"hidden_act": "gelu_old"}, "'gelu_old' is unknown; nearest: 'gelu'"),
    ],
)
def test_a_config_of_another_architecture_is_refused(tmp_path, config, message):
    with pytest.raises(PretrainedError, match=message):
        zoo.load(write_bert(tmp_path, config=config))


def test_missing_files_are_named(tmp_path):
    directory = write_bert(tmp_path)
    (directory / "tokenizer.json").rename(tmp_path / "other.json")
    with pytest.raises(PretrainedError, match=r"tokenizer\.json does not exist; give tokenizer="):
        zoo.load(directory)
    assert zoo.load(directory, tokenizer=tmp_path / "other.json").features == 16
    (directory / "config.json").unlink()
    with pytest.raises(PretrainedError, match=r"needs its config\.json"):
        zoo.load(directory / "model.safetensors")


def test_options_of_the_other_kind_and_out_of_range_are_refused(tmp_path):
    directory = write_bert(tmp_path)
    with pytest.raises(ConfigError, match="is a model of texts, it has no option image_size"):
        zoo.load(directory, image_size=64)
    with pytest.raises(ConfigError, match=r"max_length 11: .* takes 3 to 10 tokens"):
        zoo.load(directory, max_length=11)


def test_unknown_names_get_the_nearest_ones():
    with pytest.raises(
        PretrainedError, match=r"no model 'minilm-l6' .*nearest: 'all-minilm-l6-v2'"
    ):
        zoo.load("minilm-l6")
    with pytest.raises(PretrainedError, match="nearest: 'efficientnet-lite0'"):
        zoo.describe("efficientnet-lite-0")


def lite_arrays(architecture="efficientnet-lite0"):
    """Zeros in torch's names and layouts for every leaf of a member of the family."""
    module = EfficientNetLite(blocks(architecture))
    example = {"image": jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)}
    template = trees.flatten_variables(jax.eval_shape(module.init, jax.random.key(0), example))
    leaf = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
    norms = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}
    arrays = {}
    for path, value in template.items():
        *where, layer, kind = path.removeprefix("batch_stats/").split("/")
        block = f"_blocks.{where[0].removeprefix('block_')}." if len(where) == 2 else ""
        if layer == "norm":
            name = norms[where[1]] if block else {"stem": "_bn0", "top": "_bn1"}[where[0]]
            arrays[f"{block}{name}.{leaf[kind]}"] = np.zeros(value.shape, np.float32)
            arrays[f"{block}{name}.num_batches_tracked"] = np.zeros((), np.int64)
        else:
            name = (
                f"_{where[1]}_conv"
                if block
                else {"stem": "_conv_stem", "top": "_conv_head"}[where[0]]
            )
            shape = tuple(value.shape[axis] for axis in (3, 2, 0, 1))
            arrays[f"{block}{name}.weight"] = np.zeros(shape, np.float32)
    return {
        **arrays,
        "_fc.weight": np.ones((5, 1280), np.float32),
        "_fc.bias": np.ones(5, np.float32),
    }


def test_a_weights_file_is_recognised_by_its_shapes(tmp_path):
    save_file(lite_arrays("efficientnet-lite1"), tmp_path / "weights.safetensors")
    model = zoo.load(tmp_path / "weights.safetensors", image_size=32)
    assert model.module.blocks == blocks("efficientnet-lite1")
    assert "head" not in model.variables["params"]
    assert model.example["image"].shape == (2, 32, 32, 3)
    assert model.preprocess([np.zeros((8, 8, 3), np.uint8)])["image"].shape == (1, 32, 32, 3)
    white = model.preprocess.normalise(np.full((1, 1, 1, 3), 255, np.float32))
    np.testing.assert_allclose(white, (255 - 127) / 128, rtol=1e-6)


def test_the_classifier_may_be_kept(tmp_path):
    save_file(lite_arrays(), tmp_path / "weights.safetensors")
    path = tmp_path / "weights.safetensors"
    model = zoo.load(path, architecture="efficientnet-lite0", classifier=True)
    assert model.stages[-2:] == ("top", "head")
    assert model.variables["params"]["head"]["kernel"].shape == (1280, 5)
    assert set(model.variables["batch_stats"]) == {"encoder"}


def test_the_wrong_member_of_the_family_is_refused(tmp_path):
    save_file(lite_arrays(), tmp_path / "weights.safetensors")
    with pytest.raises(PretrainedError, match=r"does not fit efficientnet-lite1 .*missing 75: "):
        zoo.load(tmp_path / "weights.safetensors", architecture="efficientnet-lite1")
    with pytest.raises(PretrainedError, match="'resnet' is unknown"):
        zoo.load(tmp_path / "weights.safetensors", architecture="resnet")


def test_unrecognised_arrays_are_named(tmp_path):
    np.savez(tmp_path / "weights.npz", conv1=np.zeros(2))
    with pytest.raises(
        PretrainedError, match=r"cannot tell the architecture .*conv1.*architecture="
    ):
        zoo.load(tmp_path / "weights.npz")


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"])
def test_the_zoo_knows_the_size_of_its_networks(name):
    entry = zoo.describe(name)
    module = EfficientNetLite(blocks(entry.architecture))
    example = {"image": jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)}
    shapes = jax.eval_shape(module.init, jax.random.key(0), example)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == entry.parameters
    assert module.top == entry.features


def test_minilm_loads_by_name_and_tells_topics_apart():
    model = zoo.load("all-minilm-l6-v2", max_length=16)
    entry = zoo.describe("all-minilm-l6-v2")
    sizes = [leaf.size for leaf in jax.tree.leaves(model.variables["params"])]
    assert (sum(sizes), model.features) == (entry.parameters, entry.features)
    assert model.module.pooling == "mean"
    inputs = model.preprocess(["A cat sat.", "The kitten slept.", "Shares fell on Monday."])
    features = np.asarray(jax.jit(model.apply)(model.variables, inputs)["features"])
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    likeness = features @ features.T
    assert likeness[0, 1] > likeness[0, 2] + 0.2


def test_a_truncated_file_is_named(tmp_path):
    directory = write_bert(tmp_path)
    weights = directory / "model.safetensors"
    shutil.copy(weights, tmp_path / "whole")
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(PretrainedError, match=r"model\.safetensors: truncated"):
        zoo.load(directory)
    assert set(load_file(tmp_path / "whole")) == set(bert_arrays())
