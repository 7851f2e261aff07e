"""Tables of every kind survive every format, and a malformed file is refused by column and row."""

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.metrics import value
from jaxtransfer.evaluation.payloads import MultiLabel, Ranking, Regression, TokenLosses
from jaxtransfer.evaluation.probabilities import softmax
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.evaluation.tables import load_table

RNG = np.random.default_rng(0)
COMMON = {
    "ids": np.array(["a,b", 'say "c"', "ü"]),
    "split": np.array(["test", "test", "tune"]),
    "groups": {"length": np.array(["1", "22", "1"]), "group": np.array(["x", "y", "x"])},
}
TABLES = [
    Predictions(
        **COMMON, labels=[0, 1, 2], logits=RNG.normal(size=(3, 3)), classes=("no", "yes", "it is")
    ),
    Predictions(**COMMON, labels=[0, 1, 1], logits=RNG.normal(size=(3, 2)), classes=("0", "1")),
    MultiLabel(
        **COMMON, labels=[[0, 1], [1, 1], [0, 0]], logits=RNG.normal(size=(3, 2)), classes="xy"
    ),
    Regression(**COMMON, labels=RNG.normal(size=3), values=RNG.normal(size=3)),
    Regression(**COMMON, labels=RNG.normal(size=(3, 2)), values=RNG.normal(size=(3, 2))),
    Ranking(**COMMON, query=["1", "1", "2"], relevance=[0.0, 2, 1], scores=RNG.normal(size=3)),
    TokenLosses(**COMMON, loss=[1.5, 2, 3], tokens=[3, 4, 5], correct=[0, 4, 1], bytes=[9, 8, 7]),
    TokenLosses(**COMMON, loss=[1.5, 2, 3], tokens=[3, 4, 5]),
]


@pytest.mark.parametrize("suffix", ["npz", "parquet", "csv"])
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.kind)
def test_a_table_of_any_kind_returns_from_any_format(tmp_path, table, suffix):
    loaded = load_table(table.save(tmp_path / f"t.{suffix}"))
    assert type(loaded) is type(table)
    for name in ("ids", "split", *table.PAYLOAD):
        one, other = getattr(table, name), getattr(loaded, name)
        np.testing.assert_array_equal(one, other)
    assert {n: c.tolist() for n, c in loaded.groups.items()} == {
        n: c.tolist() for n, c in table.groups.items()
    }
    assert getattr(loaded, "classes", None) == getattr(table, "classes", None)


def test_a_foreign_csv_needs_only_numbered_columns(tmp_path):
    path = tmp_path / "t.csv"
    header = ",".join(["id", "label", *(f"logits_{c}" for c in range(11))])
    rows = [f"{i},{i},{','.join('1' if c == i else '0' for c in range(11))}" for i in range(11)]
    path.write_text("\n".join([header, *rows]) + "\n")
    table = load_table(path)
    assert table.classes == tuple(str(c) for c in range(11))
    assert value(table, "accuracy") == 1.0


def test_labels_of_a_text_file_may_be_the_names_of_the_columns(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "id,label,probabilities_sport,probabilities_tech,group\n1,tech,0.25,0.75,x\n2,sport,1,0,y\n"
    )
    table = load_table(path)
    assert table.classes == ("sport", "tech")
    assert table.labels.tolist() == [1, 0]
    np.testing.assert_allclose(softmax(table.logits), [[0.25, 0.75], [1, 0]], atol=1e-300)
    assert value(table, "nll") == pytest.approx(-np.log(0.75) / 2)


def test_one_probability_a_row_is_that_of_the_second_class(tmp_path):
    p = np.array([0.0, 0.2, 1.0])
    np.savez(tmp_path / "t.npz", id=np.arange(3), label=np.array([0, 1, 1]), probabilities=p)
    table = load_table(tmp_path / "t.npz")
    np.testing.assert_allclose(softmax(table.logits)[:, 1], p, atol=1e-300)
    assert table.predicted.tolist() == [0, 0, 1]
    np.savez(tmp_path / "u.npz", id=np.arange(3), label=np.array([0, 1, 1]), logits=p - 0.5)
    assert load_table(tmp_path / "u.npz").predicted.tolist() == [0, 0, 1]


