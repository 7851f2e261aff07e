"""Pareto fronts: exact beside brute force, and the probability of being on one beside what it must be."""

import dataclasses
import json
import math

import numpy as np
import pytest
from curves import table
from scipy.special import ndtr, stdtr

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.pareto import (
    Candidate,
    CostInterval,
    CostSamples,
    dominates,
    on_front,
    pareto,
)


def brute_force(values, costs):
    """Whether no other candidate dominates, one comparison of whole numbers at a time."""
    found = []
    for i in range(len(values)):
        beaten = False
        for j in range(len(values)):
            pairs = [(values[j], values[i]), *((a, b) for a, b in zip(costs[i], costs[j]))]
            beaten |= all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)
        found.append(not beaten)
    return found


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_front_is_that_of_brute_force(count):
    """Few different whole numbers, so that ties are many."""
    rng = np.random.default_rng(count)
    for _ in range(200):
        size = int(rng.integers(1, 8))
        values, costs = rng.integers(0, 4, size), rng.integers(0, 4, (size, count))
        found = on_front(values.astype(float), costs.astype(float))
        assert found.tolist() == brute_force(values.tolist(), costs.tolist())
        assert found.any()


def test_many_fronts_at_once_are_those_one_by_one():
    rng = np.random.default_rng(0)
    values, costs = rng.integers(0, 4, (50, 6)), rng.integers(0, 4, (50, 6, 2))
    whole = on_front(values, costs)
    assert all((on_front(v, c) == row).all() for v, c, row in zip(values, costs, whole))


def test_equals_stay_together_and_dominate_nothing_of_each_other():
    values, costs = np.array([0.9, 0.9, 0.8]), np.array([[1.0], [1.0], [1.0]])
    assert on_front(values, costs).tolist() == [True, True, False]
    assert not dominates(values, costs)[:2, :2].any()


def candidate(name, right, cost, **options):
    tables = [table(row) for row in np.atleast_2d(right)]
    return Candidate(name=name, tables=tables, costs={"ms": cost}, **options)


def test_the_cheapest_is_surely_on_it_and_a_dear_one_as_it_is_surely_better():
    """Two candidates, one seed: the probability is normal in the difference over its error."""
    rng = np.random.default_rng(1)
    n = 1000
    cheap = rng.random(n) < 0.8
    dear = cheap ^ (rng.random(n) < np.where(cheap, 0.03, 0.2))
    found = pareto([candidate("cheap", cheap, 1), candidate("dear", dear, 2)], "accuracy")
    gain = dear.astype(float) - cheap
    strata = [gain[0::2], gain[1::2]]
    error = math.sqrt(sum(s.var(ddof=1) / len(s) for s in strata) / 4)
    first, second = found.standings
    assert (first.probability, first.monte_carlo_error) == (1.0, 0.0)
    expected = ndtr(gain.mean() / error)
    assert 0.6 < expected < 0.999
    # The difference moves in steps of 1 / n, and a tie leaves the dear one dominated.
    slack = 4 * second.monte_carlo_error + 0.4 / (n * error) / 2
    assert second.probability == pytest.approx(expected, abs=slack)


def test_seeds_count_as_students_t():
    """Seeds alone differ: every replicate of examples is the same, as each class is all right or wrong."""
    rows = np.zeros((4, 40), bool)
    rows[:, 0::2] = True
    better = rows.copy()
    better[0, 1::2] = True
    found = pareto(
        [candidate("cheap", rows, 1), candidate("dear", better, 2)], "accuracy", replicates=20_000
    )
    gain = np.array([0.5, 0, 0, 0])
    ratio = gain.mean() / (gain.std(ddof=1) / 2)
    second = found.standings[1]
    expected = float(stdtr(3, ratio))
    assert second.probability == pytest.approx(expected, abs=4 * second.monte_carlo_error)


def test_one_that_is_worse_and_dearer_is_dominated_by_name():
    rng = np.random.default_rng(2)
    right = rng.random(300) < 0.9
    worse = right & (rng.random(300) < 0.7)
    found = pareto([candidate("good", right, 1.0), candidate("bad", worse, 2.0)], "accuracy")
    assert found.front == ("good",)
    assert found.standings[1].dominated_by == ("good",)
    assert found.standings[1].probability == 0
    assert "bad: accuracy" in str(found)
    assert "dominated by good" in str(found)


