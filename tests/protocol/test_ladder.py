"""The whole ladder on a tiny model and corpus: every rung, resumption, the record and the order of events."""

import copy
import dataclasses
import json
import re

import numpy as np
import pytest

from jaxtransfer.errors import (
    ConfigError,
    DataError,
    EvaluationError,
    JaxTransferError,
    TrainingError,
    WorkdirError,
)
from jaxtransfer.evaluation import metrics
from jaxtransfer.evaluation.metrics import value
from jaxtransfer.evaluation.probabilities import log_softmax
from jaxtransfer.evaluation.statistic import Undefined
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import cells, ladder
from jaxtransfer.protocol.settings import from_config
from jaxtransfer.protocol.verifying import verify

RECORD_KEYS = {"task", "hashes", "rungs", "chosen", "versions"}
RUNG_KEYS = {
    "name",
    "method",
    "rules",
    "hyperparameters",
    "seeds",
    "trainable",
    "metrics",
    "cost",
    "decision",
    "reason",
}


@pytest.fixture(scope="module")
def finished(ladder_values, tmp_path_factory):
    """The work directory and record of a ladder that ran to its end."""
    workdir = tmp_path_factory.mktemp("ladder") / "run"
    return workdir, ladder.run(from_config(ladder_values), workdir, command="jaxtransfer ladder")


def test_every_rung_is_in_the_record_with_its_evidence(finished, ladder_values):
    workdir, record = finished
    assert set(record) >= RECORD_KEYS
    assert set(record["hashes"]) == {"data", "splits", "base", "config"}
    assert [rung["name"] for rung in record["rungs"]] == list(ladder_values["rungs"])
    for rung in record["rungs"]:
        assert set(rung) >= RUNG_KEYS
        assert set(rung["cost"]) >= {"seconds", "flops", "peak_bytes"}
        assert rung["seeds"] == [0, 1]
        for split, n in (("tune", 12), ("accept", 12), ("calibration", 12), ("test", 30)):
            measured = rung["metrics"][split]["macro_f1"]
            assert set(measured) >= {"value", "ci", "n"}
            assert measured["n"] == n
    assert json.loads((workdir / "record.json").read_text()) == record


def test_metrics_of_the_record_are_those_of_the_tables(finished):
    workdir, record = finished
    for rung in record["rungs"]:
        tables = [
            Predictions.load(workdir / "predictions" / f"{rung['name']}-seed{seed}.npz")
            for seed in rung["seeds"]
        ]
        found = [value(table.select("test"), "macro_f1") for table in tables]
        expected = rung["metrics"]["test"]["macro_f1"]["value"]
        assert sum(found) / len(found) == pytest.approx(expected, abs=1e-12)


def test_decisions_rest_on_the_acceptance_half_and_comparisons_on_the_test_split(finished):
    workdir, record = finished

    def mean(rung, split):
        paths = [workdir / "predictions" / f"{rung}-seed{seed}.npz" for seed in (0, 1)]
        return np.mean([value(Predictions.load(path).select(split), "macro_f1") for path in paths])

    tried = {rung["name"]: rung["difference"] for rung in record["rungs"][1:]}
    for name, difference in tried.items():
        expected = mean(name, "accept") - mean(difference["incumbent"], "accept")
        assert difference["value"] == pytest.approx(expected, abs=1e-12)
    for pair in record["comparisons"]:
        expected = mean(pair["a"], "test") - mean(pair["b"], "test")
        assert pair["value"] == pytest.approx(expected, abs=1e-12)
    # The two halves would not give the same numbers.
    assert any(abs(mean(name, "accept") - mean(name, "tune")) > 0.01 for name in tried)


def test_learning_curves_are_measured_on_the_tuning_half(finished):
    workdir, _ = finished
    for rung in ("linear_probe", "bitfit", "full"):
        (cell,) = (workdir / "cells" / rung).glob("run-*-seed0")
        rows = [json.loads(line) for line in (cell / "history.jsonl").read_text().splitlines()]
        last = [row for row in rows if "validation/macro_f1" in row][-1]
        table = Predictions.load(cell / "predictions.npz")
        assert last["validation/macro_f1"] == value(table.select("tune"), "macro_f1")
        assert last["validation/nll"] == pytest.approx(value(table.select("tune"), "nll"), rel=1e-5)


def test_trainable_parameters_grow_as_the_methods_say(finished):
    _, record = finished
    trainable = {rung["name"]: rung["trainable"] for rung in record["rungs"]}
    head = 16 * 3 + 3
    assert trainable["majority_class"] == trainable["nearest_mean"] == 0
    assert trainable["linear_probe"] == head
    # Per layer: query, key, value, output 16x16; up 16x24; down 24x16; at rank 2.
    assert trainable["lora"] == head + 2 * (4 * 2 * 32 + 2 * 40 + 2 * 40)
    assert trainable["full"] == trainable["lp_ft"] > trainable["last_block"] > trainable["bitfit"]


