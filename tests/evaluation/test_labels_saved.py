"""Labels needed and saved: exact between sizes, bounds beyond them, validation counted."""

import json
import math

import numpy as np
import pytest
from curves import law_curve, tables

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.labels_saved import increasing, labels_needed, labels_saved
from jaxtransfer.evaluation.learning_curve import curve_from_values, learning_curve
from jaxtransfer.evaluation.power_law import fit_power_law


def curve(values, method="m", **options):
    settings = {"metric": "accuracy", "n": 100, **options}
    return curve_from_values(
        {size: np.atleast_1d(row) for size, row in values.items()}, method=method, **settings
    )


def test_interpolation_is_straight_in_log_labels():
    rising = curve({10: 0.5, 1000: 0.9})
    assert labels_needed(rising, 0.7).labels.value == pytest.approx(100, abs=1e-9)
    assert labels_needed(rising, 0.5).labels.value == pytest.approx(10, abs=1e-9)
    assert labels_needed(rising, 0.9).labels.value == pytest.approx(1000, abs=1e-9)


def test_labels_of_validation_and_calibration_are_needed_too():
    rising = curve({10: 0.5, 1000: 0.9}, validation=50, calibration={10: 0, 1000: 99})
    expected = 100 + 50 + 99 * (100 - 10) / 990
    assert labels_needed(rising, 0.7).labels.value == pytest.approx(expected, abs=1e-9)


def test_a_level_that_is_not_reached_is_a_bound_and_no_guess():
    needed = labels_needed(curve({10: 0.5, 500: 0.8}, validation=50), 0.9)
    assert needed.labels.value is None
    assert (needed.labels.low, needed.labels.high) == (550, math.inf)
    assert "> 550" in str(needed)
    assert "not reached within the sizes measured" in needed.note
    assert needed.to_json()["labels"]["bounds"] == [550, None]


def test_a_level_reached_at_once_is_a_bound():
    needed = labels_needed(curve({10: 0.5, 500: 0.8}, validation=50), 0.4)
    assert needed.labels.value is None
    assert (needed.labels.low, needed.labels.high) == (50, 60)
    assert "reached at the smallest size measured (60 labels)" in needed.note


def test_a_dip_is_levelled_by_isotonic_regression():
    isotonic = pytest.importorskip("sklearn.isotonic")
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 7)) + 0.3 * np.arange(7)
    expected = [isotonic.IsotonicRegression().fit_transform(np.arange(7), row) for row in rows]
    np.testing.assert_allclose(increasing(rows), expected, atol=1e-12)
    dipping = curve({10: 0.5, 100: 0.8, 1000: 0.6, 10_000: 0.9})
    assert labels_needed(dipping, 0.6).labels.value == pytest.approx(10 ** (1 + 1 / 2), abs=1e-9)


def test_a_metric_to_minimise_is_reached_from_above():
    falling = curve({10: 2.0, 1000: 1.0}, metric="nll", maximise=False, bounds=(0.0, math.inf))
    assert labels_needed(falling, 1.5).labels.value == pytest.approx(100, abs=1e-9)
    assert labels_needed(falling, 0.5).labels.low == 1000


def test_saved_labels_and_ratio_of_known_curves():
    a, b = curve({10: 0.5, 1000: 0.9}, "a"), curve({10: 0.3, 1000: 0.7}, "b")
    (saved,) = labels_saved(a, b, [0.6])
    ours, theirs = 10**1.5, 10**2.5
    assert saved.difference.value == pytest.approx(theirs - ours)
    assert saved.ratio.value == pytest.approx(10)
    assert saved.ratio.ci == pytest.approx((10, 10))
    assert (saved.censored, saved.how) == (0.0, "interpolation")


