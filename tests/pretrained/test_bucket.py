import builtins

import pytest

from jaxtransfer.errors import PretrainedError
from jaxtransfer.pretrained.uri import resolve

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def bucket(monkeypatch):
    """An in-memory file system under the scheme of the buckets."""
    from fsspec.implementations.memory import MemoryFileSystem

    class Versioned(MemoryFileSystem):
        def find(self, path, **options):
            found = super().find(path, **options)
            for name, info in found.items() if options.get("detail") else ():
                info["generation"] = hash(self.cat_file(name))
            return found

    files = Versioned()
    monkeypatch.setattr(fsspec, "filesystem", lambda scheme: files)
    yield files
    files.store.clear()


def test_objects_and_prefixes_are_copied_and_fetched_anew_when_they_change(bucket, tmp_path):
    bucket.pipe("/b/m/w.npz", b"one")
    bucket.pipe("/b/m/config.json", b"{}")
    path = resolve("gs:b/m/w.npz", cache_dir=tmp_path)
    assert path.read_bytes() == b"one"
    assert sorted(p.name for p in resolve("gs:b/m", cache_dir=tmp_path).rglob("*.*")) == [
        "config.json",
        "w.npz",
    ]
    for content in (b"another", b"a third"):  # of one size, so that the generation must tell
        bucket.pipe("/b/m/w.npz", content)
        assert resolve("gs:b/m/w.npz", cache_dir=tmp_path).read_bytes() == content


def test_a_missing_object_gives_the_nearest(bucket, tmp_path):
    bucket.pipe("/b/model.npz", b"one")
    with pytest.raises(PretrainedError, match=r"gs:b/modl\.npz does not exist; nearest: .*model"):
        resolve("gs:b/modl.npz", cache_dir=tmp_path)


def test_offline_and_a_missing_library_are_said(tmp_path, monkeypatch):
    with pytest.raises(PretrainedError, match="gs:b/w: fetching is off"):
        resolve("gs:b/w", cache_dir=tmp_path, offline=True)
    real = builtins.__import__

    def without_fsspec(name, *args, **kwargs):
        if name == "fsspec":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_fsspec)
    with pytest.raises(PretrainedError, match="needs gcsfs; install it"):
        resolve("gs:b/w", cache_dir=tmp_path, offline=False)
