import hashlib
import json
import time

import pytest

from jaxtransfer.errors import PretrainedError
from jaxtransfer.pretrained.hub import commit_of
from jaxtransfer.pretrained.uri import resolve

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"model.safetensors": b"weights", "pytorch_model.bin": b"pickle", "config.json": b"{}"}


@pytest.fixture
def hub(loopback, monkeypatch, tmp_path):
    """The part of the hub that the client asks for, with one repository `org/tiny`."""
    monkeypatch.setenv("HF_ENDPOINT", loopback.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf_home"))

    def serve(files, repo="org/tiny"):
        def error(handler, code):
            handler.answer(b"{}", 404, {"X-Error-Code": code, "X-Repo-Commit": COMMIT})

        def send_json(value):
            body = json.dumps(value).encode()
            return lambda handler: handler.answer(
                body, headers={"Content-Type": "application/json"}
            )

        def send_file(data):
            headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
            return lambda handler: handler.answer(data, headers=headers)

        info = {"id": repo, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
        tree = [
            {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for name, data in files.items()
        ]
        for revision in ("main", COMMIT):
            loopback.files[f"/api/models/{repo}/revision/{revision}"] = send_json(info)
            loopback.files[f"/api/models/{repo}/tree/{revision}"] = send_json(tree)
            for name, data in files.items():
                loopback.files[f"/{repo}/resolve/{revision}/{name}"] = send_file(data)
            loopback.files[f"/{repo}/resolve/{revision}/modl.safetensors"] = lambda handler: error(
                handler, "EntryNotFound"
            )
        loopback.files[f"/api/models/{repo}"] = send_json(info)
        loopback.files[f"/{repo}/resolve/nowhere/config.json"] = lambda handler: error(
            handler, "RevisionNotFound"
        )
        loopback.files["/org/nothing/resolve/main/config.json"] = lambda handler: error(
            handler, "RepoNotFound"
        )
        return loopback

    return serve(FILES)


def test_a_file_at_a_commit_is_fetched_and_cached(hub, tmp_path):
    uri = f"hf:org/tiny@{COMMIT}/model.safetensors"
    path = resolve(uri, cache_dir=tmp_path)
    assert path.read_bytes() == b"weights"
    assert commit_of(path) == COMMIT
    assert path.is_relative_to(tmp_path / "hf")
    count = len(hub.requests)
    assert resolve(uri, cache_dir=tmp_path, offline=True) == path
    assert len(hub.requests) == count


def test_a_moving_revision_is_reported_with_its_commit(hub, tmp_path, caplog):
    resolve("hf:org/tiny@main/config.json", cache_dir=tmp_path)
    assert f"pin it as hf:org/tiny@{COMMIT}/config.json" in caplog.text
    caplog.clear()
    resolve(f"hf:org/tiny@{COMMIT}/config.json", cache_dir=tmp_path)
    assert not caplog.records
    resolve("hf:org/tiny/config.json", cache_dir=tmp_path)
    assert f"pin it as hf:org/tiny@{COMMIT}/config.json" in caplog.text


def test_a_snapshot_has_the_safetensors_and_no_pickles(hub, tmp_path):
    directory = resolve(f"hf:org/tiny@{COMMIT}", cache_dir=tmp_path)
    assert sorted(p.name for p in directory.iterdir()) == ["config.json", "model.safetensors"]
    assert resolve(f"hf:org/tiny@{COMMIT}", cache_dir=tmp_path, offline=True) == directory


def test_the_environment_turns_the_network_off(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PretrainedError, match=r"hf:org/tiny@main/config\.json is not in the cache"):
        resolve("hf:org/tiny@main/config.json", cache_dir=tmp_path)
    with pytest.raises(PretrainedError, match="hf:org/tiny@main is not in the cache"):
        resolve("hf:org/tiny@main", cache_dir=tmp_path)
    assert not hub.requests


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("hf:org/tiny@main/modl.safetensors", "no file 'modl.safetensors'; nearest: 'model.safete"),
        ("hf:org/tiny@nowhere/config.json", "has no revision 'nowhere'"),
        ("hf:org/nothing@main/config.json", "has no repository 'org/nothing'"),
        ("hf:org/-tiny@main/config.json", "hf:org/-tiny@main/config.json: "),
    ],
)
def test_what_is_not_there_is_named(hub, tmp_path, uri, message):
    with pytest.raises(PretrainedError, match=message):
        resolve(uri, cache_dir=tmp_path)


def test_no_network_is_a_clear_error(loopback, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between the client's attempts
    for uri in ("hf:org/tiny@main/config.json", "hf:org/tiny@main"):
        with pytest.raises(PretrainedError, match=f"{uri}: the hub cannot be reached: .*refused"):
            resolve(uri, cache_dir=tmp_path)
