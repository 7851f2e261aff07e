"""Files of a work directory appear whole or not at all."""

import pytest

from jaxtransfer.errors import WorkdirError
from jaxtransfer.protocol.workdir import write_json


def test_a_full_disk_leaves_the_file_that_was_there_and_is_named(tmp_path):
    """The draft stands for the full device, which refuses each write."""
    path = tmp_path / "run.json"
    write_json(path, {"a": 1})
    before = path.read_text()
    (tmp_path / "run.json.part").symlink_to("/dev/full")
    with pytest.raises(WorkdirError, match=r"cannot write .*run\.json: No space left .*free space"):
        write_json(path, {"a": 2})
    assert path.read_text() == before
