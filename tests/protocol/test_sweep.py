"""Sweeps of the tiny ladder's rungs: what they run, share, resume, refuse and say."""

import copy
import dataclasses
import json
import pprint
import shutil
import sys

import numpy as np
import pytest

from jaxtransfer import cli
from jaxtransfer.errors import ConfigError, JaxTransferError, TrainingError, WorkdirError
from jaxtransfer.evaluation.metrics import value
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import cells, entries, journal, sweep, sweep_processes, training, trials
from jaxtransfer.protocol.problem import TRAIN, TUNE, prepare
from jaxtransfer.protocol.search_space import from_json
from jaxtransfer.protocol.settings import from_config
from jaxtransfer.protocol.sweep_choice import best, optimism

RATES = {
    "learning_rate": {"prior": "log_uniform", "low": 1e-3, "high": 0.3, "default": 0.03},
    "weight_decay": {"prior": "uniform", "low": 0.0, "high": 0.1, "default": 0.01},
}


@pytest.fixture
def settings(ladder_values):
    return from_config(ladder_values)


def plan(**values):
    return sweep.Plan(**{"trials": 4, "confirm": 2, **values})


def swept(settings, workdir, rung="linear_probe", space=None, **values):
    return sweep.run(
        settings, workdir, rung=rung, space=from_json(space or RATES), plan=plan(**values)
    )


def previewed(settings, workdir, **values):
    return sweep.preview(
        settings, workdir, rung="linear_probe", space=from_json(RATES), plan=plan(**values)
    )


class Shut(dict):
    """The splits of a problem, of which a sweep may open two."""

    def __getitem__(self, name):
        assert name in (TRAIN, TUNE), f"{name} was read"
        return super().__getitem__(name)


@pytest.fixture
def watched(monkeypatch):
    """Counts trials and compilations of a sweep, and shuts all splits but two."""
    seen = {"trials": [], "benches": []}
    append = journal.Journal.append

    def counted(self, rows):
        seen["trials"] += [(row["trial"], row["steps"]) for row in rows]
        append(self, rows)

    def shut(settings):
        found = prepare(settings)
        return dataclasses.replace(found, examples=Shut(found.examples), evaluated=None)

    def bench_of(problem, workdir):
        seen["benches"].append(make(problem, workdir))
        return seen["benches"][-1]

    make = sweep_processes.bench_of
    monkeypatch.setattr(journal.Journal, "append", counted)
    monkeypatch.setattr(sweep, "prepare", shut)
    monkeypatch.setattr(sweep_processes, "bench_of", bench_of)
    return seen


def test_probe_trials_of_one_shape_compile_their_steps_once(settings, tmp_path, watched):
    counts = []
    for number in (1, 8):
        swept(settings, tmp_path / str(number), trials=number)
        (bench,) = watched["benches"]
        counts.append(bench.compiled.traces)
        # Activations of the two sets, whatever the number of trials.
        assert bench.cache.builds == 2
        watched["benches"].clear()
    assert counts[0] == counts[1]


def test_a_sweep_reads_the_tuning_half_alone_and_chooses_its_best(settings, tmp_path, watched):
    found = swept(settings, tmp_path / "run", trials=6)
    rows = found["trials"]
    assert [row["trial"] for row in rows] == list(range(6))
    assert rows[0]["parameters"] == {"learning_rate": 0.03, "weight_decay": 0.01}
    assert found["winner"]["value"] == max(row["value"] for row in rows)
    assert "tuning half of validation (12 examples)" in found["read"]
    assert json.loads((tmp_path / "run" / "sweep.json").read_text()) == found


def test_a_trial_is_the_cell_of_its_parameters(settings, tmp_path):
    """Side by side or alone, a trial has the value that the ladder's own trial would have."""
    found = swept(settings, tmp_path / "run", trials=3)
    problem = prepare(settings)
    bench = sweep_processes.bench_of(problem, tmp_path)
    for row in found["trials"]:
        rung, rate = trials.configured(settings.rung("linear_probe"), row["parameters"])
        cell = cells.run_cell(
            bench,
            rung,
            tmp_path / f"cell-{row['trial']}",
            learning_rate=rate,
            seed=settings.tuning.seed,
            only_tune=True,
        )
        assert cell.facts["tuning"]["value"] == row["value"]
        assert cell.facts["trainable"] == row["trainable"]