def test_against_a_baseline_that_does_not_reach_the_level_savings_have_a_lower_bound():
    a, b = curve({10: 0.5, 1000: 0.9}, "a"), curve({10: 0.3, 1000: 0.65}, "b")
    (saved,) = labels_saved(a, b, [0.7])
    assert saved.difference.value is None
    assert (saved.difference.low, saved.difference.high) == (pytest.approx(900), math.inf)
    assert saved.ratio.low == pytest.approx(10)
    assert saved.difference.ci == (pytest.approx(900), math.inf)
    assert saved.censored == 1.0
    assert "saved > 900" in str(saved)
    document = json.loads(json.dumps(saved.to_json(), allow_nan=False))
    assert document["ratio"]["bounds"][1] is None
    (reverse,) = labels_saved(b, a, [0.7])
    assert (reverse.difference.low, reverse.difference.high) == (-math.inf, pytest.approx(-900))
    (neither,) = labels_saved(a, b, [0.95])
    assert (neither.difference.low, neither.difference.high) == (-math.inf, math.inf)
    assert (neither.ratio.low, neither.ratio.high) == (0, math.inf)
    assert "saved unknown" in str(neither)


def test_pairs_of_seeds_narrow_the_ratio():
    """Seeds move both curves alike: the ratio is the same for each of them, so it has no width."""
    shifts = np.array([-0.01, 0.0, 0.005, 0.01])
    a = curve({n: 0.2 * np.log10(n) + 0.3 + shifts for n in (1, 10, 100, 1000)}, "a")
    b = curve({n: 0.2 * np.log10(n) + 0.1 + shifts for n in (1, 10, 100, 1000)}, "b")
    (saved,) = labels_saved(a, b, [0.5])
    assert saved.ratio.value == pytest.approx(10)
    assert saved.censored == 0
    assert saved.ratio.ci == pytest.approx((10, 10), rel=1e-9)
    assert saved.needed.labels.ci[1] > 1.1 * saved.needed.labels.value


def test_laws_extrapolate_and_say_so():
    sizes = [10, 25, 50, 100, 250, 500]
    a, b = (
        fit_power_law(law_curve(0.05, s, 0.5, sizes, method=m)) for m, s in (("a", 1), ("b", 2))
    )
    (saved,) = labels_saved(a, b, [0.9])
    assert saved.how == "law"
    assert saved.needed.labels.value == pytest.approx((1 / 0.05) ** 2, rel=1e-4)
    assert saved.ratio.value == pytest.approx(4, rel=1e-4)
    assert (saved.needed.labels.extrapolated, saved.baseline.labels.extrapolated) == (False, True)
    assert saved.ratio.extrapolated
    assert "extrapolated: beyond the 10 to 500 training labels" in saved.baseline.note
    (never,) = labels_saved(a, b, [0.96])
    assert never.needed.note.startswith("the law's asymptote does not reach the level; nothing var")
    assert "never reached" in str(never)


def test_predictions_of_shared_examples_give_a_paired_interval():
    good = tables({10: 0.6, 30: 0.75, 100: 0.85, 300: 0.9})
    poor = tables({10: 0.45, 30: 0.62, 100: 0.74, 300: 0.82})
    a, b = (
        learning_curve(made, "accuracy", method=m, replicates=500)
        for m, made in (("a", good), ("b", poor))
    )
    (saved,) = labels_saved(a, b, [0.72])
    assert saved.ratio.ci[0] > 1
    assert saved.ratio.ci[0] < saved.ratio.value < saved.ratio.ci[1]
    assert labels_saved(a, b, [0.72]) == (saved,)


def test_what_cannot_be_compared_is_refused():
    a = curve({10: 0.5, 20: 0.6, 40: 0.7, 80: 0.8})
    with pytest.raises(EvaluationError, match="a curve with a curve"):
        labels_saved(a, fit_power_law(a), [0.7])
    with pytest.raises(EvaluationError, match=r"level 1.2 of accuracy is not within"):
        labels_needed(a, 1.2)
    with pytest.raises(EvaluationError, match="different seeds"):
        labels_saved(a, curve({10: [0.5, 0.6]}, "b"), [0.7])


def test_intervals_of_one_seeds_numbers_are_said_to_say_nothing():
    one = curve({10: 0.5, 20: 0.6, 40: 0.7, 80: 0.75})
    assert "nothing varies" in labels_needed(one, 0.65).note
    assert "nothing varies" in " ".join(fit_power_law(one).notes)
    two = curve({10: [0.5, 0.52], 20: [0.6, 0.61], 40: [0.7, 0.72], 80: [0.75, 0.76]})
    assert labels_needed(two, 0.65).note is None
    assert "nothing varies" not in " ".join(fit_power_law(two).notes)
