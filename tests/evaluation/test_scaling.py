"""Scalings find what the data were made with, and never judge the examples that they saw."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import optimize

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.isotonic import fit_isotonic
from jaxtransfer.evaluation.metrics import value
from jaxtransfer.evaluation.probabilities import log_softmax, softmax
from jaxtransfer.evaluation.recalibration import SCALINGS, before_and_after, scaling_from_json
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.evaluation.temperature import (
    HIGHEST,
    LOWEST,
    Temperature,
    fit_temperature,
    fit_vector,
)


def make(labels, logits, prefix="c", source="calibration.npz"):
    logits = np.asarray(logits)
    return Predictions(
        ids=[f"{prefix}{i}" for i in range(len(labels))],
        labels=np.asarray(labels),
        logits=logits,
        classes=tuple(f"class {c}" for c in range(logits.shape[1])),
        source=source,
    )


def draw(seed, n=1000, k=4, temperature=1.0, **options):
    """Labels drawn from the softmax of logits, which are then multiplied by the temperature."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n, k))
    labels = (softmax(logits).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=k - 1)
    return make(labels, logits * temperature, **options)


CALIBRATION = draw(0, temperature=3.0)
TEST = draw(1, temperature=3.0, prefix="t", source="test.npz")


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
def test_a_known_temperature_is_recovered(temperature):
    fitted = fit_temperature(draw(2, n=20_000, temperature=temperature))
    assert fitted.temperature == pytest.approx(temperature, rel=0.03)
    assert fitted.note is None


def test_the_temperature_is_the_likelihoods_optimum():
    """Within 1e-6 of a search that knows values alone."""
    rows = np.arange(len(CALIBRATION))

    def loss(t):
        return -log_softmax(CALIBRATION.logits / t)[rows, CALIBRATION.labels].mean()

    found = optimize.minimize_scalar(loss, bounds=(1, 10), options={"xatol": 1e-9})
    fitted = fit_temperature(CALIBRATION).temperature
    assert fitted == pytest.approx(found.x, rel=1e-6)
    assert loss(fitted) <= loss(found.x) + 1e-15


def test_temperature_times_a_factor_is_the_fit_of_multiplied_logits():
    fitted = fit_temperature(CALIBRATION).temperature
    multiplied = make(CALIBRATION.labels, CALIBRATION.logits * 7.0)
    assert fit_temperature(multiplied).temperature == pytest.approx(7 * fitted, rel=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [LOWEST, 0.7, 3.0, HIGHEST])
def test_temperature_changes_no_prediction_to_the_bit(temperature, dtype):
    rng = np.random.default_rng(0)
    scaling = dataclasses.replace(fit_temperature(CALIBRATION), temperature=temperature)
    normal = rng.normal(size=(2000, 4))
    largest = np.finfo(dtype).max
    tables = [
        normal,
        np.round(normal),
        np.zeros((2, 4)),
        np.nextafter(normal[:, :1].astype(dtype), rng.choice([-9, 9], (2000, 4)).astype(dtype)),
        1e6 + np.nextafter(dtype(1), rng.choice([0, 2], (2000, 4)).astype(dtype)),
        rng.choice([5e-324, 1e-323, 0.0], (2000, 4)),
        rng.choice([-largest, largest, 0.0], (2000, 4)),
    ]
    for logits in tables:
        logits = np.asarray(logits, dtype)
        with np.errstate(over="ignore"):
            scaled = scaling.transform(logits)
        assert np.isfinite(scaled).all()
        assert np.isfinite(log_softmax(scaled)).all()
        np.testing.assert_array_equal(scaled.argmax(axis=1), logits.argmax(axis=1))


def test_all_right_gives_the_confidence_of_the_rule_of_succession_and_a_note():
    table = make([0, 1, 2] * 10, 5 * np.eye(3)[[0, 1, 2] * 10])
    fitted = fit_temperature(table)
    assert softmax(fitted.transform(table.logits)).max(axis=1).mean() == pytest.approx(31 / 32)
    assert "every calibration example is right" in fitted.note


def test_logits_worse_than_chance_hold_the_temperature_at_its_bound_with_a_note():
    fitted = fit_temperature(make([0, 1, 2] * 10, -5 * np.eye(3)[[0, 1, 2] * 10]))
    assert fitted.temperature == pytest.approx(HIGHEST)
    assert "no better than chance" in fitted.note