def test_trials_of_one_shape_share_one_step_where_they_run_one_by_one(settings, tmp_path, watched):
    counts = []
    for number in (1, 3):
        swept(settings, tmp_path / str(number), rung="bitfit", trials=number)
        counts.append(watched["benches"].pop().compiled.traces)
    assert counts[0] == counts[1]


def test_each_shape_compiles_once_more(settings, tmp_path, watched):
    space = {
        "learning_rate": {**RATES["learning_rate"], "high": 0.05},
        "options": {"rank": {"prior": "choice", "values": (1, 2), "default": 2}},
    }
    found = swept(settings, tmp_path / "run", rung="lora", space=space, trials=5, seed=3)
    ranks = [row["parameters"]["options.rank"] for row in found["trials"]]
    assert set(ranks) == {1, 2}
    (bench,) = watched["benches"]
    # Step and prediction for each of two ranks; the frozen embeddings, which both read, once.
    assert bench.compiled.traces == 2 * 2 + 1


class Killed(BaseException):
    """What a signal would do."""


@pytest.mark.parametrize("sampler", ["random", "halving"])
def test_a_killed_sweep_goes_on_and_repeats_no_finished_trial(
    settings, tmp_path, watched, monkeypatch, sampler
):
    options = {"rung": "bitfit", "trials": 4, "sampler": sampler}
    whole = swept(settings, tmp_path / "whole", **options)
    expected = list(watched["trials"])
    watched["trials"].clear()
    run_one, left = trials.run_one, [3]

    def killed(*arguments, **values):
        if not left[0]:
            raise Killed
        left[0] -= 1
        return run_one(*arguments, **values)

    monkeypatch.setattr(sweep_processes, "run_one", killed)
    with pytest.raises(Killed):
        swept(settings, tmp_path / "run", **options)
    with (tmp_path / "run" / "trials.jsonl").open("a") as file:
        file.write('{"trial": 3, "param')  # a line that was being written
    left[0] = 100
    resumed = swept(settings, tmp_path / "run", **options)
    assert watched["trials"] == expected
    assert len(set(expected)) == len(expected)
    values = [[row["value"] for row in found["trials"]] for found in (whole, resumed)]
    assert values[0] == values[1]
    again = swept(settings, tmp_path / "run", **options)
    assert again["winner"] == resumed["winner"]
    assert watched["trials"] == expected


def test_halving_lets_the_best_go_on_from_where_they_were(settings, tmp_path, monkeypatch):
    steps = []
    train_rung = training.train_rung

    def counted(*arguments, **values):
        trained, recipe = train_rung(*arguments, **values)
        steps.append(len({row["step"] for row in trained.history}))
        return trained, recipe

    monkeypatch.setattr(trials, "train_rung", counted)
    found = swept(settings, tmp_path / "run", rung="bitfit", trials=4, sampler="halving")
    first, last = found["trials"][:4], found["trials"][4:]
    assert [row["steps"] for row in first] == [2] * 4
    assert [row["steps"] for row in last] == [6]
    assert first[last[0]["trial"]]["value"] == max(row["value"] for row in first)
    assert found["winner"] == last[0]
    # The promoted trial ends as a whole run does, whose schedule it followed.
    rung, rate = trials.configured(settings.rung("bitfit"), last[0]["parameters"])
    cell = cells.run_cell(
        sweep_processes.bench_of(prepare(settings), tmp_path),
        rung,
        tmp_path / "cell",
        learning_rate=rate,
        seed=settings.tuning.seed,
        only_tune=True,
    )
    assert cell.facts["tuning"]["value"] == last[0]["value"]
    assert not (tmp_path / "run" / "saves").exists()


def test_more_trials_of_the_same_series_may_be_asked_for_later(settings, tmp_path, watched):
    swept(settings, tmp_path / "run", trials=3)
    watched["trials"].clear()
    swept(settings, tmp_path / "run", trials=5)
    assert [number for number, _ in watched["trials"]] == [3, 4]


def test_a_trial_that_diverges_is_recorded_as_such(settings, tmp_path, capsys):
    space = {
        "learning_rate": {"prior": "choice", "values": (0.03, 1e38), "default": 1e38},
        "weight_decay": {"prior": "choice", "values": (0.0, 1e30), "default": 1e30},
    }
    for rung in ("linear_probe", "bitfit"):
        found = swept(settings, tmp_path / rung, rung=rung, space=space, trials=6, seed=1)
        first = found["trials"][0]
        assert first["value"] is None
        assert "learning rate 1e+38" in first["diverged"]
        assert found["winner"]["parameters"]["learning_rate"] == 0.03
        assert "diverged" in capsys.readouterr().out
    only = {name: {**one, "values": one["values"][1:]} for name, one in space.items()}
    with pytest.raises(TrainingError, match=r"no trial of the sweep has a value; the last one: "):
        swept(settings, tmp_path / "none", space=only, trials=1)


