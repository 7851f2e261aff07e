"""The index page over a folder of records: what it lists, what it refuses, and that it is offline and whole without script."""

import base64
import hashlib
import json
import pathlib
import re
import shutil
import urllib.parse

import pytest

from jaxtransfer import cli
from jaxtransfer.errors import WorkdirError
from jaxtransfer.protocol import entries, manifest
from jaxtransfer.protocol.indexing import write_index

HOSTILE = '</script><script>alert(1)</script>"><img src=http://evil.test/x onerror=alert(2)>'


def rewrite(workdir, change, *, sealed=True):
    record = json.loads((workdir / "record.json").read_text())
    change(record)
    (workdir / "record.json").write_text(json.dumps(record))
    if sealed:
        manifest.write(workdir)


@pytest.fixture
def folder(decided, tmp_path):
    """Two decisions, a single run, a ladder that is not finished and two damaged directories."""
    root = tmp_path / "my runs"
    first = shutil.copytree(decided, root / "texts" / "topics & more")
    rewrite(first, lambda record: record.update(created="2026-01-01T00:00:00+00:00"))
    second = shutil.copytree(decided, root / "other")
    rewrite(second, lambda record: record.update(name="other"))
    recommended = {"first": "bitfit", "rungs": ["linear_probe", "bitfit"]}
    hashes = json.loads((second / "record.json").read_text())["hashes"]
    (second / "diagnosis.json").write_text(
        json.dumps({"recommended": recommended, "hashes": hashes})
    )
    (second / "examination.json").write_text(
        json.dumps({"rung": "bitfit", "split": "test", "summary": ["Accuracy loses 0.12."]})
    )
    edited = shutil.copytree(decided, root / "edited")
    rewrite(edited, lambda record: record.update(chosen="bitfit"), sealed=False)
    for name, content in (("broken", "{"), ("single", None), ("half", None)):
        (root / name).mkdir()
        if content:
            (root / name / "record.json").write_text(content)
    (root / "single/run.json").write_text('{"verb": "train", "config": {"name": "alone"}}')
    (cell,) = (decided / "cells/bitfit").glob("run-*-seed0")
    shutil.copytree(cell, root / "single/cells/bitfit/run-lr0.01-seed0")
    (root / "half/run.json").write_text('{"verb": "ladder", "config": {"name": "half"}}')
    return root


def test_each_kind_is_found_and_nothing_is_skipped(folder):
    found = entries.find(folder)
    assert [one.directory.name for one in found.decisions] == ["other", "topics & more"]
    assert {one.directory.name: one.reason for one in found.damaged} == {
        "broken": "record.json is damaged: Expecting property name enclosed in double quotes: line 1"
        " column 2 (char 1)",
        "edited": "record.json is not the one that manifest.json was written for: see which fields"
        f" with jaxtransfer verify {folder / 'edited'}",
    }
    ((run,), (half,)) = found.runs, found.unfinished
    assert (run.name, run.rung, run.seed, run.learning_rate) == ("alone", "bitfit", 0, 0.01)
    assert (half.name, half.verb, half.cells) == ("half", "ladder", 0)
    other = found.decisions[0]
    assert (other.labels_per_class, other.classes, other.input) == (4.0, 3, "text")
    assert (other.recommended, other.is_sealed) == (("bitfit", "linear_probe"), True)
    assert other.examination == ("Of rung bitfit, on test:", "Accuracy loses 0.12.")
    assert other.chosen.method == "majority_class"
    record = json.loads((folder / "other/record.json").read_text())
    (pair,) = [p for p in record["comparisons"] if (p["a"], p["b"]) == ("bitfit", "linear_probe")]
    gains = {rung.name: rung.gain for rung in other.rungs}
    assert gains["bitfit"] == pair["value"]
    assert gains["linear_probe"] is None


