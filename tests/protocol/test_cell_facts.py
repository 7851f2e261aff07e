"""Damaged files of a cell and of its run are named with the way out, and the way out works."""

import json
import re
import shutil

import pytest

from jaxtransfer.errors import ConfigError, WorkdirError
from jaxtransfer.protocol import cells, examining, extent, ladder, systems, workdir
from jaxtransfer.protocol.settings import from_config, from_json

RATE = "run-lr0.03-seed0"


@pytest.fixture
def run(decided, tmp_path):
    """A copy of a finished ladder, to be changed."""
    return shutil.copytree(decided, tmp_path / "run")


def edit(path, **changed):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"trainable": "many"}, "trainable must be an integer, not 'many'"),
        ({"trainable": None}, "trainable must be an integer"),
        ({"method": [1]}, "method must be a section"),
        ({"tuning": None}, "tuning must be a section"),
        ({"tuning": {"metric": "macro_f1"}}, "the key 'tuning.value' is missing"),
        (
            {"tuning": {"metric": "macro_f1", "value": float("nan")}},
            "it holds NaN, which is not JSON",
        ),
        ({"rules": None}, "rules must be a sequence"),
        ({"rules": [1]}, "rules[0] must be a sequence"),
        ({"steps": -1}, "steps must be an integer at least 0"),
        ({"cost": {"flops": 1.0}}, "the key 'cost.seconds' is missing"),
        ({"seed": 1}, "and seed 1 are not those of its directory"),
        ({"rung": "bitfit"}, "rung 'bitfit', "),
        ({"learning_rate": 0.5}, "learning_rate 0.5 and "),
        ({"diverged": "x"}, "diverged holds a text, but the cell has a result"),
    ],
)
def test_what_a_cell_says_is_checked(run, changed, message):
    directory = run / "cells/linear_probe" / RATE
    edit(directory / "cell.json", **changed)
    with pytest.raises(WorkdirError, match=re.escape(message)) as caught:
        cells.load_cell(directory)
    assert str(directory / "cell.json") in str(caught.value)
    assert f"remove the directory {directory}, and the same command" in str(caught.value)


def test_a_damaged_cell_is_made_anew_when_its_directory_is_removed(run, decided_values):
    settings = from_config(decided_values)
    probe, bitfit = run / "cells/linear_probe" / RATE, next((run / "cells/bitfit").iterdir())
    before = cells.load_cell(probe).predictions
    edit(probe / "cell.json", tuning=[])
    (bitfit / "predictions.npz").write_bytes(b"no table")
    (run / "cells/majority_class/run-seed0/history.jsonl").unlink()
    for directory in (probe, bitfit):
        with pytest.raises(WorkdirError, match=f"remove the directory {directory}"):
            ladder.run(settings, run)
        shutil.rmtree(directory)
    ladder.run(settings, run)
    assert (cells.load_cell(probe).predictions.logits == before.logits).all()
    assert cells.load_cell(bitfit).predictions is not None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"config": 3}, "config must be a section, not 3"),
        ({"config": {"rungs": [3]}}, "config.rungs[0] must be a section"),
        ({"config": {"acceptance": {"metric": 3}}}, "config.acceptance.metric must be text"),
        ({"hashes": 1}, "hashes must be a section"),
        ({"versions": {"jax": 1}}, "versions.jax must be text"),
        ([], "the document must be a section"),
    ],
)
def test_what_a_run_says_is_checked(run, decided_values, content, message):
    (run / "run.json").write_text(json.dumps(content))
    told = re.escape(f"{run / 'run.json'} is damaged: {message}")
    with pytest.raises(WorkdirError, match=told):
        workdir.check_free(run, from_config(decided_values))
    with pytest.raises(WorkdirError, match=told):
        systems.read([str(run)])
    with pytest.raises(WorkdirError, match=told):
        examining.subject_of(run, extent.Extent(), None)


@pytest.mark.parametrize("config", [None, 3, {}, {"rungs": [{"name": "a"}]}])
def test_a_config_that_is_no_ladders_is_named(config):
    with pytest.raises(ConfigError, match=r"config must be a section|the key 'config\.rungs"):
        from_json(config)