def test_the_winner_is_confirmed_on_fresh_seeds_and_its_optimism_is_printed(
    settings, tmp_path, capsys
):
    found = swept(settings, tmp_path / "run", confirm=3)
    seeds = found["confirmed"]["seeds"]
    assert settings.tuning.seed not in seeds
    assert len(set(seeds)) == 3
    for seed, measured in zip(seeds, found["confirmed"]["values"]):
        (path,) = (tmp_path / "run" / "cells").glob(f"*/confirm-*-seed{seed}/predictions.npz")
        table = Predictions.load(path)
        assert set(table.split.tolist()) == {TUNE}
        assert value(table, "macro_f1") == measured
    gap = found["winner"]["value"] - np.mean(found["confirmed"]["values"])
    assert found["optimism"]["value"] == pytest.approx(gap, abs=1e-9)
    printed = capsys.readouterr().out
    assert "an optimism of " in printed
    assert "neither its acceptance half nor the test split was read" in printed


def test_optimism_has_students_interval_of_the_confirmed_mean():
    found = optimism(0.9, [0.8, 0.85, 0.81], maximise=True, confidence=0.95)
    # scipy.stats.t.interval(0.95, 2, 0.9 - mean, sem) of these three.
    np.testing.assert_allclose(found["ci"], [0.0142759, 0.1457241], atol=1e-7)
    flipped = optimism(0.9, [0.8, 0.85, 0.81], maximise=False, confidence=0.95)
    assert flipped["value"] == -found["value"]
    assert (
        "2 of 3 fresh seeds"
        in optimism(0.9, [None, 0.8, None], maximise=True, confidence=0.9)["undefined"]
    )
    assert optimism(0.9, [0.8, 0.8], maximise=True, confidence=0.9)["ci"] is None


def test_among_equals_the_smaller_rate_wins():
    rows = [
        {"trial": k, "value": v, "parameters": {"learning_rate": r}, "diverged": ""}
        for k, (v, r) in enumerate([(0.5, 0.1), (0.5, 0.01), (0.4, 0.001)])
    ]
    assert best(rows, "accuracy")["trial"] == 1
    assert best(rows, "nll")["trial"] == 2


def test_a_dry_run_leaves_a_journal_without_a_header_as_it_is(settings, tmp_path):
    path = tmp_path / "run" / "trials.jsonl"
    path.parent.mkdir()
    for text in ("", '{"journal": "jax'):
        path.write_text(text)
        assert not journal.is_begun(path.parent)
    swept(settings, tmp_path / "whole", trials=2)
    (tmp_path / "whole" / "trials.jsonl").write_text("")
    sweep.preview(
        settings,
        tmp_path / "whole",
        rung="linear_probe",
        space=from_json(RATES),
        plan=plan(trials=2),
    )
    assert (tmp_path / "whole" / "trials.jsonl").read_text() == ""


def test_a_journal_of_another_version_space_or_sampler_is_refused(settings, tmp_path):
    workdir = tmp_path / "run"
    swept(settings, workdir, trials=2)
    with pytest.raises(WorkdirError, match=r"a sweep with another sampler \(random, now sobol\)"):
        swept(settings, workdir, trials=2, sampler="sobol")
    with pytest.raises(WorkdirError, match=r"a sweep with another sampler \(random, now sobol\)"):
        previewed(settings, workdir, trials=2, sampler="sobol")
    other = {"learning_rate": RATES["learning_rate"]}
    with pytest.raises(WorkdirError, match=r"a sweep with another space"):
        swept(settings, workdir, space=other, trials=2)
    path = workdir / "trials.jsonl"
    text = path.read_text()
    header = json.loads(text.splitlines()[0])
    for name, strange in (("version", "0.0.1"), ("format", 0)):
        changed = json.dumps({**header, name: strange})
        path.write_text("\n".join([changed, *text.splitlines()[1:], ""]))
        with pytest.raises(WorkdirError, match=rf"another version of jaxtransfer \({name} "):
            swept(settings, workdir, trials=2)
    path.write_text(text.replace('"steps": 6', '"stepz": 6', 1))
    with pytest.raises(WorkdirError, match=r"trials.jsonl, line 2, lacks \['steps'\]"):
        swept(settings, workdir, trials=2)
    changed = dataclasses.replace(settings, train=dataclasses.replace(settings.train, steps=7))
    with pytest.raises(WorkdirError, match=r"config.train.steps is 6 there and 7 here"):
        swept(changed, workdir, trials=2)


