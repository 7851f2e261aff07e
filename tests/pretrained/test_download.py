import errno
import hashlib
import io

import pytest
import requests

from jaxtransfer.errors import PretrainedError
from jaxtransfer.pretrained.download import ATTEMPTS, download, without_secrets

DATA = bytes(range(256)) * 1600
PIECE = 1 << 16
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def session():
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def fetch(loopback, session, tmp_path):
    loopback.files["/files/a"] = DATA

    def fetch(sha256=DIGEST):
        return download(
            f"{loopback.url}/files/a", tmp_path / "a", sha256=sha256, session=session, delay=0
        )

    return fetch


def test_a_file_arrives_whole_and_verified(fetch, tmp_path):
    assert fetch() == DIGEST
    assert (tmp_path / "a").read_bytes() == DATA
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_dropped_connection_goes_on_from_its_last_byte(fetch, loopback, tmp_path):
    loopback.break_after = [2 * PIECE + 9, PIECE + 9]
    assert fetch() == DIGEST
    ranges = [ranges for _, ranges in loopback.fetches()]
    assert ranges == [None, f"bytes={2 * PIECE}-", f"bytes={3 * PIECE}-"]
    assert (tmp_path / "a").read_bytes() == DATA


def test_a_later_call_goes_on_from_what_an_earlier_one_kept(fetch, loopback, tmp_path):
    loopback.break_after = [PIECE] + [0] * (ATTEMPTS - 1)
    with pytest.raises(
        PretrainedError, match=r"no download after 5 attempts .*65536 bytes are kept"
    ):
        fetch()
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "a.partial").stat().st_size == PIECE
    assert fetch() == DIGEST
    assert loopback.fetches()[-1] == ("/files/a", f"bytes={PIECE}-")


def test_a_verified_file_is_not_sent_again(fetch, loopback, tmp_path):
    fetch()
    assert fetch() == DIGEST
    assert len(loopback.fetches()) == 1
    (tmp_path / "a").write_bytes(b"another file")
    assert fetch() == DIGEST
    assert (tmp_path / "a").read_bytes() == DATA


def test_another_range_than_asked_for_is_not_joined(fetch, loopback, tmp_path):
    """A server that answers a Range request with the wrong part, as long as the right one."""
    (tmp_path / "a.partial").write_bytes(DATA[:PIECE])
    headers = {"Content-Range": f"bytes 0-{len(DATA) - PIECE - 1}/{len(DATA)}"}
    loopback.files["/files/a"] = lambda handler: handler.answer(DATA[:-PIECE], 206, headers)
    with pytest.raises(PretrainedError, match="another range than asked for"):
        fetch()
    assert (tmp_path / "a.partial").read_bytes() == DATA[:PIECE]


def test_a_server_without_ranges_starts_again(fetch, loopback):
    loopback.knows_ranges = False
    loopback.break_after = [1000]
    assert fetch() == DIGEST


def test_a_whole_partial_is_only_verified(fetch, loopback, tmp_path):
    (tmp_path / "a.partial").write_bytes(DATA)
    assert fetch() == DIGEST
    assert loopback.fetches() == [("/files/a", f"bytes={len(DATA)}-")]


@pytest.mark.parametrize("kept", [b"another file", DATA + b"longer"])
def test_a_partial_of_another_file_is_thrown_away(fetch, tmp_path, kept):
    (tmp_path / "a.partial").write_bytes(kept)
    assert fetch() == DIGEST
    assert (tmp_path / "a").read_bytes() == DATA


def test_another_file_than_pinned_is_refused_and_not_kept(fetch, loopback, tmp_path):
    loopback.files["/files/a"] = DATA[:-1]
    with pytest.raises(PretrainedError, match=rf"refused: its sha256 is \w+ .*expected {DIGEST}"):
        fetch()
    assert list(tmp_path.iterdir()) == []
    assert len(loopback.fetches()) == 1


def test_without_a_sha256_an_old_partial_is_not_trusted(fetch, tmp_path):
    (tmp_path / "a.partial").write_bytes(b"old")
    assert fetch(sha256=None) == DIGEST


def test_an_error_page_is_an_error_and_trouble_of_the_server_is_waited_for(
    fetch, loopback, tmp_path
):
    answers = [503, 503, 200]
    loopback.files["/files/a"] = lambda handler: handler.answer(DATA, answers.pop(0))
    assert fetch() == DIGEST
    (tmp_path / "a").unlink()
    loopback.files["/files/a"] = lambda handler: handler.answer(b"no", 403)
    with pytest.raises(PretrainedError, match=r"/files/a: HTTP 403"):
        fetch()


def test_no_server_is_said_in_a_few_words(session, tmp_path):
    with pytest.raises(PretrainedError, match=r"127\.0\.0\.1:9/a: no download .*refused"):
        download("http://127.0.0.1:9/a", tmp_path / "a", sha256=DIGEST, session=session, delay=0)


def test_a_full_disk_is_said_and_what_came_is_kept(fetch, tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(tmp_path), "open", lambda self, mode: Full())
    with pytest.raises(PretrainedError, match=r"a\.partial: cannot be written .*the disk is full"):
        fetch()


def test_messages_show_no_credentials():
    assert without_secrets("https://u:p@host:8/simple/?t=1#f") == "https://host:8/simple/"
