"""Whole ladders with a criterion, a budget, references and an ensemble, on a tiny model and corpus."""

import copy
import dataclasses
import json

import numpy as np
import pytest

import jaxtransfer as jt
from jaxtransfer.errors import ConfigError, WorkdirError
from jaxtransfer.evaluation.metrics import value
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import cells, ladder, plan, problem
from jaxtransfer.protocol.acceptance import digest
from jaxtransfer.protocol.ensemble import average_seeds
from jaxtransfer.protocol.examining import examine
from jaxtransfer.protocol.extent import Extent
from jaxtransfer.protocol.problem import prepare
from jaxtransfer.protocol.rung_cost import RungCost, estimate
from jaxtransfer.protocol.settings import from_config


@pytest.fixture(scope="module")
def values(ladder_values):
    """Two rungs, an ensemble and one rung that is skipped; both references; guards of every kind."""
    found = copy.deepcopy(ladder_values)
    found["rungs"] = ("majority_class", "linear_probe", "lora", "mean")
    found["methods"] |= {
        "mean": {"method": "seed_ensemble"},
        "lora": {**found["methods"]["lora"], "when": {"labels_per_class": (">=", 10)}},
    }
    found["methods"]["linear_probe"]["learning_rates"] = (0.1,)
    found["negative_transfer"] = True
    found["data"] = {**found["data"]}
    found["acceptance"] |= {
        "guards": {"ece": 0.9, "worst_group:encoding": 0.1, "latency_p95_ms": 1e5, "peak_mib": 1e4}
    }
    return found


