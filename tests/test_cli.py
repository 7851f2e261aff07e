"""The command line: verbs, overrides, and mistakes that end with one message and a status that is not 0."""

import errno
import json
import os
import pprint
import shlex
import subprocess
import sys

import pytest

from jaxtransfer import cli
from jaxtransfer.checking import check_fields
from jaxtransfer.cli import config_words
from jaxtransfer.errors import ConfigError
from jaxtransfer.protocol.acceptance import AcceptanceSettings
from jaxtransfer.version import __version__


@pytest.fixture
def config(tmp_path, ladder_values):
    """A config file with the tiny ladder's values, cut to two rungs and one seed."""
    values = {**ladder_values, "rungs": ("majority_class", "linear_probe"), "seeds": (0,)}
    path = tmp_path / "config.py"
    path.write_text(
        "from ml_collections import ConfigDict\n\n\ndef get_config():\n"
        f"    return ConfigDict({pprint.pformat(values)})\n"
    )
    return path


def run(*words):
    return cli.main([str(word) for word in words])


def test_version_and_help(capsys):
    for flag, text in (("--version", __version__), ("--help", "ladder")):
        with pytest.raises(SystemExit) as ended:
            run(flag)
        assert ended.value.code == 0
        assert text in capsys.readouterr().out


def test_ladder_evaluate_report_and_inspect(config, tmp_path, capsys):
    workdir = tmp_path / "run"
    assert run("ladder", "--config", config, "--workdir", workdir) == 0
    assert "linear_probe" in capsys.readouterr().out
    record = json.loads((workdir / "record.json").read_text())
    assert f"--config={config}" in record["command"]

    assert run("evaluate", workdir, "--split", "test", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    key = f"{workdir}/predictions/linear_probe-seed0.npz#test"
    expected = record["rungs"][1]["metrics"]["test"]["macro_f1"]
    assert printed[key]["macro_f1"]["value"] == expected["value"]
    assert set(printed[key]["macro_f1"]) >= {"value", "ci", "n", "definition"}

    assert run("evaluate", workdir, "--split", "validation", "--json") == 0
    shown = capsys.readouterr()
    both = json.loads(shown.out)[key.replace("#test", "#validation")]["accuracy"]
    halves = [record["rungs"][1]["metrics"][half]["accuracy"] for half in ("tune", "accept")]
    assert both["n"] == sum(half["n"] for half in halves)
    assert both["value"] == pytest.approx(
        sum(half["value"] * half["n"] for half in halves) / both["n"]
    )
    for place in (shown.err, both["definition"]):
        assert "its halves tune and accept together: learning rates were chosen on tune" in place
    assert run("evaluate", workdir, "--split", "tset") == 2
    assert "it has ['accept', 'calibration', 'test', 'tune']" in capsys.readouterr().err

    (workdir / "report.html").unlink()
    assert run("report", workdir) == 0
    assert (workdir / "report.html").is_file()

    assert run("inspect", "--config", config, "--rung", "linear_probe") == 0
    assert "51 trained" in capsys.readouterr().out


def test_train_writes_predictions_history_and_a_loadable_adapter(config, tmp_path, capsys, topics):
    import jaxtransfer as jt

    workdir = tmp_path / "run"
    words = ["train", "--config", config, "--workdir", workdir, "--rung", "lora", "--seed", "3"]
    assert run(*words) == 0
    shown, said = capsys.readouterr()
    assert "macro_f1" in shown
    headings = [line for line in shown.splitlines() if not line.startswith(" ")]
    assert headings[:-1] == ["tune", "accept", "calibration"]  # the test split is not looked at
    assert "removed 2 of 92 examples as exact duplicates" in said
    assert "lora-seed3: step 6/6 validation/macro_f1=" in said
    assert "splits: train 12, tune 12, accept 12, calibration 12, test 30" in said
    for path in ("predictions/lora-seed3.npz", "history/lora-seed3.jsonl", "adapter/adapter.json"):
        assert (workdir / path).is_file()
    assert (
        jt.load(workdir / "adapter").predict(topics[0][:1])[0]
        in jt.load(workdir / "adapter").classes
    )
    assert run(*words) == 0
    assert capsys.readouterr().out == shown
    assert run("report", workdir) == 2
    assert "one rung that `jaxtransfer train` trained" in (said := capsys.readouterr().err)
    assert f"jaxtransfer evaluate {workdir}" in said


class Killed(BaseException):
    """Ends a run where it stands, as a signal does."""


def kill_at(monkeypatch, wanted):
    from jaxtransfer.train.history import History

    append = History.append

    def until(self, rows):
        append(self, rows)
        if rows[-1]["step"] >= wanted and "loss" in rows[-1]:
            raise Killed

    monkeypatch.setattr(History, "append", until)


def test_a_resumed_training_counts_all_its_cost(config, tmp_path, monkeypatch):
    words = ["train", "--config", config, "--rung", "bitfit"]
    assert run(*words, "--workdir", tmp_path / "whole") == 0
    kill_at(monkeypatch, 4)
    with pytest.raises(Killed):
        run(*words, "--workdir", tmp_path / "cut")
    monkeypatch.undo()
    assert run(*words, "--workdir", tmp_path / "cut") == 0
    whole, cut = (
        json.loads(next((tmp_path / name).glob("cells/*/*/cell.json")).read_text())
        for name in ("whole", "cut")
    )
    assert cut["cost"]["flops"] == whole["cost"]["flops"] > 0
    assert cut["wall_seconds"] >= cut["cost"]["wall_seconds"] > cut["cost"]["seconds"]


def test_a_training_that_has_checkpoints_is_not_taken_over(config, tmp_path, capsys, monkeypatch):
    words = ["train", "--config", config, "--workdir", tmp_path / "run"]
    kill_at(monkeypatch, 4)
    with pytest.raises(Killed):
        run(*words, "--rung", "bitfit")
    monkeypatch.undo()
    before = (tmp_path / "run" / "run.json").read_bytes()
    for other in (["--rung", "lora"], ["--rung", "bitfit", "--config.train.steps=9"]):
        assert run(*words, *other) == 2
        assert "belongs to another run: config." in capsys.readouterr().err
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    assert run(*words, "--rung", "bitfit") == 0


@pytest.mark.parametrize("verb", [["ladder"], ["train", "--rung", "linear_probe"]])
def test_a_work_directory_in_use_is_refused(config, tmp_path, capsys, verb, monkeypatch):
    from jaxtransfer.protocol import ladder, single
    from jaxtransfer.train.lock import hold

    words = [*verb, "--config", config, "--workdir", tmp_path / "run"]
    with hold(tmp_path / "run"):
        assert run(*words) == 2
        assert f"run is in use by process {os.getpid()} on " in capsys.readouterr().err
    # Another run that begins between the check and the claim is found as well.
    for module in (ladder, single):
        monkeypatch.setattr(module, "check_free", lambda *_: None)
    with hold(tmp_path / "run"):
        assert run(*words) == 2
        assert "is in use by process" in capsys.readouterr().err
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    monkeypatch.undo()
    assert run(*words) == 0


def test_a_run_holds_its_work_directory_to_the_end(config, tmp_path, monkeypatch):
    from jaxtransfer.errors import WorkdirError
    from jaxtransfer.protocol import cells, ladder
    from jaxtransfer.train.lock import check_unheld

    seen = []

    def spied(function, name):
        def call(*arguments, **options):
            with pytest.raises(WorkdirError, match="is in use by process"):
                check_unheld(tmp_path / "run")
            seen.append(name)
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(cells, "run_cell", spied(cells.run_cell, "cell"))
    monkeypatch.setattr(ladder, "write_report", spied(ladder.write_report, "report"))
    assert run("ladder", "--config", config, "--workdir", tmp_path / "run") == 0
    assert {"cell", "report"} == set(seen)
    check_unheld(tmp_path / "run")


def test_overrides_reach_the_run(config, tmp_path):
    workdir = tmp_path / "run"
    words = ["ladder", "--config", config, "--workdir", workdir, "--config.seeds=(7,)"]
    assert run(*words) == 0
    # A shell must take the recorded command as it stands: the parentheses are quoted.
    command = json.loads((workdir / "record.json").read_text())["command"]
    assert shlex.split(command)[2:4] == [f"--config={config}", "--config.seeds=(7,)"]
    assert "'--config.seeds=(7,)'" in command
    assert json.loads((workdir / "run.json").read_text())["config"]["seeds"] == [7]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config.train.step=3"], "steps"),
        (["--config.train.steps=many"], "invalid literal"),
        (["--config.rungs=('majority',)"], "nearest: 'majority_class'"),
        (["--config.model.uri=all-minilm"], "nearest: 'all-minilm-l6-v2'"),
        (["--config.data.kind=text_foldr"], "nearest: 'text_folder'"),
        (["--config.data.path=/nowhere/at/all"], "/nowhere/at/all"),
        (["--config.splits.train_per_class=1000"], "but there are 90"),
        (["--config.acceptance.metric=f2"], "unknown metric 'f2'"),
        (["--config.acceptance.metric=f1"], "it is of two classes, and the table has 3"),
    ],
)
def test_a_wrong_value_is_one_message_and_status_2(config, tmp_path, capsys, words, message):
    assert run("ladder", "--config", config, "--workdir", tmp_path / "run", *words) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def get_config(:\n", "line 1: SyntaxError"),
        ("def get_config():\n    return foo\n", "line 2: NameError: name 'foo'"),
        ("import nowhere_to_be_found\n", "line 1: ModuleNotFoundError"),
        ("def get_config():\n\n    return 1 / 0\n", "line 3: ZeroDivisionError"),
        ("def get_config():\n    open('/no/such/file')\n", "line 2: FileNotFoundError"),
        ("x = 1\n", "defines no get_config()"),
        ("def get_config():\n    pass\n", "gives None; it must return a ConfigDict"),
        ("def get_config():\n    return [1]\n", "gives [1]; it must return a ConfigDict"),
    ],
)
def test_an_error_in_the_config_file_is_said_with_its_place(tmp_path, capsys, content, message):
    path = tmp_path / "mine.py"
    path.write_text(content)
    assert run("ladder", "--config", path, "--workdir", tmp_path / "run") == 2
    shown = capsys.readouterr().err
    assert str(path) in shown
    assert message in shown
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--config.nope=3", "has no key config.nope; nearest: "),
        ("--config.train.step=3", "has no key config.train.step; nearest: 'steps'"),
        ("--config.tuning.seed=3", "has no section config.tuning; "),
        ("--config.name.first=x", "config.name of"),
    ],
)
def test_an_override_of_what_the_file_does_not_set_is_named(config, capsys, word, message):
    assert run("inspect", "--config", config, word) == 2
    assert message in capsys.readouterr().err


