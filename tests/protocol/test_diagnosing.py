"""A diagnosis reads no label that decides or tests, and ends with a config that the ladder takes."""

import ast
import dataclasses
import json
import pprint

import numpy as np
import pytest

from jaxtransfer.cli import config_words, main
from jaxtransfer.errors import ConfigError, JaxTransferError, WorkdirError
from jaxtransfer.protocol import diagnosing, ladder, planning, problem, study_previews
from jaxtransfer.protocol.diagnosis_text import card
from jaxtransfer.protocol.report import write_report
from jaxtransfer.protocol.report.diagnosis_form import check_diagnosis
from jaxtransfer.protocol.settings import from_config


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    path = tmp_path_factory.mktemp("strangers") / "other.csv"
    path.write_text("text\n" + "\n".join(f"qq {i} zz xx vv {i}" for i in range(20)) + "\n")
    return {"kind": "csv", "path": str(path), "label": None}


@pytest.fixture(scope="module")
def diagnosed(ladder_values, strangers):
    settings = from_config(ladder_values)
    return settings, diagnosing.diagnose(settings, domains={"strangers": strangers})


def test_it_counts_what_there_is(diagnosed):
    settings, found = diagnosed
    prepared = problem.prepare(settings)
    facts = found["facts"]
    assert facts["labels_per_class"] == 4
    assert facts["classes"] == len(prepared.classes)
    assert facts["train_labels"] == 4 * len(prepared.classes)
    assert facts["validation_labels"] == 24
    assert facts["examples"] == len(prepared.table)
    assert found["config_hash"] == settings.hash
    inputs = found["card"]["inputs"]
    assert inputs["takes"] == settings.model.options["max_length"]
    assert inputs["quantiles"]["1"] >= inputs["quantiles"]["0.5"]
    json.dumps(found, allow_nan=False)


def test_another_domain_differs_and_the_splits_do_not(diagnosed):
    _, found = diagnosed
    told = {one["to"]: one for one in found["distances"]}
    assert set(told) == {"tune", "accept", "calibration", "test", "strangers"}
    assert told["strangers"]["differs"]
    assert told["strangers"]["is_domain"]
    assert not any(told[name]["differs"] for name in ("tune", "accept", "calibration", "test"))
    assert "no BatchNorm" in found["source"]["distance"]["undefined"]


def test_scores_of_backbone_and_stages_are_there_or_say_why_not(diagnosed):
    _, found = diagnosed
    scores = {score["name"]: score for score in found["backbones"][0]["scores"]}
    assert scores["LEEP"]["undefined"] == "the backbone has no classifier of source classes"
    assert 0 <= scores["linear-probe accuracy"]["value"] <= 1
    assert found["best_backbone"]["LEEP"] is None
    stages = [stage["stage"] for stage in found["layers"]["stages"]]
    assert stages[0] == "embeddings"
    shown = card(found)
    for word in ("DATA topics", "DISTANCES", "LogME", *stages, "RECOMMENDED LADDER", "expected to"):
        assert word in shown


def test_labels_that_decide_or_test_are_not_read(diagnosed, strangers, monkeypatch):
    settings, found = diagnosed

    def shuffled(of):
        prepared = prepare(of)
        labels = prepared.table.labels.copy()
        hidden = np.concatenate(
            [rows for name, rows in prepared.splits.items() if name not in ("train", "tune")]
        )
        labels[hidden] = np.roll(labels[hidden], 7)
        table = dataclasses.replace(prepared.table, labels=labels)
        return dataclasses.replace(prepared, table=table)

    prepare = problem.prepare
    monkeypatch.setattr(diagnosing, "prepare", shuffled)
    again = diagnosing.diagnose(settings, domains={"strangers": strangers})
    for key in ("distances", "backbones", "layers", "recommended", "facts"):
        assert again[key] == found[key], key