@pytest.fixture(scope="module")
def journals(ladder_values, tmp_path_factory):
    """Finished sweeps by their sampler, of three trials each; copy one before changing it."""
    found = {}
    for sampler in ("random", "halving", "optuna"):
        workdir = tmp_path_factory.mktemp("journals") / sampler
        swept(from_config(ladder_values), workdir, trials=3, sampler=sampler)
        found[sampler] = workdir
    return found


@pytest.mark.parametrize(
    ("sampler", "line", "change", "message"),
    [
        ("random", 3, {"value": float("nan")}, r"value must be a finite number, or None, not nan"),
        ("random", 3, {"value": float("inf")}, r"value must be a finite number, or None, not inf"),
        ("random", 3, {"value": "hi"}, r"value must be a finite number, or None, not 'hi'"),
        ("random", 3, {"value": 77}, r"has the value 77, but macro_f1 is from 0 to 1"),
        ("random", 3, {"value": 0.5, "diverged": "x"}, r"a value of a trial that diverged"),
        ("random", 3, {"trial": [1]}, r"trial must be an integer, not \[1\]"),
        ("random", 3, {"trial": 9}, r"trial 9 after 6 steps, which the sampler .* has not: remove"),
        ("random", 3, {"steps": "x"}, r"steps must be an integer, not 'x'"),
        ("random", 3, {"steps": 5}, r"trial 1 after 5 steps, which the sampler"),
        ("random", 3, {"seconds": None}, r"seconds must be a finite number, not None"),
        ("random", 3, {"parameters": 3}, r"parameters must be a section, not 3"),
        ("random", 3, {"parameters": {"learning_rate": 5.0}}, r"has trial 1 with .*5.0.* but the"),
        ("random", 3, {"trial": 0}, r"lines 2 and 3, differ about trial 0 after 6 steps; remove"),
        ("halving", -1, {"parameters": {}}, r"but the sampler \(halving, --trials 3\) gives it"),
        ("optuna", 3, {"trial": 9}, r"trial 9 after 6 steps, which optuna.log has not"),
        ("optuna", 3, {"parameters": {"weight_decay": 5.0}}, r"but optuna.log gives it"),
    ],
)
def test_a_line_that_no_trial_wrote_is_named(
    settings, journals, tmp_path, sampler, line, change, message
):
    workdir = shutil.copytree(journals[sampler], tmp_path / "run")
    lines = (workdir / "trials.jsonl").read_text().splitlines()
    at = line - 1 if line > 0 else line
    lines[at] = json.dumps({**json.loads(lines[at]), **change})
    (workdir / "trials.jsonl").write_text("\n".join([*lines, ""]))
    before = {path: path.read_bytes() for path in workdir.iterdir() if path.is_file()}
    with pytest.raises(WorkdirError, match=message):
        previewed(settings, workdir, trials=3, sampler=sampler)
    assert {path: path.read_bytes() for path in before} == before
    with pytest.raises(WorkdirError, match=message) as error:
        swept(settings, workdir, trials=3, sampler=sampler)
    assert f"{workdir / 'trials.jsonl'}, line" in str(error.value)
    assert "remove" in str(error.value)
    assert (workdir / "sweep.json").read_bytes() == before[workdir / "sweep.json"]
    # A line that is gone is a trial that runs again.
    del lines[at]
    (workdir / "trials.jsonl").write_text("\n".join([*lines, ""]))
    again = swept(settings, workdir, trials=3, sampler=sampler)
    assert again["winner"]["value"] >= max(json.loads(one)["value"] for one in lines[1:])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"garbage\n", r"optuna.log, line 3, is damaged \(Expecting value"),
        (b"\n", r"optuna.log, line 3, is damaged"),
        (b"\xff\n", r"optuna.log, line 3, is damaged"),
        (b"3\n", r"optuna.log, line 3, is damaged \(it is no operation of Optuna's\)"),
        (b'{"op_code":4}\n', r"optuna.log is damaged \(Optuna cannot follow it\)"),
    ],
)
def test_a_line_that_optuna_did_not_write_is_named(settings, journals, tmp_path, line, message):
    workdir = shutil.copytree(journals["optuna"], tmp_path / "run")
    log = workdir / "optuna.log"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:2], line, *lines[2:]]))
    with pytest.raises(WorkdirError, match=message) as error:
        previewed(settings, workdir, trials=3, sampler="optuna")
    with pytest.raises(WorkdirError, match=message):
        swept(settings, workdir, trials=3, sampler="optuna")
    assert "trials.jsonl belong together, so choose another --workdir" in str(error.value)