def test_an_option_of_a_loader_may_be_set_where_the_file_leaves_it_out(config):
    words = ["encoding=('utf-8', 'latin-1')", "classes=None", "suffixes=.md", "suffixes=.txt"]
    data = config_words.load(
        [f"--config={config}", *(f"--config.data.{word}" for word in words)]
    ).data
    assert data.encoding == ("utf-8", "latin-1")
    assert data.classes is None
    assert data.suffixes == ".txt"
    words = [f"--config={config}", "--config.model.options.pooling=max"]
    assert config_words.load(words).model.options.pooling == "max"


def test_a_misspelt_option_of_a_loader_is_named_with_the_nearest(config, tmp_path, capsys):
    words = ["ladder", "--config", config, "--workdir", tmp_path / "run"]
    assert run(*words, "--config.data.encodng=latin-1") == 2
    assert "takes no option 'encodng'; nearest: 'encoding'" in capsys.readouterr().err
    assert run(*words, "--config.model.options.poolng=max") == 2
    assert "no option 'poolng'; nearest: 'pooling'" in capsys.readouterr().err


def test_a_share_may_stand_in_place_of_a_count_and_the_reverse(config):
    from jaxtransfer.protocol.settings import from_config

    place = "--config.splits"
    words = [f"{place}.sizes.validation=0.3", f"{place}.sizes.test=0.5", f"{place}.sizes.test=9"]
    words += [f"{place}.train_per_class=0.1"]
    splits = from_config(config_words.load([f"--config={config}", *words])).splits
    assert splits.sizes == {"validation": 0.3, "calibration": 12, "test": 9}
    assert splits.train_per_class == 0.1


