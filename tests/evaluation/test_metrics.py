"""Metrics agree with scikit-learn to 1e-12, and say so where they are undefined."""

import json
import time

import numpy as np
import pytest
from sklearn import metrics as sk

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation import metrics
from jaxtransfer.evaluation.definition import Definition, Measured
from jaxtransfer.evaluation.metrics import measure, value
from jaxtransfer.evaluation.paired import paired_difference
from jaxtransfer.evaluation.probabilities import log_odds, softmax
from jaxtransfer.evaluation.seeds import measure_seeds
from jaxtransfer.evaluation.statistic import MeanStatistic
from jaxtransfer.evaluation.table import Predictions

METRICS = metrics.METRICS["classification"]


def make(labels, logits):
    labels, logits = np.asarray(labels), np.asarray(logits, np.float64)
    return Predictions(
        ids=np.arange(len(labels)),
        labels=labels,
        logits=logits,
        classes=tuple(f"class {i}" for i in range(logits.shape[1])),
    )


def draw(n, k, seed=0, skill=1.0, step=None, classes=None):
    rng = np.random.default_rng(seed)
    labels = rng.choice(k if classes is None else classes, n)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), labels] += skill
    return make(labels, logits if step is None else np.round(logits / step) * step)


TABLES = {
    "random": draw(200, 5),
    "binary": draw(100, 2, seed=1),
    "ties": draw(150, 3, seed=2, step=1.0),
    "many": draw(150, 7, seed=6, step=0.5),
    "absent class": draw(80, 4, seed=3, classes=[0, 2, 3]),
    "one class": draw(20, 3, seed=4, classes=[1]),
    "one example": draw(1, 3, seed=5),
    "constant": make([0, 1, 2, 2], np.zeros((4, 3))),
    "perfect": make([0, 1, 2, 2], 40 * np.eye(3)[[0, 1, 2, 2]]),
    "all wrong": make([0, 1, 2, 2], -5 * np.eye(3)[[0, 1, 2, 2]]),
}


@pytest.mark.parametrize("name", TABLES)
def test_metrics_agree_with_scikit_learn(name):
    table = TABLES[name]
    y, predicted, p = table.labels, table.predicted, softmax(table.logits)
    present = np.unique(y)
    one_hot = np.eye(p.shape[1])[y]
    f1 = {"labels": present, "zero_division": 0.0}
    expected = {
        "accuracy": sk.accuracy_score(y, predicted),
        "balanced_accuracy": sk.recall_score(y, predicted, average="macro", **f1),
        "macro_f1": sk.f1_score(y, predicted, average="macro", **f1),
        "weighted_f1": sk.f1_score(y, predicted, average="weighted", **f1),
        "nll": sk.log_loss(y, p, labels=np.arange(p.shape[1])),
        "brier": ((p - one_hot) ** 2).sum(axis=1).mean(),
    }
    if len(present) > 1 and len(np.unique(predicted)) > 1:
        expected["mcc"] = sk.matthews_corrcoef(y, predicted)
    for metric, number in expected.items():
        assert value(table, metric) == pytest.approx(number, abs=1e-12), metric


@pytest.mark.parametrize("name", ["random", "binary", "ties", "constant", "perfect", "all wrong"])
def test_auroc_agrees_with_scikit_learn(name):
    table = TABLES[name]
    odds = log_odds(table.logits)
    areas = [sk.roc_auc_score(table.labels == c, odds[:, c]) for c in range(odds.shape[1])]
    assert value(table, "auroc_ovr_macro") == pytest.approx(np.mean(areas), abs=1e-12)


def test_auroc_is_scikit_learns_of_probabilities_without_ties():
    table = TABLES["random"]
    expected = sk.roc_auc_score(table.labels, softmax(table.logits), multi_class="ovr")
    assert value(table, "auroc_ovr_macro") == pytest.approx(expected, abs=1e-12)


def test_macro_f1_is_scikit_learns_default_when_every_class_is_labelled():
    table = TABLES["random"]
    expected = sk.f1_score(table.labels, table.predicted, average="macro")
    assert value(table, "macro_f1") == pytest.approx(expected, abs=1e-12)


