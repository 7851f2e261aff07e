"""The verb `monitor`: its exit status, its state from check to check, and what it refuses."""

import json
import re

import numpy as np
import pytest

from jaxtransfer.cli import main


def write(path, seed, shift=0.0, rows=200, **columns):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, 8)) + shift
    logits = np.stack([features[:, 0], -features[:, 0]], axis=1)
    label = (features[:, 0] + rng.normal(size=rows) < 0).astype(int)
    table = {
        "id": np.arange(rows),
        "features": features,
        "logits": logits,
        "label": label,
        "split": np.where(np.arange(rows) % 2, "a", "b"),
        "group_site": np.full(rows, "x"),
    }
    np.savez(path, **(table | columns))
    return str(path)


@pytest.fixture
def fitted(tmp_path):
    monitor = str(tmp_path / "monitor.npz")
    assert main(["monitor", "fit", write(tmp_path / "r.npz", 0, rows=600), "--out", monitor]) == 0
    return monitor


def looks(capsys, *words):
    capsys.readouterr()
    status = main(["monitor", "check", *words, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_fit_says_what_is_watched(tmp_path, capsys):
    out = str(tmp_path / "m.npz")
    reference = write(tmp_path / "r.npz", 0, rows=600)
    assert main(["monitor", "fit", reference, "--out", out, "--false-alarms", "0.01"]) == 0
    printed = capsys.readouterr().out
    assert "watches features, labels, confidence; 600 reference rows, 400 of them" in printed
    assert "false alarms at most 0.01 over any number of looks" in printed


def test_status_is_0_without_an_alarm_and_1_from_then_on(tmp_path, capsys, fitted):
    quiet = [write(tmp_path / f"{day}.npz", day) for day in (1, 2)]
    moved = write(tmp_path / "3.npz", 3, shift=0.8)
    assert looks(capsys, fitted, quiet[0])[0] == 0
    status, found = looks(capsys, fitted, moved, write(tmp_path / "4.npz", 4, shift=0.8))
    assert status == 1
    assert [finding["look"]["number"] for finding in found] == [2, 3]
    assert found[-1]["advice"] == "re-adapt"
    assert looks(capsys, fitted, quiet[1])[0] == 1


def test_text_names_look_evidence_and_advice(tmp_path, capsys, fitted):
    main(["monitor", "check", fitted, write(tmp_path / "1.npz", 1, shift=1.0)])
    printed = capsys.readouterr().out
    assert "look 1 (" in printed
    assert "evidence (alarm at 60): features" in printed
    assert "advice: re-adapt" in printed
    assert "this batch's labels: accuracy" in printed


def test_a_batch_is_counted_once_and_a_dry_run_not_at_all(tmp_path, capsys, fitted):
    batch = write(tmp_path / "1.npz", 1)
    assert not looks(capsys, fitted, batch, "--dry-run")[1][0]["repeated"]
    assert not looks(capsys, fitted, batch)[1][0]["repeated"]
    again = looks(capsys, fitted, batch)[1][0]
    assert again["repeated"]
    assert again["look"]["number"] == 1


def test_one_malformed_batch_leaves_the_state_as_it_was(tmp_path, capsys, fitted):
    good = write(tmp_path / "1.npz", 1)
    features = np.ones((200, 8))
    features[5, 2] = np.nan
    bad = write(tmp_path / "2.npz", 2, features=features)
    assert main(["monitor", "check", fitted, good, bad]) == 2
    assert "2.npz: column 'features', row 5, number 2: nan" in capsys.readouterr().err
    assert not looks(capsys, fitted, good)[1][0]["repeated"]


def test_a_split_is_watched_alone(tmp_path, capsys):
    out, reference = str(tmp_path / "m.npz"), write(tmp_path / "r.npz", 0, rows=600)
    assert main(["monitor", "fit", reference, "--out", out, "--split", "a"]) == 0
    _, found = looks(capsys, out, write(tmp_path / "1.npz", 1), "--split", "b")
    assert found[0]["look"]["rows"] == 100
    assert main(["monitor", "check", out, reference, "--split", "c"]) == 2
    assert "no row of split 'c'; it has ['a', 'b']" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "r.npz", "--out", "monitor.npz"], "monitor.npz exists, and its looks"),
        (
            ["fit", "r.npz", "--out", "m.txt"],
            "m.txt: a monitor's arrays are kept in a file of .npz",
        ),
        (["fit", "none.npz", "--out", "m.npz"], "none.npz: there is no such file"),
        (["fit", "odd.npz", "--out", "m.npz"], "odd.npz: unknown column 'feature'"),
        (["fit", "lone.npz", "--out", "m.npz"], "lone.npz: column 'id' is missing"),
        (["fit", "r.npz", "--out", "m.npz", "--false-alarms", "0"], "false alarms 0.0 is not"),
        (["check", "none.npz", "r.npz"], "none.npz: there is no such monitor"),
        (["check", "gone/m.npz", "r.npz"], "gone: there is no such directory"),
        (["check", "r.npz", "r.npz"], "r.npz: this .npz is not a monitor"),
        (["check", "monitor.npz", "r.npz", "--config=c.py"], "monitor takes no --config"),
    ],
)
def test_a_mistake_is_one_message_and_status_2(
    tmp_path, capsys, monkeypatch, fitted, words, message
):
    monkeypatch.chdir(tmp_path)
    write("odd.npz", 0, feature=np.ones(200))
    np.savez("lone.npz", features=np.ones((60, 2)))
    assert main(["monitor", *words]) == 2
    assert message in capsys.readouterr().err


def test_an_existing_monitor_is_replaced_on_demand(tmp_path, capsys, fitted):
    batch = write(tmp_path / "1.npz", 1)
    main(["monitor", "check", fitted, batch])
    assert main(["monitor", "fit", str(tmp_path / "r.npz"), "--out", fitted, "--replace"]) == 0
    assert not looks(capsys, fitted, batch)[1][0]["repeated"]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("rows/features", lambda a: a[:1], r"rows/features has shape \(1, 8\) and not \(400, 8\)"),
        ("features/offsets", lambda a: a * np.nan, "features/offsets holds a number that is not"),
        ("confidence/scale", lambda a: a[:0], "confidence"),
        ("predicted", lambda a: a[:1], r"predicted has shape \(1,\) and not"),
    ],
)
def test_a_damaged_monitor_is_refused_and_neither_alarms_nor_rests(
    tmp_path, capsys, fitted, name, change, message
):
    with np.load(fitted) as archive:
        arrays = dict(archive)
    np.savez(fitted, **(arrays | {name: change(arrays[name])}))
    assert main(["monitor", "check", fitted, write(tmp_path / "1.npz", 1)]) == 2
    said = capsys.readouterr().err
    assert "monitor.npz: the monitor is damaged" in said
    assert said.count("monitor.npz") == 1


def test_a_reference_without_spread_or_scale_is_refused_by_file_and_column(tmp_path, capsys):
    for columns, message in (
        ({"features": np.zeros((200, 8))}, "r.npz: the median distance .* 'features' is mostly"),
        (
            {"features": np.full((200, 8), 1e200)},
            "r.npz: column 'features', row 0: 1e.200 is larger",
        ),
    ):
        path = write(tmp_path / "r.npz", 0, **columns)
        assert main(["monitor", "fit", path, "--out", str(tmp_path / "m.npz")]) == 2
        assert re.search(message, capsys.readouterr().err)
    good = write(tmp_path / "g.npz", 0)
    assert main(["monitor", "fit", good, "--out", str(tmp_path / "m.npz"), "--seed", "-1"]) == 2
    assert "seed -1 is negative" in capsys.readouterr().err