def test_a_probability_of_nothing_is_said_in_the_definition(tmp_path):
    from jaxtransfer.evaluation.metrics import measure

    np.savez(
        tmp_path / "t.npz", id=[1, 2], label=[0, 1], probabilities=np.array([[0.0, 1], [0.5, 0.5]])
    )
    found = measure(load_table(tmp_path / "t.npz"), ["nll"])["nll"]
    assert "1 labels had probability 0, taken as 2.2e-308" in found.definition
    assert found.value == pytest.approx((708.396 + np.log(2)) / 2, rel=1e-5)


def test_lists_of_parquet_are_matrices_and_losses_a_token_each(tmp_path):
    columns = {"id": ["a", "b"], "label": [0, 1], "logits": [[1.0, 2.0], [0.0, 1.0]]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    assert load_table(tmp_path / "t.parquet").predicted.tolist() == [1, 1]
    ragged = {"id": ["a", "b"], "losses": [[1.0, 2.0, 3.0], [0.5]]}
    parquet.write_table(pyarrow.table(ragged), tmp_path / "u.parquet")
    table = load_table(tmp_path / "u.parquet")
    assert table.loss.tolist() == [6.0, 0.5]
    assert table.tokens.tolist() == [3, 1]


def test_masked_losses_are_summed_where_the_mask_is_one(tmp_path):
    losses, mask = np.array([[1.0, 2, 9], [3, 9, 9]]), np.array([[1, 1, 0], [1, 0, 0]])
    np.savez(tmp_path / "t.npz", id=["a", "b"], losses=losses, mask=mask)
    table = load_table(tmp_path / "t.npz")
    assert table.loss.tolist() == [3.0, 3.0]
    assert table.tokens.tolist() == [2, 1]
    np.savez(tmp_path / "u.npz", id=["a", "b"], losses=losses, mask=mask[:, :2])
    with pytest.raises(EvaluationError, match=r"u\.npz: column 'mask' has shape \(2, 2\)"):
        load_table(tmp_path / "u.npz")


def test_pairs_of_query_and_item_need_no_id(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("query,item,relevance,score\nq1,a,1,0.5\nq1,b,0,0.7\nq2,a,1,1\n")
    assert load_table(path).ids.tolist() == ["q1/a", "q1/b", "q2/a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label,logits_0,logits_1\na,0,1,x\n", "column 'logits_1', row 0: 'x' is no number"),
        ("id,label,logits_0,logits_1\na,0,1,\n", "column 'logits_1', row 0"),
        ("id,label,logits_0,logits_2\na,0,1,2\n", "have no 'logits_1'; number them from 0"),
        ("id,label,logits_0,logits_1\na,0,1,nan\n", r"row 0 \(id 'a'\), class '1': nan is not fin"),
        ("id,label,logits_0,logits_1\na,2,1,0\n", "2 is outside the 2 classes"),
        ("id,label,logits_a,logits_b\nx,c,1,0\n", "row 0: 'c' is neither a whole number nor one"),
        ("id,label,probabilities_0,probabilities_1\na,0,0.5,0.6\n", "row 0: they sum to 1.1"),
        ("id,label,probabilities_0,probabilities_1\na,0,2,-1\n", "row 0: 2.0 is no probability"),
        ("id,label,logits_0,logits_1,probabilities_0\na,0,1,2,1\n", "both 'logits' and 'prob"),
        ("id,label,logits_0,logits_1\n", "the table has no rows"),
        ("id,label,logits_0,logits_0\na,0,1,2\n", "column 'logits_0' is there twice"),
        ("id,label,logits_0,logits_1,lenght\na,0,1,2,3\n", "unknown column 'lenght'"),
        ("id,label,logits_0,logits_1\na,0,1\n", r"row 0 \(line 2\) has 3 fields, and the header"),
        (
            "id,label,logits_0,logits_1\na,0,1,2\nb,1,2,3,4\n",
            r"row 1 \(line 3\) has 5 fields, and the header has 4",
        ),
        ("id,label,logits_0\na,0,1\n", "column 'logits' has one class: give a column for each"),
        ("", "not a readable CSV file"),
        ("id,query,relevance,score\na,q,-1,2\n", r"column 'relevance', row 0 .* is negative"),
        ("id,loss,tokens\na,2,0\n", r"column 'tokens', row 0 \(id 'a'\): 0 is no count"),
        ("id,loss,tokens,correct\na,2,3,4\n", "4 is no count from 0 to its tokens"),
        ("id,label,prediction\na,x,2\n", "column 'label', row 0: 'x' is no number"),
        ("id,label_a,label_b,logits_a,logits_c\na,1,0,1,2\n", r"are of \['a', 'b'\]"),
        ("id,label_a,label_b,logits_a,logits_b\na,1,2,1,2\n", "class 'b': 2 is neither 0 nor 1"),
        ("id,label,logits_0,logits_1\na,0,1,2\n,0,1,2\n", "column 'id', row 1: there is no value"),
        ("id,label,logits_0,logits_1\na,,1,2\n", "column 'label', row 0: there is no value"),
        ("id,label,logits_0,logits_1,split\na,1,1,2,\n", "column 'split', row 0: there is no"),
        ("id,label,logits_0,logits_1\na,0,1,2\nb,99999999999999999999,1,2\n", "row 1: '99999"),
        ("label,prediction\n1,2\n", r"column 'id' is missing; the file has \['label', 'pred"),
        ("label_a,logits_a\n1,2\n", "column 'id' is missing"),
        ("query,relevance,score\nq,1,2\n", "column 'id' is missing"),
        ("loss,tokens\n1,2\n", "column 'id' is missing"),
        ("id,label_a,label_b,prediction_a,prediction_c\nx,1,2,1,2\n", r"'prediction_...' of \['a'"),
        ("id,losses_0,losses_1\na,1,-2\n", "column 'losses', row 0, token 1: -2.0 is no finite"),
        ("id,losses_0,mask_0\na,1,1\nb,nan,1\n", "column 'losses', row 1, token 0: nan is no fin"),
        ("id,losses_0,mask_0\na,1,1\nb,2,0\n", "column 'losses', row 1: no token has a loss"),
        ("id,losses_0,mask_0\na,1,1\nb,2,0.5\n", "column 'mask', row 1, token 0: 0.5 is neither"),
    ],
)
def test_a_malformed_text_file_is_refused_by_column_and_row(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(EvaluationError, match=message) as raised:
        load_table(path)
    assert "t.csv" in str(raised.value)


def test_columns_of_several_labels_are_matched_by_name(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,label_a,label_b,logits_b,logits_a\nx,1,0,-1,2\n")
    table = load_table(path)
    assert table.classes == ("a", "b")
    assert table.logits.tolist() == [[2.0, -1.0]]


def test_quantities_of_a_text_file_are_matched_by_name(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,label_a,label_b,prediction_b,prediction_a\nx,1,5,50,10\n")
    table = load_table(path)
    assert table.labels.tolist() == [[1.0, 5.0]]
    assert table.values.tolist() == [[10.0, 50.0]]


def test_an_empty_text_has_quotes_in_csv_and_is_no_missing_one(tmp_path):
    table = Predictions(
        ids=[1, 2], labels=[0, 1], logits=np.eye(2), classes="ab", groups={"site": ["", "x"]}
    )
    assert load_table(table.save(tmp_path / "t.csv")).groups["site"].tolist() == ["", "x"]


@pytest.mark.parametrize("raw", ["id,label,logits_ä,logits_b\nx,b,1,2\n", "id,label\nä,1\n"])
def test_a_text_file_that_is_not_utf_8_is_refused_by_name(tmp_path, raw):
    (tmp_path / "t.csv").write_bytes(raw.encode("latin-1"))
    with pytest.raises(EvaluationError, match=r"t\.csv: line [12]: byte 0xe4 is not UTF-8"):
        load_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"logits": [[1.0, 2], [1]]}, "column 'logits', row 1: 1 values, and row 0 has 2"),
        ({"probabilities": [[0.5, 0.5], []]}, "column 'probabilities', row 1: 0 values"),
        ({"logits": [[1.0, 2], [1, None]]}, "column 'logits', row 1: a value of the list is miss"),
        ({"logits": [[[1.0], [2.0]], [[1.0], [2.0]]]}, "column 'logits' holds lists of list"),
        ({"logits": [["1", "2"], ["1", "2"]]}, "column 'logits' holds lists of string"),
        ({"logits": [[], []]}, "column 'logits' holds lists of null"),
        ({"logits": [[1.0, 2], [1, 2]], "label": [0.0, float("nan")]}, r"row 1 \(id 'b'\): nan is"),
        ({"logits": [[1.0, 2], [1, 2]], "label": [[1, 0], [1]]}, "column 'label', row 1: 1 values"),
        ({"losses": [[1.0, 2], [1, 2]], "mask": [[1, 1], [1]]}, "column 'mask', row 1: 1 values"),
        ({"losses": [[1.0, 2], [1]], "mask": [[1, 1], [1]]}, "lists of losses need no 'mask'"),
        ({"losses": [[1.0, 2], []]}, "column 'losses', row 1: no token has a loss"),
        ({"losses": [[1.0, 2], [-1.0]]}, "column 'losses', row 1, token 0: -1.0 is no finite"),
    ],
)
def test_a_malformed_list_of_parquet_is_refused_by_column_and_row(tmp_path, columns, message):
    columns = {"id": ["a", "b"], "label": [0, 1], **columns}
    if "losses" in columns:
        del columns["label"]
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    with pytest.raises(EvaluationError, match=message) as raised:
        load_table(tmp_path / "t.parquet")
    assert "t.parquet" in str(raised.value)


