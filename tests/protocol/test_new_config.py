"""Configs for a user's own data: what is seen of them, what is asked for, and that the file works."""

import ast
import csv
import json
import pathlib
import shlex

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from jaxtransfer import cli
from jaxtransfer.cli import config_words
from jaxtransfer.data.source import from_arrays
from jaxtransfer.errors import ConfigError, DataError
from jaxtransfer.protocol import new_config
from jaxtransfer.protocol.problem import prepare
from jaxtransfer.protocol.seen_data import look
from jaxtransfer.protocol.settings import from_config

ROOT = pathlib.Path(__file__).parents[2]


def run(*words):
    return cli.main([str(word) for word in words])


def table(path, columns, delimiter=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([list(columns), *zip(*columns.values())])
    return path


@pytest.fixture(scope="module")
def columns(topics):
    numbers = range(len(topics[0]))
    return {
        "number": [str(1000 + n) for n in numbers],
        "body": topics[0],
        "about": topics[1],
        "day": [str(n % 5) for n in numbers],
    }


@pytest.mark.parametrize(("kind", "name"), [("table", "csv_text"), ("images", "folder_images")])
def test_the_configs_of_the_repository_are_what_new_writes(kind, name):
    """`jaxtransfer new table csv_text` and `jaxtransfer new images folder_images` make them anew."""
    out = pathlib.Path("configs") / f"{name}.py"
    assert (ROOT / out).read_text() == new_config.render(kind, name, out)


@pytest.mark.parametrize("kind", ["text", "images", "table"])
def test_without_data_the_usual_form_is_named(kind, tmp_path, capsys):
    out = tmp_path / "deep" / "mine.py"
    assert run("new", kind, "mine", "--out", out) == 0
    assert f"--config {out} --workdir runs/mine --dry-run" in capsys.readouterr().out
    settings = from_config(config_words.load([f"--config={out}"]))
    assert settings.name == "mine"
    assert settings.data == new_config.KINDS[kind][1]
    assert len(settings.rungs) == 9
    before = out.read_text()
    assert run("new", kind, "mine", "--out", out) == 2
    assert "exists; give another --out" in capsys.readouterr().err
    assert out.read_text() == before


def test_a_table_is_looked_at_and_its_ladder_is_counted(columns, tmp_path, tiny_bert, capsys):
    path = table(tmp_path / "mine.csv", columns, ";")
    out = tmp_path / "mine.py"
    words = ["new", "table", "mine", "--data", path, "--out", out]
    assert run(*words, "--dry-run") == 2
    said = capsys.readouterr().err
    assert "the label of" in said
    assert "--label COLUMN" in said
    assert run(*words, "--label", "about", "--dry-run") == 0
    shown, said = capsys.readouterr()
    assert not out.exists()
    assert run(*words, "--label", "about") == 0
    assert out.read_text() == shown
    assert "90 examples of 3 classes: 'animals' 30, 'food' 30, 'tools' 30" in said
    assert "texts in 'body', labels in 'about'" in said
    settings = from_config(config_words.load([f"--config={out}"]))
    assert settings.data == {
        "kind": "csv",
        "path": str(path),
        "delimiter": ";",
        "text": "body",
        "label": "about",
    }
    assert settings.model.options == {"max_length": 32}  # eight words a text
    tiny = [f"--config.model.uri={tiny_bert}", "--config.model.options.max_length=12"]
    few = "--config.rungs=('majority_class','linear_probe')"
    ladder = ["ladder", "--config", out, *tiny, few, "--workdir", tmp_path / "run", "--dry-run"]
    assert run(*ladder) == 0
    assert "splits: train 27, tune 18, accept 18" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_other_tables_give_the_same_columns(kind, columns, tmp_path):
    renamed = {"id": columns["number"], "text": columns["body"], "label": columns["about"]}
    path = tmp_path / f"mine.{kind}"
    if kind == "jsonl":
        rows = [dict(zip(renamed, row)) for row in zip(*renamed.values())]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        parquet.write_table(pyarrow.table(renamed), path)
    seen = look("text", path)
    assert seen.data == {
        "kind": kind,
        "path": str(path),
        "text": "text",
        "label": "label",
        "id": "id",
    }
    assert seen.table.ids[0] == "1000"


def test_folders_of_texts_and_of_images_are_told_apart(tmp_path, topic_folder):
    seen = look("text", topic_folder)
    assert seen.data == {"kind": "text_folder", "path": str(topic_folder)}
    assert any("92 examples of 3 classes" in fact for fact in seen.facts)
    rng = np.random.default_rng(0)
    for row in range(40):
        folder = tmp_path / "photos" / ("cat", "dog")[row % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 256, (150, 170, 3), np.uint8)
        Image.fromarray(image).save(folder / f"{row}.png")
    photos = look("images", tmp_path / "photos")
    assert (photos.of, photos.size) == ("images", 150)
    text = new_config.render("images", "mine", tmp_path / "mine.py", photos)
    assert '"image_size": 128' in text
    assert "# Seen: shorter side of an image: 150 to 150 pixels, median 150." in text
    for kind, path, message in (
        ("text", tmp_path / "photos", "holds images .*use `new images`"),
        ("images", topic_folder, "holds no images but .txt: use `new text`"),
        ("table", topic_folder, "is a folder; use `new text` or `new images`"),
    ):
        with pytest.raises(ConfigError, match=message):
            look(kind, path)


def test_a_table_of_pixels_is_images(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 64))
    rows = np.column_stack([np.arange(60) % 3, pixels])
    np.savetxt(tmp_path / "digits.csv", rows, "%d", delimiter=",")
    seen = look("table", tmp_path / "digits.csv")
    assert seen.of == "images"
    assert seen.data["shape"] == (8, 8)
    assert seen.data["label_column"] == 0
    text = new_config.render("table", "digits", tmp_path / "digits.py", seen)
    assert "each a row of pixels" in text
    assert new_config.check(text).model.uri == "efficientnet-lite0"


