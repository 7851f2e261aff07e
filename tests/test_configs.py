"""The configs for a user's own files take a small file with nothing changed but its path (and here a tiny model)."""

import csv
import dataclasses
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

import jaxtransfer as jt
from jaxtransfer import cli
from jaxtransfer.cli import config_words
from jaxtransfer.data.images import ImagePreprocess
from jaxtransfer.errors import DataError
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import problem
from jaxtransfer.protocol.settings import from_config

SPLITS = ("train", "tune", "accept", "test")


@pytest.fixture(scope="module")
def sixty(topics):
    """Twenty texts of each topic, and their labels."""
    rows = [row for row in range(90) if row % 30 < 20]
    return [topics[0][row] for row in rows], [topics[1][row] for row in rows]


def write(directory, kind, texts, labels):
    path = directory / f"mine.{kind}"
    if kind == "csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *zip(texts, labels)])
    elif kind == "jsonl":
        rows = ({"text": text, "label": label} for text, label in zip(texts, labels))
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    elif kind == "parquet":
        parquet.write_table(pyarrow.table({"text": texts, "label": labels}), path)
    else:
        for row, (text, label) in enumerate(zip(texts, labels)):
            (path / label).mkdir(parents=True, exist_ok=True)
            (path / label / f"{row}.txt").write_text(text)
    return path


def words(config, path, *more):
    return [f"--config=configs/{config}.py", f"--config.data.path={path}", *more]


def tiny(tiny_bert):
    return f"--config.model.uri={tiny_bert}", "--config.model.options.max_length=12"


def prepared(*arguments):
    return problem.prepare(from_config(config_words.load(words(*arguments))))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "text_folder"])
def test_sixty_texts_of_any_kind_fill_every_split(tmp_path, tiny_bert, sixty, kind):
    path = write(tmp_path, kind, *sixty)
    found = prepared("csv_text", path, f"--config.data.kind={kind}", *tiny(tiny_bert))
    assert found.classes == ("animals", "food", "tools")
    for name in SPLITS:
        assert len(np.unique(found.examples[name].labels)) == 3
    # Shares of all, after exact duplicates.
    total = len(found.table)
    assert len(found.examples["train"]) == total * 3 // 10
    assert len(found.examples["tune"]) + len(found.examples["accept"]) == total * 4 // 10
    assert len(found.examples["test"]) == total // 4


def test_sixty_rows_are_climbed_and_their_whole_numbers_come_back(
    tmp_path, tiny_bert, sixty, capsys
):
    numbers = {"animals": 0, "food": 1, "tools": 10}
    path = write(tmp_path, "csv", sixty[0], [numbers[label] for label in sixty[1]])
    few = "--config.rungs=('majority_class','nearest_mean','linear_probe')"
    arguments = [*words("csv_text", path), *tiny(tiny_bert), few, f"--workdir={tmp_path / 'run'}"]
    assert cli.main(["ladder", *arguments]) == 0
    shown = capsys.readouterr()
    assert "Chosen: " in shown.out
    assert "classes: '0' 2" in shown.err
    assert (tmp_path / "run" / "report.html").is_file()
    (adapter,) = (tmp_path / "run" / "cells" / "linear_probe").glob("run-*/adapter")
    fitted = jt.load(adapter)
    assert fitted.classes == (0, 1, 10)
    assert all(type(value) is int for value in fitted.predict(sixty[0][:3]))
    table = Predictions.load(tmp_path / "run" / "predictions" / "linear_probe-seed0.npz")
    assert table.classes == fitted.names == ("0", "1", "10")


class Colours(nn.Module):
    """The mean of each channel."""

    @nn.compact
    def __call__(self, inputs, train=False):
        return inputs["image"].mean(axis=(1, 2)) * self.param("scale", nn.initializers.ones, (1, 3))


