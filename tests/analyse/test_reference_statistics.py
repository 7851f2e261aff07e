"""Statistics that BatchNorm keeps are compared with those of the inputs, layer by layer."""

import flax.linen as nn
import jax
import numpy as np
import pytest
import stages

from jaxtransfer.analyse.reference_statistics import distance_from_source
from jaxtransfer.data.examples import ArrayExamples
from jaxtransfer.errors import EvaluationError
from jaxtransfer.models.model import from_module


class Normed(nn.Module):
    """One BatchNorm of its inputs."""

    @nn.compact
    def __call__(self, x, train=False):
        return nn.BatchNorm(use_running_average=not train, name="norm")(x)


def examples(rows):
    return ArrayExamples(
        np.arange(len(rows)).astype(str), np.zeros(len(rows), np.int32), {"inputs": rows}
    )


def model_of(mean, var):
    x = np.zeros((2, len(mean)), np.float32)
    variables = Normed().init(jax.random.key(0), x)
    statistics = {"norm": {"mean": np.float32(mean), "var": np.float32(var)}}
    return from_module(
        Normed(), {**variables, "batch_stats": statistics}, {"inputs": x}, name="normed"
    )


def test_it_is_the_frechet_distance_in_units_of_the_source_and_0_on_the_source_itself():
    rows = np.random.default_rng(0).normal(2.0, 3.0, size=(150, 2)).astype(np.float32)
    mean, var = rows.mean(axis=0), rows.var(axis=0)
    own, (layer,) = distance_from_source(model_of(mean, var), examples(rows), batch_size=64)
    assert own.value == pytest.approx(0.0, abs=1e-6)
    assert (own.n, layer.path, layer.channels) == (150, "norm", 2)
    # Half a deviation aside, and twice as wide.
    there = model_of(mean - 0.5 * np.sqrt(var), var)
    assert distance_from_source(there, examples(rows))[0].value == pytest.approx(0.25, abs=1e-5)
    wide = model_of(mean, var / 4)
    score, (layer,) = distance_from_source(wide, examples(rows))
    assert score.value == pytest.approx(1.0, abs=1e-5)
    assert layer.location == pytest.approx(0.0, abs=1e-6)


def test_a_network_without_batch_norm_has_none():
    score, layers = distance_from_source(stages.signs(), stages.sign_examples(20))
    assert score.value is None
    assert "no BatchNorm" in score.undefined
    assert layers == ()


def test_no_example_is_refused():
    with pytest.raises(EvaluationError, match="no examples"):
        distance_from_source(model_of([0.0], [1.0]), examples(np.zeros((0, 1), np.float32)))