def test_the_page_lists_links_and_counts(folder, capsys):
    assert cli.main(["index", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "2 decisions, 1 single runs, 0 sweeps and ablations, 1 not finished, 2 damaged" in shown
    assert f"damaged: {folder / 'broken'}: record.json is damaged" in shown
    page = (folder / "index.html").read_text()
    links = [
        urllib.parse.unquote(link)
        for link in re.findall(r'href="([^"#][^"]*)"', page)
        if link != "data:,"
    ]
    assert "texts/topics & more/report.html" in links
    assert "other/examination.json" in links
    assert all((folder / link).exists() for link in links)
    for text in (
        "Accuracy loses 0.12.",
        "What the evidence does not say",
        "chosen in 0 of the 1 decision (0 to 79 %)",
        "majority_class won most often: majority_class 2 of the 2 decisions",
        "not the one that manifest.json was written for",
        "on 1 data set",
    ):
        assert text in page


def test_the_same_record_in_several_directories_is_counted_once(decided, tmp_path, capsys):
    for name in ("a", "b/c", "d"):
        shutil.copytree(decided, tmp_path / "runs" / name)
    rewrite(tmp_path / "runs/d", lambda record: record.update(created="2026-01-01T00:00:00+00:00"))
    found = entries.find(tmp_path / "runs")
    assert [one.directory.name for one in found.decisions] == ["a", "d"]
    assert [(one.directory.name, one.of.name) for one in found.copies] == [("c", "a")]
    assert cli.main(["index", str(tmp_path / "runs")]) == 0
    shown = capsys.readouterr().out
    assert f"copy: {tmp_path / 'runs/b/c'}: holds the record of {tmp_path / 'runs/a'}" in shown
    assert "2 decisions" in shown
    page = (tmp_path / "runs/index.html").read_text()
    assert "each is counted once" in page
    assert "majority_class 2 of the 2 decisions" in page


def test_the_page_needs_no_network_and_admits_its_own_script_alone(folder):
    page = write_index(folder)[0].read_text()
    assert not re.findall(r"(?:https?:)?//[\w.]+/", page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace(
        "&#x27;", "'"
    )
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}'" in policy
    # What only a script can use is hidden without one.
    assert '<div class="search" hidden>' in page


def test_hostile_text_stays_text(decided, tmp_path):
    workdir = shutil.copytree(decided, tmp_path / "runs" / "one")

    def change(record):
        record.update(name=HOSTILE, question=HOSTILE, conclusion=[HOSTILE], command=HOSTILE)

    rewrite(workdir, change)
    page = write_index(tmp_path / "runs")[0].read_text()
    assert "<img" not in page
    assert page.count("<script>") == 1
    assert "&lt;img src=http://evil.test/x" in page


def test_the_page_may_stand_elsewhere_and_its_links_follow(folder, tmp_path):
    page, _ = write_index(folder, tmp_path / "page.html")
    assert 'href="my%20runs/other/report.html"' in page.read_text()
    write_index(folder, page)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda record: record.update(schema=9), "has schema 9, this version reads schema 1 and 2"),
        (lambda record: record.pop("limits"), "lacks the key 'limits'"),
        (lambda record: record.update(rungs=[]), "chosen is 'majority_class', which is none of"),
        (lambda record: record["data"].update(classes=5), "a value is missing or of another kind"),
        (
            lambda record: record["rungs"][0]["cost"].update(seconds="x"),
            "of another kind (ValueErr",
        ),
        (lambda record: record.update(limits="none"), "'none' is no list of sentences"),
    ],
)
def test_a_record_of_another_form_is_listed_as_damaged(decided, tmp_path, change, reason):
    workdir = shutil.copytree(decided, tmp_path / "run")
    rewrite(workdir, change)
    found = entries.read(workdir)
    assert isinstance(found, entries.Damaged)
    assert reason in found.reason


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("examination.json", "{", "examination.json is damaged"),
        ("examination.json", '{"rung": "a"}', "a value is missing or of another kind (KeyError"),
        ("diagnosis.json", '{"recommended": [3]}', "'recommended' does not name rungs and the fir"),
        ("diagnosis.json", "[]", "diagnosis.json is damaged: it holds no JSON object"),
        ("manifest.json", "{", "manifest.json is damaged"),
    ],
)
def test_a_damaged_file_beside_the_record_is_its_reason(decided, tmp_path, name, content, reason):
    workdir = shutil.copytree(decided, tmp_path / "run")
    (workdir / name).write_text(content)
    assert reason in entries.read(workdir).reason


def test_a_diagnosis_of_something_else_and_plain_facts_recommend_nothing(decided, tmp_path):
    workdir = shutil.copytree(decided, tmp_path / "run")
    hashes = json.loads((workdir / "record.json").read_text())["hashes"]
    advice = {"recommended": {"first": "bitfit", "rungs": ["bitfit"]}}
    for document, wanted in (
        ({**advice, "hashes": hashes}, ("bitfit",)),
        ({**advice, "hashes": {**hashes, "data": "f00"}}, None),
        ({"mine": 1}, None),
    ):
        (workdir / "diagnosis.json").write_text(json.dumps(document))
        assert entries.read(workdir).recommended == wanted


def test_an_older_record_is_read_and_said_to_have_no_manifest(decided, tmp_path):
    workdir = shutil.copytree(decided, tmp_path / "runs/old")

    def change(record):
        record["schema"] = 1
        for key in ("question", "rationale", "limits", "reproduce"):
            del record[key]
        del record["plan"]

    rewrite(workdir, change, sealed=False)
    (workdir / "manifest.json").unlink()
    found = entries.read(workdir)
    assert (found.is_sealed, found.input) == (False, "text")
    assert found.question.startswith("Which of 3 rungs should adapt ")
    assert "has no manifest" in write_index(tmp_path / "runs")[0].read_text()


def test_a_record_that_calls_itself_older_is_still_held_to_its_manifest(decided, tmp_path):
    workdir = shutil.copytree(decided, tmp_path / "run")
    rewrite(workdir, lambda record: record.update(schema=1), sealed=False)
    assert "not the one that manifest.json was written for" in entries.read(workdir).reason


def test_an_examination_without_its_record_is_damaged(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one/examination.json").write_text("{}")
    (found,) = entries.find(tmp_path).damaged
    assert found.reason == "an examination without its record: record.json is missing"


def test_what_cannot_be_indexed_is_refused(folder, decided, tmp_path, capsys):
    for root, out, message in (
        (tmp_path / "nowhere", None, "there is no folder"),
        (folder / "texts/topics & more/cells", None, "holds no record and no run"),
        (decided, None, "would stand inside of the work directory"),
        (folder, folder / "no/such/page.html", "there is no folder"),
        (folder, folder, "is a folder; name a file"),
    ):
        with pytest.raises(WorkdirError, match=message):
            write_index(root, out)
    (folder / "index.html").write_text("<h1>mine</h1>")
    for words in (["index", str(folder)], ["index", str(folder), "--dry-run"]):
        assert cli.main(words) == 2
        assert "is there and is no index of ours" in capsys.readouterr().err
    assert pathlib.Path(folder / "index.html").read_text() == "<h1>mine</h1>"
