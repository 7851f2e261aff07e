"""Tables of a work directory are measured together, or the file that is missing is named."""

import json

import numpy as np
import pytest

from jaxtransfer.errors import WorkdirError
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol.measuring import load_tables


def finished(workdir, seeds=(0, 1)):
    """What a ladder of one rung leaves, as far as measuring looks at it."""
    (workdir / "predictions").mkdir()
    for seed in seeds:
        table = Predictions(ids=[1, 2], labels=[0, 1], logits=np.eye(2), classes="ab")
        table.save(workdir / "predictions" / f"probe-seed{seed}.npz")
    (workdir / "run.json").write_text(json.dumps({"verb": "ladder"}))
    record = {"rungs": [{"name": "probe", "seeds": list(seeds)}]}
    (workdir / "record.json").write_text(json.dumps(record))
    return workdir


def test_a_finished_ladder_gives_all_its_tables(tmp_path):
    assert len(load_tables(finished(tmp_path))) == 2


def test_a_ladder_that_has_not_finished_is_refused(tmp_path):
    (finished(tmp_path) / "record.json").unlink()
    with pytest.raises(WorkdirError, match=r"record\.json is missing: the ladder has not finished"):
        load_tables(tmp_path)


def test_one_trained_rung_needs_no_record(tmp_path):
    (finished(tmp_path) / "record.json").unlink()
    (tmp_path / "run.json").write_text(json.dumps({"verb": "train"}))
    assert len(load_tables(tmp_path)) == 2


def test_a_table_that_the_record_counts_is_not_left_out(tmp_path):
    (finished(tmp_path) / "predictions" / "probe-seed1.npz").unlink()
    with pytest.raises(
        WorkdirError, match=r"probe-seed1\.npz is missing, which .*record\.json cou"
    ):
        load_tables(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_record_is_named(tmp_path, text):
    (finished(tmp_path) / "record.json").write_text(text)
    with pytest.raises(WorkdirError, match=r"record\.json is damaged"):
        load_tables(tmp_path)
