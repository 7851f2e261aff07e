"""A decision's directory that matches, and what is found when one thing in it is changed."""

import dataclasses
import functools
import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from jaxtransfer import cli
from jaxtransfer.errors import WorkdirError
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import manifest, verifying
from jaxtransfer.protocol.acceptance import digest
from jaxtransfer.protocol.report import write_report
from jaxtransfer.protocol.verifying import verify


@pytest.fixture
def workdir(decided, tmp_path):
    """A copy of the decision, to be changed."""
    return shutil.copytree(decided, tmp_path / "run")


def probe_cell(workdir):
    (found,) = (workdir / "cells" / "linear_probe").glob("run-*-seed0")
    return found


def edit_json(path, *keys, value):
    """Changes one value of a JSON file; a function is applied to what is there."""
    document = json.loads(path.read_text())
    node = functools.reduce(lambda inner, key: inner[key], keys[:-1], document)
    node[keys[-1]] = value(node[keys[-1]]) if callable(value) else value
    path.write_text(json.dumps(document))


def edit_table(path, **changed):
    table = Predictions.load(path)
    values = {}
    for name, change in changed.items():
        column = np.array(getattr(table, name), copy=True)
        change(column)
        values[name] = column
    dataclasses.replace(table, **values).save(path)


def assign(place, value):
    def change(column):
        column[place] = value(column[place]) if callable(value) else value

    return change


