"""A metric against a bound: what its interval says, and how many examples would settle it."""

import math

import numpy as np
import pytest

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.bound import judge
from jaxtransfer.evaluation.definition import Measured
from jaxtransfer.evaluation.intervals import wilson


def measured(value, ci, n=100):
    return Measured(name="accuracy", value=value, ci=ci, n=n, definition="", undefined="no ci")


@pytest.mark.parametrize(
    ("bound", "at_least", "verdict"),
    [
        (0.85, True, "pass"),
        (0.80, True, "pass"),
        (0.95, True, "fail"),
        (0.90, True, "inconclusive"),
        (0.95, False, "pass"),
        (0.80, False, "fail"),
        (0.90, False, "inconclusive"),
    ],
)
def test_the_whole_interval_has_to_lie_on_one_side(bound, at_least, verdict):
    found = judge(measured(0.89, (0.85, 0.93)), bound, at_least=at_least, confidence=0.95)
    assert found.verdict == verdict
    assert (found.needed is not None) == (verdict == "inconclusive")


def test_the_examples_that_are_needed_settle_it_as_often_as_was_asked():
    """A true rate of 0.9 against 0.86: simulated with the predicted number of examples."""
    n, truth, bound = 100, 0.9, 0.86
    found = judge(measured(truth, wilson(90, n), n), bound, at_least=True, confidence=0.95)
    rng = np.random.default_rng(0)
    hits = [
        wilson(int(count), found.needed)[0] >= bound
        for count in rng.binomial(found.needed, truth, 2000)
    ]
    # Wilson's interval is not symmetric, and its lower half at n=100 is taken for all n.
    assert 0.75 <= np.mean(hits) <= 0.95


def test_what_cannot_be_settled_is_said():
    assert (
        "bound itself"
        in judge(measured(0.9, (0.8, 0.95)), 0.9, at_least=True, confidence=0.95).note
    )
    none = judge(measured(None, None), 0.9, at_least=True, confidence=0.95)
    assert (none.verdict, none.needed, none.note) == ("inconclusive", None, "no ci")
    far = judge(measured(0.9, (0.8, 0.95)), 0.9 + 1e-7, at_least=True, confidence=0.95)
    assert far.needed is None
    assert "more than" in far.note
    with pytest.raises(EvaluationError, match="bound nan"):
        judge(measured(0.9, (0.8, 1.0)), math.nan, at_least=True, confidence=0.95)
