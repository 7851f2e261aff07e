"""The Python front door on a tiny model: load, fit, evaluate, save, load again, predict."""

import dataclasses
import os
import pathlib
import re
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtransfer as jt
from jaxtransfer.data.source import from_arrays
from jaxtransfer.errors import (
    AdaptationError,
    ConfigError,
    DataError,
    PretrainedError,
    WorkdirError,
)
from jaxtransfer.evaluation.table import Predictions


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


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (np.array, (0, 1, 10)),
        (jnp.array, (0, 1, 10)),
        (list, (-1, 0, 1)),
        (list, (0.5, 1.0, 2.0)),
        (list, ("0", "1", "10")),
        (iter, ("a", 1, True)),
    ],
)
def test_predictions_are_of_the_type_that_the_labels_had_also_after_saving(
    tiny_bert, topics, tmp_path, kind, values
):
    texts, names = topics
    number = dict(zip(("animals", "food", "tools"), values))
    labels = [number[name] for name in names]
    model = jt.load(tiny_bert, max_length=12)
    fitted = jt.fit(model, texts, kind(labels), method=jt.LinearProbe(), steps=5)
    fitted.save(tmp_path / "adapter")
    for each in (fitted, jt.load(tmp_path / "adapter")):
        found = each.predict(texts)
        assert sorted(map(repr, each.classes)) == sorted(map(repr, values))
        assert set(map(repr, found)) <= set(map(repr, values))
        right = sum(repr(one) == repr(other) for one, other in zip(found, labels))
        table = each.predictions(texts, kind(labels))
        assert table.classes == each.names == tuple(map(str, each.classes))
        assert jt.evaluate(table, metrics="accuracy")["accuracy"].value == right / 90


def test_labels_that_differ_in_type_alone_are_refused(tiny_bert):
    with pytest.raises(DataError, match="the label of row 2 is '1', but an earlier one is 1; give"):
        jt.fit(jt.load(tiny_bert), ["a", "b", "c"], [1, 2, "1"])


def test_the_pooling_is_part_of_what_is_saved(tiny_bert, topics, tmp_path):
    model = jt.load(tiny_bert, max_length=12, pooling="max")
    fitted = jt.fit(model, *topics, method=jt.LinearProbe(), steps=2)
    fitted.save(tmp_path / "adapter")
    again = jt.load(tmp_path / "adapter")
    np.testing.assert_array_equal(again.logits(topics[0][:4]), fitted.logits(topics[0][:4]))


def test_an_ensemble_averages_probabilities_and_comes_back_whole(
    fitted, tiny_bert, topics, tmp_path
):
    texts, labels = topics
    model = jt.load(tiny_bert, max_length=12)
    other = jt.fit(
        model, texts, labels, method=jt.Full(), learning_rate=0.01, steps=2, batch_size=16, seed=5
    )
    ensemble = jt.Ensemble(members=(fitted, other))
    mean = (fitted.probabilities(texts) + other.probabilities(texts)) / 2
    np.testing.assert_allclose(ensemble.probabilities(texts), mean, atol=1e-6)
    assert ensemble.predict(texts[:3]) == [ensemble.classes[i] for i in mean[:3].argmax(axis=1)]
    assert jt.evaluate(ensemble, texts, labels, metrics="accuracy")["accuracy"].n == 90
    ensemble.save(tmp_path / "both")
    (tmp_path / "both" / ".hidden").touch()
    again = jt.load(tmp_path / "both")
    assert len(again.members) == 2
    np.testing.assert_array_equal(again.logits(texts[:5]), ensemble.logits(texts[:5]))


def test_what_is_no_ensemble_is_said(fitted, tmp_path):
    two = dataclasses.replace(fitted, classes=("tools", "food", "animals"))
    with pytest.raises(PretrainedError, match="members of an ensemble have different classes"):
        jt.Ensemble(members=(fitted, two))
    with pytest.raises(PretrainedError, match="at least one member"):
        jt.Ensemble(members=())
    jt.Ensemble(members=(fitted, fitted)).save(tmp_path / "two")
    with pytest.raises(PretrainedError, match="besides what an ensemble of 1 writes"):
        jt.Ensemble(members=(fitted,)).save(tmp_path / "two")
    for members in ((jt.Ensemble(members=(fitted,)), fitted), (fitted, "x"), fitted):
        with pytest.raises(PretrainedError, match="are a tuple of fitted models"):
            jt.Ensemble(members=members)
    (tmp_path / "file").touch()
    for saved in (fitted, jt.Ensemble(members=(fitted,))):
        with pytest.raises(PretrainedError, match="is a file, and an adapter is a directory"):
            saved.save(tmp_path / "file")
    with pytest.raises(ConfigError, match="fitted already"):
        jt.fit(jt.Ensemble(members=(fitted,)), ["a", "b"], [0, 1])
    with pytest.raises(ConfigError, match="whose options are saved in it"):
        jt.load(tmp_path / "two", max_length=3)


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


