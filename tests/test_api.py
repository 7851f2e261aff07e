"""The Python front door on a tiny model: load, fit, evaluate, save, load again, predict."""

import pathlib
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtransfer as jt
from jaxtransfer.errors import AdaptationError, ConfigError, DataError


@pytest.fixture(scope="module")
def fitted(tiny_bert, topics):
    model = jt.load(tiny_bert, max_length=12)
    texts, labels = topics
    return jt.fit(
        model, texts, labels, method=jt.LoRA(rank=2), learning_rate=0.02, steps=40, batch_size=16
    )


def test_fitting_learns_and_evaluation_measures_it(fitted, topics):
    measured = jt.evaluate(fitted, *topics, metrics=["macro_f1", "accuracy"])
    low, high = measured["accuracy"].ci
    assert measured["accuracy"].value > 0.9
    assert low < measured["accuracy"].value < high
    assert measured["accuracy"].n == 90
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"]


def test_a_saved_adapter_predicts_the_same_bits(fitted, topics, tmp_path):
    fitted.save(tmp_path / "adapter")
    again = jt.load(tmp_path / "adapter")
    texts, _ = topics
    assert again.classes == fitted.classes == ("animals", "food", "tools")
    np.testing.assert_array_equal(again.logits(texts[:5]), fitted.logits(texts[:5]))
    assert again.predict(texts[:3]) == fitted.predict(texts[:3])
    np.testing.assert_allclose(again.probabilities(texts[:3]).sum(axis=1), 1.0, atol=1e-6)


def test_options_for_a_saved_adapter_are_refused(fitted, tmp_path):
    fitted.save(tmp_path / "adapter")
    with pytest.raises(ConfigError, match="leave out"):
        jt.load(tmp_path / "adapter", max_length=3)


def test_a_label_unseen_in_training_is_named(fitted):
    with pytest.raises(DataError, match="'plants'"):
        jt.evaluate(fitted, ["the cat"], ["plants"])


def test_one_class_cannot_be_learned(tiny_bert):
    with pytest.raises(DataError, match="two classes"):
        jt.fit(jt.load(tiny_bert), ["a cat", "a dog"], ["animals", "animals"])


class Unseen(nn.Module):
    """A network that the package has never seen, called in its own way."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(nn.Dense(16, name="first")(x))
        x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        x = x + nn.relu(nn.DenseGeneral(16, name="second")(x))
        return nn.Dropout(0.1, deterministic=not train)(x)


@pytest.mark.parametrize(
    "method", [jt.LinearProbe(), jt.BitFit(), jt.LoRA(rank=2), jt.Full(), jt.LPFT()], ids=str
)
def test_every_method_without_stages_works_on_a_users_module(method):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(48, 8)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(int)
    variables = Unseen().init(jax.random.key(0), jnp.ones((2, 8)))
    model = jt.from_module(Unseen(), variables, inputs[:2], name="mine", output="features")
    fitted = jt.fit(model, inputs, labels, method=method, learning_rate=0.02, steps=60)
    assert jt.evaluate(fitted, inputs, labels, metrics=["accuracy"])["accuracy"].value > 0.85
    with pytest.raises(AdaptationError, match="stages"):
        jt.fit(model, inputs, labels, method=jt.TopStages(count=3), steps=1)


def test_the_readmes_first_block_runs(tmp_path, monkeypatch, capsys):
    """On the real model and corpus, as printed."""
    block = re.search(r"```python\n(.*?)```", pathlib.Path("README.md").read_text(), re.S)[1]
    assert len(block.strip().splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    assert re.search(
        r"macro_f1 0\.[89]\d\d \[0\.\d+, [01]\.\d+\] \(n=200\)", capsys.readouterr().out
    )
