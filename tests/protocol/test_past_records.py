"""How often methods were chosen on similar tasks, from a directory of records."""

import json

import pytest

from jaxtransfer.errors import ConfigError
from jaxtransfer.protocol.past_records import read

HERE = {"input": "text", "labels_per_class": 10}


def record(root, name, chosen, *, kind="csv", train=30, facts=None):
    rungs = [
        {"name": method, "method": {"method": method}, "decision": "rejected"}
        for method in ("linear_probe", "lora", "full")
    ]
    rungs.append({"name": "scratch", "method": {"method": "full"}, "decision": "reference"})
    document = {
        "config": {"data": {"kind": kind}},
        "data": {"splits": {"train": train}},
        "task": {"classes": ["a", "b", "c"]},
        "rungs": rungs,
        "chosen": chosen,
        **({"plan": {"facts": facts}} if facts else {}),
    }
    (root / name).mkdir(parents=True)
    (root / name / "record.json").write_text(json.dumps(document))


def test_only_similar_tasks_count(tmp_path):
    record(tmp_path, "near", "lora")
    record(tmp_path, "edge", "lora", train=120)
    record(tmp_path, "many", "full", train=130)
    record(tmp_path, "pictures", "full", kind="image_folder")
    record(tmp_path, "stated", "full", kind="npz", facts={"input": "text", "labels_per_class": 3})
    record(tmp_path / "copy", "near", "lora")  # the same record once more
    found = read(str(tmp_path), HERE, tmp_path / "own")
    assert (found.found, found.similar) == (5, 3)
    assert found.tried == {"linear_probe": 3, "lora": 3, "full": 3}
    assert found.won == {"lora": 2, "full": 1}
    # Drawn towards one in four by as many records as rungs; what no record has is at chance.
    assert found.rate("lora", 4) == pytest.approx(3 / 7)
    assert found.rate("bitfit", 4) == 0.25


def test_the_ladders_own_record_does_not_count(tmp_path):
    record(tmp_path, "own", "lora")
    assert read(str(tmp_path), HERE, tmp_path / "own").found == 0


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match="is no directory"):
        read(str(tmp_path / "none"), HERE, tmp_path)
    with pytest.raises(ConfigError, match="is an empty path"):
        read("", HERE, tmp_path)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "record.json").write_text('{"config": {}}')
    for content in (b'{"config": {}}', b"\xff", b"[]", b"{"):
        (tmp_path / "bad" / "record.json").write_bytes(content)
        with pytest.raises(ConfigError, match=r"bad/record.json is no record .*; take it out") as e:
            read(str(tmp_path), HERE, tmp_path / "own")
        assert "Error(" not in str(e.value)
