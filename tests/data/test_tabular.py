import csv as csv_format
import gzip

import pyarrow
import pytest
from pyarrow import parquet as parquet_format

from jaxtransfer.data.tabular import csv, jsonl, parquet
from jaxtransfer.errors import DataError


@pytest.fixture
def file(tmp_path):
    def write(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_csv_rows_are_named_by_file_and_line(file):
    table = csv(file('text,label\n"two\nlines, one field",b\n\nplain,a\n'))
    assert table.ids.tolist() == ["data.csv:2", "data.csv:5"]
    assert table.inputs == ["two\nlines, one field", "plain"]
    assert table.classes == ("a", "b")
    assert table.labels.tolist() == [1, 0]


def test_csv_takes_other_columns_ids_and_metadata(file):
    path = file("key,body,kind,site\nk1,x,p,s\nk2,y,q,t\n")
    table = csv(path, text="body", label="kind", id="key", metadata=["site"])
    assert table.ids.tolist() == ["k1", "k2"]
    assert table.metadata["site"].tolist() == ["s", "t"]


def test_csv_without_a_header_or_labels_and_packed(file):
    path = file(gzip.compress("1\t.5\thé\n".encode("latin-1")), "tweets.tsv.gz")
    table = csv(
        path,
        columns=["id", "mean", "text"],
        label=None,
        id="id",
        delimiter="\t",
        encoding="latin-1",
    )
    assert table.inputs == ["hé"]
    assert table.labels is None


def test_csv_written_by_a_spreadsheet_with_byte_order_mark(file):
    assert csv(file(b"\xef\xbb\xbftext,label\r\nx,a\r\n")).inputs == ["x"]


def test_csv_fields_may_be_long_and_the_process_wide_limit_is_left_as_it_was(file):
    before = csv_format.field_size_limit()
    assert len(csv(file("text,label\n" + "x" * 200_000 + ",a\n")).inputs[0]) == 200_000
    assert csv_format.field_size_limit() == before


def test_a_lacking_column_is_named_with_the_nearest(file):
    with pytest.raises(DataError, match=r"data\.csv has no column 'text'; nearest: 'texts'"):
        csv(file("texts,label\nx,a\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\nx,a\ny\n", r"data\.csv:3 has 1 fields, but there are 2 columns"),
        ("text,label\nx,\n", r"data\.csv:2 has an empty label"),
        ('text,label\n"x,a\n', r"data\.csv:2: "),
        ("text,label\n", "holds no rows"),
        ("text,label\nx, \n", r"data\.csv:2 has an empty label"),
        ("text,label,text\nx,a,y\n", r"data\.csv:1 names the columns \['text'\] more than once"),
        (b"text,label\n\xff,a\n", r"is not utf-8: byte 0xff at offset 11 \(line 2\)"),
    ],
)
def test_bad_csv_is_named_by_line(file, content, message):
    with pytest.raises(DataError, match=message):
        csv(file(content))


@pytest.mark.parametrize("delimiter", ["", "\\t", 3])
def test_a_delimiter_is_one_character(file, delimiter):
    with pytest.raises(DataError, match=r"delimiter is .* it is one character"):
        csv(file("text,label\nx,a\n"), delimiter=delimiter)


def test_a_damaged_gzip_is_named(file):
    packed = bytearray(gzip.compress(b"text,label\nx,a\n" * 100))
    for start in (12, len(packed) - 6):
        damaged = packed[:start] + b"\xff" * 4 + packed[start + 4 :]
        with pytest.raises(DataError, match=r"cannot read .*d\.csv\.gz"):
            csv(file(bytes(damaged), "d.csv.gz"))


def test_a_repeated_id_is_named(file):
    with pytest.raises(DataError, match=r"such as \['k'\]"):
        csv(file("text,label,id\nx,a,k\ny,a,k\n"), id="id")


def test_a_label_unseen_in_training_is_named_by_line(file):
    with pytest.raises(DataError, match=r"label 'c' of .*data\.csv:2 is not a known class"):
        csv(file("text,label\nx,c\n"), classes=["a", "b"])


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none\.csv"):
        csv(tmp_path / "none.csv")