def test_macro_f1_of_an_absent_class_averages_the_present_ones_and_says_how_many():
    table = make([0, 0, 1], [[2, 0, 0], [0, 0, 2], [0, 2, 0]])
    measured = measure(table, ["macro_f1"])["macro_f1"]
    assert measured.value == pytest.approx((2 / 3 + 1) / 2)
    assert "2 of 3 classes in the labels" in measured.definition


def test_auroc_keeps_the_order_that_float32_probabilities_lose():
    logits = np.array([[0.0, 40.0], [0.0, 41.0], [0.0, 42.0], [0.0, 43.0]])
    assert len(np.unique(softmax(logits)[:, 1].astype(np.float32))) == 1
    assert value(make([0, 0, 1, 1], logits), "auroc_ovr_macro") == 1.0


def test_auroc_ties_rows_that_permute_the_other_classes():
    odds = log_odds(np.array([[0.1, 0.7, 0.3, 1.9], [0.1, 1.9, 0.7, 0.3]]))
    assert odds[0, 0] == odds[1, 0]


def test_log_odds_are_those_of_the_probabilities():
    p = softmax(TABLES["random"].logits)
    np.testing.assert_allclose(
        log_odds(TABLES["random"].logits), np.log(p / (1 - p)), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("name", ["absent class", "one class", "one example"])
def test_auroc_without_a_class_is_undefined_with_its_reason(name):
    measured = measure(TABLES[name], ["auroc_ovr_macro"])["auroc_ovr_macro"]
    assert measured.value is None
    assert measured.ci is None
    assert "has no example of n=" in measured.undefined
    assert "auroc_ovr_macro undefined: class 'class" in str(measured)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_gives_finite_numbers_or_reasons(name):
    for metric, measured in measure(TABLES[name], replicates=50).items():
        low, high = METRICS[metric].bounds
        assert measured.n == len(TABLES[name])
        if measured.value is None or measured.ci is None:
            assert measured.undefined
        if measured.value is not None:
            assert low <= measured.value <= high
        if measured.ci is not None:
            assert low <= measured.ci[0] <= measured.ci[1] <= high
        document = json.loads(json.dumps(measured.to_json(), allow_nan=False))
        assert Measured.from_json(metric, document) == measured


def test_a_perfect_table_has_a_wilson_interval_but_no_bootstrap_one():
    measured = measure(TABLES["perfect"], ["accuracy", "macro_f1"])
    assert measured["accuracy"].ci == (pytest.approx(0.5101, abs=1e-4), 1.0)
    assert measured["macro_f1"].ci is None
    assert "every bootstrap replicate equals the value" in measured["macro_f1"].undefined


def test_measured_prints_value_interval_and_n():
    measured = Measured(
        name="macro_f1", value=0.9121, ci=(0.8904, 0.931), n=500, definition="as defined"
    )
    assert str(measured) == "macro_f1 0.912 [0.890, 0.931] (n=500)"


def test_an_interval_depends_on_its_seed_and_not_on_the_other_metrics():
    table = TABLES["random"]
    alone = measure(table, ["nll"], replicates=100)["nll"]
    assert measure(table, replicates=100)["nll"] == alone
    assert measure(table, ["nll"], replicates=100, seed=1)["nll"].ci != alone.ci


def test_the_order_of_rows_changes_no_value():
    table = TABLES["random"]
    shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
    for name in ("accuracy", "macro_f1", "auroc_ovr_macro"):
        assert value(table, name) == value(shuffled, name)


WEIGHABLE = [
    (draw_name, name)
    for draw_name in ("random", "ties", "binary", "many")
    for name in metrics.names_for(TABLES[draw_name])
    if METRICS[name].interval != "simulation"
]


@pytest.mark.parametrize(("of", "name"), WEIGHABLE)
def test_weights_are_repetitions_and_leave_one_out_leaves_one_out(of, name):
    table = TABLES[of]
    rng = np.random.default_rng(0)
    statistic = METRICS[name].prepare(table)
    weights = rng.integers(1, 3, (4, len(table)))
    for row, got in zip(weights, statistic.weighted(weights.astype(np.float64))):
        repeated = np.repeat(np.arange(len(table)), row)
        assert got == pytest.approx(
            value(make(table.labels[repeated], table.logits[repeated]), name)
        )
    without = statistic.leave_one_out()
    for row in (0, 7, len(table) - 1):
        rest = np.delete(np.arange(len(table)), row)
        assert without[row] == pytest.approx(value(table.take(rest), name), abs=1e-12)


def test_an_unknown_metric_is_refused_with_the_nearest():
    with pytest.raises(
        EvaluationError, match="unknown metric 'macro-f1' of classification; nearest: 'macro_f1'"
    ):
        measure(TABLES["random"], ["macro-f1"])


def test_a_users_own_definition_is_measured_with_an_interval():
    margin = Definition(
        name="margin",
        text="mean difference of the two largest logits",
        prepare=lambda table: MeanStatistic(
            labels=table.labels,
            numbers=np.diff(np.sort(table.logits, axis=1)[:, -2:], axis=1)[:, 0],
        ),
        bounds=(0.0, float("inf")),
    )
    measured = measure(TABLES["random"], [margin])["margin"]
    assert measured.ci[0] < measured.value < measured.ci[1]


def test_a_definition_with_wrong_bounds_is_refused_before_its_interval_is_cut():
    wrong = Definition(
        name="tenfold",
        text="ten a row",
        prepare=lambda table: MeanStatistic(labels=table.labels, numbers=np.full(len(table), 10.0)),
    )
    table = TABLES["random"]
    for call in (measure, measure_seeds):
        with pytest.raises(EvaluationError, match=r"tenfold is 10, outside of its bounds \(0.0, 1"):
            call(table if call is measure else [table, draw(200, 5, seed=0, skill=2.0)], [wrong])
    with pytest.raises(EvaluationError, match="tenfold is 10"):
        paired_difference([table], [table], wrong)


def test_a_thousand_replicates_of_macro_f1_on_2000_rows_take_well_under_a_second():
    table = draw(2000, 10)
    measure(table, ["macro_f1"], replicates=10)
    start = time.process_time()
    measure(table, ["macro_f1"], replicates=1000)
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize("name", ["random", "binary", "ties", "many", "constant", "perfect"])
def test_average_precision_agrees_with_scikit_learn(name):
    table = TABLES[name]
    odds = log_odds(table.logits)
    expected = np.mean(
        [sk.average_precision_score(table.labels == c, odds[:, c]) for c in range(odds.shape[1])]
    )
    assert value(table, "average_precision_macro") == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["random", "binary", "ties", "absent class"])