def test_a_parquet_file_without_rows_is_refused(tmp_path):
    schema = pyarrow.schema(
        {
            "id": pyarrow.string(),
            "label": pyarrow.int64(),
            "logits": pyarrow.list_(pyarrow.float64()),
        }
    )
    parquet.write_table(schema.empty_table(), tmp_path / "t.parquet")
    with pytest.raises(EvaluationError, match=r"t\.parquet: .*(no rows|shape \(0, 0\))"):
        load_table(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"logits": np.ones((2, 2, 1))}, r"column 'logits' must be .* of shape \(2, 2, 1\)"),
        ({"probabilities": np.ones((2, 0))}, r"column 'probabilities' must be .* shape \(2, 0\)"),
        ({"logits": np.array([[1, 2], None], object)}, "column 'logits': Object arrays cannot"),
        ({"logits": np.zeros((2, 2), "i4,f8")}, "column 'logits' holds .*; numbers or texts"),
        ({"logits": np.eye(2), "label": np.array([0, 0.5])}, r"row 1 \(id 'b'\): 0.5 is no class"),
        ({"logits": np.eye(2), "group": ["x"]}, r"column 'group' must be strings or integers"),
        ({"losses": np.ones((2, 2)), "mask": np.full((2, 2), "1")}, "'mask' has shape .* of <U1"),
    ],
)
def test_a_malformed_array_is_refused_by_column_and_row(tmp_path, columns, message):
    columns = {"id": ["a", "b"], "label": [0, 1], **columns}
    if "losses" in columns:
        del columns["label"]
    np.savez(tmp_path / "t.npz", **columns)
    with pytest.raises(EvaluationError, match=message) as raised:
        load_table(tmp_path / "t.npz")
    assert "t.npz" in str(raised.value)


