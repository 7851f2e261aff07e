"""Systems compared pair by pair: what is read, what is refused, and what the sentence claims."""

import dataclasses
import json

import numpy as np
import pytest

import jaxtransfer as jt
from jaxtransfer import cli
from jaxtransfer.errors import ConfigError, EvaluationError, WorkdirError
from jaxtransfer.evaluation.correction import holm
from jaxtransfer.evaluation.metrics import definition, value
from jaxtransfer.evaluation.paired import paired_difference
from jaxtransfer.evaluation.payloads import MultiLabel, Ranking, Regression, TokenLosses
from jaxtransfer.evaluation.permutation import permutation_test
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import systems
from jaxtransfer.protocol.comparing import DEFAULTS, _p_value

CLASSES = ("news", "sport", "tech")
N = 120
LABELS = np.arange(N) % 3
SPLIT = np.where(np.arange(N) < 90, "test", "tune")


def table(skill, seed, *, split=None, labels=LABELS, classes=CLASSES, ids=None, **options):
    noise = np.random.default_rng(seed).normal(size=(len(labels), len(classes)))
    return Predictions(
        ids=np.arange(len(labels)) if ids is None else ids,
        labels=labels,
        logits=noise + skill * np.eye(len(classes))[labels],
        classes=classes,
        split=split,
        **options,
    )


def seeds(skill, count=3, first=0, **options):
    return [table(skill, first + seed, **options) for seed in range(count)]


def run(*words):
    return cli.main([str(word) for word in words])


def workdir(path, rungs, *, data="d", metric="accuracy"):
    """A finished run as far as a comparison reads it."""
    (path / "predictions").mkdir(parents=True)
    for number, (name, skill) in enumerate(rungs.items()):
        for seed in range(2):
            table(skill, 10 * number + seed, split=SPLIT).save(
                path / "predictions" / f"{name}-seed{seed}.npz"
            )
    config = {"acceptance": {"metric": metric}, "rungs": [{"name": name} for name in rungs]}
    (path / "run.json").write_text(json.dumps({"config": config, "hashes": {"data": data}}))
    return path


def test_pairs_are_paired_differences_corrected_by_holm():
    given = {"a": seeds(2.5), "b": seeds(1.0, first=10), "c": seeds(0.9, first=20)}
    found = jt.compare(given, metric="accuracy")
    names = [(pair.comparison.first, pair.comparison.second) for pair in found.pairs]
    assert names == [("a", "b"), ("a", "c"), ("b", "c")]
    expected = [paired_difference(given[a], given[b], "accuracy") for a, b in names]
    assert [pair.comparison.difference for pair in found.pairs] == expected
    adjusted = holm([difference.p_value for difference in expected])
    np.testing.assert_allclose([pair.comparison.p_adjusted for pair in found.pairs], adjusted)
    for pair in found.pairs:
        low, high = pair.comparison.ci
        assert pair.comparison.is_significant == (not low <= 0 <= high)
        assert pair.exchange.unit == "seeds"
        assert not pair.exchange.can_reach(0.05)
    assert [pair.is_settled for pair in found.pairs] == [True, True, False]
    assert found.measured["a"].value == pytest.approx(
        np.mean([value(one, "accuracy") for one in given["a"]])
    )
    for text in (
        "On 120 examples and 3 seeds, 2 of 3 differences in accuracy are shown (Holm over 3 pairs)",
        "a is better than b by",
        "not told apart is b and c, which does not show that they are equal",
    ):
        assert text in found.conclusion


def test_the_order_of_two_systems_turns_the_sign_and_nothing_else():
    a, b = seeds(1.5), seeds(1.0, first=10)
    one, other = jt.compare({"a": a, "b": b}), jt.compare({"b": b, "a": a})
    first, second = one.pairs[0].comparison, other.pairs[0].comparison
    assert first.difference.value == pytest.approx(-second.difference.value)
    assert first.p_value == pytest.approx(second.p_value)
    np.testing.assert_allclose(first.ci, [-second.ci[1], -second.ci[0]])