def test_what_is_not_utf_8_is_said_and_read(tmp_path, columns):
    path = tmp_path / "mine.csv"
    lines = ["text,label", *(f"caf\xe9 {b},{t}" for b, t in zip(columns["body"], columns["about"]))]
    path.write_bytes("\n".join(lines).encode("latin-1"))
    seen = look("table", path)
    assert seen.data["encoding"] == ("utf-8", "latin-1")
    assert seen.table.inputs[0].startswith("caf\xe9 ")
    assert any("not all of it is UTF-8" in fact for fact in seen.facts)
    folder = tmp_path / "texts"
    for row, text in enumerate(columns["body"][:8]):
        (folder / f"c{row % 2}").mkdir(parents=True, exist_ok=True)
        (folder / f"c{row % 2}" / f"{row}.txt").write_bytes(f"caf\xe9 {text}".encode("latin-1"))
    assert look("text", folder).data["encoding"] == ("utf-8", "latin-1")


def test_many_examples_get_counts_and_a_small_class_is_doubted(tmp_path):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdefgh"), 12)) + f" {n}" for n in range(3000)]
    labels = ["even" if n % 2 else "odd" for n in range(2998)] + ["rare"] * 2
    path = table(tmp_path / "mine.csv", {"text": texts, "label": labels})
    seen = look("table", path)
    settings = new_config.check(new_config.render("table", "mine", tmp_path / "mine.py", seen))
    assert settings.splits.sizes == {"validation": 400, "calibration": 200, "test": 750}
    assert settings.splits.train_per_class == pytest.approx(500 / 3000, abs=1e-4)
    (doubt,) = new_config.doubts(seen, settings)
    assert "the ladder would refuse this: class 'rare' has no example in" in doubt


@pytest.mark.parametrize(
    ("columns", "options", "error", "message"),
    [
        ({"a": ["x", "y"], "b": ["p", "q"]}, {}, ConfigError, "the text of .* say the column"),
        (
            {"text": ["x", "y"], "label": ["p", "q"]},
            {"label": "lable"},
            ConfigError,
            "nearest: 'label'",
        ),
        (
            {"text": [f"{n}.png" for n in range(8)], "label": list("pq" * 4)},
            {},
            ConfigError,
            "holds names of image files",
        ),
        ({"text": [], "label": []}, {}, DataError, "holds no rows"),
        (
            {"text": list("abcdefgh"), "label": ["x"] * 8},
            {},
            ConfigError,
            "can be the label, which has 2 to 100 different values.*'text' 8, 'label' 1.*--label COLUMN",
        ),
        (
            {"uid": range(8), "f1": [n * 0.3 for n in range(8)], "label": list("ab" * 4)},
            {},
            ConfigError,
            r"holds texts; .*\(columns: 'uid', 'f1', 'label'\): say the column with --text COLUMN",
        ),
        (
            {"text": ["x", "y"], "label": ["p", "q"]},
            {"text": "label", "label": "label"},
            ConfigError,
            "both name 'label'",
        ),
    ],
)
def test_what_cannot_be_told_is_asked_for(tmp_path, columns, options, error, message):
    with pytest.raises(error, match=message):
        look("table", table(tmp_path / "mine.csv", columns), **options)