def test_duplicates_are_removed_and_said(finished):
    _, record = finished
    assert record["data"]["duplicates_removed"] >= 2
    assert record["data"]["total"] == 92
    assert "exact duplicates" in record["data"]["duplicates"]


def test_the_learning_rate_is_the_best_on_the_tuning_half(finished):
    _, record = finished
    for rung in record["rungs"]:
        if rung["tuning"]:
            best = max(rung["tuning"], key=lambda t: (t["value"], -t["learning_rate"]))
            assert rung["hyperparameters"]["learning_rate"] == best["learning_rate"]


def test_splits_are_disjoint_and_stored(finished):
    workdir, record = finished
    splits = json.loads((workdir / "splits.json").read_text())
    ids = [name for group in splits["ids"].values() for name in group]
    assert len(ids) == len(set(ids))
    assert splits["hash"] == record["hashes"]["splits"]
    assert len(splits["ids"]["train"]) == 12


def test_the_decision_was_written_before_test_predictions_were_read(finished):
    workdir, record = finished
    decision = json.loads((workdir / "decision.json").read_text())
    assert decision["chosen"] == record["chosen"]
    assert (workdir / "decision.json").stat().st_mtime_ns <= (
        workdir / "record.json"
    ).stat().st_mtime_ns


def test_the_decision_does_not_depend_on_test_labels(finished, ladder_values, monkeypatch):
    """Reading the test split raises until the decision stands; deciding works all the same."""
    workdir, record = finished
    opened = []
    select = Predictions.select

    def watched(table, split):
        if split == "test" and not (workdir / "decision.json").exists():
            raise AssertionError("test predictions were read before the decision")
        opened.append(split)
        return select(table, split)

    (workdir / "decision.json").unlink()
    monkeypatch.setattr(Predictions, "select", watched)
    again = ladder.run(from_config(ladder_values), workdir, command="jaxtransfer ladder")
    assert again["chosen"] == record["chosen"]
    assert "test" in opened


def test_the_same_command_resumes_and_repeats_no_finished_cell(
    finished, ladder_values, monkeypatch, capsys
):
    workdir, record = finished
    lost = workdir / "cells" / cells.cell_name("lora", 0.01, 1, "run")
    before = Predictions.load(lost / "predictions.npz").logits
    (lost / "cell.json").unlink()
    ran = []
    run_cell = cells.run_cell

    def counted(bench, rung, directory, **options):
        ran.append(directory)
        return run_cell(bench, rung, directory, **options)

    monkeypatch.setattr(cells, "run_cell", counted)
    again = ladder.run(from_config(ladder_values), workdir, command="jaxtransfer ladder")
    assert ran == [lost]
    assert (Predictions.load(lost / "predictions.npz").logits == before).all()
    assert again["chosen"] == record["chosen"]
    shown = capsys.readouterr()
    assert "(kept)" in shown.err
    assert "report.html" in shown.out
    for rung in ladder_values["rungs"]:
        assert rung in shown.out


def test_a_workdir_of_another_config_is_refused(finished, ladder_values):
    workdir, _ = finished
    other = copy.deepcopy(ladder_values)
    other["train"]["steps"] = 7
    with pytest.raises(WorkdirError, match=r"config.train.steps is 6 there and 7 here"):
        ladder.run(from_config(other), workdir)


@pytest.fixture
def quick(ladder_values):
    """The ladder's values with two cheap rungs and one seed, to be changed."""
    values = copy.deepcopy(ladder_values)
    values["rungs"], values["seeds"] = ("majority_class", "linear_probe"), (0,)
    return values


def test_a_rate_that_diverges_is_an_answer_and_not_the_end(quick, tmp_path):
    quick["methods"]["linear_probe"]["learning_rates"] = (0.03, 1e38)
    record = ladder.run(from_config(quick), tmp_path / "run")
    probe = record["rungs"][1]
    assert probe["hyperparameters"]["learning_rate"] == 0.03
    assert "learning rate 1e+38" in probe["tuning"][1]["diverged"]
    assert probe["tuning"][1]["value"] is None


def test_a_rung_whose_rates_all_diverge_is_left_out_with_what_was_said(quick, tmp_path):
    quick["methods"]["linear_probe"]["learning_rates"] = (1e38, 2e38)
    quick["train"]["weight_decay"] = 1e30
    said = r"every learning rate of rung 'linear_probe' diverged"
    record = ladder.run(from_config(quick), tmp_path / "run")
    assert [rung["name"] for rung in record["rungs"]] == ["majority_class"]
    (left,) = record["plan"]["not_run"]
    assert left["rung"] == "linear_probe"
    assert re.match(said, left["reason"])
    assert left["reason"] in record["conclusion"][-1]
    assert verify(tmp_path / "run").mismatches == ()
    quick["rungs"] = ("linear_probe",)
    with pytest.raises(TrainingError, match=said):
        ladder.run(from_config(quick), tmp_path / "alone")