@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_the_p_value_is_small_exactly_where_the_interval_lies_beyond_the_margin(margin):
    for skill in np.linspace(0.5, 3.0, 12):
        found = paired_difference(
            seeds(skill), seeds(1.5, first=10), "accuracy", margin=margin, confidence=0.9
        )
        low, high = found.ci
        assert (_p_value(found) <= 0.1) == (low > margin or high < -margin)


def test_one_table_each_is_exchanged_example_by_example_and_speaks_of_models():
    a, b = table(2.0, 0), table(0.5, 1)
    found = jt.compare({"a": a, "b": b}, metric="accuracy")
    (pair,) = found.pairs
    assert pair.exchange == permutation_test(a, b, "accuracy")
    assert (pair.wins[0].only_a, pair.wins[0].only_b) == (
        int(((a.predicted == LABELS) & (b.predicted != LABELS)).sum()),
        int(((b.predicted == LABELS) & (a.predicted != LABELS)).sum()),
    )
    assert "a is better than b in accuracy: a minus b is +" in found.conclusion
    assert "of these trained models and not of the methods" in found.conclusion
    assert pair.needed is None


def test_an_open_pair_is_no_equality_and_says_what_would_settle_it():
    found = jt.compare({"a": seeds(1.1, 5), "b": seeds(1.0, 5, first=10)}, metric="accuracy")
    (pair,) = found.pairs
    assert not pair.is_settled
    assert pair.needed.power_now < pair.needed.power
    assert "does not show that they are equal either: up to" in found.conclusion
    assert "would settle it with a chance of 80%" in found.conclusion


def test_alike_tables_are_neither_better_nor_shown_to_be_equal():
    found = jt.compare({"a": table(1.0, 0), "b": table(1.0, 0)})
    assert "do not differ in macro_f1, which does not show that they would not" in found.conclusion
    (pair,) = jt.compare(
        {"a": table(1.0, 0), "b": table(1.0, 0)}, metric="accuracy", margin=0.05, noninferior=True
    ).pairs
    # Without a difference in 120 examples, at most 1 - 0.025^(1/120) = 3 % can differ.
    assert pair.noninferiority.equivalent


def test_noninferiority_is_read_off_simultaneous_intervals():
    given = {"a": seeds(2.0), "b": seeds(2.0, first=10), "c": seeds(0.3, first=20)}
    found = jt.compare(given, metric="accuracy", margin=0.3, noninferior=True)
    by_pair = {(p.comparison.first, p.comparison.second): p for p in found.pairs}
    assert by_pair["a", "b"].noninferiority.equivalent
    for (a, b), pair in by_pair.items():
        level = 1 - 0.05 / 3
        expected = paired_difference(given[a], given[b], "accuracy").interval(level)
        np.testing.assert_allclose(pair.comparison.ci, expected)
        np.testing.assert_allclose(pair.noninferiority.ci, expected)
    assert "they are equivalent within the margin of 0.3" in found.conclusion
    assert found.correction == "Bonferroni over 3 pairs"
    assert any("fixed before these numbers" in note for note in found.notes)
    worse = jt.compare({"c": given["c"], "a": given["a"]}, margin=0.05, noninferior=True)
    assert worse.pairs[0].noninferiority.verdict == "inferior"
    assert "c is worse than a by more than the margin of 0.05" in worse.conclusion


def of_kind(kind, seed):
    """A small table, of which all swaps are enumerated."""
    rng = np.random.default_rng(seed)
    n = 9
    ids = np.arange(n)
    if kind == "classification":
        return table(1.0, seed, labels=ids % 3)
    if kind == "multilabel":
        labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])[ids % 4]
        logits = rng.normal(size=(n, 2)) + labels
        return MultiLabel(ids=ids, labels=labels, logits=logits, classes=("x", "y"))
    if kind == "regression":
        truth = np.linspace(0, 1, n)
        return Regression(ids=ids, labels=truth, values=truth + rng.normal(size=n) / 5)
    if kind == "ranking":
        return Ranking(
            ids=np.arange(4 * n),
            query=np.repeat(ids, 4).astype(str),
            relevance=np.tile([1, 0, 0, 2], n),
            scores=rng.normal(size=4 * n),
        )
    tokens = ids + 1
    return TokenLosses(
        ids=ids,
        loss=tokens * rng.uniform(1, 2, n),
        tokens=tokens,
        correct=rng.integers(0, tokens),
        bytes=3 * tokens,
    )