def test_wrong_words_are_messages(tmp_path, capsys):
    for words, message in (
        (["new", "table", "mi/ne"], "folders are named by it"),
        (["new", "table", "mine", "--data", tmp_path / "no.csv"], "there is no"),
        (["new", "table", "mine", "--label", "x"], "give that too"),
        (["new", "text", "mine", "--config", "x.py"], "takes no --config"),
    ):
        assert run(*words, "--out", tmp_path / "out.py") == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out.py").exists()
    (tmp_path / "x.pdf").write_text("")
    with pytest.raises(ConfigError, match=r"is no \.csv"):
        look("table", tmp_path / "x.pdf")


@pytest.mark.parametrize(
    "name", ['a"b', "a\nb", "a\\", '"""\nopen("ran", "w")\n"""', '"; open("ran", "w"); "']
)
def test_a_name_is_refused_before_anything_is_made_of_it(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words in (["--dry-run"], ["--dry-run", "--out", "x.py"], []):
        assert run("new", "table", name, *words) == 2
        assert "but folders are named by it" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="folders are named by it"):
        new_config.render("table", name, tmp_path / "x.py")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "out", ['q""".py', "q\\N{foo}.py", 'q"""\nopen("ran", "w")\n"""x.py', "a b'.py"]
)
def test_no_name_of_a_file_is_more_than_words_in_its_docstring(out, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("new", "table", "mine", "--out", out) == 0
    command = capsys.readouterr().out.rpartition("  jaxtransfer")[2]
    words = ["ladder", "--config", out, "--workdir", "runs/mine"]
    assert shlex.split(command) == words
    assert [path.name for path in tmp_path.iterdir()] == [out]
    said = ast.get_docstring(ast.parse((tmp_path / out).read_text()))
    assert shlex.quote(out) in said
    assert from_config(config_words.load([f"--config={tmp_path / out}"])).name == "mine"


def test_what_a_ladder_would_refuse_or_confuse_is_doubted(tmp_path, topics):
    texts, labels = topics
    kinds = {
        "one": (texts, ["x"] * 90, ["refuse this: a classification needs at least two classes"]),
        "spelt": (
            texts,
            [f" {c}"[n % 2 :] for n, c in enumerate(labels)],
            ["' animals'", "' food'", "' tools'"],
        ),
        "same": (
            ["the cat"] * 90,
            labels,
            ["removed 89 of 90", "none of the 30 examples of class 'food'"],
        ),
    }
    for name, (column, classes, expected) in kinds.items():
        path = table(tmp_path / f"{name}.csv", {"text": column, "label": classes})
        seen = look("table", path, text="text", label="label")
        config = new_config.check(new_config.render("table", "mine", tmp_path / "mine.py", seen))
        found = new_config.doubts(seen, config)
        assert len(found) == len(expected)
        for doubt, part in zip(found, expected):
            assert part in doubt
    with pytest.raises(DataError, match="'food' is left without exact duplicates"):
        prepare(config)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_utf_16_is_read_as_such(tmp_path, columns, suffix):
    rows = list(zip(columns["body"], columns["about"]))
    lines = [json.dumps({"text": b, "label": a}) for b, a in rows]
    if suffix == "csv":
        lines = ["text,label", *(f"{b},{a}" for b, a in rows)]
    path = tmp_path / f"mine.{suffix}"
    path.write_text("\n".join(lines), encoding="utf-16")
    seen = look("table", path)
    assert seen.data["encoding"] == "utf-16"
    assert "it is UTF-16" in seen.facts
    assert seen.table.inputs[0] == columns["body"][0]


@pytest.mark.parametrize(("classes", "each"), [(2, 501), (4, 251), (7, 172), (7, 190), (20, 60)])
def test_splits_of_a_thousand_examples_leave_some_over(classes, each):
    labels = np.repeat(np.arange(classes), each)
    of = from_arrays([f"text {row}" for row in range(len(labels))], labels.tolist())
    splits = new_config._sizes(of)
    total = len(labels)
    share = splits["train_per_class"]
    trained = share * total if share < 1 else share * classes
    held = sum(size * total if size < 1 else size for size in splits["sizes"].values())
    assert held + trained <= 0.95 * total + 1