def test_a_config_may_be_a_plain_dict_and_take_an_argument(tmp_path, ladder_values):
    path = tmp_path / "mine.py"
    path.write_text(f"def get_config(name):\n    return {{**{ladder_values!r}, 'name': name}}\n")
    loaded = config_words.load([f"--config={path}:mine", "--config.train.steps=9"])
    assert (loaded.name, loaded.train.steps) == ("mine", 9)


@pytest.mark.parametrize("kind", ["placeholder", "required_placeholder"])
def test_an_open_target_takes_a_number_and_names_what_is_none(tmp_path, kind):
    path = tmp_path / "mine.py"
    path.write_text(
        "from ml_collections import ConfigDict, config_dict\n\n\ndef get_config():\n"
        f"    acceptance = ConfigDict({{'target': config_dict.{kind}(float)}})\n"
        "    return ConfigDict({'acceptance': acceptance, 'records': None})\n"
    )
    target = "--config.acceptance.target"
    loaded = config_words.load([f"--config={path}", f"{target}=0.9", "--config.records=runs"])
    assert (loaded.acceptance.target, loaded.records) == (0.9, "runs")
    for word in ("abc", "nan", "inf"):
        loaded = config_words.load([f"--config={path}", f"{target}={word}"])
        with pytest.raises(ConfigError, match=f"target must be a finite number, .*not '{word}'"):
            check_fields("config.acceptance", loaded.acceptance.to_dict(), AcceptanceSettings)