def replace_text(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def in_record(*keys, value):
    return lambda workdir: edit_json(workdir / "record.json", *keys, value=value)


def in_file(name, *keys, value):
    return lambda workdir: edit_json(workdir / name, *keys, value=value)


def in_cell(*keys, value):
    return lambda workdir: edit_json(probe_cell(workdir) / "cell.json", *keys, value=value)


def in_cells_table(**changed):
    return lambda workdir: edit_table(probe_cell(workdir) / "predictions.npz", **changed)


def in_copied_table(**changed):
    return lambda workdir: edit_table(workdir / "predictions/linear_probe-seed0.npz", **changed)


def nudged(value):
    return value + 1e-6


def flip_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


EDITS = {
    "a metric": (
        in_record("rungs", 1, "metrics", "test", "macro_f1", "value", value=nudged),
        "rungs[1].metrics.test.macro_f1.value: record ",
    ),
    "an interval": (
        in_record("rungs", 1, "metrics", "accept", "accuracy", "ci", 0, value=nudged),
        "rungs[1].metrics.accept.accuracy.ci[0]: record ",
    ),
    "a number of examples": (
        in_record("rungs", 0, "metrics", "test", "nll", "n", value=300),
        "rungs[0].metrics.test.nll.n: record 300, recomputed 30",
    ),
    "a definition": (
        in_record("rungs", 2, "metrics", "tune", "macro_f1", "definition", value="weighted"),
        "rungs[2].metrics.tune.macro_f1.definition: record 'weighted', recomputed ",
    ),
    "a difference": (
        in_record("rungs", 1, "difference", "value", value=nudged),
        "rungs[1].difference.value",
    ),
    "a p-value": (
        in_record("rungs", 1, "difference", "p_adjusted", value=0.049),
        "rungs[1].difference.p_adjusted: record 0.049, recomputed ",
    ),
    "a standard error": (
        in_record("rungs", 2, "difference", "standard_error", value=nudged),
        "rungs[2].difference.standard_error",
    ),
    "a decision": (
        in_record("rungs", 1, "decision", value="accepted"),
        "rungs[1].decision: record 'accepted', recomputed 'rejected'",
    ),
    "a reason": (in_record("rungs", 2, "reason", value="clears it"), "rungs[2].reason: record "),
    "the chosen rung": (
        in_record("chosen", value="bitfit"),
        "chosen: record 'bitfit', recomputed 'majority_class'",
    ),
    "a comparison": (in_record("comparisons", 0, "p_value", value=nudged), "comparisons[0].p_val"),
    "what is distinguishable": (
        in_record("comparisons", 0, "distinguishable", value=True),
        "comparisons[0].distinguishable: record True, recomputed False",
    ),
    "a conclusion": (in_record("conclusion", 0, value="Chosen: full."), "conclusion[0]: record "),
    "a conclusion left out": (in_record("conclusion", value=lambda all_: all_[:1]), "conclusion: "),
    "a limit": (in_record("limits", 0, value="None."), "limits[0]: record 'None.', recomputed "),
    "a rationale": (in_record("rationale", 0, value=str.upper), "rationale[0]"),
    "the question": (in_record("question", value="Which?"), "question: record 'Which?'"),
    "the hash of the splits": (in_record("hashes", "splits", value="0" * 64), "hashes.splits: rec"),
    "the hash of the data": (in_record("hashes", "data", value="0" * 64), "hashes.data: record "),
    "the config": (
        in_record("config", "train", "steps", value=60),
        "config.train.steps: record 60",
    ),
    "the margin": (in_record("task", "margin", value=0.01), "task.margin: record 0.01"),
    "a count": (in_record("data", "classes", "food", value=31), "data.classes.food: record 31"),
    "parameters": (in_record("rungs", 2, "trainable", value=338), "rungs[2].trainable: record 338"),
    "a cost": (in_record("rungs", 2, "cost", "flops", value=1.0), "rungs[2].cost.flops"),
    "a trial": (in_record("rungs", 1, "tuning", 0, "value", value=0.9), "rungs[1].tuning[0].value"),
    "the machine": (
        in_record("environment", "device", value="H100"),
        "environment.device: record 'H100', manifest 'cpu'",
    ),
    "the time": (in_record("created", value="2020-01-01T00:00:00+00:00"), "created: record '2020"),
    "a version": (in_record("versions", "jax", value="0.9"), "versions.jax: record '0.9'"),
    "a key that was added": (
        lambda workdir: replace_text(workdir / "record.json", "{", '{"award": 1, '),
        "award: record 1, recomputed nothing",
    ),
    "logits of a cell": (
        in_cells_table(logits=assign((-1, 0), nudged)),
        "cells/linear_probe/run-",
    ),
    "logits of a copy": (
        in_copied_table(logits=assign((-1, 0), nudged)),
        "predictions/linear_probe-seed0.npz",
    ),
    "a label": (
        in_cells_table(labels=assign(-1, lambda label: (label + 1) % 3)),
        "recomputation: it stopped: ",
    ),
    "an id": (in_cells_table(ids=assign(0, "x.txt")), "recomputation: it stopped: the examples of"),
    "the split of an example": (
        in_cells_table(split=assign(-1, "tune")),
        "recomputation: it stopped: the examples of split 'tune' in a table of rung 'linear_probe'",
    ),
    "a history": (
        lambda workdir: replace_text(workdir / "history/bitfit-seed1.jsonl", "0.", "1."),
        "history/bitfit-seed1.jsonl: ",
    ),
    "a cell's tuning metric": (
        in_cell("tuning", "value", value=nudged),
        "cells/linear_probe/run-lr0.03-seed0/cell.json: tuning.value: file ",
    ),
    "a cell's seconds": (in_cell("wall_seconds", value=0.01), "rungs[1].cost.seconds: record "),
    "a cell's seed": (
        in_cell("seed", value=7),
        "recomputation: it stopped: cells/linear_probe/run-",
    ),
    "an example that is shown": (
        lambda workdir: replace_text(workdir / "examples.json", '"text": "', '"text": "x'),
        "examples.json: changed: size is ",
    ),
    "an example's id": (
        lambda workdir: replace_text(workdir / "examples.json", ".txt", ".TXT"),
        "examples.json: ids",
    ),
    "an id of the splits": (
        in_file("splits.json", "ids", "train", 0, value="animals/000.txt"),
        "hashes.splits: record ",
    ),
    "a position of the splits": (
        in_file("splits.json", "indices", "test", 0, value=nudged),
        "splits.json: changed: ",
    ),
    "the adapter": (
        lambda workdir: flip_byte(probe_cell(workdir) / "adapter/adapter.safetensors"),
        "cells/linear_probe/run-lr0.03-seed0/adapter/adapter.safetensors: changed: sha256 is ",
    ),
    "decision.json's choice": (
        in_file("decision.json", "chosen", value="bitfit"),
        "decision.json: chosen: file 'bitfit', recomputed 'majority_class'",
    ),
    "decision.json's reason": (
        in_file("decision.json", "verdicts", "bitfit", 1, value="no"),
        "decision.json: verdicts.bitfit[1]: file 'no', recomputed ",
    ),
    "run.json's seeds": (in_file("run.json", "seeds", 0, value=5), "run.json: seeds[0]: file 5"),
    "run.json's revision": (in_file("run.json", "revision", value="abc"), "run.json: changed"),
    "a digest in the manifest": (
        in_file("manifest.json", "files", "run.json", "sha256", value="0" * 64),
        "run.json: changed: sha256 is ",
    ),
    "a link to a folder": (
        lambda workdir: (workdir / "cells/more").symlink_to(workdir / "history"),
        "cells/more: a symbolic link, and no file of the directory itself",
    ),
    "a file that became a link": (
        lambda workdir: (
            (workdir / "run.json").rename(workdir.parent / "run.json")
            and (workdir / "run.json").symlink_to(workdir.parent / "run.json")
        ),
        "run.json: a symbolic link",
    ),
    "a record that became a link": (
        lambda workdir: (
            (workdir / "record.json").rename(workdir.parent / "record.json")
            and (workdir / "record.json").symlink_to(workdir.parent / "record.json")
        ),
        "record.json: a symbolic link",
    ),
    "a size in the manifest": (
        in_file("manifest.json", "files", "run.json", "size", value=nudged),
        "run.json: changed: size is ",
    ),
    "the record's digest in the manifest": (
        in_file("manifest.json", "record", "sha256", value="0" * 64),
        "record.json: its digest is ",
    ),
    "what the manifest states": (
        in_file("manifest.json", "record", "stated", "command", value="true"),
        "command: record 'jaxtransfer ladder --config c.py', manifest 'true'",
    ),
    "the manifest's schema": (
        in_file("manifest.json", "schema", value=2),
        "manifest.json: manifest.json has schema 2, this version reads schema 1",
    ),
    "no manifest": (lambda w: (w / "manifest.json").unlink(), "manifest.json: manifest.json is mi"),
    "a file too few": (
        lambda workdir: (workdir / "history/bitfit-seed0.jsonl").unlink(),
        "history/bitfit-seed0.jsonl: missing, though the manifest lists it",
    ),
    "a file too many": (
        lambda workdir: (workdir / "predictions/lora-seed0.npz").write_bytes(b"x"),
        "predictions/lora-seed0.npz: not in the manifest: it was added afterwards",
    ),
    "the report": (
        lambda workdir: replace_text(workdir / "report.html", "<h1>majority_class", "<h1>bitfit"),
        "report.html: changed: ",
    ),
    "the report's record": (
        lambda workdir: replace_text(workdir / "report.html", '"schema":2', '"schema":3'),
        "report.html: holds another record; write it anew: jaxtransfer report ",
    ),
}


def test_a_directory_that_was_left_alone_matches(decided, capsys):
    assert cli.main(["verify", str(decided)]) == 0
    shown = capsys.readouterr().out
    assert "matches: " in shown
    assert manifest.file_digest(decided / "manifest.json") in shown
    found = verify(decided)
    assert (found.mismatches, found.notes) == ((), ())
    assert found.values > 400
    assert found.tables == 8
    assert found.files == len(manifest.covered(decided)) > 40


@pytest.mark.parametrize("name", EDITS)
def test_one_edit_is_named(workdir, name):
    edit, expected = EDITS[name]
    edit(workdir)
    told = [str(mismatch) for mismatch in verify(workdir).mismatches]
    assert any(line.startswith(expected) for line in told), told


def test_mismatches_are_status_1_and_json_lists_them(workdir, capsys):
    edit_json(workdir / "record.json", "chosen", value="bitfit")
    assert cli.main(["verify", str(workdir)]) == 1
    assert "chosen: record 'bitfit'" in capsys.readouterr().out
    assert cli.main(["verify", str(workdir), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["matches"]
    assert "chosen" in {one["place"] for one in found["mismatches"]}


def test_a_change_within_rounding_is_no_mismatch_of_a_field_but_of_the_digest(workdir):
    """Another machine rounds otherwise; the digest is exact."""
    keys = ("rungs", 1, "metrics", "test", "nll", "value")
    edit_json(workdir / "record.json", *keys, value=lambda value: value * (1 + 1e-11))
    places = [mismatch.place for mismatch in verify(workdir).mismatches]
    assert places == ["record.json", "report.html"]


def test_a_copied_directory_matches_wherever_it_stands(workdir):
    moved = workdir.rename(workdir.parent / "elsewhere")
    (moved / ".lock").unlink()
    assert verify(moved).mismatches == ()


def test_a_report_written_anew_matches_and_an_edited_record_does_not_become_right_by_it(workdir):
    (workdir / "report.html").unlink()
    write_report(workdir)
    assert verify(workdir).mismatches == ()
    edit_json(workdir / "record.json", "rungs", 1, "metrics", "test", "macro_f1", "n", value=31)
    write_report(workdir)
    places = [mismatch.place for mismatch in verify(workdir).mismatches]
    assert places == ["record.json", "rungs[1].metrics.test.macro_f1.n"]


def test_renewing_enters_the_files_named_and_no_other(workdir):
    (workdir / "examination.json").write_text("{}")
    (workdir / "notes.md").write_text("mine")
    manifest.renew(workdir, ["examination.json", "features.npz"])
    assert [mismatch.place for mismatch in verify(workdir).mismatches] == ["notes.md"]


def test_what_is_linked_is_not_sealed(workdir):
    (workdir / "history").rename(workdir.parent / "history")
    (workdir / "history").symlink_to(workdir.parent / "history")
    with pytest.raises(
        WorkdirError, match=r"history is a symbolic link, .*: put what it points to"
    ):
        manifest.write(workdir)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda w: shutil.rmtree(w), "holds no record.json: there is no such directory"),
        (lambda w: (w / "record.json").unlink(), "its ladder is not finished"),
        (in_file("record.json", "schema", value=9), "has schema 9, this version reads schema 2"),
        (in_file("record.json", "schema", value=1), "run its ladder again on its directory"),
        (lambda w: (w / "record.json").write_text("{"), "record.json is damaged: "),
        (
            lambda w: replace_text(w / "record.json", "{", '{"chosen": "bitfit", '),
            "record.json is damaged: repeated keys ['chosen']",
        ),
        (lambda w: (w / "record.json").write_text("[]"), "it holds no JSON object"),
    ],
)
def test_what_is_no_record_is_status_2(workdir, capsys, prepare, message):
    prepare(workdir)
    with pytest.raises(WorkdirError, match=re.escape(message)):
        verify(workdir)
    assert cli.main(["verify", str(workdir)]) == 2
    assert message in capsys.readouterr().err