def test_the_recommended_config_is_one_that_the_ladder_takes(diagnosed, tmp_path):
    settings, found = diagnosed
    diagnosing.write(found, settings, tmp_path)
    assert json.loads((tmp_path / "diagnosis.json").read_text()) == found
    loaded = from_config(config_words.load([f"--config={tmp_path / 'recommended.py'}"]))
    assert [rung.name for rung in loaded.rungs] == found["recommended"]["rungs"]
    assert loaded.rung("linear_probe").learning_rates == (0.03, 0.1)
    assert loaded.rung("lp_ft").first_phase == {"learning_rate": 0.05, "steps": 5}
    assert (loaded.data, loaded.splits, loaded.seeds) == (
        settings.data,
        settings.splits,
        settings.seeds,
    )


def test_the_recommended_config_takes_overrides_and_runs_no_name(diagnosed, tmp_path):
    settings, found = diagnosed
    reasons = {**found["recommended"]["reasons"], "lp_ft": 'q"""\nopen("ran", "w")\n"""'}
    named = {**found, "recommended": {**found["recommended"], "reasons": reasons}}
    path = tmp_path / "recommended.py"
    words = ["seeds=(0, 1, 2)", "rungs=('linear_probe',)", "task.metrics=('nll',)", "records=runs"]
    words += ["methods.linear_probe.learning_rates=(0.5,)"]
    settings = dataclasses.replace(settings, task={"metrics": ("accuracy", "nll")})
    path.write_text(diagnosing.recommended_config(named, settings))
    loaded = config_words.load([f"--config={path}", *(f"--config.{word}" for word in words)])
    assert (loaded.seeds, loaded.rungs) == ((0, 1, 2), ("linear_probe",))
    assert (loaded.task.metrics, loaded.records) == (("nll",), "runs")
    assert loaded.methods.linear_probe.learning_rates == (0.5,)
    assert reasons["lp_ft"] in ast.get_docstring(ast.parse(path.read_text()))


def test_the_ladder_reads_its_facts_and_keeps_it_and_the_report_shows_it(diagnosed, tmp_path):
    settings, found = diagnosed
    diagnosing.write(found, settings, tmp_path)
    loaded = from_config(config_words.load([f"--config={tmp_path / 'recommended.py'}"]))
    few = dataclasses.replace(
        loaded,
        rungs=(
            loaded.rung("nearest_mean"),
            dataclasses.replace(loaded.rung("linear_probe"), when={"vendi_score": (">", 1e6)}),
        ),
        seeds=(0,),
    )
    workdir = tmp_path / "run"
    record = ladder.run(few, workdir)
    assert [rung["name"] for rung in record["rungs"]] == ["nearest_mean"]
    assert json.loads((workdir / "diagnosis.json").read_text()) == found
    page = (workdir / "report.html").read_text()
    assert 'id="diagnosis"' in page
    assert f"expected {found['recommended']['first']} to win" in page
    assert main(["verify", str(workdir)]) == 0
    other = {**found, "hashes": {**found["hashes"], "data": "f00", "base": "f00"}}
    for document, said in ((other, "is of other data and another backbone"), ({"mine": 1}, None)):
        (workdir / "diagnosis.json").write_text(json.dumps(document))
        write_report(workdir)
        page = (workdir / "report.html").read_text()
        assert ('id="diagnosis"' in page) == (said is not None)
        assert said is None or said in page


def cut(settings, *rungs, when=None, diagnosis=None):
    """A ladder of baselines alone, of which the last may ask for facts."""
    climbed = [settings.rung(name) for name in rungs]
    climbed[-1] = dataclasses.replace(climbed[-1], when=when or {})
    return dataclasses.replace(
        settings,
        rungs=tuple(climbed),
        seeds=(0,),
        diagnosis=None if diagnosis is None else str(diagnosis),
    )


def damaged(found):
    return {**found, "layers": {}}


def of_other(name):
    return lambda found: {**found, "hashes": {**found["hashes"], name: "f00"}}


@pytest.mark.parametrize("is_own", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damaged, "lacks the key 'layers"),
        (of_other("data"), "is of other data: diagnose what"),
        (of_other("splits"), "is of other splits: diagnose what"),
        (of_other("base"), "is of another backbone: diagnose what"),
    ],
)
def test_a_diagnosis_is_refused_before_a_cell_runs(diagnosed, tmp_path, change, message, is_own):
    """The one in the directory itself is only shown, so that of something else it is no obstacle there."""
    settings, found = diagnosed
    workdir = tmp_path / "run"
    workdir.mkdir()
    path = (workdir if is_own else tmp_path) / "diagnosis.json"
    path.write_text(json.dumps(change(found)))
    few = cut(settings, "majority_class", "nearest_mean", diagnosis=None if is_own else path)
    if is_own and change is not damaged:
        planning.plan(few, workdir)
        return
    for start in (planning.plan, ladder.run):
        with pytest.raises(JaxTransferError, match=message):
            start(few, workdir)
    assert not (workdir / "cells").exists()