def colours(uri, *, image_size):
    example = {"image": jnp.zeros((2, image_size, image_size, 3))}
    variables = Colours().init(jax.random.key(0), example)
    model = jt.from_module(
        Colours(),
        variables,
        example,
        name=uri,
        call=lambda module, inputs, **_: {"features": module(inputs)},
        output="features",
    )
    return dataclasses.replace(model, preprocess=ImagePreprocess(image_size))


def test_sixty_images_fill_every_split(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for row in range(60):
        folder = tmp_path / ("cat", "dog")[row % 2]
        folder.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).save(folder / f"{row}.png")
    monkeypatch.setattr(problem.zoo, "load", colours)
    found = prepared("folder_images", tmp_path)
    sizes = {name: len(found.examples[name]) for name in SPLITS}
    assert sizes == {"train": 18, "tune": 12, "accept": 12, "test": 15}
    assert found.evaluated.inputs([0])["image"].shape == (1, 128, 128, 3)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((40, 40, 1), r"class 'tools' has no example in the split 'train' .*train_per_class"),
        ((40, 40, 3), "class 'tools' has no example in the (tune|accept) half of validation"),
    ],
)
def test_a_class_too_small_for_its_shares_is_named(tmp_path, tiny_bert, counts, message):
    names = ("animals", "food", "tools")
    labels = [name for name, count in zip(names, counts) for _ in range(count)]
    path = write(tmp_path, "csv", [f"text {row}" for row in range(len(labels))], labels)
    with pytest.raises(DataError, match=message):
        prepared("csv_text", path, *tiny(tiny_bert))


def test_a_share_trains_on_every_class_in_proportion(tmp_path, tiny_bert):
    labels = ["animals"] * 100 + ["food"] * 50 + ["tools"] * 10
    path = write(tmp_path, "csv", [f"text {row}" for row in range(160)], labels)
    found = prepared("csv_text", path, *tiny(tiny_bert))
    counts = np.bincount(found.examples["train"].labels)
    np.testing.assert_array_equal(counts, [30, 15, 3])


def test_a_file_without_labels_is_not_climbed(tmp_path, tiny_bert, sixty):
    path = write(tmp_path, "csv", *sixty)
    with pytest.raises(DataError, match=r"needs labels: name the column .* in config\.data"):
        prepared("csv_text", path, "--config.data.label=None", *tiny(tiny_bert))


def test_other_columns_and_another_encoding_are_flags(tmp_path, tiny_bert, sixty):
    path = tmp_path / "mine.csv"
    with path.open("w", newline="", encoding="latin-1") as file:
        texts = [f"{text} \u00e9" for text in sixty[0]]
        csv.writer(file).writerows([("body", "topic"), *zip(texts, sixty[1])])
    flags = ["text=body", "label=topic", "encoding=latin-1"]
    found = prepared(
        "csv_text", path, *(f"--config.data.{flag}" for flag in flags), *tiny(tiny_bert)
    )
    assert found.table.inputs[0].endswith("\u00e9")


def test_snippets_are_cut_by_their_rating_and_the_card_counts_the_neutral_ones(
    tmp_path, tiny_bert, sixty
):
    rows = [
        f"{row}\t{rating}\t{text} {row}"
        for row, text in enumerate(sixty[0])
        for rating in (("-3.1", "-0.5", "0.4", "0.5", "2")[row % 5],)
    ]
    path = tmp_path / "movies.txt"
    path.write_text("\n".join(rows) + "\n", encoding="latin-1")
    small = (
        "--config.splits.sizes.validation=12",
        "--config.splits.sizes.calibration=0",
        "--config.splits.sizes.test=8",
        "--config.splits.train_per_class=5",
    )
    found = prepared("movie_minilm", path, *small, *tiny(tiny_bert))
    assert found.classes == ("negative", "positive")
    assert found.card["left_out"] == {"'rating' in no band": 12}
    assert found.card["total"] == 48
    assert "left out beforehand: 12 rows with 'rating' in no band" in found.introduction()