def test_the_directory_of_a_single_run_decides_nothing(tmp_path):
    (tmp_path / "run.json").write_text('{"verb": "train"}')
    with pytest.raises(WorkdirError, match="trained by jaxtransfer train, and decides nothing"):
        verify(tmp_path)


def test_a_ladder_with_guards_budget_ensemble_and_reference_matches(guarded):
    record = json.loads((guarded / "record.json").read_text())
    assert [one["rung"] for one in record["plan"]["skipped"]] == ["full"]
    assert {rung["decision"] for rung in record["rungs"]} >= {"baseline", "reference"}
    assert "seeds" in {rung["name"] for rung in record["rungs"]}
    assert verify(guarded).mismatches == ()


FURTHER = {
    "a part of the criterion": (
        in_record("criterion", "parts", 0, "verdict", value="pass"),
        "criterion.parts[0].verdict: record 'pass', recomputed ",
    ),
    "the frozen hash": (
        in_file("criterion.json", "sha256", value="0" * 64),
        "criterion.json: sha256: file '0000",
    ),
    "the frozen target": (
        in_file("criterion.json", "criterion", "acceptance", "target", value=0.1),
        "criterion.json: criterion.acceptance.target: file 0.1, recomputed 0.9",
    ),
    "the order": (in_file("plan.json", "rule", value="by chance"), "plan.order: record "),
    "why a rung was skipped": (
        in_record("plan", "skipped", 0, "reason", value="too dear"),
        "plan.skipped[0].reason: record 'too dear', manifest ",
    ),
    "a time of serving": (
        in_file("serving/linear_probe.json", "seconds", 0, value=nudged),
        "serving/linear_probe.json: changed: ",
    ),
    "transfer": (
        in_record("transfer", "sentence", value="It helped."),
        "transfer.sentence: record",
    ),
    "a reference's table": (
        lambda workdir: edit_table(
            workdir / "predictions/random_features-seed1.npz", logits=assign((0, 0), nudged)
        ),
        "predictions/random_features-seed1.npz: is not the same as cells/random_features/",
    ),
}


