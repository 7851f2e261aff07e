"""The command line: verbs, overrides, and mistakes that end with one message and a status that is not 0."""

import errno
import json
import pprint

import pytest

from jaxtransfer import cli
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
    shown = capsys.readouterr().out
    assert "macro_f1" in shown
    for path in ("predictions/lora-seed3.npz", "history/lora-seed3.jsonl", "adapter/adapter.json"):
        assert (workdir / path).is_file()
    assert (
        jt.load(workdir / "adapter").predict(topics[0][:1])[0]
        in jt.load(workdir / "adapter").classes
    )
    assert run(*words) == 0
    assert capsys.readouterr().out == shown


def test_overrides_reach_the_run(config, tmp_path):
    workdir = tmp_path / "run"
    words = ["ladder", "--config", config, "--workdir", workdir, "--config.seeds=(7,)"]
    assert run(*words) == 0
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
        (["--config.acceptance.metric=f1"], "unknown metric 'f1'"),
    ],
)
def test_a_wrong_value_is_one_message_and_status_2(config, tmp_path, capsys, words, message):
    assert run("ladder", "--config", config, "--workdir", tmp_path / "run", *words) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown


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