ONE_TEXT = "give a list of texts"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, f: f.predict("the cat"), DataError, ONE_TEXT),
        (lambda m, f: f.probabilities(text for text in "ab"), DataError, "inputs is a generator"),
        (lambda m, f: jt.fit(m, "the cat", ["x"]), DataError, ONE_TEXT),
        (lambda m, f: jt.fit(m, ["a", "b"], None), DataError, "labels is None"),
        (lambda m, f: jt.fit(m, ["a", "b"], "xy"), DataError, "labels is 'xy'"),
        (lambda m, f: jt.fit(m, ["a", "b"], ["x", None]), DataError, "row 1 is None"),
        (lambda m, f: jt.fit(m, ["a", "b"], np.array([np.nan, 1.0])), DataError, "row 0 is .*nan"),
        (lambda m, f: jt.fit(m, ["a", "b"], np.eye(2)), DataError, "row 0 is array"),
        (lambda m, f: jt.evaluate(f, ["a"], [None]), DataError, "row 0 is None"),
        (lambda m, f: jt.evaluate(f, "a", ["food"]), DataError, ONE_TEXT),
        (lambda m, f: jt.evaluate("table.npz", ["a"], ["x"]), DataError, "leave out inputs"),
        (lambda m, f: jt.evaluate(m, ["a"], ["x"]), ConfigError, "fit it first"),
        (lambda m, f: jt.evaluate(f, ["a"], ["food"], split="test"), DataError, "chooses rows"),
        (lambda m, f: jt.fit(f, ["a"], ["x"]), ConfigError, "fitted already"),
        (lambda m, f: jt.fit("tiny", ["a"], ["x"]), ConfigError, r"give load\('tiny'\)"),
        (lambda m, f: jt.fit(3, ["a"], ["x"]), ConfigError, "not a int"),
        (lambda m, f: jt.fit(m, ["a"], ["x"], step=2), ConfigError, "nearest: 'steps'"),
        (lambda m, f: jt.fit(m, ["a"], ["x"], validaton=2), ConfigError, "nearest: 'validation'"),
        (lambda m, f: jt.fit(m, ["a"], ["x"], method="lora"), ConfigError, "not 'lora'"),
        (lambda m, f: jt.fit(m, ["a"], ["x"], steps=0), ConfigError, "steps .* at least 1, not 0"),
        (
            lambda m, f: jt.fit(m, ["a", "b"], ["x", "y"], learning_rate=float("nan")),
            ConfigError,
            "learning_rate must be a finite number, not nan",
        ),
        (lambda m, f: f.predict({"a": 1}), DataError, "inputs is a dict, whose keys are no pos"),
        (lambda m, f: f.save(None), ConfigError, "directory must be a path, not None"),
        (lambda m, f: jt.Ensemble(members=(f,)).save(3), ConfigError, "must be a path, not 3"),
        *(
            (lambda m, f, options=options: jt.fit(m, ["a", "b"], ["x", "y"], **options), *expected)
            for options, *expected in (
                ({"objective": 3}, ConfigError, r"objective must be one such as Objective"),
                ({"workdir": 3}, ConfigError, "workdir must be a path, not 3"),
                ({"workdir": __file__}, WorkdirError, "is a file; choose another"),
            )
        ),
        *(
            (lambda m, f, what=what: jt.load(what), ConfigError, "load takes must be a path, not")
            for what in (None, 3, ["a"], "")
        ),
        *(
            (lambda m, f, what=what: jt.evaluate(what), ConfigError, "must be a path, not")
            for what in (None, 3, [], {}, b"a.csv", np.zeros(3), "")
        ),
        *(
            (lambda m, f, what=what: jt.load_table(what), ConfigError, "load_table takes a mapping")
            for what in (None, 3, "x")
        ),
        (lambda m, f: jt.deduplicate(["a"]), DataError, "deduplicate takes a table"),
        (lambda m, f: jt.stratified_split(None, {}, 0), DataError, "takes a table"),
    ],
)
def test_misuse_is_said_with_the_way_out(tiny_bert, fitted, call, error, message):
    with pytest.raises(error, match=message):
        call(jt.load(tiny_bert), fitted)


@pytest.mark.parametrize(
    ("sizes", "seed", "message"),
    [
        (None, 0, "the sizes are None; give a mapping"),
        (["train"], 0, "give a mapping"),
        ({"train": 2}, "x", "seed 'x' is none"),
        ({"train": 2}, -1, "seed -1 is none"),
    ],
)
def test_splits_of_no_sizes_or_seed_are_refused(sizes, seed, message):
    table = from_arrays(["a", "b", "c", "d"], ["x", "y", "x", "y"])
    with pytest.raises(DataError, match=message):
        jt.stratified_split(table, sizes, seed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": 3}, "metrics must be a name or a sequence of names, not 3"),
        ({"metrics": [3]}, "unknown metric 3 of classification"),
        ({"confidence": "x"}, "confidence 'x' is not between 0 and 1"),
        ({"confidence": None}, "confidence None is not"),
    ],
)
def test_metrics_and_confidences_that_are_none_are_refused(options, message):
    table = Predictions(ids=["a", "b"], labels=[0, 1], logits=np.eye(2), classes=("x", "y"))
    with pytest.raises(jt.JaxTransferError, match=message):
        jt.evaluate(table, **options)


