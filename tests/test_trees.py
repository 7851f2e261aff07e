"""Paths and rules."""

import pytest

from jaxtransfer import trees
from jaxtransfer.errors import RuleError
from jaxtransfer.trees import Rule

VARIABLES = {
    "params": {"body": {"kernel": 1, "bias": 2}, "head": {"kernel": 3}},
    "batch_stats": {"body": {"mean": 4}},
    "delta": {"body": {"lora_a": 5}},
}
PATHS = ["body/kernel", "body/bias", "head/kernel"]


def test_flatten_variables_round_trips():
    flat = trees.flatten_variables(VARIABLES)
    assert list(flat) == [*PATHS, "batch_stats/body/mean", "delta/body/lora_a"]
    assert trees.unflatten_variables(flat, VARIABLES) == VARIABLES


def test_a_module_named_like_a_collection_is_refused():
    with pytest.raises(RuleError, match=r"'delta'.*rename the modules"):
        trees.flatten_variables({"params": {"delta": {"w": 1}}, "delta": {}})


def test_the_first_full_match_wins():
    rules = [Rule("body/bias", 1), Rule("body/.*", 2), Rule(".*", 3)]
    assert trees.apply_rules(rules, PATHS) == {"body/kernel": 2, "body/bias": 1, "head/kernel": 3}


def test_a_partial_match_is_no_match():
    with pytest.raises(RuleError, match="no rule covers 'head/kernel'"):
        trees.apply_rules([Rule("body/.*", 1), Rule("head", 2, optional=True)], PATHS)


def test_a_rule_that_matches_nothing_names_the_nearest_paths():
    with pytest.raises(
        RuleError, match=r"'body/kernal' matched no parameter; nearest: 'body/kernel'"
    ):
        trees.apply_rules([Rule("body/kernal", 1), Rule(".*", 2)], PATHS)


def test_a_shadowed_rule_names_the_rule_that_takes_its_leaves():
    with pytest.raises(RuleError, match=r"wins no parameter: all 1 it matches .* .rule 0 '"):
        trees.apply_rules([Rule(".*", 1), Rule("head/.*", 2)], PATHS)


def test_an_optional_rule_may_win_nothing():
    rules = [Rule("tail/.*", 1, optional=True), Rule(".*", 2)]
    assert set(trees.apply_rules(rules, PATHS).values()) == {2}


def test_a_broken_expression_is_named():
    with pytest.raises(RuleError, match=r"'layer_\(' is not a regular expression"):
        Rule("layer_(", 1)
    with pytest.raises(RuleError, match="rule 3 is not a regular expression"):
        Rule(3, 1)


def test_keys_with_slashes_round_trip():
    """`nn.WeightNorm` names a parameter `Dense_0/kernel/scale`."""
    variables = {"params": {"norm": {"a/b%2F": 1, "a": {"b": 2}}}, "batch_stats": {"n": {"x/y": 3}}}
    flat = trees.flatten_variables(variables)
    assert set(flat) == {"norm/a%2Fb%252F", "norm/a/b", "batch_stats/n/x%2Fy"}
    assert trees.unflatten_variables(flat, variables) == variables
