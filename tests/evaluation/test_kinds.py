"""Metrics of several labels, values, ranked items and tokens agree with scikit-learn and SciPy."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.metrics import METRICS, measure, value
from jaxtransfer.evaluation.own import metric_of
from jaxtransfer.evaluation.paired import paired_difference
from jaxtransfer.evaluation.payloads import MultiLabel, Ranking, Regression, TokenLosses
from jaxtransfer.evaluation.seeds import measure_seeds
from jaxtransfer.evaluation.table import Predictions


def multilabel(n=120, k=4, seed=0, step=None):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, k)) < 0.3).astype(int)
    logits = rng.normal(size=(n, k)) + 2 * labels - 1
    if step:
        logits = np.round(logits / step) * step
    names = tuple("abcdefgh"[:k])
    return MultiLabel(ids=np.arange(n), labels=labels, logits=logits, classes=names)


def regression(n=80, d=1, seed=0, step=None):
    rng = np.random.default_rng(seed)
    labels = rng.normal(size=(n, d)) + 100
    values = labels + 0.5 * rng.normal(size=(n, d))
    if step:
        labels, values = np.round(labels / step) * step, np.round(values / step) * step
    return Regression(ids=np.arange(n), labels=labels, values=values)


def ranking(queries=12, items=15, seed=0, ties=False, graded=False):
    rng = np.random.default_rng(seed)
    n = queries * items
    relevance = rng.integers(0, 4, n) if graded else rng.random(n) < 0.3
    scores = rng.normal(size=n) + relevance
    if ties:
        scores = np.round(scores)
    return Ranking(
        ids=np.arange(n),
        query=np.repeat([f"q{i}" for i in range(queries)], items),
        relevance=relevance.astype(float),
        scores=scores,
    )


def tokens(n=60, seed=0):
    rng = np.random.default_rng(seed)
    count = rng.integers(1, 50, n)
    return TokenLosses(
        ids=np.arange(n),
        loss=rng.gamma(2, size=n) * count,
        tokens=count,
        correct=(count * 0.3).astype(int),
        bytes=count * 4,
    )


@pytest.mark.parametrize("step", [None, 0.5])
def test_multilabel_metrics_agree_with_scikit_learn(step):
    table = multilabel(step=step)
    y, predicted, logits = table.labels, table.predicted, table.logits
    p = 1 / (1 + np.exp(-logits))
    expected = {
        "subset_accuracy": sk.accuracy_score(y, predicted),
        "hamming_loss": sk.hamming_loss(y, predicted),
        "macro_f1": sk.f1_score(y, predicted, average="macro"),
        "micro_f1": sk.f1_score(y, predicted, average="micro"),
        "auroc_macro": sk.roc_auc_score(y, logits, average="macro"),
        "average_precision_macro": sk.average_precision_score(y, logits, average="macro"),
        "nll": np.mean([sk.log_loss(y[:, c], p[:, c]) for c in range(4)]),
        "brier": np.mean([sk.brier_score_loss(y[:, c], p[:, c]) for c in range(4)]),
    }
    assert set(expected) == set(METRICS["multilabel"])
    for metric, number in expected.items():
        assert value(table, metric) == pytest.approx(number, abs=1e-12), metric


@pytest.mark.parametrize("table", [regression(), regression(d=3), regression(step=1.0)])
def test_regression_metrics_agree_with_scikit_learn_and_scipy(table):
    y, v = table.labels, table.values
    columns = list(zip(y.T, v.T))
    expected = {
        "mae": sk.mean_absolute_error(y, v),
        "rmse": sk.root_mean_squared_error(y, v),
        "bias": (v - y).mean(),
        "r2": sk.r2_score(y, v),
        "pearson": np.mean([stats.pearsonr(a, b).statistic for a, b in columns]),
        "spearman": np.mean([stats.spearmanr(a, b).statistic for a, b in columns]),
    }
    assert set(expected) == set(METRICS["regression"])
    for metric, number in expected.items():
        assert value(table, metric) == pytest.approx(number, abs=1e-10), metric


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("graded", [False, True])
def test_ranking_metrics_agree_with_scikit_learn(ties, graded):
    table = ranking(ties=ties, graded=graded)
    relevance, scores = (c.reshape(12, 15) for c in (table.relevance, table.scores))
    assert value(table, "ndcg") == pytest.approx(sk.ndcg_score(relevance, scores), abs=1e-12)
    assert value(table, "ndcg_at_10") == pytest.approx(
        sk.ndcg_score(relevance, scores, k=10), abs=1e-12
    )
    precisions = [sk.average_precision_score(r > 0, s) for r, s in zip(relevance, scores)]
    assert value(table, "mean_average_precision") == pytest.approx(np.mean(precisions), abs=1e-12)


def test_tied_items_count_what_random_order_expects():
    """Every order of a tie, enumerated."""
    scores = np.array([3.0, 2, 2, 2, 2, 1])
    relevance = np.array([0.0, 1, 0, 1, 0, 1])
    table = Ranking(ids=np.arange(6), query=["q"] * 6, relevance=relevance, scores=scores)
    reciprocal, recall = [], []
    for order in itertools.permutations([1, 2, 3, 4]):
        ranks = relevance[[0, *order, 5]] > 0
        reciprocal.append(1 / (1 + np.flatnonzero(ranks)[0]))
        recall.append(ranks[:5].sum() / 3)
    assert value(table, "mean_reciprocal_rank") == pytest.approx(np.mean(reciprocal), abs=1e-12)
    assert value(table, "recall_at_5") == pytest.approx(np.mean(recall), abs=1e-12)
    assert value(table, "precision_at_10") == pytest.approx(0.3)


def test_queries_without_a_relevant_item_are_left_out_and_counted():
    table = Ranking(
        ids=np.arange(4),
        query=["a", "a", "b", "b"],
        relevance=np.array([1.0, 0, 0, 0]),
        scores=np.array([1.0, 2, 3, 4]),
    )
    found = measure(table)["mean_reciprocal_rank"]
    assert found.value == 0.5
    assert found.n == 1
    assert "1 queries without a relevant item left out" in found.definition
    none = table.take(table.query == "b")
    assert measure(none)["ndcg"].undefined == "none of 1 queries has a relevant item"


def test_token_metrics_are_those_of_all_tokens():
    table = tokens()
    nll = table.loss.sum() / table.tokens.sum()
    assert value(table, "nll") == pytest.approx(nll, abs=1e-12)
    assert value(table, "perplexity") == pytest.approx(np.exp(nll), abs=1e-12)
    assert value(table, "bits_per_byte") == pytest.approx(
        table.loss.sum() / np.log(2) / table.bytes.sum(), abs=1e-12
    )
    assert value(table, "token_accuracy") == table.correct.sum() / table.tokens.sum()
    bare = TokenLosses(ids=table.ids, loss=table.loss, tokens=table.tokens)
    assert "no column 'bytes'" in measure(bare)["bits_per_byte"].undefined


@pytest.mark.parametrize(
    "table",
    [multilabel(step=0.5), regression(d=2), ranking(ties=True), tokens()],
    ids=lambda table: table.kind,
)
def test_weights_are_repetitions_and_leave_one_out_leaves_one_out(table):
    for name, defined in METRICS[table.kind].items():
        statistic = defined.prepare(table)
        n = len(statistic.labels)
        weights = np.random.default_rng(0).integers(1, 3, (3, n)).astype(float)
        if table.kind == "ranking":
            of = np.unique(table.query, return_inverse=True)[1].ravel()
        else:
            of = np.arange(n)
        for row, got in zip(weights, statistic.weighted(weights)):
            copies = [
                (index, copy) for index in range(len(table)) for copy in range(int(row[of[index]]))
            ]
            rows = np.array([index for index, _ in copies])
            parts = {field: getattr(table, field) for field in table.PAYLOAD}
            parts = {field: None if p is None else p[rows] for field, p in parts.items()}
            if table.kind == "ranking":
                parts["query"] = [f"{q}-{copy}" for q, (_, copy) in zip(parts["query"], copies)]
            if table.kind == "multilabel":
                parts["classes"] = table.classes
            repeated = type(table)(ids=np.arange(len(rows)), **parts)
            if name != "spearman":  # whose ranks are those of the whole table
                assert got == pytest.approx(value(repeated, name), abs=1e-9), name
        without = statistic.leave_one_out()
        for unit in (0, n - 1):
            rest = np.flatnonzero(of != unit)
            tolerance = 0.01 if name == "spearman" else 1e-9
            assert without[unit] == pytest.approx(value(table.take(rest), name), abs=tolerance)


def test_undefined_values_have_their_reasons():
    constant = Regression(ids=[1, 2], labels=np.ones(2), values=np.array([1.0, 2.0]))
    assert "no variance" in measure(constant)["r2"].undefined
    assert "same label" in measure(constant)["pearson"].undefined
    never = MultiLabel(ids=[1], labels=[[0, 0]], logits=[[1.0, 2.0]], classes=("a", "b"))
    found = measure(never)
    assert found["macro_f1"].undefined == "no label is true in any of n=1"
    assert found["auroc_macro"].undefined == "class 'a' has no example of n=1"


def test_other_kinds_are_compared_in_pairs_and_over_seeds():
    one, other = regression(seed=0), regression(seed=0)
    worse = Regression(ids=one.ids, labels=one.labels, values=other.values + 0.7)
    found = paired_difference([worse], [one], "rmse")
    assert found.ci[0] > 0
    assert measure_seeds([one, worse], ["rmse"])["rmse"].ci is not None
    good, bad = ranking(seed=0), ranking(seed=0)
    shuffled = np.random.default_rng(0).permutation(bad.scores)
    bad = Ranking(ids=bad.ids, query=bad.query, relevance=bad.relevance, scores=shuffled)
    assert paired_difference([good], [bad], "ndcg").ci[0] > 0
    with pytest.raises(EvaluationError, match="is a table of regression and"):
        paired_difference([good], [one], "ndcg")


def test_a_users_own_function_is_measured_like_any_metric():
    rng = np.random.default_rng(0)
    table = Predictions(
        ids=np.arange(60),
        labels=rng.integers(0, 3, 60),
        logits=rng.normal(size=(60, 3)),
        classes=("a", "b", "c"),
    )
    own = metric_of(
        lambda labels, logits, weights: np.average(logits.argmax(1) == labels, weights=weights),
        name="hits",
        text="share of hits",
        bounds=(0, 1),
    )
    found = measure(table, [own], replicates=200)["hits"]
    assert found.value == value(table, "accuracy")
    assert found.ci[0] < found.value < found.ci[1]
    assert found.definition == "share of hits"
    assert paired_difference([table], [table], own).value == 0
    broken = metric_of(lambda labels, logits, weights: np.nan, name="broken", text="")
    with pytest.raises(EvaluationError, match="broken of predictions"):
        measure(table, [broken])
    with pytest.raises(EvaluationError, match="measures classification, not ranking"):
        measure(ranking(), [own])


def test_a_resample_that_defines_no_value_leaves_no_interval():
    table = Regression(ids=[1, 2, 3], labels=[1.0, 2, 4], values=[1.5, 2, 3])
    for name, found in measure(table, ["r2", "pearson"]).items():
        assert found.value is not None
        assert found.ci is None, name
        assert "bootstrap samples do not define the value" in found.undefined


def test_a_value_beyond_float64_is_undefined_and_not_infinite():
    table = TokenLosses(ids=[1, 2], loss=[1e6, 2e6], tokens=[1, 1])
    found = measure(table, ["nll", "perplexity"], replicates=20)
    assert found["nll"].value == 1.5e6
    assert found["perplexity"].value is None
    assert found["perplexity"].undefined == "its value is inf in float64, n=2"
    assert value(table, "perplexity") is None
    pair = paired_difference([table], [table], "perplexity", replicates=20)
    assert pair.value is None
    assert "its value is inf" in pair.note


def test_samples_that_do_not_define_a_value_leave_its_interval_undefined():
    """Three rows of which two are equal: many samples have no variance, or no true label."""
    prices = Regression(ids=[1, 2, 3], labels=[1.0, 1, 2], values=[1.0, 1, 3])
    others = Regression(ids=[1, 2, 3], labels=[1.0, 1, 2], values=[3.0, 1, 2])
    tags = [
        MultiLabel(ids=[1, 2, 3], labels=[[0], [0], [1]], logits=logits, classes="a")
        for logits in ([[-1.0], [-1.0], [1.0]], [[-1.0], [1.0], [1.0]])
    ]
    for a, b, metric in ((prices, others, "pearson"), (*tags, "macro_f1")):
        alone = measure(a, [metric], replicates=200)[metric]
        pair = paired_difference([a], [b], metric, replicates=200)
        seeds = measure_seeds([a, b], [metric], replicates=200)[metric]
        for found, reason in (
            (alone, alone.undefined),
            (pair, pair.note),
            (seeds, seeds.undefined),
        ):
            assert np.isfinite(found.value)
            assert found.ci is None
            assert "of 200 bootstrap samples do not define the value" in reason
        assert pair.p_value is None


def test_one_far_value_leaves_no_correlation_of_the_rest_to_rounding():
    rng = np.random.default_rng(0)
    labels, values = rng.normal(size=(2, 12))
    labels[4] = 1e9
    found = measure(Regression(ids=np.arange(12), labels=labels, values=values), replicates=100)
    assert found["pearson"].value == pytest.approx(np.corrcoef(labels, values)[0, 1], abs=1e-9)
    assert found["pearson"].ci is None
    assert "do not define the value" in found["pearson"].undefined
