"""Bootstrap differences agree with SciPy's BCa, and over seeds with the two variances of the t method."""

import json

import numpy as np
import pytest
from scipy import stats

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.paired import paired_difference
from jaxtransfer.evaluation.paired_bootstrap import bootstrap_difference, hierarchical_difference
from jaxtransfer.evaluation.table import Predictions


def losing(losses, labels=None):
    """A table of two classes whose negative log-likelihoods are the given losses."""
    losses = np.asarray(losses)
    labels = np.zeros(len(losses), np.int64) if labels is None else labels
    right = np.exp(-losses)
    logits = np.log(np.stack([right, 1 - right], axis=1))
    logits = np.where(labels[:, None] == 0, logits, logits[:, ::-1])
    return Predictions(ids=np.arange(len(losses)), labels=labels, logits=logits, classes=("a", "b"))


def model(rng, labels, signal):
    logits = signal * np.eye(2)[labels] + rng.normal(size=(len(labels), 2))
    return Predictions(ids=np.arange(len(labels)), labels=labels, logits=logits, classes=("a", "b"))


LABELS = np.arange(200) % 2


def test_it_agrees_with_scipys_paired_bca():
    rng = np.random.default_rng(0)
    hard = rng.exponential(size=40)
    a, b = hard + rng.exponential(size=40) ** 2, hard + 0.2
    ours = bootstrap_difference(losing(a), losing(b), "nll", replicates=40_000)
    theirs = stats.bootstrap(
        (a, b),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        paired=True,
        n_resamples=40_000,
        method="BCa",
        rng=np.random.default_rng(1),
    )
    tolerance = 0.08 * (a - b).std() / np.sqrt(40)
    assert ours.value == pytest.approx(np.mean(a - b), abs=1e-12)
    assert ours.ci == pytest.approx(tuple(theirs.confidence_interval), abs=tolerance)
    assert ours.standard_error == pytest.approx(theirs.standard_error, rel=0.03)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "auroc_ovr_macro", "nll", "brier"])
def test_it_is_near_the_t_interval_for_many_examples(metric):
    rng = np.random.default_rng(1)
    labels = np.arange(2000) % 2
    a, b = model(rng, labels, 1.5), model(rng, labels, 1.2)
    t = paired_difference([a], [b], metric)
    found = bootstrap_difference(a, b, metric)
    assert found.standard_error == pytest.approx(t.standard_error, rel=0.08)
    assert found.ci == pytest.approx(t.ci, abs=0.25 * t.standard_error)
    assert found.excludes_zero == (not t.ci[0] <= 0 <= t.ci[1])


def test_equal_models_have_no_interval_and_say_so():
    table = model(np.random.default_rng(2), LABELS, 1.0)
    found = bootstrap_difference(table, table, "macro_f1")
    assert (found.value, found.ci) == (0, None)
    assert "every bootstrap replicate equals the value" in str(found)
    assert not found.excludes_zero
    assert "no resampling varies" in hierarchical_difference([table], [table], "nll").note


def test_additive_seeds_and_examples_give_the_analytic_standard_error():
    """Loss = example + seed, so no chance belongs to both, and all counts of it agree."""
    rng = np.random.default_rng(3)
    examples, seeds = rng.uniform(0, 0.4, 12), rng.uniform(0, 0.03, 5)
    a = [losing(0.1 + examples + s) for s in seeds]
    b = [losing(np.full(12, 0.2))] * 5
    t = paired_difference(a, b, "nll", replicates=20_000)
    found = hierarchical_difference(a, b, "nll", replicates=20_000)
    exact = np.sqrt(examples.var(ddof=1) / 12 + seeds.var(ddof=1) / 5)
    assert t.standard_error == pytest.approx(exact, rel=0.02)
    assert found.standard_error == pytest.approx(exact, rel=0.02)
    assert found.value == pytest.approx(t.value, abs=1e-12)
    assert "over 5 seeds are narrower" in found.note


def test_chance_of_seed_and_example_together_is_counted_once_more():
    """Loss = independent noise of variance v: v/nS, of which t counts 2 and the bootstrap 3."""
    rng = np.random.default_rng(4)
    a = [losing(rng.uniform(0.1, 0.9, 400)) for _ in range(20)]
    b = [losing(np.full(400, 0.5))] * 20
    unit = (0.8**2 / 12) / (400 * 20)
    t = paired_difference(a, b, "nll", replicates=4000)
    found = hierarchical_difference(a, b, "nll", replicates=8000)
    assert t.standard_error**2 == pytest.approx(2 * unit, rel=0.2)
    assert found.standard_error**2 == pytest.approx(3 * unit, rel=0.2)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "auroc_ovr_macro"])
def test_hierarchical_and_analytic_errors_agree_on_runs_of_models(metric):
    rng = np.random.default_rng(5)
    skill = rng.normal(1.5, 0.4, 8)
    a = [model(rng, LABELS, s) for s in skill]
    b = [model(rng, LABELS, 1.0) for _ in range(8)]
    t = paired_difference(a, b, metric)
    found = hierarchical_difference(a, b, metric)
    # At least the analytic one, at most by the factor sqrt(3 / 2) of pure interaction.
    assert 0.95 <= found.standard_error / t.standard_error <= 1.28


def test_undefined_and_refused():
    rng = np.random.default_rng(6)
    a, b = model(rng, LABELS, 1.0), model(rng, LABELS, 1.0)
    only = a.take(a.labels == 0)
    found = bootstrap_difference(only, only, "auroc_ovr_macro")
    assert found.value is None
    assert "every example of n=100" in str(found)
    with pytest.raises(EvaluationError, match="2 tables cannot be paired with 1"):
        hierarchical_difference([a, a], [b], "accuracy")
    with pytest.raises(EvaluationError, match="1 replicates"):
        bootstrap_difference(a, b, "accuracy", replicates=1)
    with pytest.raises(EvaluationError, match="ece_perfect is simulated"):
        bootstrap_difference(a, b, "ece_perfect")


def test_rows_are_paired_by_id_and_the_document_is_json():
    rng = np.random.default_rng(7)
    a, b = model(rng, LABELS, 1.5), model(rng, LABELS, 1.0)
    shuffled = b.take(rng.permutation(200))
    found = bootstrap_difference(a, b, "macro_f1")
    assert bootstrap_difference(a, shuffled, "macro_f1") == found
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["method"] == "bca"
    assert document["ci"] == list(found.ci)
    assert definition("macro_f1").text in document["definition"]


def test_false_positives_under_the_null_are_at_most_nominal():
    rng = np.random.default_rng(8)
    trials, rejected = 200, 0
    for trial in range(trials):
        labels = rng.integers(0, 2, 100)
        a, b = model(rng, labels, 1.0), model(rng, labels, 1.0)
        rejected += bootstrap_difference(a, b, "brier", replicates=1000, seed=trial).excludes_zero
    assert rejected / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)