@pytest.mark.parametrize("name", FURTHER)
def test_one_edit_of_what_criterion_and_plan_hold_is_named(guarded, tmp_path, name):
    workdir = shutil.copytree(guarded, tmp_path / "run")
    edit, expected = FURTHER[name]
    edit(workdir)
    told = [str(mismatch) for mismatch in verify(workdir).mismatches]
    assert any(line.startswith(expected) for line in told), told


def test_changes_of_a_criterion_lead_from_one_to_the_next():
    first, second, third = ({"margin": margin} for margin in (0.0, 0.1, 0.2))
    history = [
        {"from": digest(first), "to": digest(second), "old": first},
        {"from": digest(second), "to": digest(third), "old": second},
    ]

    def wrong(entries):
        held = {"criterion": third, "sha256": digest(third), "history": entries}
        replayed = SimpleNamespace(ascent=SimpleNamespace(criterion=held), record={"config": third})
        return [place for place, said, found in verifying._criterion(replayed) if said != found]

    assert wrong(history) == []
    assert wrong(history[:1]) == ["criterion.json: history[0].to"]
    changed = [history[0], {**history[1], "to": digest(first)}]
    assert wrong(changed) == ["criterion.json: history[1].to"]


@pytest.mark.parametrize(
    ("name", "key"),
    [("plan.json", "because"), ("plan.json", "rule"), ("splits.json", "ids"), ("run.json", "data")],
)
def test_a_key_that_is_missing_is_named_with_its_file(workdir, name, key):
    document = json.loads((workdir / name).read_text())
    del document[key]
    (workdir / name).write_text(json.dumps(document))
    told = [str(one) for one in verify(workdir).mismatches]
    assert f"recomputation: it stopped: {name} lacks the key {key!r}" in told


@pytest.mark.parametrize(("key", "value"), [("reproduce", "again"), ("plan", None), ("plan", "x")])
def test_a_field_of_another_kind_is_a_mismatch_and_no_crash(workdir, key, value):
    edit_json(workdir / "record.json", key, value=value)
    assert any(key in str(one) for one in verify(workdir).mismatches)