def test_plain_facts_serve_preconditions_and_are_no_diagnosis(diagnosed, tmp_path):
    settings, _ = diagnosed
    path = tmp_path / "facts.json"
    path.write_text(json.dumps({"my_fact": 1}))
    few = cut(
        settings, "majority_class", "nearest_mean", when={"my_fact": (">", 1)}, diagnosis=path
    )
    record = ladder.run(few, tmp_path / "run")
    assert record["plan"]["facts"]["my_fact"] == 1
    assert [one["rung"] for one in record["plan"]["skipped"]] == ["nearest_mean"]
    assert not (tmp_path / "run" / "diagnosis.json").exists()
    assert main(["verify", str(tmp_path / "run")]) == 0


def test_a_ladder_may_begin_where_its_diagnosis_was_written(diagnosed, tmp_path):
    settings, found = diagnosed
    diagnosing.write(found, settings, tmp_path)
    few = cut(settings, "majority_class", "nearest_mean", diagnosis=tmp_path / "diagnosis.json")
    ladder.run(few, tmp_path)
    assert json.loads((tmp_path / "diagnosis.json").read_text()) == found
    assert 'id="diagnosis"' in (tmp_path / "report.html").read_text()
    assert main(["verify", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("schema",), 9, "has schema 9"),
        (("distances",), {}, "'distances' is no list"),
        (("backbones", 0, "scores", 1, "value"), "0.9", r"scores\[1\]\.value' is '0\.9'"),
        (("layers", "stages", 0, "probe"), None, "'layers.stages\\[0\\].probe' is no JSON object"),
        (("recommended", "first"), 3, r"'recommended\.first' is 3"),
    ],
)
def test_a_damaged_diagnosis_is_refused_by_file_and_key(diagnosed, tmp_path, keys, value, message):
    document = json.loads(json.dumps(diagnosed[1]))
    check_diagnosis(document, tmp_path / "diagnosis.json")
    node = document
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    with pytest.raises(WorkdirError, match=rf"diagnosis\.json.*{message}"):
        check_diagnosis(document, tmp_path / "diagnosis.json")


def test_the_verb_prints_and_writes(ladder_values, tmp_path, capsys):
    config = tmp_path / "config.py"
    config.write_text(
        "from ml_collections import ConfigDict\n\n\ndef get_config():\n"
        f"    return ConfigDict({pprint.pformat(ladder_values)})\n"
    )
    words = ["diagnose", f"--config={config}", "--workdir", str(tmp_path / "out"), "--json"]
    assert main(words) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["name"] == "topics"
    assert (tmp_path / "out" / "recommended.py").is_file()
    assert main([*words, "--domain", "web"]) == 2
    assert "is not NAME=CONFIG" in capsys.readouterr().err
    assert main([*words, "--seed", "-1"]) == 2
    assert "--seed -1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("uri", "message"),
    [("nope", "nope"), ("efficientnet-lite0", r"is a model of images, it has no option")],
)
def test_a_candidate_that_cannot_be_had_is_found_first_and_in_a_dry_run(
    ladder_values, monkeypatch, uri, message
):
    settings = from_config(ladder_values)
    monkeypatch.setattr(diagnosing, "_features", lambda *_: pytest.fail("features were computed"))
    with pytest.raises(JaxTransferError, match=message):
        diagnosing.diagnose(settings, candidates=[uri])
    with pytest.raises(JaxTransferError, match=message):
        study_previews.diagnosis(settings, [uri], {}, None)


def test_a_candidate_named_twice_is_refused(ladder_values):
    settings = from_config(ladder_values)
    with pytest.raises(ConfigError, match="name each backbone once"):
        diagnosing.diagnose(settings, candidates=[settings.model.uri])
