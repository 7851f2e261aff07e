"""Labels, split and join."""

import jax
import numpy as np
import pytest

from jaxtransfer import partition, trees
from jaxtransfer.errors import RuleError
from jaxtransfer.trees import Rule

VARIABLES = {
    "params": {
        "body": {"norm": {"scale": np.ones(2)}, "kernel": np.ones((2, 2))},
        "head": {"bias": np.ones(3)},
    },
    "batch_stats": {"body": {"norm": {"mean": np.zeros(2)}}},
    "delta": {"body": {"lora_a": np.ones((2, 1))}},
}
RULES = [
    Rule("head/.*", "head"),
    Rule("delta/.*", "delta"),
    Rule("batch_stats/.*", "statistic"),
    Rule(".*", "frozen"),
]


def test_split_takes_only_what_an_optimizer_group_owns():
    trainable, rest = partition.split(VARIABLES, partition.label(VARIABLES, RULES))
    assert set(trees.flatten_variables(trainable)) == {"head/bias", "delta/body/lora_a"}
    assert set(trees.flatten_variables(rest)) == {
        "body/norm/scale",
        "body/kernel",
        "batch_stats/body/norm/mean",
    }


@pytest.mark.parametrize("last", ["frozen", "body"])
def test_join_is_the_inverse_of_split(last):
    labels = partition.label(VARIABLES, [*RULES[:-1], Rule(".*", last)])
    joined = partition.join(*partition.split(VARIABLES, labels))
    assert jax.tree.structure(joined) == jax.tree.structure(VARIABLES)
    assert all(a is b for a, b in zip(jax.tree.leaves(joined), jax.tree.leaves(VARIABLES)))


def test_join_refuses_a_leaf_held_twice():
    with pytest.raises(RuleError, match="two parts hold the leaf 'params/w'"):
        partition.join({"params": {"w": 1}}, {"params": {"w": 1}})


def test_a_statistic_cannot_have_an_optimizer_group():
    with pytest.raises(RuleError, match="'batch_stats/body/norm/mean' is not a parameter"):
        partition.label(VARIABLES, [Rule(".*", "body")])


def test_a_parameter_cannot_be_a_statistic():
    with pytest.raises(RuleError, match="'body/norm/scale' is a parameter"):
        partition.label(VARIABLES, [Rule(".*", "statistic")])