def test_labels_that_tie_at_the_top_hold_the_temperature_at_its_bound_with_a_note():
    fitted = fit_temperature(make([0, 1] * 5, [[3.0, 3.0, 0.0]] * 10))
    assert fitted.temperature == pytest.approx(LOWEST)
    assert "held at the bound 0.001" in fitted.note


def test_equal_logits_have_no_temperature():
    with pytest.raises(EvaluationError, match=r"calibration.npz: the logits of each of the 4 rows"):
        fit_temperature(make([0, 1, 0, 1], np.ones((4, 3))))


@pytest.mark.parametrize("name", SCALINGS)
def test_a_calibration_set_of_one_class_is_refused(name):
    with pytest.raises(
        EvaluationError, match=r"calibration.npz: all 3 calibration examples are of"
    ):
        SCALINGS[name](make([1, 1, 1], np.eye(3)))


@pytest.mark.parametrize("name", SCALINGS)
def test_a_scaling_lowers_the_loss_of_an_overconfident_model(name):
    after = SCALINGS[name](CALIBRATION).apply(TEST)
    assert value(after, "nll") < 0.8 * value(TEST, "nll")
    assert value(after, "ece") < 0.05 < 0.15 < value(TEST, "ece")
    assert after.source == f"test.npz ({name})"


@pytest.mark.parametrize("name", SCALINGS)
def test_the_order_of_rows_and_classes_changes_no_fit(name):
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(len(CALIBRATION)), rng.permutation(4)
    shuffled = SCALINGS[name](CALIBRATION.take(rows))
    fitted = SCALINGS[name](CALIBRATION)
    close = {"rtol": 0, "atol": 1e-4 if name == "vector" else 1e-10}
    expected = softmax(fitted.transform(TEST.logits))
    np.testing.assert_allclose(softmax(shuffled.transform(TEST.logits)), expected, **close)
    assert shuffled.fitted_on == fitted.fitted_on
    moved = make(np.argsort(columns)[CALIBRATION.labels], CALIBRATION.logits[:, columns])
    permuted = SCALINGS[name](moved).transform(TEST.logits[:, columns])
    np.testing.assert_allclose(softmax(permuted), expected[:, columns], **close)


@pytest.mark.parametrize("name", SCALINGS)
def test_a_scaling_returns_from_json_and_still_refuses(name):
    fitted = SCALINGS[name](CALIBRATION)
    again = scaling_from_json(json.loads(json.dumps(fitted.to_json())))
    assert type(again) is type(fitted)
    assert again.fitted_on == fitted.fitted_on
    np.testing.assert_array_equal(again.transform(TEST.logits), fitted.transform(TEST.logits))
    with pytest.raises(EvaluationError, match="shares 3 of its 3 ids"):
        again.apply(CALIBRATION.take([5, 6, 7]))


def test_examples_that_were_fitted_are_refused():
    fitted = fit_temperature(CALIBRATION)
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(CALIBRATION))
    with pytest.raises(
        EvaluationError, match=r"has the ids and labels of the calibration examples of"
    ):
        fitted.apply(CALIBRATION.take(rows))
    renamed = dataclasses.replace(CALIBRATION.take(rows), ids=np.arange(1000), source="renamed")
    with pytest.raises(EvaluationError, match=r"renamed has the labels and logits of .* other ids"):
        fitted.apply(renamed)
    ids = TEST.ids.astype(object)
    ids[[3, 8]] = "c17", "c900"
    with pytest.raises(
        EvaluationError,
        match=r"test.npz shares 2 of its 1000 ids with .*calibration.npz, such as 'c17'",
    ):
        fitted.apply(dataclasses.replace(TEST, ids=ids))


def test_other_classes_are_refused():
    other = dataclasses.replace(TEST, classes=("a", "b", "c", "d"))
    with pytest.raises(EvaluationError, match="and the scaling was fitted on"):
        fit_temperature(CALIBRATION).apply(other)


def test_vector_scaling_recovers_weights_and_biases():
    """Probabilities within 0.05 of those that drew the labels, on 20,000 examples."""
    rng = np.random.default_rng(0)
    logits = 1.5 * rng.normal(size=(20_000, 3))
    centred = logits - logits.mean(axis=1, keepdims=True)
    true = softmax(centred * [0.5, 1.0, 2.0] + [0.5, -0.5, 0.0])
    labels = (true.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1).clip(max=2)
    fitted = fit_vector(make(labels, logits))
    assert np.abs(softmax(fitted.transform(logits)) - true).max() < 0.05
    np.testing.assert_allclose(
        fitted.transform(log_softmax(logits)), fitted.transform(logits), rtol=0, atol=1e-12
    )


