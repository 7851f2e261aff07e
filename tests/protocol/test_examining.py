"""A finished ladder's rung is examined with everything, and the report shows what was found."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from jaxtransfer.cli import main
from jaxtransfer.errors import ConfigError, DataError, WorkdirError
from jaxtransfer.evaluation.drift import Batch
from jaxtransfer.evaluation.errors import flips
from jaxtransfer.evaluation.groups import by_group
from jaxtransfer.evaluation.metrics import value
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import ladder
from jaxtransfer.protocol.examining import examine
from jaxtransfer.protocol.extent import Extent, extent_of
from jaxtransfer.protocol.report import write_report
from jaxtransfer.protocol.report.contents import read
from jaxtransfer.protocol.settings import from_config, from_json

ALL = {"kinds": None, "severities": "2", "examples": 12, "outliers": [], "seed": 0}


@pytest.fixture(scope="module")
def examined(ladder_values, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("examined") / "run"
    # One trained rung beside the class means is enough.
    values = {**ladder_values, "rungs": ("nearest_mean", "linear_probe")}
    settings = from_config(values)
    ladder.run(settings, workdir, command="jaxtransfer ladder")
    strangers = tmp_path_factory.mktemp("strangers") / "other.csv"
    strangers.write_text("text\n" + "\n".join(f"qq {i} zz xx vv {i}" for i in range(15)) + "\n")
    found = examine(
        workdir,
        Extent(
            kinds=("swap", "casing"),
            severities=(1, 5),
            examples=12,
            outliers={"strangers": ("far", {"kind": "csv", "path": str(strangers), "label": None})},
        ),
        rung="linear_probe",
        say=lambda text: None,
    )
    return workdir, found


def test_settings_return_from_what_run_json_holds(ladder_values):
    settings = from_config(ladder_values)
    again = from_json(json.loads(json.dumps(settings.to_json())))
    assert again.hash == settings.hash


def test_every_part_is_there_and_plain(examined):
    workdir, found = examined
    assert json.loads((workdir / "examination.json").read_text()) == json.loads(json.dumps(found))
    assert set(found) >= {
        *("recalibration", "reliability", "brier", "groups", "label_errors"),
        *("leakage", "flips", "serving", "pareto", "outliers", "robustness", "summary"),
    }
    assert len(found["summary"]) >= 4


def test_numbers_are_those_of_the_runs_own_tables(examined):
    workdir, found = examined
    probe, means = (
        Predictions.load(workdir / "predictions" / f"{rung}-seed0.npz").select("test")
        for rung in ("linear_probe", "nearest_mean")
    )
    before = found["recalibration"]["temperature"]["before"]["accuracy"]["value"]
    tables = [
        Predictions.load(workdir / "predictions" / f"linear_probe-seed{seed}.npz").select("test")
        for seed in (0, 1)
    ]
    assert before == pytest.approx(np.mean([value(table, "accuracy") for table in tables]))
    assert found["flips"]["of"] == "nearest_mean"
    assert found["flips"]["only_b"] == flips(means, probe).only_b
    # The network is the run's: on clean inputs it gives what the table gives, in the metric that decides.
    first = probe.take(np.arange(12))
    assert found["robustness"]["metric"] == found["metric"] == "macro_f1"
    assert found["robustness"]["clean"] == pytest.approx(value(first, "macro_f1"))
    assert {(c["kind"], c["severity"]) for c in found["robustness"]["cells"]} == {
        (kind, severity) for kind in ("swap", "casing") for severity in (1, 5)
    }
    assert {row["outliers"] for row in found["outliers"]} == {"strangers"}


def test_its_features_are_a_reference_for_the_monitor(examined):
    workdir, _ = examined
    batch = Batch.load(workdir / "features.npz")
    assert set(batch.split) == {"calibration", "test"}
    assert batch.features is not None
    assert batch.logits is not None


def test_the_report_shows_each_part_and_without_an_examination_none(examined, tmp_path):
    workdir, found = examined
    # Texts of one length make no groups; a column of the caller's does.
    assert "groups" not in found or not found["groups"]
    table = Predictions.load(workdir / "predictions" / "linear_probe-seed0.npz").select("test")
    halves = np.where(np.arange(len(table)) % 2, "odd", "even")
    grouped = dataclasses.replace(table, groups={"parity": halves})
    report = by_group(grouped, "parity", ["accuracy", "nll"], replicates=50, permutations=20)
    extended = {**found, "groups": {"parity": report.to_json()}}
    (workdir / "examination.json").write_text(json.dumps(extended))
    page = write_report(workdir).read_text()
    assert "By parity" in page
    keys = ("learnt", "recalibration", "corruptions", "outliers", "groups", "doubts", "serving")
    for key in keys:
        assert f'id="{key}"' in page, key
    assert "McNemar" in page
    assert found["summary"][0].split(",")[0] in page
    bare = tmp_path / "bare"
    shutil.copytree(workdir, bare)
    (bare / "examination.json").unlink()
    page = write_report(bare).read_text()
    assert not any(f'id="{key}"' in page for key in keys)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 9}, r"examination\.json has schema 9"),
        ({"rung": "nobody"}, "is of a rung 'nobody'"),
        ({"split": None}, None),
    ],
)
def test_a_damaged_examination_is_refused_by_its_key(examined, tmp_path, change, message):
    workdir, found = examined
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy)
    changed = {**found, **change}
    if message is None:
        del changed["split"]
        message = "lacks the key 'split'"
    (copy / "examination.json").write_text(json.dumps(changed))
    with pytest.raises(WorkdirError, match=message):
        read(copy)


def test_what_cannot_be_examined_is_said(examined, tmp_path):
    workdir, _ = examined
    with pytest.raises(ConfigError, match="has no rung 'probe'"):
        examine(workdir, Extent(), rung="probe")
    with pytest.raises(WorkdirError, match=r"no record\.json: it is no decision's directory"):
        examine(tmp_path, Extent())
    with pytest.raises(WorkdirError, match=r"no record\.json: there is no such directory"):
        examine(tmp_path / "none", Extent())
    changed = tmp_path / "changed"
    shutil.copytree(workdir, changed)
    (changed / "manifest.json").write_text("{")
    said = []
    with pytest.raises(WorkdirError, match=r"manifest\.json is damaged"):
        examine(changed, Extent(), say=said.append)
    assert not said
    shutil.copy(workdir / "manifest.json", changed)
    facts = json.loads((changed / "run.json").read_text())
    facts["hashes"]["base"] = "0" * 64
    (changed / "run.json").write_text(json.dumps(facts))
    with pytest.raises(WorkdirError, match="was run on other base"):
        examine(changed, Extent())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"kinds": "swop"}, DataError, "nearest: .*'swap'"),
        ({"severities": "0,6"}, ConfigError, "some of 1 to 5"),
        ({"severities": "1,1"}, ConfigError, "some of 1 to 5"),
        ({"examples": 1}, ConfigError, "at least 2"),
        ({"seed": -1}, ConfigError, "0 or more"),
        ({"outliers": [("a", "far", {}), ("a", "far", {})]}, ConfigError, "a name of its own"),
    ],
)
def test_a_wrong_extent_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        extent_of(**{**ALL, **change})


def test_outliers_are_named_near_or_far_with_a_config(tmp_path, capsys):
    assert main(["examine", str(tmp_path), "--outliers", "digits"]) == 2
    assert "is not NAME=near:CONFIG" in capsys.readouterr().err