def test_a_line_that_optuna_left_half_written_is_dropped(settings, journals, tmp_path):
    workdir = shutil.copytree(journals["optuna"], tmp_path / "run")
    log = workdir / "optuna.log"
    half = log.read_bytes()[:-9]
    log.write_bytes(half)
    previewed(settings, workdir, trials=3, sampler="optuna")
    assert log.read_bytes() == half
    for count in (3, 4):
        assert len(swept(settings, workdir, trials=count, sampler="optuna")["trials"]) == count
    for line in log.read_bytes().splitlines():
        json.loads(line)


def test_a_trial_that_halving_did_not_promote_cannot_win(settings, journals, tmp_path):
    workdir = shutil.copytree(journals["halving"], tmp_path / "run")
    path = workdir / "trials.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    lost = next(row for row in rows if row["trial"] != rows[-1]["trial"])
    with path.open("a") as file:
        file.write(json.dumps({**lost, "steps": 6, "value": 1.0}) + "\n")
    with pytest.raises(WorkdirError, match=rf"line 6, is of trial {lost['trial']} after 6 steps"):
        swept(settings, workdir, trials=3, sampler="halving")
    with pytest.raises(WorkdirError, match=r"another number of trials \(3, now 4\)"):
        swept(settings, workdir, trials=4, sampler="halving")


def test_a_trial_that_two_processes_ran_counts_once(settings, journals, tmp_path):
    workdir = shutil.copytree(journals["random"], tmp_path / "run")
    path = workdir / "trials.jsonl"
    last = json.loads(path.read_text().splitlines()[-1])
    with path.open("a") as file:
        file.write(json.dumps({**last, "seconds": 9.0}) + "\n")
    assert len(swept(settings, workdir, trials=3)["trials"]) == 3


def test_a_sweep_is_not_taken_for_a_ladder(journals, tmp_path, capsys):
    workdir = shutil.copytree(journals["random"], tmp_path / "run")
    (one,) = entries.find(tmp_path).searches
    assert (one.name, one.verb) == ("topics", "sweep")
    assert one.found.startswith("Best of 3 trials: trial ")
    assert cli.main(["index", str(tmp_path)]) == 0
    assert "1 sweeps and ablations, 0 not finished, 0 damaged" in capsys.readouterr().out
    assert "Best of 3 trials: trial " in (tmp_path / "index.html").read_text()
    for verb in ("verify", "report", "evaluate", "compare"):
        assert cli.main([verb, str(workdir)]) == 2
        assert (
            "holds a finished sweep, which decides nothing: read sweep.json"
            in capsys.readouterr().err
        )
    (workdir / "sweep.json").unlink()
    assert cli.main(["verify", str(workdir)]) == 2
    assert "an unfinished sweep: the same jaxtransfer sweep command" in capsys.readouterr().err
    assert [one.verb for one in entries.find(tmp_path).unfinished] == ["sweep"]


@pytest.mark.parametrize("sampler", ["random", "optuna"])
def test_fewer_trials_than_are_finished_are_refused(settings, journals, tmp_path, sampler):
    workdir = shutil.copytree(journals[sampler], tmp_path / "run")
    with pytest.raises(WorkdirError, match=r"has 3 trials, and --trials is 2: give at least 3"):
        swept(settings, workdir, trials=2, sampler=sampler)