def test_more_digits_than_float64_become_float64():
    logits = np.array([[0, 1e-40], [1, 0]], np.longdouble)
    table = Predictions(ids=[1, 2], labels=[0, 1], logits=logits, classes="ab")
    assert table.logits.dtype == np.float64
    assert table.logits[0, 1] == 1e-40


def test_classes_that_look_like_numbers_of_columns_need_an_npz(tmp_path):
    table = Predictions(ids=[1, 2], labels=[0, 1], logits=np.eye(2), classes=("7", "9"))
    with pytest.raises(EvaluationError, match=r"save the table as \.npz"):
        table.save(tmp_path / "t.csv")
    assert load_table(table.save(tmp_path / "t.npz")).classes == ("7", "9")


def test_a_mask_of_the_wrong_shape_is_refused():
    with pytest.raises(EvaluationError, match=r"a mask of shape \(2,\) cannot choose among 3 rows"):
        TABLES[0].take(np.array([True, False]))


def test_a_parquet_file_that_is_none_is_refused_by_name(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(EvaluationError, match=r"t\.parquet: not a readable Parquet file"):
        load_table(tmp_path / "t.parquet")
    table = pyarrow.table({"id": ["a", None], "label": [0, 1], "logits": [[0.0, 1], [1, 0]]})
    parquet.write_table(table, tmp_path / "u.parquet")
    with pytest.raises(EvaluationError, match="column 'id', row 1: there is no value"):
        load_table(tmp_path / "u.parquet")


@pytest.mark.parametrize("suffix", ["npz", "csv"])
def test_a_draft_that_a_killed_process_left_is_written_over(tmp_path, suffix):
    (tmp_path / f"table.{suffix}.part").write_bytes(b"half")
    path = TABLES[0].save(tmp_path / f"table.{suffix}")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert len(Predictions.load(path)) == 3
