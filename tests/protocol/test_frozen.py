"""A criterion is frozen before anything runs; a later change is kept beside what it replaced."""

import copy
import json

import pytest

from jaxtransfer.errors import WorkdirError
from jaxtransfer.protocol.frozen import freeze, sentence
from jaxtransfer.protocol.settings import from_config, without_criterion


def settings(values, **acceptance):
    changed = copy.deepcopy(values)
    changed["acceptance"] |= acceptance
    return from_config(changed)


def finish(workdir, name="probe/run-seed0"):
    (workdir / "cells" / name).mkdir(parents=True)
    (workdir / "cells" / name / "cell.json").write_text("{}")


def test_what_was_frozen_stays_until_the_criterion_changes(ladder_values, tmp_path):
    first = freeze(tmp_path, settings(ladder_values))
    assert first["history"] == []
    assert json.loads((tmp_path / "criterion.json").read_text()) == first
    finish(tmp_path)
    assert freeze(tmp_path, settings(ladder_values)) == first
    assert sentence(first) is None


def test_before_anything_has_run_it_may_be_anything(ladder_values, tmp_path):
    freeze(tmp_path, settings(ladder_values))
    again = freeze(tmp_path, settings(ladder_values, margin=0.2))
    assert again["history"] == []
    assert again["criterion"]["acceptance"]["margin"] == 0.2


def test_a_change_says_what_when_and_whether_the_test_split_was_read(ladder_values, tmp_path):
    first = freeze(tmp_path, settings(ladder_values))
    finish(tmp_path)
    second = freeze(tmp_path, settings(ladder_values, margin=0.1))
    (tmp_path / "decision.json").write_text("{}")
    third = freeze(tmp_path, settings(ladder_values, margin=0.1, target=0.9))
    one, two = third["history"]
    assert (one["from"], one["to"], two["from"]) == (first["sha256"], second["sha256"], one["to"])
    assert one["old"] == first["criterion"]
    assert one["changed"] == ["criterion.acceptance.margin is 0.0 there and 0.1 here"]
    assert (one["test_read"], two["test_read"], one["cells_finished"]) == (False, True, 1)
    assert "changed 2 times" in sentence(third)
    assert "after test predictions could have been read" in sentence(third)


def test_a_file_that_is_gone_damaged_or_edited_is_refused(ladder_values, tmp_path):
    path = tmp_path / "criterion.json"
    freeze(tmp_path, settings(ladder_values))
    finish(tmp_path)
    whole = path.read_text()
    path.write_text(whole.replace('"margin": 0.0', '"margin": 0.3'))
    with pytest.raises(WorkdirError, match="was edited: its criterion has the hash"):
        freeze(tmp_path, settings(ladder_values))
    path.write_text("{}")
    with pytest.raises(WorkdirError, match=r"damaged \(it lacks"):
        freeze(tmp_path, settings(ladder_values))
    path.unlink()
    with pytest.raises(WorkdirError, match="missing, though 1 runs are finished"):
        freeze(tmp_path, settings(ladder_values))


def test_the_metric_is_no_part_that_may_change(ladder_values):
    base = without_criterion(settings(ladder_values).to_json())
    free = {
        "margin": 1.0,
        "confidence": 0.9,
        "target": 0.5,
        "guards": {"ece": 0.1},
        "family": "all",
    }
    assert without_criterion(settings(ladder_values, **free).to_json()) == base
    assert without_criterion(settings(ladder_values, metric="nll").to_json()) != base
    values = {**ladder_values, "budget": {"seconds": 5.0}}
    assert without_criterion(from_config(values).to_json()) == base