def test_jsonl_rows_are_named_by_file_and_line(file):
    path = file('{"text": "a\u2028b", "label": 1}\n\n{"text": "c", "label": 0}\n', "d.jsonl")
    table = jsonl(path)
    assert table.ids.tolist() == ["d.jsonl:1", "d.jsonl:3"]
    assert table.inputs == ["a\u2028b", "c"]
    assert table.classes == ("0", "1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "x", "label": "a"}\n{"text": \n', r"d\.jsonl:2 is not JSON"),
        ("[1]\n", r"d\.jsonl:1 is a JSON list, not an object"),
        ('{"text": "x", "label": "a"}\n{"text": "y"}\n', r"d\.jsonl:2 has no column 'label'"),
        ('{"text": null, "label": "a"}\n', r"d\.jsonl:1: 'text' is None, not a text"),
        ('{"text": "x", "label": 0.5}\n', r"d\.jsonl:1: 'label' is 0\.5"),
        ('{"text": "x\\ud800", "label": 1}\n', r"d\.jsonl:1: 'text' holds .* has no UTF-8"),
        ('{"text": "x", "label": "\\udfff"}\n', r"d\.jsonl:1: 'label' holds .* has no UTF-8"),
        ('{"text": "x", "label": ' + "9" * 5000 + "}\n", r"d\.jsonl:1 cannot be read as JSON"),
        ('{"text": ' + "[" * 10**5 + "}\n", r"d\.jsonl:1 cannot be read as JSON"),
    ],
)
def test_bad_jsonl_is_named_by_line(file, content, message):
    with pytest.raises(DataError, match=message):
        jsonl(file(content, "d.jsonl"))


def test_parquet_rows_are_named_by_file_and_row(tmp_path):
    columns = {"text": ["x", "y"], "label": ["b", "a"], "other": [1, 2]}
    parquet_format.write_table(pyarrow.table(columns), tmp_path / "d.parquet")
    table = parquet(tmp_path / "d.parquet", metadata=["other"])
    assert table.ids.tolist() == ["d.parquet:0", "d.parquet:1"]
    assert table.inputs == ["x", "y"]
    assert table.labels.tolist() == [1, 0]
    assert table.metadata["other"].tolist() == ["1", "2"]
    with pytest.raises(DataError, match="no column 'lable'; nearest: 'label'"):
        parquet(tmp_path / "d.parquet", label="lable")


def test_parquet_labels_of_bytes_are_named(tmp_path):
    parquet_format.write_table(
        pyarrow.table({"text": ["x"], "label": [b"b"]}), tmp_path / "d.parquet"
    )
    with pytest.raises(DataError, match=r"d\.parquet:0: 'label' is b'b', not a name"):
        parquet(tmp_path / "d.parquet")


def test_a_file_that_is_not_parquet_is_named(file):
    with pytest.raises(DataError, match=r"cannot read .*d\.parquet as Parquet"):
        parquet(file("text,label\n", "d.parquet"))


def test_without_quoting_every_line_is_a_row(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text('a\t"Go on\nb\the said"\n')
    options = {"columns": ("id", "text"), "delimiter": "\t", "label": None, "id": "id"}
    table = csv(path, quoted=False, **options)
    assert list(table.inputs) == ['"Go on', 'he said"']
    assert list(csv(path, **options).inputs) == ["Go on\nb\the said"]


RATED = "id,rating,text\n1,-2.5,bad\n2,.1,so so\n3,0.5,good\n4,-0.5,poor\n"
SIGNS = {"positive": (0.5, None), "negative": (None, -0.5)}


def test_a_rating_cut_into_bands_leaves_the_neutral_rows_out_and_counts_them(file):
    table = csv(file(RATED), label="rating", id="id", bands=SIGNS, metadata=["rating"])
    assert table.ids.tolist() == ["1", "3", "4"]
    assert table.inputs == ["bad", "good", "poor"]
    assert table.classes == ("negative", "positive")
    assert table.labels.tolist() == [0, 1, 0]
    assert table.metadata["rating"].tolist() == ["-2.5", "0.5", "-0.5"]
    assert table.left_out == {"'rating' in no band": 1}


def test_without_bands_nothing_is_left_out(file):
    assert csv(file("text,label\nx,a\n")).left_out == {}


def test_rows_keep_their_line_when_others_are_left_out(file):
    table = csv(file(RATED), label="rating", bands=SIGNS, classes=["positive", "negative"])
    assert table.ids.tolist() == ["data.csv:2", "data.csv:4", "data.csv:5"]
    assert table.labels.tolist() == [1, 0, 1]


def test_jsonl_and_parquet_are_cut_too(tmp_path, file):
    path = file('{"text": "x", "label": 2}\n{"text": "y", "label": -1.5}\n', "d.jsonl")
    assert jsonl(path, bands=SIGNS).labels.tolist() == [1, 0]
    rows = pyarrow.table({"text": ["x", "y"], "label": [2.0, -1.5]})
    parquet_format.write_table(rows, tmp_path / "d.parquet")
    assert parquet(tmp_path / "d.parquet", bands=SIGNS).labels.tolist() == [1, 0]


def test_what_is_no_rating_is_named_by_line(file):
    with pytest.raises(DataError, match=r"data\.csv:3: 'rating' is 'n/a', which is no number"):
        csv(file(RATED.replace(".1", "n/a")), label="rating", bands=SIGNS)
    with pytest.raises(DataError, match="cut a column of numbers: name it as label"):
        csv(file(RATED), label=None, bands=SIGNS)