@pytest.mark.parametrize("kind", DEFAULTS)
def test_every_kind_and_metric_is_compared(kind, tmp_path):
    a, b = of_kind(kind, 0), of_kind(kind, 1)
    assert definition(DEFAULTS[kind], kind)
    found = jt.compare({"a": a, "b": b})
    assert (found.kind, found.metric) == (kind, DEFAULTS[kind])
    assert found.pairs[0].comparison.ci is not None
    json.dumps(found.to_json(), allow_nan=False)
    from jaxtransfer.evaluation.metrics import METRICS

    for name, defined in METRICS[kind].items():
        if defined.interval == "simulation" or name == "bias":
            with pytest.raises(EvaluationError, match=r"simulated|has a sign"):
                jt.compare({"a": a, "b": b}, metric=name)
            continue
        pair = jt.compare({"a": a, "b": b}, metric=name).pairs[0]
        expected = paired_difference([a], [b], name)
        assert pair.comparison.difference == expected
    path = a.save(tmp_path / "a.parquet")
    b.save(tmp_path / "b.csv")
    assert jt.compare(path, tmp_path / "b.csv").pairs[0].comparison.ci is not None


def test_runs_are_read_by_rung_with_their_metric_and_test_split(tmp_path):
    one = workdir(tmp_path / "one", {"probe": 0.5, "lora": 2.0})
    table(1.0, 5, split=SPLIT).save(tmp_path / "mine.npz")
    found = jt.compare(f"{one}:lora", tmp_path / "mine.npz")
    assert (found.split, found.metric) == ("test", "accuracy")  # a foreign table has no criterion
    found = jt.compare(one)
    assert (found.split, found.metric) == ("test", "accuracy")
    assert list(found.measured) == ["probe", "lora"]
    assert found.pairs[0].comparison.difference.n == 90
    assert found.pairs[0].seeds == "by seed: 0, 1"
    two = workdir(tmp_path / "two", {"lora": 1.0}, data="other")
    names = [system.name for system in systems.read([str(one), str(two)])]
    assert names == ["probe", "one:lora", "two:lora"]
    assert any("different hashes" in note for note in jt.compare(one, two).notes)
    found = jt.compare(one, f"mine={two}:lora", split="tune")
    assert found.pairs[0].comparison.difference.n == 30


def foreign(path, rows, *, columns=("0", "1", "2"), labels=None):
    """A CSV of id, label and logits, and nothing else."""
    own = table(1.0, 5)
    lines = [",".join(["id", "label", *(f"logits_{name}" for name in columns)])]
    for row in np.flatnonzero(rows):
        label = own.labels[row] if labels is None else labels[own.labels[row]]
        lines.append(",".join(map(str, [own.ids[row], label, *own.logits[row][: len(columns)]])))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_foreign_table_of_id_label_and_logits_is_compared_with_the_runs_split_of_its_ids(
    tmp_path,
):
    one = workdir(tmp_path / "one", {"probe": 0.5})
    for rows, split in ((SPLIT == "test", "test"), (SPLIT == "tune", "tune")):
        path = foreign(tmp_path / f"{split}.csv", rows)
        for asked in (None, split):
            for order in ((one, path), (path, one)):
                found = jt.compare(*order, split=asked)
                assert (found.split, found.metric) == (split, "accuracy")
                notes = " ".join(found.notes)
                assert f"{split} has no column 'split': its rows are compared with those" in notes
                assert (
                    f"numbers its classes: they are taken in the order of {list(CLASSES)}" in notes
                )
        assert run("compare", one, path, "--dry-run") == 0
    own = jt.compare(one, {"f": table(1.0, 5, split=SPLIT)}).pairs[0].comparison
    same = jt.compare(one, tmp_path / "test.csv").pairs[0].comparison
    assert same.difference.value == own.difference.value
    named = foreign(tmp_path / "named.csv", SPLIT == "test", columns=CLASSES, labels=CLASSES)
    assert "numbers its classes" not in " ".join(jt.compare(one, named).notes)
    with pytest.raises(EvaluationError, match=r"one of them only"):
        jt.compare(one, tmp_path / "tune.csv", split="test")


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            SPLIT != "",
            {},
            r"its 120 ids are those of no split of .* \(ids: test 90, tune 30\): give",
        ),
        (
            (SPLIT == "test") & (LABELS < 2),
            {"columns": ("0", "1")},
            "no column 'split', and its 60 ids are those of no split",
        ),
        (
            SPLIT == "test",
            {"columns": ("tech", "sport", "news"), "labels": CLASSES},
            "have different classes: .*; name the columns by the same classes",
        ),
        (SPLIT == "test", {"labels": (1, 2, 0)}, "disagree on the label of id '0': 1 and 0"),
    ],
)
def test_a_foreign_table_that_does_not_fit_is_refused_with_advice(tmp_path, rows, options, message):
    one = workdir(tmp_path / "one", {"probe": 0.5})
    with pytest.raises(EvaluationError, match=message):
        jt.compare(one, foreign(tmp_path / "f.csv", rows, **options))


