"""The monitor: evidence over looks, label shift taken out, what an alarm suggests, its file."""

import dataclasses
import json
import os

import numpy as np
import pytest
from scipy import integrate

from jaxtransfer.errors import EvaluationError, WorkdirError
from jaxtransfer.evaluation.drift import Batch, Effort, Monitor, Settings, fit, load, save
from jaxtransfer.evaluation.drift.diagnosis import holm
from jaxtransfer.evaluation.drift.label_shift import confusion_rates, estimate_shares, offsets
from jaxtransfer.evaluation.drift.monitor import Rows, _joined
from jaxtransfer.evaluation.drift.performance import performance
from jaxtransfer.evaluation.drift.sequential import Evidence, e_value

QUICK = Effort(
    permutations=99, kernel_permutations=49, label_permutations=999, rows=300, kernel_rows=80
)


def draw(seed, rows=200, share=0.1, shift=0.0, temperature=1.0, width=16, length=0.0):
    """Two classes, the second of share `share` and 1.2 SD away in 8 of the features."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < share).astype(np.int64)
    features = rng.normal(size=(rows, width)) + shift
    features[:, :8] += 1.2 * labels[:, None]
    odds = temperature * (1.2 * (features[:, :8] - 0.6).sum(axis=1) + np.log(0.1 / 0.9))
    return Batch(
        ids=np.arange(rows),
        features=features,
        logits=np.stack([np.zeros(rows), odds], axis=1),
        labels=labels,
        classes=("no", "yes"),
        inputs={"length": rng.normal(size=rows) + length},
        source=f"batch{seed}.npz",
    )


@pytest.fixture(scope="module")
def monitor() -> Monitor:
    return fit(draw(1000, 1200), Settings(effort=QUICK))


def watch(monitor, looks, **drift):
    for look in range(looks):
        monitor, finding = monitor.check(draw(look, **drift))
    return monitor, finding


# --- evidence over looks


@pytest.mark.parametrize("p", [0.9995, 0.6, 0.05, 1e-6])
def test_e_value_is_the_mixture_of_power_calibrators(p):
    direct, _ = integrate.quad(lambda k: k * p ** (k - 1), 0, 1, epsrel=1e-12)
    assert e_value(p) == pytest.approx(direct, rel=1e-6)


@pytest.mark.parametrize("permutations", [1, 19, 999])
def test_e_values_of_permutation_p_values_have_mean_one(permutations):
    cells = permutations + 1
    assert np.mean(
        [e_value(j / cells, permutations) for j in range(1, cells + 1)]
    ) == pytest.approx(1, rel=1e-12)


def test_e_values_fall_with_p():
    values = [e_value(p) for p in np.geomspace(1e-300, 1, 2000)]
    assert np.all(np.diff(values) < 0)


def test_evidence_mixes_the_products_of_all_starts():
    e = [0.5, 3.0, 0.2, 8.0]
    evidence = Evidence()
    for value in e:
        evidence = evidence.after(value)
    for t in range(1, 5):
        direct = sum(np.prod(e[s - 1 : t]) / (s * (s + 1)) for s in range(1, t + 1))
        assert np.exp(evidence.path[t - 1]) == pytest.approx(direct + 1 / (t + 1), rel=1e-12)
    assert evidence.likely_start == 4


def test_evidence_of_one_changes_nothing_and_alarms_are_kept():
    evidence = Evidence(log_e=(0.0,) * 50)
    assert np.allclose(evidence.path, 0)
    risen = Evidence(log_e=(np.log(200.0), *(-1.0,) * 20))
    assert risen.alarm(0.05) == 1
    assert risen.path[-1] < 0
    assert evidence.alarm(0.05) is None


def test_evidence_seldom_passes_its_limit_without_drift():
    rng = np.random.default_rng(0)
    p = rng.integers(1, 101, (2000, 60)) / 100
    grid = np.log([e_value(j / 100, 99) for j in range(1, 101)])
    log_e = grid[np.round(p * 100).astype(int) - 1]
    alarms = np.mean([Evidence(log_e=tuple(row)).alarm(0.1) is not None for row in log_e])
    assert 0.01 < alarms <= 0.1


# --- label shift


def confused(seed=0, n=4000):
    rng = np.random.default_rng(seed)
    rates = np.array([[0.8, 0.1, 0.2], [0.15, 0.85, 0.1], [0.05, 0.05, 0.7]])
    labels = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    predicted = np.array([rng.choice(3, p=rates[:, y]) for y in labels])
    return labels, predicted


def test_class_shares_have_their_closed_form_with_two_classes():
    labels, predicted = np.repeat([0, 1], [60, 40]), np.repeat([0, 1, 0, 1], [54, 6, 8, 32])
    batch = np.repeat([0, 1], [30, 70])
    shares = estimate_shares(labels, predicted, batch, 2, seed=0)
    # With false positive rate 0.1 and true positive rate 0.8, q = (0.7 - 0.1) / (0.8 - 0.1).
    np.testing.assert_allclose(shares.estimate, [1 - 6 / 7, 6 / 7], rtol=1e-12)
    np.testing.assert_allclose(shares.reference, [0.6, 0.4])
    assert np.all((shares.low <= shares.estimate) & (shares.estimate <= shares.high))


def test_class_shares_cover_the_truth():
    labels, predicted = confused()
    rates = confusion_rates(labels, predicted, 3)
    truth, rng = np.array([0.2, 0.3, 0.5]), np.random.default_rng(1)
    covered = []
    for seed in range(100):
        batch = rng.choice(3, 300, p=rates @ truth)
        shares = estimate_shares(labels, predicted, batch, 3, seed=seed, replicates=200)
        covered.append((shares.low <= truth) & (truth <= shares.high))
    assert 0.89 <= np.mean(covered) <= 0.99


def test_a_share_below_zero_is_projected():
    labels, predicted = np.repeat([0, 1], 50), np.repeat([0, 1, 0, 1], [40, 10, 10, 40])
    shares = estimate_shares(labels, predicted, np.zeros(50, np.int64), 2, seed=0)
    np.testing.assert_allclose(shares.estimate, [1, 0], atol=1e-12)


def test_offsets_leave_each_class_a_mean_of_zero():
    labels, predicted = confused()
    values = (
        np.random.default_rng(2).normal(size=(4000, 3))
        + np.array([[1, 5, 0], [3, 0, 9]] * 2)[labels]
    )
    found, rule = offsets(values, predicted, labels, 3)
    residual = values - found[predicted]
    for label in range(3):
        np.testing.assert_allclose(residual[labels == label].mean(axis=0), 0, atol=1e-10)
    assert "mean 0 in every class" in rule


@pytest.mark.parametrize(
    ("labels", "predicted", "why"),
    [
        (np.repeat([0, 1], [50, 4]), np.repeat([0, 1], [50, 4]), "class 1 has 4 labelled"),
        (np.repeat([0, 1], 50), np.zeros(100, np.int64), "do not tell the classes apart"),
    ],
)
def test_a_confusion_matrix_that_cannot_be_inverted_is_said_to_be_so(labels, predicted, why):
    with pytest.raises(EvaluationError, match=why):
        estimate_shares(labels, predicted, predicted, 2, seed=0)
    values = np.arange(len(labels), dtype=np.float64)[:, None]
    found, rule = offsets(values, predicted, labels, 2)
    assert why in rule
    assert found[0] == pytest.approx(values[predicted == 0].mean())


# --- looks


def test_quiet_looks_suggest_nothing(monitor):
    after, finding = watch(monitor, 8)
    assert (finding.advice, finding.alarms, finding.diagnosis) == ("nothing", {}, None)
    assert finding.limit == pytest.approx(np.log(4 / 0.05))
    assert len(after.rows) == len(monitor.rows) + 8 * 200


def test_moved_features_suggest_a_new_probe(monitor):
    after, _ = watch(monitor, 5)
    for look in range(5):
        after, finding = after.check(draw(50 + look, shift=0.3))
    assert "features" in finding.alarms
    assert finding.advice == "refit the probe"
    assert finding.diagnosis.start in (5, 6)
    assert 0.2 < finding.diagnosis.shift < 0.33


def test_features_of_another_kind_suggest_adaptation(monitor):
    _, finding = watch(monitor, 3, shift=1.5)
    assert finding.advice == "re-adapt"
    assert finding.diagnosis.separability > 0.97


def test_label_shift_is_told_from_covariate_shift(monitor):
    _, finding = watch(monitor, 8, share=0.3)
    assert set(finding.alarms) == {"labels"}
    assert finding.advice == "recalibrate"
    shares = finding.diagnosis.shares
    assert shares.low[1] <= 0.3 <= shares.high[1]
    assert any("estimated shares" in reason for reason in finding.reasons)


def test_confidence_shift_is_told_from_both(monitor):
    _, finding = watch(monitor, 4, temperature=0.4)
    assert set(finding.alarms) == {"confidence"}
    assert finding.advice == "recalibrate"
    change, low, high = finding.diagnosis.confidence
    assert low < change < high < 0


def test_inputs_that_move_nothing_else_are_to_be_looked_at(monitor):
    _, finding = watch(monitor, 4, length=1.0)
    assert set(finding.alarms) == {"inputs"}
    assert finding.advice == "nothing"
    assert "look at the inputs" in finding.reasons[-2]
    assert finding.diagnosis.inputs["length"] == pytest.approx(1, abs=0.2)


def test_the_same_batch_is_counted_once(monitor):
    once, first = monitor.check(draw(3))
    twice, second = once.check(dataclasses.replace(draw(3), source="copy.npz"))
    assert twice is once
    assert second.repeated
    assert not first.repeated
    assert second.look == first.look
    assert len(once.check(draw(4))[0].looks) == 2


def test_the_digest_is_of_the_content():
    batch = draw(0)
    features = batch.features.copy()
    features[3, 2] += 1e-9
    assert batch.digest == draw(0).digest
    assert batch.digest != dataclasses.replace(batch, features=features).digest
    assert batch.digest != dataclasses.replace(batch, labels=None).digest


def test_a_check_is_deterministic(monitor):
    first, second = (json.dumps(watch(monitor, 2)[1].to_json()) for _ in range(2))
    assert first == second


def test_a_monitor_of_logits_alone_watches_labels_and_confidence():
    bare = dataclasses.replace(draw(1, 400), features=None, inputs={})
    monitor = fit(bare, Settings(effort=QUICK))
    assert monitor.kinds == ("labels", "confidence")
    batch = dataclasses.replace(draw(2, share=0.5), features=None, inputs={}, labels=None)
    _, finding = monitor.check(batch)
    assert finding.advice == "recalibrate"
    assert finding.performance is None


def test_a_monitor_of_features_alone_needs_no_classes():
    def bare(batch):
        return Batch(ids=batch.ids, features=batch.features)

    monitor = fit(bare(draw(1, 400)), Settings(effort=QUICK))
    assert monitor.kinds == ("features",)
    _, finding = monitor.check(bare(draw(2, shift=1.0)))
    assert finding.advice == "re-adapt"


def test_a_constant_feature_and_an_unlabelled_reference_are_watched():
    batch = draw(1, 400)
    features = batch.features.copy()
    features[:, 9] = 4.0
    reference = dataclasses.replace(batch, features=features, labels=None)
    monitor = fit(reference, Settings(effort=QUICK))
    assert "the reference has no labels" in monitor.views["features"].rule
    _, finding = monitor.check(draw(2))
    assert np.isfinite(list(finding.evidence.values())).all()
    assert all(0 <= test.p <= 1 for tests in finding.look.tests.values() for test in tests)


def test_rows_beyond_the_bound_are_a_random_part_of_all():
    def rows(count, look):
        return Rows(
            numbers={"features": np.full((count, 1), look, np.float32)},
            predicted=np.zeros(count, np.int64),
            look=np.full(count, look),
        )

    rng = np.random.default_rng(0)
    kept = [_joined(rows(60, 0), rows(40, 1), 50, rng).look for _ in range(300)]
    assert {len(look) for look in kept} == {50}
    assert np.mean(kept) == pytest.approx(0.4, abs=0.02)


def test_accuracy_falls_with_its_interval():
    correct, reference = np.repeat([1, 0], [48, 32]), np.repeat([1, 0], [56, 14])
    found = performance(np.full(70, 0.82), reference, np.full(80, 0.9), correct)
    assert found.drop == pytest.approx(0.2)
    # 56/70 - 48/80, method 10, as printed in Newcombe (1998), table II.
    assert found.drop_ci == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert found.overconfidence == pytest.approx(0.3)
    assert found.reference_overconfidence == pytest.approx(0.02)


def test_holm_is_the_step_down():
    assert holm({"a": 0.5, "b": 0.01}) == {"a": 0.5, "b": 0.02}


# --- bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.ones((200, 3))}, r"batch0.npz: column 'features' has 3 columns, the"),
        ({"features": None}, "column 'features' has no columns, the reference's 16 columns"),
        ({"classes": ("yes", "no")}, r"column 'logits' has the classes \['yes', 'no'\]"),
        ({"inputs": {"size": np.ones(200)}}, "column 'input_length' is missing"),
        (
            {"inputs": {"length": np.ones(200), "size": np.ones(200)}},
            "column 'input_size' is not in the reference",
        ),
    ],
)
def test_other_columns_than_the_references_are_refused(monitor, change, message):
    with pytest.raises(EvaluationError, match=message):
        monitor.check(dataclasses.replace(draw(0), **change))


def broken(column, place, value):
    array = np.array(getattr(draw(0, 60), column), np.float64)
    array[place] = value
    return {column: array}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (broken("features", (7, 3), np.nan), "'features', row 7, number 3: nan is not finite"),
        (broken("logits", (2, 1), np.inf), "'logits', row 2, number 1: inf is not finite"),
        ({"inputs": {"a": np.full(60, np.nan)}}, "'input_a', row 0: nan is not finite"),
        ({"inputs": {"a": np.ones(59)}}, r"'input_a' must be real numbers of shape \(60,\)"),
        ({"features": np.full((60, 2), "x")}, "'features' must be real numbers"),
        ({"labels": np.full(60, 2)}, r"'label', row 0 \(id '0'\): 2 is outside the 2 classes"),
        ({"labels": np.ones(60)}, "'label' must be integers"),
        ({"logits": None, "classes": ()}, "column 'label' needs the column 'logits'"),
        ({"classes": ("a",)}, "a different name for each of the 2 logits"),
        ({"ids": np.zeros(60, np.int64)}, "'id', row 1: '0' is also the id of row 0"),
        ({"ids": np.zeros(0, np.int64)}, "the batch has no rows"),
        (
            {"features": None, "logits": None, "inputs": {}, "labels": None, "classes": ()},
            "there is nothing to watch",
        ),
    ],
)
def test_a_malformed_batch_is_refused(change, message):
    with pytest.raises(EvaluationError, match=message):
        dataclasses.replace(draw(0, 60), **change)


def test_too_few_rows_and_impossible_rates_are_refused(monitor):
    with pytest.raises(EvaluationError, match="40 rows are too few for a reference"):
        fit(draw(0, 40))
    with pytest.raises(EvaluationError, match="9 rows are too few for a look"):
        monitor.check(draw(0, 9))
    with pytest.raises(EvaluationError, match="false alarms 5 is not between 0 and 1"):
        Settings(false_alarms=5)
    with pytest.raises(EvaluationError, match="keep = 10 rows are too few"):
        Settings(keep=10)


# --- the file


def test_a_monitor_goes_on_from_its_file_with_the_same_bits(monitor, tmp_path):
    half, _ = watch(monitor, 2)
    again = load(save(half, tmp_path / "monitor.npz"))
    first, second = (m.check(draw(9))[1].to_json() for m in (half, again))
    assert first == second
    assert again.settings == half.settings


def test_an_interrupted_write_leaves_the_old_monitor(monitor, tmp_path, monkeypatch):
    path = save(monitor, tmp_path / "monitor.npz")
    after, _ = monitor.check(draw(0))
    for error, expected in (
        (OSError(28, "No space left"), WorkdirError),
        (KeyboardInterrupt(),) * 2,
    ):
        expected = expected if isinstance(expected, type) else type(expected)

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(expected):
            save(after, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["monitor.npz"]
    assert load(path).looks == ()


def test_a_file_that_is_no_monitor_is_refused(tmp_path):
    with pytest.raises(EvaluationError, match="there is no such monitor; make one with"):
        load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(EvaluationError, match=r"not a readable \.npz of plain arrays"):
        load(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", id=np.arange(3))
    with pytest.raises(EvaluationError, match=r"is not a monitor \(it has \['id'\]\)"):
        load(tmp_path / "other.npz")
    np.savez(tmp_path / "cut.npz", monitor=np.asarray('{"schema": 1}'))
    with pytest.raises(EvaluationError, match="the monitor is damaged"):
        load(tmp_path / "cut.npz")
    np.savez(tmp_path / "new.npz", monitor=np.asarray('{"schema": 9}'))
    with pytest.raises(EvaluationError, match=r"new.npz: a monitor of schema 9, and this .* 1"):
        load(tmp_path / "new.npz")