@pytest.fixture(scope="module")
def finished(values, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("criterion") / "run"
    return workdir, ladder.run(from_config(values), workdir)


def names(record):
    return [rung["name"] for rung in record["rungs"]]


def test_references_and_ensemble_are_in_the_record_and_the_skipped_rung_is_not(finished):
    workdir, record = finished
    expected = ["majority_class", "linear_probe", "mean", "from_scratch", "random_features"]
    assert names(record) == expected
    decisions = {rung["name"]: rung["decision"] for rung in record["rungs"]}
    assert decisions["from_scratch"] == decisions["random_features"] == "reference"
    (skipped,) = record["plan"]["skipped"]
    assert skipped["rung"] == "lora"
    assert "labels_per_class is 4, and should be >= 10" in skipped["reason"]
    assert record["plan"]["facts"]["input"] == "text"
    assert record["plan"]["spent"]["seconds"] > 0
    assert (workdir / "report.html").is_file()


def test_the_columns_that_guards_are_about_are_part_of_the_datas_hash(values, monkeypatch):
    before = prepare(from_config(values)).hashes
    load = problem.load_table

    def relabelled(section):
        table = load(section)
        return dataclasses.replace(table, metadata={"encoding": np.full(len(table), "latin-1")})

    monkeypatch.setattr(problem, "load_table", relabelled)
    after = prepare(from_config(values)).hashes
    assert [name for name in before if before[name] != after[name]] == ["data"]


def test_the_criterion_is_frozen_and_its_hash_is_everywhere(finished):
    workdir, record = finished
    frozen = json.loads((workdir / "criterion.json").read_text())
    decision = json.loads((workdir / "decision.json").read_text())
    sha = digest(record["criterion"]["criterion"])
    assert frozen["sha256"] == decision["criterion"] == record["criterion"]["sha256"] == sha
    first_cell = min((workdir / "cells").glob("*/*/cell.json"), key=lambda p: p.stat().st_mtime_ns)
    assert (workdir / "criterion.json").stat().st_mtime_ns < first_cell.stat().st_mtime_ns


def test_every_rung_is_judged_on_every_part_and_the_verdict_is_of_the_test_split(finished):
    workdir, record = finished
    criterion = record["criterion"]
    guards = ["ece", "worst_group:encoding", "latency_p95_ms", "peak_mib"]
    for name in ("majority_class", "linear_probe", "mean"):
        assert [part["name"] for part in criterion["accept"][name]] == guards
    parts = {part["name"]: part for part in criterion["parts"]}
    assert criterion["split"] == "test"
    assert next(iter(parts)) == "improvement"
    table = Predictions.load(workdir / "predictions" / f"{record['chosen']}-seed0.npz")
    assert set(table.groups) == {"encoding"}
    assert parts["ece"]["n"] == 30
    assert (workdir / "serving" / "linear_probe.json").is_file()
    assert any(line.startswith("Criterion on the test split: ") for line in record["conclusion"])


def test_the_ensemble_is_the_mean_of_its_members_probabilities(finished):
    workdir, record = finished
    mean = record["rungs"][2]
    members = mean["method"]["of"]
    member = next(rung for rung in record["rungs"] if rung["name"] == members)
    own, *others = (
        Predictions.load(workdir / "predictions" / f"{members}-seed{seed}.npz") for seed in (0, 1)
    )
    both = [
        np.exp(t.logits - np.logaddexp.reduce(t.logits, 1, keepdims=True)) for t in (own, *others)
    ]
    for seed in (0, 1):
        table = Predictions.load(workdir / "predictions" / f"mean-seed{seed}.npz")
        np.testing.assert_allclose(np.exp(table.logits), np.mean(both, axis=0), atol=1e-6)
    assert mean["trainable"] == 2 * member["trainable"]
    assert mean["cost"]["flops"] == 2 * member["cost"]["flops"]
    expected = value(table.select("test"), "macro_f1")
    assert mean["metrics"]["test"]["macro_f1"]["value"] == pytest.approx(expected)


def test_the_members_loaded_together_predict_what_the_ensembles_table_holds(
    finished, values, tmp_path
):
    workdir, _ = finished
    kept = sorted((workdir / "cells" / "linear_probe").glob("run-*/adapter"))
    cells.copy_adapters(
        {f"adapters/seed{seed}": cells.load_cell(one.parent) for seed, one in enumerate(kept)},
        tmp_path,
    )
    ensemble = jt.load(tmp_path / "adapters")
    assert isinstance(ensemble, jt.Ensemble)
    problem = prepare(from_config(values))
    test = problem.table.take(problem.splits["test"])
    with pytest.raises(ConfigError, match="examine its members, with --rung "):
        examine(workdir, Extent(), rung="mean")
    tables = average_seeds(
        [
            Predictions.load(workdir / "predictions" / f"linear_probe-seed{seed}.npz").select(
                "test"
            )
            for seed in (0, 1)
        ]
    )
    np.testing.assert_allclose(ensemble.logits(test.inputs), tables[0].logits, atol=1e-5)


def test_random_weights_are_compared_with_the_chosen_rung_on_the_test_split(finished):
    workdir, record = finished
    found = record["transfer"]
    assert record["conclusion"].count(found["sentence"]) == 1
    if record["chosen"] == "majority_class":
        assert "takes nothing from the pretrained network" in found["sentence"]
    else:
        assert [one["reference"] for one in found["against"]] == ["from_scratch", "random_features"]
    scratch, features = record["rungs"][3:]
    full = 0
    assert scratch["trainable"] > features["trainable"] > full
    assert scratch["hyperparameters"]["steps"] == features["hyperparameters"]["steps"] == 6
    # Their encoder is no base: there is no adapter to load onto one.
    assert not list((workdir / "cells" / "from_scratch").glob("*/adapter"))
    adapters = sorted((workdir / "cells" / "linear_probe").glob("run-*/adapter"))
    assert len(adapters) == 2
    jt.load(adapters[1])


def test_every_seed_of_a_reference_has_an_encoder_of_its_own(finished):
    workdir, _ = finished
    one, other = (
        Predictions.load(workdir / "predictions" / f"random_features-seed{seed}.npz").logits
        for seed in (0, 1)
    )
    assert not np.allclose(one, other)


def test_a_changed_criterion_keeps_the_cells_and_is_shown(finished, values, monkeypatch, capsys):
    workdir, record = finished
    changed = copy.deepcopy(values)
    changed["acceptance"] |= {"margin": 0.9, "target": 0.999, "family": "all"}
    monkeypatch.setattr(cells, "run_cell", lambda *_, **__: pytest.fail("a cell was run again"))
    again = ladder.run(from_config(changed), workdir)
    assert again["chosen"] == "majority_class"
    (change,) = again["criterion"]["history"]
    assert change["from"] == record["criterion"]["sha256"]
    assert change["test_read"]
    assert "criterion.acceptance.margin is 0.0 there and 0.9 here" in change["changed"]
    assert "The criterion was changed once" in again["conclusion"][-1]
    assert "all pairs of rungs" in again["task"]["acceptance"]
    assert next(iter(again["criterion"]["parts"]))["name"] == "target"
    assert again["criterion"]["verdict"] == "fail"
    assert "The criterion was changed once" in capsys.readouterr().err
    assert "criterion was changed" in (workdir / "report.html").read_text()
    for key, other in (("metric", {"metric": "accuracy"}), ("margin", {"margin": 0.0})):
        stranger = copy.deepcopy(changed)
        stranger["acceptance"] |= other
        if key == "margin":
            stranger["train"]["steps"] = 7
        with pytest.raises(WorkdirError, match="belongs to another run"):
            ladder.run(from_config(stranger), workdir)


@pytest.fixture
def quick(ladder_values):
    found = copy.deepcopy(ladder_values)
    found["rungs"] = ("majority_class", "nearest_mean", "linear_probe")
    found["methods"]["linear_probe"]["learning_rates"] = (0.1,)
    found["seeds"] = (0,)
    return found


@pytest.mark.parametrize("budget", [{"flops": 1.0}, {"trainable": 1}])
def test_a_budget_that_no_rung_fits_is_an_error_before_anything_runs(quick, tmp_path, budget):
    quick["budget"] = budget
    with pytest.raises(ConfigError, match=r"no rung that trains fits config\.budget: linear_probe"):
        ladder.run(from_config(quick), tmp_path / "run")
    assert not (tmp_path / "run" / "cells").exists()


def test_climbing_ends_when_the_criterion_is_met_and_says_what_was_not_run(quick, tmp_path):
    quick["acceptance"] |= {"target": 0.05, "stop_when_met": True}
    record = ladder.run(from_config(quick), tmp_path / "run")
    assert names(record) == ["majority_class"]
    assert [one["rung"] for one in record["plan"]["not_run"]] == ["nearest_mean", "linear_probe"]
    assert "the criterion was met by the rungs up to majority_class" in record["conclusion"][-1]
    assert not (tmp_path / "run" / "cells" / "linear_probe").exists()


def test_a_spent_budget_stops_the_climb_and_can_be_enlarged(quick, tmp_path):
    quick |= {"budget": {"seconds": 1e-9}, "seeds": (0, 1)}
    with pytest.raises(ConfigError, match=r"before the first rung, 'majority_class', was whole"):
        ladder.run(from_config(quick), tmp_path / "none")
    quick["methods"]["again"] = quick["methods"]["linear_probe"]
    quick |= {"budget": {}, "seeds": (0,), "rungs": ("majority_class", "linear_probe", "again")}
    settings = from_config(quick)
    flops = 0.6 * estimate(prepare(settings), settings.rung("linear_probe")).train_flops
    quick["budget"] = {"flops": flops}
    record = ladder.run(from_config(quick), tmp_path / "run")
    assert names(record) == ["majority_class", "linear_probe"]
    (left,) = record["plan"]["not_run"]
    assert left["reason"].startswith(f"the budget of {flops:g} FLOPs is spent")
    again = ladder.run(from_config({**quick, "budget": {}}), tmp_path / "run")
    assert names(again) == ["majority_class", "linear_probe", "again"]
    assert (
        f"criterion.budget.flops is {flops} there and None here"
        in again["criterion"]["history"][0]["changed"]
    )
    # What was run under the smaller budget was not run again.
    assert again["plan"]["spent"]["flops"] > record["plan"]["spent"]["flops"]
    # A budget that is cut afterwards drops nothing that was run.
    cut = ladder.run(from_config({**quick, "budget": {"flops": 1.0}}), tmp_path / "run")
    assert names(cut) == names(again)
    assert cut["plan"]["skipped"] == []


def test_rungs_over_the_budget_are_skipped_and_none_left_is_an_error_before_anything_runs(
    quick, tmp_path
):
    quick["rungs"] = ("majority_class", "linear_probe", "full")
    quick["budget"] = {"trainable": 60}
    record = ladder.run(from_config(quick), tmp_path / "run")
    assert names(record) == ["majority_class", "linear_probe"]
    assert record["plan"]["skipped"][0]["reason"].endswith("parameters, and the budget is 60")
    quick["budget"] = {"latency_p95_ms": 1e-6}
    with pytest.raises(
        ConfigError, match=r"no rung that trains fits config.budget: .*full: serving"
    ):
        ladder.run(from_config(quick), tmp_path / "none")
    assert not (tmp_path / "none" / "cells").exists()


def test_unknown_facts_groups_and_records_are_found_before_anything_runs(quick, tmp_path):
    probe = quick["methods"]["linear_probe"]
    bad = {
        **quick,
        "methods": {**quick["methods"], "linear_probe": {**probe, "when": {"lables": (">", 1)}}},
    }
    with pytest.raises(ConfigError, match=r"when.lables is no fact"):
        ladder.run(from_config(bad), tmp_path / "a")
    bad = copy.deepcopy(quick)
    bad["acceptance"]["guards"] = {"worst_group:site": 0.5}
    with pytest.raises(ConfigError, match="groups of 'site', which is no column of metadata"):
        ladder.run(from_config(bad), tmp_path / "b")
    bad = {**quick, "order": "records", "records": str(tmp_path / "none")}
    with pytest.raises(ConfigError, match="is no directory"):
        ladder.run(from_config(bad), tmp_path / "c")
    for name in "abc":
        assert not (tmp_path / name / "cells").exists()


def test_the_order_is_by_cost_or_by_records_and_each_place_has_a_reason(
    quick, tmp_path, monkeypatch
):
    costs = {
        "majority_class": 0.0,
        "nearest_mean": 0.0,
        "linear_probe": 9.0,
        "bitfit": 5.0,
        "lora": 7.0,
    }
    monkeypatch.setattr(
        plan, "estimate", lambda problem, rung: RungCost(trainable=1, flops=costs[rung.name])
    )
    quick["rungs"] = ("linear_probe", "lora", "bitfit", "majority_class")
    quick["order"] = "cost"
    first = ladder.run(from_config(quick), tmp_path / "cost")
    assert names(first) == ["majority_class", "bitfit", "lora", "linear_probe"]
    assert "5 FLOPs" in first["plan"]["positions"][1]["because"]
    past = json.loads((tmp_path / "cost" / "record.json").read_text()) | {"chosen": "lora"}
    for copy_number in range(3):
        (tmp_path / "past" / str(copy_number)).mkdir(parents=True)
        path = tmp_path / "past" / str(copy_number) / "record.json"
        path.write_text(json.dumps(past | {"created": str(copy_number)}))
    quick |= {"order": "records", "records": str(tmp_path / "past")}
    second = ladder.run(from_config(quick), tmp_path / "records")
    assert names(second) == ["majority_class", "lora", "bitfit", "linear_probe"]
    assert "lora was chosen in 3 of 3 similar records" in second["plan"]["positions"][1]["because"]
    # A ladder that was begun keeps its order, whatever the records say by then.
    for path in (tmp_path / "past").rglob("record.json"):
        path.write_text(json.dumps(past | {"chosen": "linear_probe"}))
    assert names(ladder.run(from_config(quick), tmp_path / "records")) == names(second)