def test_what_cannot_be_swept_is_said_before_anything_is_written(settings, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"'nearest_mean' \(nearest_mean\) trains nothing"):
        sweep.space_of({}, settings, "nearest_mean")
    with pytest.raises(ConfigError, match=r"no rung 'lorra'; nearest: 'lora'"):
        sweep.space_of({"sweep": {"lorra": RATES}}, settings, "lora")
    with pytest.raises(ConfigError, match=r"--confirm 1: give at least 2"):
        plan(confirm=1)
    with pytest.raises(ConfigError, match=r"2 trials of 6 steps make one stage"):
        swept(settings, tmp_path / "run", trials=2, sampler="halving")
    query = (".*/query/kernel",)
    targets = {"prior": "choice", "values": (query, (".*",)), "default": query}
    space = {"options": {"targets": targets}}
    with pytest.raises(ConfigError, match=r"'options.targets' is a choice among sequences"):
        swept(settings, tmp_path / "run", rung="lora", space=space, sampler="optuna")
    rate = {"prior": "uniform", "low": 0.5, "high": 2.0, "default": 1.0}
    count = {"prior": "int_uniform", "low": 1, "high": 99, "default": 1}
    for rung, space, message in (
        ("lora", {"group_rates": {"nope": rate}}, r"with group_rates.nope 0.5': optimizer group"),
        ("last_block", {"options": {"count": count}}, r"'last_block with options.count 99'"),
    ):
        made = from_json(space)
        for verb in (sweep.preview, sweep.run):
            with pytest.raises(JaxTransferError, match=message):
                verb(settings, tmp_path / "run", rung=rung, space=made, plan=plan())
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'jaxtransfer\[optuna\]'"):
        swept(settings, tmp_path / "run", sampler="optuna")
    assert not (tmp_path / "run").exists()


def test_several_processes_share_the_journal(settings, tmp_path):
    workdir = tmp_path / "run"
    found = swept(settings, workdir, rung="bitfit", trials=4, processes=2)
    alone = swept(settings, tmp_path / "alone", rung="bitfit", trials=4)
    assert sorted(row["trial"] for row in found["trials"]) == [0, 1, 2, 3]
    by_number = [{row["trial"]: row["value"] for row in one["trials"]} for one in (found, alone)]
    assert by_number[0] == by_number[1]


def test_optuna_asks_in_several_processes_and_goes_on(settings, tmp_path, watched):
    from optuna.trial import TrialState

    from jaxtransfer.protocol import study

    workdir = tmp_path / "run"
    found = swept(settings, workdir, sampler="optuna", trials=3)
    assert found["trials"][0]["parameters"] == {"learning_rate": 0.03, "weight_decay": 0.01}
    # A process that was killed leaves a trial open.
    asking = study.open_study(workdir, maximise=True, seed=0)
    lost, parameters = next(study.ask(asking, from_json(RATES), 1))
    more = swept(settings, workdir, sampler="optuna", trials=6, processes=2)
    assert more["trials"][:3] == found["trials"]
    assert len(more["trials"]) == 6
    assert lost not in [row["trial"] for row in more["trials"]]
    assert parameters in [row["parameters"] for row in more["trials"]]
    states = [trial.state for trial in study.open_study(workdir, maximise=True, seed=0).trials]
    assert states.count(TrialState.COMPLETE) == 6
    assert states.count(TrialState.FAIL) == 1


def test_the_verb_takes_the_spaces_of_the_config(ladder_values, tmp_path, capsys):
    values = copy.deepcopy(ladder_values)
    values["sweep"] = {"linear_probe": {"learning_rate": {**RATES["learning_rate"]}}}
    values["sweep"]["linear_probe"]["learning_rate"].pop("default")
    path = tmp_path / "config.py"
    path.write_text(
        "from ml_collections import ConfigDict\n\n\ndef get_config():\n"
        f"    return ConfigDict({pprint.pformat(values)})\n"
    )
    words = ["sweep", f"--config={path}", "--workdir", str(tmp_path / "run"), "--trials=3"]
    assert cli.main([*words, "--rung=linear_probe", "--confirm=2", "--dry-run"]) == 0
    assert "3 trials + 2 runs" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    assert cli.main([*words, "--rung=linear_probe", "--confirm=2", "--sampler=sobol"]) == 0
    shown = capsys.readouterr()
    assert "Best of 3 trials" in shown.out
    found = json.loads((tmp_path / "run" / "sweep.json").read_text())
    assert list(found["space"]) == ["learning_rate"]
    assert found["space"]["learning_rate"]["default"] == 0.03
    assert "jaxtransfer sweep" in found["command"]
    narrow = "--config.sweep.linear_probe.learning_rate.high=0.02"
    assert cli.main([*words, "--rung=linear_probe", narrow]) == 2
    message = capsys.readouterr().err
    assert "config.sweep.linear_probe.learning_rate: the prior log_uniform [0.001, 0.02]" in message
    assert "excludes its default 0.03" in message