def test_equal_candidates_are_all_on_it_in_every_replicate():
    """Equal counts of different examples in the same strata would differ by the order of sums."""
    right = np.random.default_rng(3).random(200) < 0.7
    found = pareto([candidate("a", right, 1.0), candidate("b", right, 1.0)], "macro_f1")
    assert found.front == ("a", "b")
    assert [one.probability for one in found.standings] == [1.0, 1.0]


def test_a_metric_to_minimise_is_turned_round():
    right = np.random.default_rng(4).random(200) < 0.7
    sharp = candidate("sharp", right, 1.0)
    one = sharp.tables[0]
    dull = Candidate(
        name="dull",
        tables=[dataclasses.replace(one, logits=0.01 * one.logits)],
        costs={"ms": 1.0},
    )
    found = pareto([sharp, dull], "nll")
    values = [standing.value for standing in found.standings]
    assert found.front == (("sharp",) if values[0] < values[1] else ("dull",))
    assert not found.maximise


def test_costs_with_an_interval_vary_too():
    """Equal predictions: who is on the front is a matter of the costs, normal in their difference."""
    right = np.random.default_rng(5).random(100) < 0.7
    reach = 1.959963984540054
    sure = candidate("sure", right, 10.0)
    unsure = candidate("unsure", right, CostInterval(value=11.0, ci=(11 - reach, 11 + reach)))
    found = pareto([sure, unsure], "accuracy", replicates=10_000)
    two = found.standings[1]
    assert two.probability == pytest.approx(ndtr(-1.0), abs=4 * two.monte_carlo_error)
    assert found.front == ("sure",)
    rng = np.random.default_rng(6)
    samples = CostSamples(samples=rng.normal(10, 1, 101).tolist())
    error = np.std([np.median(rng.choice(samples.samples, 101)) for _ in range(2000)])
    sure = candidate("sure", right, samples.value + error)
    one = pareto([sure, candidate("s", right, samples)], "accuracy", replicates=4000).standings[0]
    assert 1 - one.probability == pytest.approx(ndtr(1.0), abs=0.08)


def test_rows_are_paired_by_id_and_draws_repeat():
    rng = np.random.default_rng(7)
    a, b = rng.random(100) < 0.8, rng.random(100) < 0.8
    shuffled = Candidate(name="b", tables=[table(b, order=rng.permutation(100))], costs={"ms": 2.0})
    first = pareto([candidate("a", a, 1.0), candidate("b", b, 2.0)], "accuracy")
    again = pareto([candidate("a", a, 1.0), shuffled], "accuracy")
    assert first == again
    document = json.loads(json.dumps(first.to_json()))
    assert document["candidates"][1]["costs"] == {"ms": 2.0}
    assert "one seed of a, b" in document["notes"][0]
    assert document["notes"][1] == "taken as exact: ms"


def test_what_cannot_stand_beside_each_other_is_refused():
    right = [True, False, True, True]
    good = candidate("a", right, 1.0)
    cases = [
        ([], "there is no candidate"),
        ([good, good], "must have different names"),
        ([dataclasses.replace(good, costs={})], "'a' has no cost"),
        ([good, dataclasses.replace(good, name="b", costs={"MB": 1.0})], "compare the same ones"),
        ([candidate("a", right, math.nan)], "'ms' is nan: leave out what was not measured"),
        ([candidate("a", right, CostSamples(samples=[1.0]))], "1 samples; give two or more"),
        ([candidate("a", right, CostInterval(value=3, ci=(1, 2)))], "3 does not lie in its"),
        ([dataclasses.replace(good, tables=[])], "'a' has no predictions"),
        ([good, candidate("b", right[:2], 1.0)], "cannot be paired"),
    ]
    for candidates, message in cases:
        with pytest.raises(EvaluationError, match=message):
            pareto(candidates, "accuracy")
