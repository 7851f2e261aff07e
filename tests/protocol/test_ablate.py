"""Ablations of the tiny ladder's rungs: what is run, paired, resumed, refused and shown."""

import copy
import json
import pprint
import shutil

import numpy as np
import pytest

from jaxtransfer import cli
from jaxtransfer.errors import ConfigError, JaxTransferError, TrainingError, WorkdirError
from jaxtransfer.evaluation.correction import holm
from jaxtransfer.evaluation.metrics import value
from jaxtransfer.evaluation.paired import paired_difference
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import ablate, ablation, cells, entries
from jaxtransfer.protocol.report import write_report
from jaxtransfer.protocol.report.ablation import render
from jaxtransfer.protocol.verifying import verify

COMPONENTS = {
    "smoothing": {
        "without": {"label_smoothing": 0.0},
        "alternatives": {"strong": {"label_smoothing": 0.4}},
    },
    "targets": {"without": {"options": {"targets": (".*/query/kernel",)}}},
    "schedule": {
        "without": {"schedule": "constant"},
        "alternatives": {"linear": {"schedule": "linear"}},
    },
    "rank": {"alternatives": {"one": {"options": {"rank": 1}}}},
    "method": {"alternatives": {"bitfit": {"method": "bitfit", "learning_rates": (0.01,)}}},
}


@pytest.fixture
def values(ladder_values):
    found = copy.deepcopy(ladder_values)
    found["methods"]["lora"]["label_smoothing"] = 0.1
    names = ("smoothing", "targets", "schedule")
    found["ablation"] = {
        "rung": "lora",
        "mode": "leave_one_out",
        "components": {name: copy.deepcopy(COMPONENTS[name]) for name in names},
    }
    return found


@pytest.fixture(scope="module")
def finished(ladder_values, tmp_path_factory):
    """An ablation, one factor at a time, that ran to its end."""
    config = copy.deepcopy(ladder_values)
    config["ablation"] = {
        "rung": "lora",
        "mode": "one_factor",
        "components": {name: COMPONENTS[name] for name in ("rank", "method")},
    }
    workdir = tmp_path_factory.mktemp("ablate") / "run"
    return config, workdir, ablate.run(ablation.read(config), workdir, command="jaxtransfer ablate")


def test_leaving_out_changes_one_component_of_the_base(values):
    found = ablation.read(values)
    base = found.settings.rung("lora")
    assert [rung.name for rung in found.settings.rungs] == [
        "lora",
        "lora-smoothing-without",
        "lora-targets-without",
        "lora-schedule-without",
    ]
    assert base.overrides == {"label_smoothing": 0.1}
    smoothing, targets, schedule = found.variants
    assert smoothing.changes == {"label_smoothing": (0.1, 0.0)}
    assert targets.changes == {"options.targets": (None, (".*/query/kernel",))}
    assert found.settings.rung(targets.rung).options["rank"] == 2
    assert schedule.changes == {"schedule": ("cosine", "constant")}
    assert found.settings.rung(schedule.rung).overrides["label_smoothing"] == 0.1
    assert [v.component for v in ablation.read(values, ["targets"]).variants] == ["targets"]


def test_random_weights_are_a_variant_too(values):
    values["ablation"]["components"] = {"pretraining": {"without": {"initialisation": "random"}}}
    found = ablation.read(values)
    assert [rung.initialisation for rung in found.rungs] == ["pretrained", "random"]
    assert found.variants[0].changes == {"initialisation": ("pretrained", "random")}
    values["ablation"]["rung"] = "nearest_mean"
    with pytest.raises(ConfigError, match=r"name a rung that trains pretrained weights"):
        ablation.read(values)


def test_another_method_takes_none_of_the_bases_options(finished):
    config, _, found = finished
    settings = ablation.read(config).settings
    assert settings.rung("lora-method-bitfit").options == {}
    assert found["variants"][1]["changes"]["method"] == ["lora", "bitfit"]