def test_the_vector_is_an_optimum_and_a_heavy_penalty_gives_temperature_scaling():
    fitted = fit_vector(CALIBRATION)
    temperature = fit_temperature(CALIBRATION).temperature
    rows = np.arange(len(CALIBRATION))

    def loss(weights, biases):
        centred = CALIBRATION.logits - CALIBRATION.logits.mean(axis=1, keepdims=True)
        logp = log_softmax(centred * weights + biases)
        away = ((weights - 1 / temperature) ** 2).sum() + (biases**2).sum()
        return -logp[rows, CALIBRATION.labels].mean() + away / (2 * len(rows))

    best = loss(fitted.weights, fitted.biases)
    for step in 1e-3 * np.concatenate([np.eye(8), -np.eye(8)]):
        assert loss(fitted.weights + step[:4], fitted.biases + step[4:]) > best
    heavy = fit_vector(CALIBRATION, penalty=1e9)
    np.testing.assert_allclose(heavy.weights, 1 / temperature, rtol=1e-5)


def test_vector_scaling_of_separable_or_absent_classes_is_finite():
    table = make([0, 1] * 20, 8 * np.eye(4)[[0, 1] * 20])
    assert np.isfinite(fit_vector(table).transform(table.logits)).all()
    with pytest.raises(EvaluationError, match="penalty 0 must be above 0"):
        fit_vector(table, penalty=0)


def test_isotonic_zeros_are_raised_to_the_floor():
    labels = [0] * 10 + [1] * 10
    table = make(labels, np.stack([np.zeros(20), np.linspace(-3, 3, 20)], axis=1))
    fitted = fit_isotonic(table)
    p = fitted.probabilities(table.logits)
    assert set(p.ravel()) == {0.0, 1.0}
    logits = fitted.transform(table.logits)
    assert np.exp(logits).min() == pytest.approx((1 / 22) / (1 + 1 / 22))
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1.0)


def test_isotonic_says_which_classes_it_never_saw_and_spreads_what_is_left():
    table = make([0, 0, 1, 1], [[2, 0, 0.0], [2, 0, 0], [0, 2, 0], [0, 2, 0]])
    fitted = fit_isotonic(table)
    assert "['class 2']" in fitted.note
    np.testing.assert_allclose(fitted.probabilities(np.array([[0, 0, 20.0]])), 1 / 3)


def test_before_and_after_measures_both_and_their_paired_difference():
    result = before_and_after(CALIBRATION, TEST, ["temperature"], replicates=200)["temperature"]
    assert isinstance(result.scalings[0], Temperature)
    assert result.differences["nll"].ci[1] < 0
    assert result.differences["accuracy"].value == 0
    for metric, difference in result.differences.items():
        change = result.after[metric].value - result.before[metric].value
        assert difference.value == pytest.approx(change, abs=1e-12)
    assert result.after["ece"].value < result.after["ece_perfect"].ci[1]
    assert "temperature scaling, after - before:" in str(result)
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert set(document["differences"]) == {"accuracy", "nll", "brier", "ece", "smooth_ece"}


def test_before_and_after_takes_a_table_a_seed():
    pairs = [
        (
            draw(s, 200, temperature=3.0),
            make(TEST.labels[:200], TEST.logits[:200] * (1 + s / 10), "t"),
        )
        for s in range(3)
    ]
    result = before_and_after(*zip(*pairs), names=["temperature"], metrics=["nll"], replicates=100)
    assert result["temperature"].differences["nll"].seeds == 3
    with pytest.raises(EvaluationError, match="2 calibration tables for 1 test tables"):
        before_and_after([CALIBRATION] * 2, [TEST])


def test_before_and_after_refuses_a_test_split_that_was_fitted_on():
    with pytest.raises(EvaluationError, match="has the ids and labels of the calibration examples"):
        before_and_after(CALIBRATION, CALIBRATION)
    with pytest.raises(
        EvaluationError, match="unknown scaling 'temprature'; nearest: 'temperature'"
    ):
        before_and_after(CALIBRATION, TEST, ["temprature"])
