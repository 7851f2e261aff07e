"""Metrics averaged over seeds: their value, and what their interval covers."""

import numpy as np
import pytest
from scipy import stats

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.metrics import measure
from jaxtransfer.evaluation.seeds import measure_seeds
from jaxtransfer.evaluation.table import Predictions


def table(rng, accuracy, n=200, ids=None):
    labels = np.arange(n) % 2
    right = rng.random(n) < accuracy
    order = np.arange(n) if ids is None else ids
    return Predictions(
        ids=np.array([f"e{i}" for i in range(n)])[order],
        labels=labels[order],
        logits=np.eye(2)[np.where(right, labels, 1 - labels)][order],
        classes=("a", "b"),
    )


def test_the_value_is_the_mean_over_seeds():
    rng = np.random.default_rng(0)
    tables = [table(rng, a) for a in (0.7, 0.8, 0.9)]
    values = [measure(t, ["macro_f1"])["macro_f1"].value for t in tables]
    measured = measure_seeds(tables, ["macro_f1"])["macro_f1"]
    assert measured.value == pytest.approx(np.mean(values), abs=1e-12)
    assert "mean over 3 seeds" in measured.definition


def test_one_table_or_equal_tables_are_measured_as_one():
    only = table(np.random.default_rng(1), 0.8)
    for tables in ([only], [only, only, only]):
        assert measure_seeds(tables, ["accuracy", "nll"]) == measure(only, ["accuracy", "nll"])


def test_rows_are_matched_by_id():
    rng = np.random.default_rng(2)
    first, second = table(rng, 0.8), table(rng, 0.8)
    shuffled = second.take(rng.permutation(len(second)))
    assert measure_seeds([first, second], ["nll"]) == measure_seeds([first, shuffled], ["nll"])


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_holds_both_variances(confidence):
    """Accuracy of three seeds: p(1-p)/n within classes of the mean, plus s^2/3."""
    rng = np.random.default_rng(3)
    tables = [table(rng, a) for a in (0.6, 0.8, 0.95)]
    correct = np.array([(t.predicted == t.labels).astype(float) for t in tables])
    strata = [correct[:, tables[0].labels == c].mean(axis=0) for c in (0, 1)]
    examples = sum(s.var(ddof=1) / len(s) for s in strata) / 4
    seeds = correct.mean(axis=1).var(ddof=1) / 3
    weights = np.array([examples, seeds]) / (examples + seeds)
    quantile = weights @ stats.t.ppf(0.5 + confidence / 2, [198, 2])
    half = quantile * np.sqrt(examples + seeds)
    measured = measure_seeds(tables, ["accuracy"], confidence=confidence, replicates=4000)
    low, high = measured["accuracy"].ci
    assert low == pytest.approx(correct.mean() - half, abs=0.01)
    assert high == pytest.approx(min(1.0, correct.mean() + half), abs=0.01)
    assert (high == 1.0) is (confidence == 0.95)  # cut at the bound


def test_perfect_scores_have_wilsons_interval_or_none():
    perfect = table(np.random.default_rng(4), 1.1, n=12)
    warmer = Predictions(
        ids=perfect.ids, labels=perfect.labels, logits=2 * perfect.logits, classes=perfect.classes
    )
    measured = measure_seeds([perfect, warmer], ["accuracy", "macro_f1"])
    assert measured["accuracy"].ci == measure(perfect, ["accuracy"])["accuracy"].ci
    assert measured["macro_f1"].value == 1.0
    assert measured["macro_f1"].ci is None
    assert "nothing varies" in measured["macro_f1"].undefined


def test_no_table_is_an_error():
    with pytest.raises(EvaluationError, match="no table"):
        measure_seeds([])


def test_the_interval_holds_the_variance_of_the_classes_shares():
    """Right on nearly all of one class and few of the other, so the loss depends on their shares."""
    rng = np.random.default_rng(6)
    labels = np.arange(400) % 2
    right = rng.random(400) < np.where(labels == 0, 0.99, 0.05)
    logits = np.eye(2)[np.where(right, labels, 1 - labels)]
    seeds = [
        Predictions(ids=np.arange(400), labels=labels, logits=factor * logits, classes=("a", "b"))
        for factor in (1, 1 + 1e-9)
    ]
    low, high = measure_seeds(seeds, ["nll"], replicates=4000)["nll"].ci
    # The loss of a wrong example is larger than that of a right one by the logits' difference, 1.
    assert (high - low) / 2 == pytest.approx(1.96 * right.std() / np.sqrt(400), rel=0.03)