def test_effects_are_paired_differences_on_the_acceptance_half_corrected_by_holm(finished):
    _, workdir, found = finished
    assert found["n"] == 12

    def tables(rung):
        paths = [
            path
            for seed in (0, 1)
            for path in (workdir / "cells" / rung).glob(f"run-*-seed{seed}/predictions.npz")
        ]
        assert len(paths) == 2
        return [Predictions.load(path) for path in paths]

    base = tables("lora")
    assert set(base[0].split.tolist()) == {"tune", "accept"}  # the test split was not predicted
    base = [table.select("accept") for table in base]
    p_values = []
    for row in found["variants"]:
        own = [table.select("accept") for table in tables(row["rung"])]
        expected = paired_difference(own, base, "macro_f1")
        assert row["difference"]["value"] == pytest.approx(expected.value, abs=1e-12)
        assert row["values"] == [value(table, "macro_f1") for table in own]
        p_values.append(expected.p_value)
    adjusted = [row["difference"]["p_adjusted"] for row in found["variants"]]
    np.testing.assert_allclose(adjusted, holm(p_values), atol=1e-12)


def test_costs_are_those_of_the_cells(finished):
    _, workdir, found = finished
    head = 16 * 3 + 3
    base, (rank, _) = found["base"], found["variants"]
    assert base["trainable"] - head == 2 * (rank["trainable"] - head)
    (path,) = (workdir / "cells" / rank["rung"]).glob("run-*-seed0/cell.json")
    assert rank["cost"]["flops"] == json.loads(path.read_text())["cost"]["flops"]
    assert rank["cost"]["seconds"] > 0


def test_it_says_what_the_intervals_support_and_what_was_read(finished):
    _, workdir, found = finished
    assert json.loads((workdir / "ablation.json").read_text()) == found
    text = " ".join(found["conclusion"])
    assert "acceptance half of validation; the test split was not read" in text
    row = copy.deepcopy(found["variants"][0])
    row["difference"] |= {"value": -0.2, "ci": [-0.3, -0.1]}
    row["distinguishable"] = True
    told = " ".join(ablate.conclude({**found, "variants": [row]}))
    assert "rank (one) is worse: -0.200 [-0.300, -0.100]" in told
    flipped = " ".join(ablate.conclude({**found, "maximise": False, "variants": [row]}))
    assert "rank (one) is better" in flipped
    assert "rank: one" in ablate.table(found)
    assert "options.rank 2 to 1" in ablate.table(found)


def test_the_page_has_the_forest_plot_and_refers_to_nothing(finished):
    _, workdir, found = finished
    page = (workdir / "ablation.html").read_text()
    assert page == render(found)
    assert page.count("<svg") == 2
    assert "rank: one" in page
    assert "http://" not in page
    assert "https://" not in page
    undefined = copy.deepcopy(found)
    undefined["variants"][0]["difference"] |= {"value": None, "ci": None, "note": "a reason"}
    undefined["variants"][0]["values"] = [None, 0.5]
    assert "a reason" in render(undefined)


def test_the_same_command_resumes_and_repeats_no_finished_cell(finished, monkeypatch, capsys):
    config, workdir, found = finished
    (lost,) = (workdir / "cells" / "lora-rank-one").glob("run-*-seed1")
    (lost / "cell.json").unlink()
    ran = []
    run_cell = cells.run_cell

    def counted(bench, rung, directory, **options):
        ran.append(directory)
        return run_cell(bench, rung, directory, **options)

    monkeypatch.setattr(cells, "run_cell", counted)
    again = ablate.run(ablation.read(config), workdir)
    assert ran == [lost]
    for one, other in zip(again["variants"], found["variants"]):
        assert one["difference"] == other["difference"]
    assert "(kept)" in capsys.readouterr().err
    other = copy.deepcopy(config)
    other["ablation"]["components"].pop("method")
    with pytest.raises(WorkdirError, match="belongs to another run"):
        ablate.run(ablation.read(other), workdir)


def test_a_variant_that_diverges_is_left_out_and_counts_in_the_family(values, tmp_path):
    values["methods"]["lora"]["learning_rates"] = (0.01,)
    values["ablation"]["components"] = {
        "rate": {"without": {"learning_rates": (1e38,)}},
        "schedule": {"without": {"schedule": "constant"}},
    }
    found = ablate.run(ablation.read(values), tmp_path / "run")
    assert [row["component"] for row in found["variants"]] == ["schedule"]
    (left,) = found["diverged"]
    assert (left["component"], left["label"]) == ("rate", "without")
    assert "learning rate 1e+38" in left["reason"]
    assert any("rate (without) is left out: " in said for said in found["conclusion"])
    assert "corrected for 2 variants" in found["conclusion"][0]
    (row,) = found["variants"]
    pair = row["difference"]
    assert pair["p_adjusted"] == pytest.approx(min(1.0, 2 * pair["p_value"]))
    values["ablation"]["components"].pop("schedule")
    with pytest.raises(TrainingError, match="every variant diverged"):
        ablate.run(ablation.read(values), tmp_path / "all")


