import os
import struct
import warnings

import numpy as np
import pytest
from PIL import Image

from jaxtransfer.data.duplicates import deduplicate
from jaxtransfer.data.folders import ImageFiles, decode_image, image_folder, text_folder
from jaxtransfer.errors import DataError


def write(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_documents_are_named_by_relative_path_and_labelled_by_folder(tmp_path):
    root = write(
        tmp_path,
        {
            "b/2.txt": b"two",
            "b/deep/1.txt": "d\u00e9j\u00e0".encode(),
            "a/x.txt": b"one",
            "a/x.md": b"-",
        },
    )
    table = text_folder(root)
    assert table.ids.tolist() == ["a/x.txt", "b/2.txt", "b/deep/1.txt"]
    assert table.inputs == ["one", "two", "déjà"]
    assert table.classes == ("a", "b")
    assert table.labels.tolist() == [0, 1, 1]


def test_a_document_that_is_not_utf8_is_named_with_its_path_and_place(tmp_path):
    root = write(tmp_path, {"a/1.txt": b"fine", "a/2.txt": b"line\na \xa3 sign"})
    with pytest.raises(DataError, match=r"a/2\.txt is not utf-8: byte 0xa3 at offset 7 \(line 2\)"):
        text_folder(root)


def test_encodings_are_tried_in_the_order_stated_and_the_one_used_is_recorded(tmp_path):
    root = write(tmp_path, {"a/1.txt": "£".encode(), "a/2.txt": b"\xa3"})
    table = text_folder(root, encoding=("utf-8", "latin-1"))
    assert table.inputs == ["£", "£"]
    assert table.metadata["encoding"].tolist() == ["utf-8", "latin-1"]


def test_a_byte_order_mark_is_dropped_and_an_unknown_encoding_named(tmp_path):
    root = write(tmp_path, {"a/1.txt": b"\xef\xbb\xbftext"})
    assert text_folder(root).inputs == ["text"]
    with pytest.raises(DataError, match=r"'utf-9' .* is not a known encoding"):
        text_folder(root, encoding="utf-9")


def test_empty_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds no sub-folders"):
        text_folder(tmp_path)
    (tmp_path / "sports").mkdir()
    with pytest.raises(DataError, match=r"class folder .*sports holds no documents \(\.txt\)"):
        text_folder(tmp_path)
    with pytest.raises(DataError, match="is not a folder; nearest beside it: 'sports'"):
        text_folder(tmp_path / "sport")


def test_a_link_to_nowhere_is_named_and_not_skipped(tmp_path):
    write(tmp_path, {"a/1.txt": b"x"})
    (tmp_path / "a" / "2.txt").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"cannot read .*a/2\.txt"):
        text_folder(tmp_path)


def test_a_file_name_that_is_not_utf8_is_named(tmp_path):
    write(tmp_path, {"a/1.txt": b"x"})
    (tmp_path / "a" / os.fsdecode(b"\xff.txt")).write_bytes(b"y")
    with pytest.raises(DataError, match=r"the name of .*a/\\udcff\.txt' holds .* has no UTF-8"):
        text_folder(tmp_path)


def test_hidden_files_and_folders_are_no_examples(tmp_path):
    files = {"a/1.txt": b"x", "a/.2.txt": b"y", ".git/3.txt": b"z"}
    table = text_folder(write(tmp_path, files))
    assert table.ids.tolist() == ["a/1.txt"]


def test_a_folder_outside_the_classes_of_training_is_named(tmp_path):
    root = write(tmp_path, {"a/1.txt": b"x", "c/1.txt": b"y"})
    with pytest.raises(DataError, match=r"label 'c' of .*c/1\.txt is not a known class"):
        text_folder(root, classes=["a", "b"])


