"""Features by stage: those of the stages run one by one, pooled over what is real."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stages

from jaxtransfer.analyse.stage_features import pooled, stage_features
from jaxtransfer.data.examples import ArrayExamples
from jaxtransfer.errors import AdaptationError
from jaxtransfer.models.bert import Bert
from jaxtransfer.models.efficientnet import Block, EfficientNetLite
from jaxtransfer.models.model import from_module, with_head
from jaxtransfer.train.compiled import CompiledSteps


def bert():
    module = Bert(vocabulary=20, width=8, layers=2, heads=2, hidden=12, positions=10)
    example = {key: np.ones((2, 6), np.int32) for key in ("input_ids", "attention_mask")}
    variables = jax.jit(module.init)(jax.random.key(0), example)
    return from_module(module, variables, example, name="bert", stages=module.stages)


def texts(lengths, padded):
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 20, (len(lengths), max(lengths))).astype(np.int32)
    mask = np.arange(padded)[None] < np.array(lengths)[:, None]
    wide = np.zeros((len(lengths), padded), np.int32)
    wide[:, : ids.shape[1]] = ids
    inputs = {"input_ids": wide * mask, "attention_mask": mask.astype(np.int32)}
    names = np.arange(len(lengths)).astype(str)
    return ArrayExamples(names, np.zeros(len(lengths), np.int32), inputs)


def test_tokens_are_averaged_over_their_mask():
    model, examples = bert(), texts([2, 6, 3, 5, 1], 6)
    found = stage_features(model, examples, batch_size=2)
    assert tuple(found) == ("embeddings", "layer_0", "layer_1", "pool")
    for depth, stage in enumerate(found):
        outputs = model.apply(
            model.variables, examples.inputs(np.arange(5)), stop=min(depth + 1, 3)
        )
        for row, length in enumerate([2, 6, 3, 5, 1]):
            expected = np.asarray(outputs["hidden"])[row, :length].mean(axis=0)
            np.testing.assert_allclose(found[stage][row], expected, atol=1e-5)
    padded = stage_features(model, texts([2, 6, 3, 5, 1], 9))
    for stage, rows in padded.items():
        np.testing.assert_allclose(rows, found[stage], atol=1e-5)


def test_maps_are_averaged_over_their_positions():
    module = EfficientNetLite(blocks=(Block(3, 1, 1, 8), Block(3, 2, 2, 8)), stem=8, top=16)
    image = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype(np.float32)
    variables = jax.jit(module.init)(jax.random.key(0), {"image": image})
    model = from_module(module, variables, {"image": image}, name="net", stages=module.stages)
    examples = ArrayExamples(np.arange(3).astype(str), np.zeros(3, np.int32), {"image": image})
    found = stage_features(model, examples)
    assert [rows.shape for rows in found.values()] == [(3, 8), (3, 8), (3, 8), (3, 16)]
    hidden = model.apply(variables, {"image": image}, stop=2)["hidden"]
    np.testing.assert_allclose(found["block_0"], np.asarray(hidden).mean(axis=(1, 2)), atol=1e-5)
    features = model.apply(variables, {"image": image})["features"]
    np.testing.assert_allclose(found["top"], features, atol=1e-5)


def test_a_head_is_left_out_and_one_function_compiles_for_all_stages():
    compiled, model, examples = CompiledSteps(), stages.signs(), stages.sign_examples(11)
    plain = stage_features(model, examples, batch_size=4, compiled=compiled)
    headed = with_head(model, 2, rng=jax.random.key(1))
    again = stage_features(headed, examples.take(range(7)), batch_size=4, compiled=compiled)
    assert compiled.traces == 1
    for stage in stages.STAGES:
        np.testing.assert_array_equal(again[stage], plain[stage][:7])


def test_a_network_without_stages_is_refused():
    class Whole(stages.Scale):
        pass

    x = np.zeros((2, 3), np.float32)
    model = from_module(
        Whole(), Whole().init(jax.random.key(0), x), x, name="whole", output="features"
    )
    with pytest.raises(AdaptationError, match="'whole' has no stages to analyse"):
        stage_features(model, stages.sign_examples(4))


def test_what_cannot_be_pooled_is_named():
    with pytest.raises(AdaptationError, match=r"stage 's' of model 'm' gives \['a', 'b'\]"):
        pooled({"a": jnp.ones((2, 3)), "b": jnp.ones((2, 3))}, stage="s", model="m")
    with pytest.raises(AdaptationError, match=r"shape \(2, 1, 1, 1, 3\)"):
        pooled({"hidden": jnp.ones((2, 1, 1, 1, 3))}, stage="s", model="m")