def test_an_ablation_is_not_taken_for_a_ladder(finished):
    _, workdir, found = finished
    (one,) = entries.find(workdir).searches
    assert (one.verb, one.found) == ("ablate", found["conclusion"][0])
    for read in (verify, write_report):
        with pytest.raises(WorkdirError, match=r"a finished ablation, .*: read ablation.html"):
            read(workdir)


def test_a_criterion_that_changed_after_cells_were_finished_is_said(finished, tmp_path):
    config, workdir, found = finished
    assert found["criterion"]["history"] == []
    workdir = shutil.copytree(workdir, tmp_path / "run")
    other = copy.deepcopy(config)
    other["acceptance"]["confidence"] = 0.8
    again = ablate.run(ablation.read(other), workdir)
    (change,) = again["criterion"]["history"]
    assert change["changed"] == ["criterion.acceptance.confidence is 0.95 there and 0.8 here"]
    told = " ".join(again["conclusion"])
    assert (
        "The criterion was changed once since it was frozen, with 6 or more runs finished" in told
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("ablation"), r"no section 'ablation'"),
        (lambda c: c["ablation"].pop("rung"), r"config.ablation lacks 'rung'"),
        (lambda c: c["ablation"].update(rung="lorra"), r"no rung 'lorra'; nearest: 'lora'"),
        (lambda c: c["ablation"].update(mode="one"), r"config.ablation.mode must be one of"),
        (lambda c: c["ablation"].update(components={}), r"components is empty"),
        (lambda c: c.update(seeds=(0,)), r"paired over seeds, and config.seeds is \(0,\): give"),
        (
            lambda c: c["ablation"].update(mode="one_factor"),
            r"components.targets lacks 'alternatives', which the mode 'one_factor' runs",
        ),
        (
            lambda c: c["ablation"]["components"]["schedule"].update(
                without={"schedule": "cosine"}
            ),
            r"components.schedule.without changes nothing of rung 'lora'",
        ),
        (
            lambda c: c["ablation"]["components"]["schedule"].update(without={"shedule": "linear"}),
            r"lora-schedule-without has no key 'shedule'; nearest: 'schedule'",
        ),
        (
            lambda c: c["ablation"]["components"]["schedule"]["without"].update(
                when={"classes": (">", 99)}
            ),
            r"components.schedule.without has 'when', but an ablation runs every variant",
        ),
        (
            lambda c: c["ablation"].update(
                mode="one_factor",
                components={
                    "a": {"alternatives": {"b-c": {"schedule": "constant"}}},
                    "a-b": {"alternatives": {"c": {"options": {"rank": 4}}}},
                },
            ),
            r"components.a-b.c and config.ablation.components.a.b-c would both be run as"
            r" 'lora-a-b-c': rename",
        ),
        (
            lambda c: c["ablation"]["components"]["schedule"].update(witout={}),
            r"config.ablation.components.schedule has no key 'witout'; nearest: 'without'",
        ),
    ],
)
def test_what_is_wrong_is_named(values, change, message):
    change(values)
    with pytest.raises(ConfigError, match=message):
        ablation.read(values)


def test_an_unknown_component_or_option_is_named(values, tmp_path):
    with pytest.raises(ConfigError, match=r"no component 'smothing'; nearest: 'smoothing'"):
        ablation.read(values, ["smothing"])
    values["ablation"]["components"]["targets"]["without"] = {"options": {"target": ("a",)}}
    with pytest.raises(JaxTransferError, match=r"no field 'target'; nearest: 'targets'"):
        ablate.run(ablation.read(values), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_verb_reads_the_config(values, tmp_path, capsys):
    values["ablation"]["components"].pop("targets")
    path = tmp_path / "config.py"
    path.write_text(
        "from ml_collections import ConfigDict\n\n\ndef get_config():\n"
        f"    return ConfigDict({pprint.pformat(values)})\n"
    )
    words = ["ablate", f"--config={path}", "--workdir", str(tmp_path / "run")]
    assert cli.main([*words, "--dry-run"]) == 0
    assert "lora-schedule-without" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    assert cli.main([*words, "--component=smoothing"]) == 0
    shown = capsys.readouterr().out
    assert "smoothing: without" in shown
    assert "schedule" not in shown
    assert (tmp_path / "run" / "ablation.html").is_file()
    assert cli.main([*words, "--component=smoth"]) == 2
    assert "nearest: 'smoothing'" in capsys.readouterr().err