def test_agreement_with_scikit_learn_holds_for_weighted_examples(name):
    table = TABLES[name]
    weights = np.random.default_rng(3).uniform(0.1, 3, len(table))
    y, predicted, p = table.labels, table.predicted, softmax(table.logits)
    k, odds = p.shape[1], log_odds(table.logits)
    fixed = {"labels": np.unique(y), "zero_division": 0.0, "sample_weight": weights}
    expected = {
        "accuracy": sk.accuracy_score(y, predicted, sample_weight=weights),
        "balanced_accuracy": sk.recall_score(y, predicted, average="macro", **fixed),
        "macro_f1": sk.f1_score(y, predicted, average="macro", **fixed),
        "weighted_f1": sk.f1_score(y, predicted, average="weighted", **fixed),
        "mcc": sk.matthews_corrcoef(y, predicted, sample_weight=weights),
        "cohen_kappa": sk.cohen_kappa_score(y, predicted, sample_weight=weights),
        "nll": sk.log_loss(y, p, labels=np.arange(k), sample_weight=weights),
    }
    if len(np.unique(y)) == k:
        for metric, score in (
            ("auroc_ovr_macro", sk.roc_auc_score),
            ("average_precision_macro", sk.average_precision_score),
        ):
            by_class = [score(y == c, odds[:, c], sample_weight=weights) for c in range(k)]
            expected[metric] = np.mean(by_class)
    for metric, number in expected.items():
        found = METRICS[metric].prepare(table).weighted(weights[None])[0]
        assert found == pytest.approx(number, abs=1e-12), metric