def test_one_metric_can_be_named_alone(fitted, topics):
    assert set(jt.evaluate(fitted, *topics, metrics="accuracy")) == {"accuracy"}


def test_a_path_is_evaluated_as_on_the_command_line(tmp_path):
    labels = np.arange(8) % 2
    table = jt.Predictions(
        ids=np.arange(8),
        labels=labels,
        logits=np.eye(2)[np.where(np.arange(8) < 6, labels, 1 - labels)],
        classes=("a", "b"),
        split=np.repeat(["tune", "accept", "test"], [4, 2, 2]),
    )
    path = table.save(tmp_path / "predictions" / "probe-seed0.npz")
    for what in (table, path, str(path)):
        assert jt.evaluate(what, split="accept")["accuracy"].value == 1.0
        assert jt.evaluate(what, split="validation", metrics="accuracy")["accuracy"].n == 6
        with pytest.raises(DataError, match=r"holds the splits \['accept', 'test', 'tune'\]"):
            jt.evaluate(what)
    found = jt.evaluate(tmp_path, metrics="accuracy")
    assert {name: measured["accuracy"].value for name, measured in found.items()} == {
        f"{path}#{split}": value for split, value in (("tune", 1), ("accept", 1), ("test", 0))
    }
    assert list(jt.evaluate(tmp_path, split="test")) == [f"{path}#test"]
    with pytest.raises(WorkdirError, match="holds no predictions"):
        jt.evaluate(path.parent)


def test_unknown_and_impossible_options_of_a_model_are_named(tiny_bert):
    with pytest.raises(
        ConfigError, match=r"tokenizer must be the path of a tokenizer\.json, not 3"
    ):
        jt.load(tiny_bert, tokenizer=3)
    for options, message in (
        ({"max_len": 3}, "no option 'max_len'; nearest: 'max_length'"),
        ({"max_length": "12"}, "max_length must be an integer, not '12'"),
        ({"dropout": 1.0}, "dropout must be a number"),
        ({"dtype": "float33"}, "dtype 'float33' is unknown"),
    ):
        with pytest.raises(ConfigError, match=message):
            jt.load(tiny_bert, **options)


def test_a_base_is_for_adapters(tiny_bert, fitted, tmp_path):
    with pytest.raises(ConfigError, match="is no adapter directory"):
        jt.load(tiny_bert, base=jt.load(tiny_bert))
    fitted.save(tmp_path / "adapter")
    with pytest.raises(
        ConfigError, match=r"load\(adapter, base=model\) takes a model, not its name"
    ):
        jt.load(tmp_path / "adapter", base=str(tiny_bert))


def test_relative_paths_hold_after_the_directory_changes(tiny_bert, topics, tmp_path, monkeypatch):
    texts, labels = topics
    monkeypatch.chdir(tiny_bert.parent)
    model = jt.load(tiny_bert.name)
    assert model.source == str(tiny_bert)
    monkeypatch.chdir(tmp_path)
    fitted = jt.fit(model, texts, labels, method=jt.LinearProbe(), steps=2, workdir="run")
    assert (tmp_path / "run" / "checkpoints").is_dir()
    fitted.save("adapter")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = jt.load("../adapter")
    np.testing.assert_array_equal(again.logits(texts[:3]), fitted.logits(texts[:3]))


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


def test_an_adapter_of_a_users_module_is_loaded_onto_it(tmp_path):
    inputs = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(int)
    variables = Unseen().init(jax.random.key(0), jnp.ones((2, 8)))
    model = jt.from_module(Unseen(), variables, inputs[:2], name="mine", output="features")
    fitted = jt.fit(model, inputs, labels, method=jt.LoRA(rank=2), steps=2)
    fitted.save(tmp_path / "adapter")
    with pytest.raises(PretrainedError, match=r"jaxtransfer\.load\(.*adapter', base=model\)"):
        jt.load(tmp_path / "adapter")
    for base in (model, jt.with_head(model, 5, rng=jax.random.key(9))):
        again = jt.load(tmp_path / "adapter", base=base)
        np.testing.assert_array_equal(again.logits(inputs), fitted.logits(inputs))


def test_the_readmes_first_block_runs(tmp_path):
    """On the real model and corpus, as printed, on one device as a user has it."""
    block = re.search(r"```python\n(.*?)```", pathlib.Path("README.md").read_text(), re.S)[1]
    assert len(block.strip().splitlines()) <= 12
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", block],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"macro_f1 0\.[89]\d\d \[0\.\d+, [01]\.\d+\] \(n=200\)", done.stdout)
    assert "['sports']" in done.stdout