@pytest.mark.parametrize(
    ("rung", "values", "message"),
    [
        ("full", {"group_rates": {"nope": 2.0}}, "rung 'full': .*no optimizer group|rung 'full': "),
        ("lora", {"options": {"targets": ("nothing",)}}, "rung 'lora': .*'nothing'"),
        ("top_stages", {"options": {"count": 99}}, "rung 'top_stages': .*99"),
    ],
)
def test_a_rung_that_cannot_act_on_the_model_is_found_before_any_other_trains(
    quick, tmp_path, monkeypatch, rung, values, message
):
    quick["rungs"] = ("majority_class", "linear_probe", rung)
    quick["methods"][rung] = {"method": rung, "learning_rates": (0.01,), **values}
    monkeypatch.setattr(cells, "run_cell", lambda *_, **__: pytest.fail("a cell was run"))
    with pytest.raises(JaxTransferError, match=message):
        ladder.run(from_config(quick), tmp_path / "run")


def test_the_examples_kept_are_those_of_highest_loss_and_the_surest_errors_over_all_seeds(
    quick, tmp_path
):
    quick["rungs"], quick["seeds"] = ("linear_probe",), (0, 1)
    workdir = tmp_path / "run"
    ladder.run(from_config(quick), workdir)
    tables = [
        Predictions.load(workdir / "predictions" / f"linear_probe-seed{seed}.npz").select("test")
        for seed in (0, 1)
    ]
    losses = [-log_softmax(t.logits)[np.arange(30), t.labels] for t in tables]
    orders = [tables[0].ids[np.argsort(-each)[:12]].tolist() for each in (sum(losses), *losses)]
    kept = list(json.loads((workdir / "examples.json").read_text()))
    assert kept[:12] == orders[0]
    mean = np.mean([np.exp(log_softmax(t.logits)) for t in tables], axis=0)
    wrong = np.flatnonzero(mean.argmax(axis=1) != tables[0].labels)
    surest = wrong[np.argsort(-mean.max(axis=1)[wrong])][:12]
    assert set(kept[12:]) == set(tables[0].ids[surest].tolist()) - set(orders[0])
    assert orders[0] not in orders[1:]


def test_the_probe_may_stand_anywhere(quick, tmp_path):
    quick["rungs"] = ("bitfit", "linear_probe", "majority_class")
    record = ladder.run(from_config(quick), tmp_path / "run")
    assert [(c["a"], c["b"]) for c in record["comparisons"]] == [("bitfit", "linear_probe")]
    assert any("Against linear_probe" in sentence for sentence in record["conclusion"])


def test_a_metric_to_be_minimised_goes_through_the_whole_ladder(quick, tmp_path):
    quick["acceptance"]["metric"] = "nll"
    record = ladder.run(from_config(quick), tmp_path / "run")
    assert record["task"]["criterion"] == record["task"]["metric"] == "nll"