def test_references_follow_overrides_and_an_unfilled_placeholder_is_named(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(
        "from ml_collections import ConfigDict, config_dict\n\n\ndef get_config(kind):\n"
        "    config = ConfigDict({'a': 1})\n    config.b = config.get_ref('a')\n"
        "    if kind == 'holed':\n        config.c = config_dict.required_placeholder(str)\n"
        "    return config\n"
    )
    assert config_words.load([f"--config={path}:whole", "--config.a=5"]).to_dict() == {
        "a": 5,
        "b": 5,
    }
    assert run("inspect", "--config", f"{path}:holed") == 2
    assert "required reference" in capsys.readouterr().err


def test_a_relative_work_directory_will_do(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["train", "--config", config, "--workdir", "relative", "--rung", "linear_probe"]
    assert run(*words) == 0
    assert (tmp_path / "relative" / "adapter" / "adapter.json").is_file()


@pytest.mark.parametrize("number", [errno.EISDIR, errno.EIO, errno.EPERM])
def test_what_the_system_refuses_is_one_message(tmp_path, capsys, monkeypatch, number):
    from jaxtransfer.protocol import inspection, settings

    def refuse(*_):
        raise OSError(number, os.strerror(number), "somewhere")

    monkeypatch.setattr(inspection, "of_model", refuse)
    monkeypatch.setattr(settings, "from_config", refuse)
    monkeypatch.setattr(config_words, "load", lambda words: None)
    assert run("inspect", "m") == 2
    assert capsys.readouterr().err == f"error: somewhere: {os.strerror(number)}\n"
    for verb in (["ladder"], ["train", "--rung", "r"]):
        assert run(*verb, "--config", "c.py", "--workdir", tmp_path) == 2
        assert "finished parts are kept" in capsys.readouterr().err


def test_an_error_of_the_program_keeps_its_traceback(monkeypatch):
    from jaxtransfer.protocol import inspection

    monkeypatch.setattr(inspection, "of_model", lambda uri: {}["bug"])
    with pytest.raises(KeyError):
        run("inspect", "m")


def test_a_reader_that_goes_ends_the_command_quietly(tiny_bert):
    command = [sys.executable, "-m", "jaxtransfer", "inspect", str(tiny_bert), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 141


def test_a_rate_or_seed_that_is_none_is_refused(config, tmp_path, capsys):
    words = ["train", "--config", config, "--workdir", tmp_path / "run", "--rung", "full"]
    for more, message in (
        (["--learning-rate", "nan"], "--learning-rate must be a finite number, not nan"),
        (["--learning-rate", "0"], "--learning-rate must be a finite number above 0"),
        (["--seed", "-1"], "--seed must be an integer in [0"),
    ):
        assert run(*words, *more) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_inspect_takes_the_rungs_own_statistics_and_no_rung_of_a_uri(config, tiny_bert, capsys):
    assert run("inspect", tiny_bert, "--rung", "full") == 2
    assert "--rung full is a config's" in capsys.readouterr().err
    text = config.read_text()
    config.write_text(text.replace("'batch_size'", "'statistics': 'updated', 'batch_size'"))
    assert run("inspect", "--config", config, "--rung", "full") == 2
    assert "has no batch statistics to update" in capsys.readouterr().err


def test_other_mistakes_are_messages_too(config, tmp_path, capsys):
    table = tmp_path / "table.npz"
    table.write_text("no archive")
    for words, message in (
        (["ladder", "--config", "nowhere.py", "--workdir", tmp_path / "x"], "no config file"),
        (["ladder", "--workdir", tmp_path / "x"], "a config is needed"),
        (["train", "--config", config, "--workdir", tmp_path / "x", "--rung", "lor"], "nearest"),
        (["evaluate", table], "not a readable .npz"),
        (["evaluate", tmp_path], "no predictions"),
        (["report", tmp_path], "record.json"),
        (["inspect"], "either a URI or --config"),
        (["report", tmp_path, "--config", config], "takes no --config"),
        (["ladder", "--config"], "needs a value"),
    ):
        assert run(*words) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("index", ""),
        ("index", ".", "--out", ""),
        ("verify", ""),
        ("report", ""),
        ("evaluate", ""),
        ("compare", "", ""),
        ("ladder", "--config", "c.py", "--workdir", ""),
    ],
)
def test_an_empty_path_is_not_the_current_directory(words, capsys):
    try:
        status = run(*words)
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2
    assert "an empty path; the current directory is ." in capsys.readouterr().err


def test_a_full_disk_is_said_and_what_is_finished_is_kept(config, tmp_path, capsys, monkeypatch):
    from jaxtransfer.protocol import cells

    write = cells.write_json

    def full(path, content):
        if "linear_probe" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(cells, "write_json", full)
    words = ["ladder", "--config", config, "--workdir", tmp_path / "run"]
    assert run(*words) == 2
    shown = capsys.readouterr().err
    assert "No space left on device" in shown
    assert "cell.json" in shown
    monkeypatch.undo()
    assert run(*words) == 0
    assert "majority_class/run-seed0: macro_f1" in (err := capsys.readouterr().err)
    assert "(kept)" in err


def test_a_loss_that_is_not_finite_stops_the_run(config, tmp_path, capsys):
    words = ["train", "--config", config, "--workdir", tmp_path / "run", "--rung", "full"]
    assert run(*words, "--learning-rate", "1e30") == 2
    shown = capsys.readouterr().err
    assert "learning rate 1e+30" in shown
    assert "at step" in shown


def test_an_error_of_the_system_without_a_file_names_the_work_directory(
    config, tmp_path, capsys, monkeypatch
):
    from jaxtransfer.protocol import ladder

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ladder, "prepare", full)
    assert run("ladder", "--config", config, "--workdir", tmp_path / "run") == 2
    assert f"error: {tmp_path / 'run'}: No space left on device" in capsys.readouterr().err


def test_a_methods_option_that_the_file_leaves_out_may_be_set_and_is_checked(capsys):
    words = ["inspect", "--config", "configs/bbc_minilm.py", "--rung", "lora"]
    place = "--config.methods.lora.options"
    loaded = config_words.load([f"--config={words[2]}", f"{place}.targets=('.*/query',)"])
    assert loaded.methods.lora.options.targets == (".*/query",)
    assert run(*words, f"{place}.rnak=3") == 2
    assert "no field 'rnak'; nearest: 'rank'" in capsys.readouterr().err


def test_a_target_a_guard_and_a_limit_that_the_file_leaves_open_may_be_set():
    from jaxtransfer.protocol.settings import from_config

    words = ["acceptance.target=0.9", "acceptance.guards.ece=0.1", "budget.seconds=60"]
    loaded = config_words.load(
        ["--config=configs/bbc_minilm.py", *(f"--config.{word}" for word in words)]
    )
    settings = from_config(loaded)
    assert (settings.acceptance.target, settings.budget.seconds) == (0.9, 60.0)
    assert settings.acceptance.guards == {"ece": 0.1}
