import subprocess
import sys
import threading
import time

import pytest

from jaxtransfer.errors import PretrainedError
from jaxtransfer.pretrained.cache import cache_directory, is_offline, locked


def test_argument_goes_before_environment_before_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXTRANSFER_CACHE", str(tmp_path / "set"))
    assert cache_directory(tmp_path / "given") == tmp_path / "given"
    assert cache_directory() == tmp_path / "set"
    monkeypatch.delenv("JAXTRANSFER_CACHE")
    assert cache_directory().name == "jaxtransfer"


def test_offline_is_asked_of_two_variables(monkeypatch):
    for name in ("JAXTRANSFER_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv("JAXTRANSFER_OFFLINE", raising=False)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        assert not is_offline()
        monkeypatch.setenv(name, "1")
        assert is_offline()
        assert not is_offline(False)


def test_a_lock_excludes_threads_and_dies_with_its_process(tmp_path):
    lock, order = tmp_path / "deep" / "a.lock", []

    def second():
        with locked(lock):
            order.append("second")

    with locked(lock):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]

    code = (
        "import fcntl, os, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); os._exit(1)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(lock)], check=False).returncode == 1
    with locked(lock):
        pass


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path):
    (tmp_path / "file").touch()
    message = "cannot be written.*JAXTRANSFER_CACHE"
    with pytest.raises(PretrainedError, match=message), locked(tmp_path / "file" / "a.lock"):
        pass