def test_binary_metrics_agree_with_scikit_learn():
    table = TABLES["binary"]
    y, predicted = table.labels, table.predicted
    for metric, number in {
        "precision": sk.precision_score(y, predicted),
        "recall": sk.recall_score(y, predicted),
        "specificity": sk.recall_score(y, predicted, pos_label=0),
        "f1": sk.f1_score(y, predicted),
        "cohen_kappa": sk.cohen_kappa_score(y, predicted),
    }.items():
        assert value(table, metric) == pytest.approx(number, abs=1e-12), metric


def test_binary_metrics_without_a_denominator_are_undefined_with_their_reason():
    never = make([0, 1, 0], [[1, 0], [1, 0], [1, 0]])
    assert measure(never, ["precision"])["precision"].undefined == (
        "'class 1' is never predicted, n=3"
    )
    assert value(never, "recall") == 0.0
    only = make([0, 0], [[1, 0], [1, 0]])
    found = measure(only, ["recall", "f1", "specificity"])
    assert found["recall"].value is None
    assert "class 'class 1' has no example, n=2" in found["recall"].undefined
    assert "neither there nor predicted" in found["f1"].undefined
    assert found["specificity"].value == 1.0


@pytest.mark.parametrize(
    ("labels", "predicted", "mcc", "kappa"),
    [
        ([1, 1, 1], [1, 1, 1], "all of one class", "all of one and the same class"),
        ([1, 1, 1], [1, 0, 1], "all of one class", 0.0),
        ([0, 1, 1], [1, 1, 1], "all of one class", 0.0),
        ([1], [1], "all of one class", "all of one and the same class"),
    ],
)
def test_a_correlation_of_one_class_is_undefined_and_not_0(labels, predicted, mcc, kappa):
    found = measure(make(labels, np.eye(2)[predicted]), ["mcc", "cohen_kappa"], replicates=50)
    for measured, expected in zip(found.values(), (mcc, kappa)):
        if isinstance(expected, str):
            assert measured.value is None
            assert measured.undefined.endswith(f"n={len(labels)}")
            assert expected in measured.undefined
        else:
            assert measured.value == expected


def test_samples_without_a_denominator_leave_the_interval_undefined_and_count_no_0():
    """One positive prediction of 20 is in no sample in a third of the cases."""
    labels = np.arange(20) % 2
    logits = np.zeros((20, 2))
    logits[1, 1] = 1
    found = measure(make(labels, logits), ["precision", "mcc"], replicates=200)
    for measured in found.values():
        assert measured.value is not None
        assert measured.ci is None
        assert "of 200 bootstrap samples do not define the value" in measured.undefined
    assert found["precision"].value == 1.0


def test_binary_metrics_are_measured_of_two_classes_only():
    assert "f1" in measure(TABLES["binary"], replicates=2)
    assert "f1" not in measure(TABLES["random"], replicates=2)
    asked = measure(TABLES["random"], ["f1"])["f1"]
    assert asked.value is None
    assert asked.undefined == "it is of two classes, and the table has 5"


def test_top_5_accuracy_counts_the_first_classes_among_ties():
    table = make([4, 5, 6], np.zeros((3, 7)))
    assert value(table, "top_5_accuracy") == pytest.approx(1 / 3)
    assert value(TABLES["many"], "top_5_accuracy") == pytest.approx(
        sk.top_k_accuracy_score(
            TABLES["many"].labels,
            TABLES["many"].logits - 1e-9 * np.arange(7),
            k=5,
            labels=np.arange(7),
        )
    )


def test_equal_probabilities_of_a_file_stay_equal():
    """Rounding of a normaliser would break ties, and the area with them."""
    rng = np.random.default_rng(0)
    p = rng.integers(1, 6, 400) / 7
    labels = (rng.random(400) < p).astype(int)
    table = Predictions(
        ids=np.arange(400),
        labels=labels,
        logits=np.log(np.stack([1 - p, p], axis=1)),
        classes=("no", "yes"),
        normalised=True,
    )
    for metric, score in (
        ("auroc_ovr_macro", sk.roc_auc_score(labels, p)),
        (
            "average_precision_macro",
            (sk.average_precision_score(labels, p) + sk.average_precision_score(1 - labels, 1 - p))
            / 2,
        ),
    ):
        assert value(table, metric) == pytest.approx(score, abs=1e-12)