def test_the_metric_is_said_where_no_run_or_two_runs_say_it(tmp_path):
    one = workdir(tmp_path / "one", {"probe": 0.5})
    two = workdir(tmp_path / "two", {"lora": 1.0}, metric="nll")
    assert (
        "by macro_f1, the usual metric of classification: the runs decided by accuracy and nll"
        in jt.compare(one, two).notes
    )
    (two / "run.json").unlink()
    assert jt.compare(one, two).metric == "accuracy"
    (one / "run.json").unlink()
    (note,) = [note for note in jt.compare(one, two).notes if note.startswith("by macro_f1")]
    assert note.endswith("no run says by what it decided")


def test_words_join_files_of_several_seeds(tmp_path):
    for seed in range(3):
        table(1.0, seed).save(tmp_path / f"x-seed{seed}.csv")
        table(1.0, seed).save(tmp_path / f"y{seed}.npz")
    files = ",".join(str(tmp_path / f"y{seed}.npz") for seed in range(3))
    x, y, z = systems.read(
        [f"{tmp_path}/x-*.csv", f"y={files}", f"z={tmp_path}/y[01].npz"],
    )
    assert (x.name, x.seeds, len(x.tables)) == ("x", ("0", "1", "2"), 3)
    assert (y.name, y.seeds, len(y.tables)) == ("y", None, 3)
    assert (z.name, len(z.tables)) == ("z", 2)
    with pytest.raises(ConfigError, match=r"joins tables of several names .* NAME="):
        systems.read([files])
    with pytest.raises(EvaluationError, match="seeds cannot be paired: y has 3 and z has 2"):
        jt.compare(f"y={files}", f"z={tmp_path}/y[01].npz")
    found = jt.compare(f"y={files}", {"one": table(0.5, 9)})
    assert any("one table of one with each of 3 of y" in note for note in found.notes)
    assert "of one there is one trained model" in found.conclusion


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"classes": ("news", "sport", "law")}, r"different classes: \['news', 'sport', 'law'\]"),
        (
            {"labels": (LABELS + (np.arange(N) == 7)) % 3},
            "disagree on the label of id '7': 2 and 1",
        ),
        ({"ids": np.arange(1, N + 1)}, r"2 ids are in one of them only, such as \['0', '120'\]"),
    ],
)
def test_tables_of_different_tasks_are_refused(other, message):
    with pytest.raises(EvaluationError, match=message):
        jt.compare({"a": table(1.0, 0), "b": table(1.0, 1, **other)})


