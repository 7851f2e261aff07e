"""A dry run of a verb says what the verb would do, and leaves the disk as it was."""

import pprint

import pytest

from jaxtransfer.cli import VERBS, main
from jaxtransfer.protocol import ladder
from jaxtransfer.protocol.settings import from_config


@pytest.fixture(scope="module")
def place(ladder_values, tmp_path_factory):
    """A folder with a config and a finished ladder."""
    root = tmp_path_factory.mktemp("dry")
    values = {
        **ladder_values,
        "rungs": ("majority_class", "linear_probe", "lora", "seed_ensemble"),
        "negative_transfer": True,
        "ablation": {
            "rung": "lora",
            "mode": "one_factor",
            "components": {"rank": {"alternatives": {"r1": {"options": {"rank": 1}}}}},
        },
    }
    values["methods"] = {**values["methods"], "seed_ensemble": {"method": "seed_ensemble"}}
    (root / "config.py").write_text(
        "from ml_collections import ConfigDict\n\n\ndef get_config():\n"
        f"    return ConfigDict({pprint.pformat(values)})\n"
    )
    few = {**ladder_values, "rungs": ("majority_class", "linear_probe"), "seeds": (0,)}
    ladder.run(from_config(few), root / "runs" / "one")
    return root


def files(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ladder --config=config.py --workdir new", "from_scratch"),
        ("train --config=config.py --rung lora --workdir new", "lora"),
        (
            "sweep --config=config.py --rung lora --workdir new --trials 4",
            "dry run of sweep topics",
        ),
        ("ablate --config=config.py --workdir new", "dry run of ablate topics"),
        ("diagnose --config=config.py --workdir new", "would write new/diagnosis.json"),
        ("evaluate runs/one", "would measure"),
        ("compare runs/one", "would compare 1 pair"),
        ("examine runs/one --rung linear_probe", "would examine linear_probe"),
        ("report runs/one", "would replace runs/one/report.html"),
        ("verify runs/one", "would recompute the record of topics"),
        ("index runs", "would write runs/index.html: 1 decisions"),
        ("inspect --config=config.py --rung lora", "would list the parameters under rung lora"),
        ("new text mine --out mine.py", "mine.py"),
    ],
    ids=lambda value: value.split()[0] if " " in value else "",
)
def test_nothing_is_touched(place, words, said, monkeypatch, capsys):
    monkeypatch.chdir(place)
    before = files(place)
    assert main([*words.split(), "--dry-run"]) == 0
    assert said in capsys.readouterr().out
    assert files(place) == before


def test_every_verb_has_one():
    # That of `monitor check` is an option of the action.
    assert [name for name, verb in VERBS.items() if not hasattr(verb, "preview")] == ["monitor"]


def test_an_ensemble_and_references_are_counted(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert main(["ladder", "--config=config.py", "--workdir", "new", "--dry-run"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "0 runs" in rows["seed_ensemble"]
    assert "2 runs" in rows["random_features"]
    assert "order of the rungs: as config.rungs lists them" in rows["order"]
