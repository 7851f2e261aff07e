"""A work directory has one run at a time; who holds it is named, and a dead process does not."""

import os
import platform
import re
import signal
import subprocess
import sys

import pytest

from jaxtransfer.errors import WorkdirError
from jaxtransfer.train.lock import FILE, check_unheld, hold

HOLDER = """
import pathlib, sys, time
from jaxtransfer.train.lock import hold
with hold(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_directory_is_held_until_the_block_ends(tmp_path):
    directory = tmp_path / "run"
    with hold(directory):
        for take in (lambda: hold(directory).__enter__(), lambda: check_unheld(directory)):
            with pytest.raises(
                WorkdirError,
                match=rf"run is in use by process {os.getpid()} on {re.escape(platform.node())}: ",
            ):
                take()
        with hold(tmp_path / "other"):
            pass
    check_unheld(directory)
    with hold(directory):
        pass


def test_an_error_inside_frees_the_directory(tmp_path):
    with pytest.raises(KeyError), hold(tmp_path):
        raise KeyError
    with hold(tmp_path):
        pass


def test_a_killed_process_holds_nothing(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    with pytest.raises(WorkdirError, match=f"in use by process {process.pid} on "):
        hold(tmp_path).__enter__()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with hold(tmp_path):
        assert (tmp_path / FILE).read_text().startswith(f"process {os.getpid()} on ")


def test_asking_writes_nothing(tmp_path):
    check_unheld(tmp_path / "nowhere")
    check_unheld(tmp_path)
    assert list(tmp_path.iterdir()) == []