def test_a_half_too_small_to_decide_is_refused_before_anything_is_written(
    quick, tmp_path, monkeypatch
):
    quick["splits"]["sizes"]["validation"] = 6
    with pytest.raises(DataError, match="one example a class"):
        ladder.run(from_config(quick), tmp_path / "run")
    quick["splits"]["sizes"]["validation"] = 4
    with pytest.raises(DataError, match="class 'tools' has no example in the tune half of valid"):
        ladder.run(from_config(quick), tmp_path / "run")
    quick["splits"]["sizes"] |= {"validation": 24, "test": 2}
    with pytest.raises(DataError, match=r"class 'tools' has no example in the split 'test' \(2 ex"):
        ladder.run(from_config(quick), tmp_path / "run")
    quick["splits"]["sizes"]["test"] = 30
    undefined = dataclasses.replace(
        metrics.METRICS["classification"]["macro_f1"],
        prepare=lambda table: Undefined("there is a reason"),
    )
    monkeypatch.setitem(metrics.METRICS["classification"], "macro_f1", undefined)
    with pytest.raises(DataError, match="undefined on the tune half of validation: there is a re"):
        ladder.run(from_config(quick), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_simulated_metric_cannot_decide(quick, tmp_path):
    quick["acceptance"]["metric"] = "ece_perfect"
    with pytest.raises(ConfigError, match="simulated"):
        ladder.run(from_config(quick), tmp_path / "run")


def test_a_failed_first_attempt_leaves_the_workdir_free(quick, tmp_path):
    good = copy.deepcopy(quick)
    quick["data"]["path"] = str(tmp_path / "nowhere")
    with pytest.raises(JaxTransferError, match="nowhere"):
        ladder.run(from_config(quick), tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json.part").write_text("{")
    ladder.run(from_config(good), tmp_path / "run")


def test_other_versions_of_the_libraries_do_not_go_on(quick, tmp_path):
    ladder.run(from_config(quick), tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    path.write_text(path.read_text().replace('"jax": "', '"jax": "0.1-not-'))
    with pytest.raises(WorkdirError, match="begun with other jax"):
        ladder.run(from_config(quick), tmp_path / "run")


def test_damaged_files_are_named(quick, tmp_path):
    ladder.run(from_config(quick), tmp_path / "run")
    cell = tmp_path / "run" / "cells" / cells.cell_name("majority_class", None, 0, "run")
    (cell / "predictions.npz").unlink()
    ladder.run(from_config(quick), tmp_path / "run")
    assert (cell / "predictions.npz").is_file()
    history = cell / "history.jsonl"
    for text in ("xx\n", "[1]\n", '{"step": 1}\n{"step": NaN}\n'):
        history.write_text(text)
        with pytest.raises(
            WorkdirError, match=r"run-seed0/history\.jsonl is damaged in line \d; rem"
        ):
            ladder.run(from_config(quick), tmp_path / "run")
    history.write_text("")
    plan = tmp_path / "run" / "plan.json"
    whole = plan.read_text()
    for text, said in (('{"rungs": 3}', "lacks the key 'rule'"), ("[]", "holds no JSON object")):
        plan.write_text(text)
        with pytest.raises(WorkdirError, match=rf"plan.json is damaged \(it {said}\); choose"):
            ladder.run(from_config(quick), tmp_path / "run")
    plan.write_text(whole)
    (cell / "cell.json").write_text("{}")
    with pytest.raises(WorkdirError, match=r"cell.json is damaged"):
        ladder.run(from_config(quick), tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text("[]")
    with pytest.raises(WorkdirError, match=r"run.json is damaged"):
        ladder.run(from_config(quick), tmp_path / "run")


def test_the_nearest_mean_leaves_a_model_to_use_too(finished, topic_folder):
    import jaxtransfer as jt

    workdir, _ = finished
    cell = workdir / "cells" / cells.cell_name("nearest_mean", None, 0, "run")
    model = jt.load(cell / "adapter")
    table = Predictions.load(cell / "predictions.npz").take(np.arange(8))
    texts = [(topic_folder / name).read_text() for name in table.ids]
    np.testing.assert_allclose(
        log_softmax(model.logits(texts)), log_softmax(table.logits), atol=1e-4
    )


def test_an_adapter_is_part_of_a_finished_cell(quick, tmp_path, monkeypatch):
    from jaxtransfer.adapt import package

    save = package.save

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(package, "save", full)
    with pytest.raises(OSError, match="No space"):
        ladder.run(from_config(quick), tmp_path / "run")
    monkeypatch.setattr(package, "save", save)
    ladder.run(from_config(quick), tmp_path / "run")
    saved = list((tmp_path / "run" / "cells" / "linear_probe").glob("run-*/adapter"))
    assert len(saved) == 1
    assert package.is_package(saved[0])


def test_a_workdir_whose_data_changed_is_refused(finished, ladder_values, topic_folder):
    workdir, _ = finished
    stray = topic_folder / "tools" / "999.txt"
    stray.write_text("hammer and nail there")
    try:
        with pytest.raises(WorkdirError, match="begun with other data"):
            ladder.run(from_config(ladder_values), workdir)
    finally:
        stray.unlink()


def test_a_directory_with_other_files_is_left_alone(tmp_path, ladder_values):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(WorkdirError, match="not empty"):
        ladder.run(from_config(ladder_values), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_unknown_metric_and_method_fail_before_anything_runs(tmp_path, ladder_values):
    other = copy.deepcopy(ladder_values)
    other["acceptance"]["metric"] = "macro_f"
    with pytest.raises(EvaluationError, match="nearest: 'macro_f1'"):
        ladder.run(from_config(other), tmp_path / "a")
    other = copy.deepcopy(ladder_values)
    other["methods"]["lora"]["options"] = {"ranks": 4}
    with pytest.raises(ValueError, match="nearest: 'rank'"):
        ladder.run(from_config(other), tmp_path / "b")
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def test_a_rate_for_a_method_without_suggestion_is_asked_for(ladder_values):
    other = copy.deepcopy(ladder_values)
    other["methods"]["lora"].pop("learning_rates")
    assert cells.rates_of(from_config(other).rung("lora")) == (5e-4, 1.5e-3)
    with pytest.raises(ConfigError, match="no rung 'lor'; nearest"):
        from_config(other).rung("lor")