def test_tables_of_different_kinds_are_refused():
    with pytest.raises(EvaluationError, match=r"is a table of regression and .* of classification"):
        jt.compare({"a": of_kind("classification", 0), "b": of_kind("regression", 0)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "acuracy"}, "unknown metric 'acuracy' of classification; nearest: 'accuracy'"),
        ({"margin": -1.0}, "margin -1.0 is no difference that counts"),
        ({"noninferior": True}, "--margin above 0"),
        ({"split": "tset"}, "to select 'tset' from"),
        ({"confidence": 1.5}, "confidence"),
        ({"confidence": "x"}, "confidence 'x' is not between 0 and 1"),
        ({"metric": 3}, "unknown metric 3 of classification"),
        ({"metric": ["accuracy"]}, r"unknown metric \['accuracy'\] of classification"),
        ({"margin": "x"}, "margin 'x' is no difference that counts"),
        ({"margin": None}, "margin None is no difference that counts"),
    ],
)
def test_what_is_asked_wrongly_is_refused(options, message):
    with pytest.raises(EvaluationError, match=message):
        jt.compare({"a": table(1.0, 0), "b": table(1.0, 1)}, **options)


def test_systems_that_are_none_or_share_a_name_are_refused(tmp_path):
    one = workdir(tmp_path / "one", {"probe": 0.5, "lora": 2.0})
    for words, error, message in (
        ([f"{one}:lor"], ConfigError, "has no rung 'lor'; nearest: 'lora'"),
        ([f"{one}:lora"], ConfigError, "needs two systems, and there is 1"),
        (
            [f"{one}:lora", f"{one}:lora"],
            ConfigError,
            f"several systems are called 'one:lora'; name them, as in A={one}:lora B={one}:lora",
        ),
        ([f"a={one}:lora", f"a={one}:probe"], ConfigError, f"as in A={one}:lora B={one}:probe"),
        (
            [f"mine={one}"],
            ConfigError,
            "has the rungs probe, lora, which one name cannot stand for",
        ),
        ([tmp_path / "onee"], ConfigError, "nearest beside it: 'one'"),
        ([tmp_path], WorkdirError, "no predictions"),
    ):
        with pytest.raises(error, match=message):
            systems.read([str(word) for word in words])
    with pytest.raises(ConfigError, match="not a int"):
        jt.compare(3, 4)
    with pytest.raises(ConfigError, match=r"as in \{'A': table, 'B': table\}"):
        jt.compare(table(1.0, 0), table(1.0, 1))
    several = [table(1.0, 0, split=np.resize(["x", "y"], N)), table(1.0, 1, split=SPLIT)]
    with pytest.raises(ConfigError, match="choose with --split"):
        jt.compare({"a": several[0], "b": several[0]})
    (one / "run.json").write_text("[]")
    with pytest.raises(WorkdirError, match=r"run\.json is damaged"):
        systems.read([str(one)])


def test_the_verb_prints_systems_pairs_and_the_sentence(tmp_path, capsys):
    one = workdir(tmp_path / "one", {"probe": 0.5, "lora": 2.0})
    assert run("compare", one) == 0
    shown = capsys.readouterr().out
    assert "accuracy of 90 test examples, 95% intervals" in shown
    assert "probe - lora" in shown
    assert shown.splitlines()[-1].startswith("On 90 test examples and 2 seeds, ")
    assert run("compare", one, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    (pair,) = printed["pairs"]
    assert {"a", "b", "value", "ci", "p_value", "p_adjusted", "exchange", "wins"} <= set(pair)
    assert set(printed["systems"]) == {"probe", "lora"}
    assert printed["conclusion"].startswith("On 90 test examples")
    assert run("compare", one, "--metric", "ece_perfect") == 2
    assert "error: " in capsys.readouterr().err
    assert run("compare", one, "--config", "x.py") == 2
    assert "takes no --config" in capsys.readouterr().err


def test_an_undefined_metric_is_said_and_not_settled():
    one_class = np.zeros(N, int)
    a, b = (table(1.0, seed, labels=one_class) for seed in (0, 1))
    found = jt.compare({"a": a, "b": b}, metric="auroc_ovr_macro")
    (pair,) = found.pairs
    assert pair.comparison.ci is None
    assert not pair.is_settled
    assert "cannot be compared" in found.conclusion
    assert dataclasses.asdict(pair.needed)["power_now"] is None