def image(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def test_images_are_decoded_on_access_to_the_channels_stated(tmp_path):
    colour = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    image(tmp_path / "a" / "colour.png", colour)
    image(tmp_path / "a" / "grey.png", colour[:, :, 0])
    table = image_folder(tmp_path)
    np.testing.assert_array_equal(table.inputs[0], colour)
    np.testing.assert_array_equal(table.inputs[1], np.repeat(colour[:, :, :1], 3, axis=2))
    grey = image_folder(tmp_path, channels=1)
    np.testing.assert_array_equal(grey.inputs[1], colour[:, :, :1])
    assert grey.inputs[0].shape == (2, 4, 1)


def test_an_unreadable_image_is_named_when_it_is_read(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    image(tmp_path / "a" / "whole.png", noise)
    content = (tmp_path / "a" / "whole.png").read_bytes()
    write(tmp_path, {"a/cut.png": content[: len(content) // 2], "a/text.png": b"hello"})
    table = image_folder(tmp_path)
    assert table.ids.tolist() == ["a/cut.png", "a/text.png", "a/whole.png"]
    with pytest.raises(DataError, match=r"a/cut\.png cannot be decoded as an image"):
        table.inputs[0]
    with pytest.raises(DataError, match=r"a/text\.png is not an image"):
        table.inputs[1]
    np.testing.assert_array_equal(table.inputs[2], noise)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "tif", "webp"])
def test_damage_of_any_kind_is_named_or_harmless(tmp_path, suffix):
    """Changed bytes either leave an image or give an error that names the file, and no other."""
    rng = np.random.default_rng(0)
    path = tmp_path / f"x.{suffix}"
    image(path, rng.integers(0, 256, (12, 9, 3), np.uint8))
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(300):
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 4)] = rng.integers(0, 256, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert decode_image(damaged.tobytes(), path, 3).dtype == np.uint8
            except DataError as error:
                assert str(path) in str(error)  # noqa: PT017


def test_an_image_whose_sizes_are_no_numbers_is_named(monkeypatch):
    """PIL's WebP reader ends with a struct.error where the file's header lies."""

    def unpack(*_, **__):
        raise struct.error("required argument is not an integer")

    monkeypatch.setattr(Image, "open", unpack)
    with pytest.raises(
        DataError, match=r"x\.webp cannot be decoded as an image: required argument"
    ):
        decode_image(b"", "x.webp", 3)


def test_an_image_of_sixteen_bits_is_refused_rather_than_clipped(tmp_path):
    image(tmp_path / "a" / "deep.png", np.full((2, 2), 5000, np.uint16))
    with pytest.raises(DataError, match=r"deep\.png has pixel mode .* more than 8 bits"):
        image_folder(tmp_path).inputs[0]


def test_the_orientation_in_exif_is_applied(tmp_path):
    upright = np.zeros((4, 2, 3), np.uint8)
    upright[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees; to be turned clockwise for display
    image(tmp_path / "a" / "turned.png", np.rot90(upright), exif=exif)
    np.testing.assert_array_equal(image_folder(tmp_path).inputs[0], upright)


def test_taking_rows_of_an_image_folder_decodes_nothing(tmp_path):
    write(tmp_path, {"a/1.png": b"bad", "a/2.png": b"bad", "b/3.png": b"worse"})
    table = image_folder(tmp_path).take([2, 1]).take([1])
    assert table.ids.tolist() == ["a/2.png"]
    with pytest.raises(DataError, match=r"a/2\.png"):
        table.inputs[0]


def test_images_are_hashed_by_their_file(tmp_path):
    write(tmp_path, {"a/1.png": b"bad", "a/2.png": b"bad", "b/3.png": b"worse"})
    _, found = deduplicate(image_folder(tmp_path))
    assert found.groups == (("a/1.png", "a/2.png"),)


def test_rows_taken_of_an_image_folder_are_hashed_by_their_own_files(tmp_path):
    write(tmp_path, {"a/1.png": b"one", "a/2.png": b"two", "b/3.png": b"three"})
    table = image_folder(tmp_path)
    assert table.take([2, 1]).contents == (table.contents[2], table.contents[1])


def test_channels_are_one_or_three():
    with pytest.raises(DataError, match="channels is 4"):
        ImageFiles([], channels=4)


def test_files_that_are_left_out_are_counted(tmp_path, caplog):
    for name in ("a/1.txt", "a/2.md", "a/3.md", "a/4", "b/1.txt", "b/.hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    with caplog.at_level("WARNING"):
        assert len(text_folder(tmp_path)) == 2
    assert "left out 3 files that are not .txt: .md 2, without a suffix 1" in caplog.text
