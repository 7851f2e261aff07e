"""The cost of a rung from shapes alone, beside what its runs are then counted to cost."""

import pytest

from jaxtransfer.protocol.problem import prepare
from jaxtransfer.protocol.rung_cost import estimate, trainable_count
from jaxtransfer.protocol.settings import from_config


@pytest.fixture(scope="module")
def problem(ladder_values):
    return prepare(from_config(ladder_values))


def test_what_trains_more_below_costs_more(problem):
    costs = {rung.name: estimate(problem, rung) for rung in problem.settings.rungs}
    assert costs["majority_class"].flops == costs["nearest_mean"].flops == 0
    assert 0 < costs["linear_probe"].flops < costs["last_block"].flops < costs["full"].flops
    # Two trials and two seeds of full fine-tuning; LP-FT has one rate, and a probe before it.
    assert costs["lp_ft"].flops > costs["full"].flops / 2
    assert costs["full"].trainable == trainable_count(problem, problem.settings.rung("full"))
    assert costs["linear_probe"].trainable == 16 * 3 + 3
