import numpy as np
import pytest

from jaxtransfer.errors import PretrainedError
from jaxtransfer.pretrained.names import NameRule, ignore, rename


def test_the_first_whole_match_wins_and_groups_fill_the_path():
    rules = [
        NameRule(r"layer\.(\d+)\.q\.weight", r"layer_\1/query/kernel", "linear"),
        NameRule(r"layer\.(?P<n>\d+)\..*", r"layer_\g<n>/other"),
    ]
    arrays = {"layer.0.q.weight": np.arange(6.0).reshape(2, 3), "layer.1.q.bias": np.ones(2)}
    renamed = rename(arrays, rules)
    assert list(renamed) == ["layer_0/query/kernel", "layer_1/other"]
    np.testing.assert_array_equal(renamed["layer_0/query/kernel"], np.arange(6.0).reshape(2, 3).T)


def test_convolution_kernels_become_hwio():
    conv = np.arange(120.0).reshape(2, 3, 4, 5)
    depthwise = np.arange(40.0).reshape(2, 1, 4, 5)
    renamed = rename(
        {"c": conv, "d": depthwise}, [NameRule("c", "c", "conv"), NameRule("d", "d", "depthwise")]
    )
    assert renamed["c"].shape == (4, 5, 3, 2)
    assert renamed["c"][1, 2, 0, 1] == conv[1, 0, 1, 2]
    assert renamed["d"].shape == (4, 5, 1, 2)
    assert renamed["d"][3, 4, 0, 1] == depthwise[1, 0, 3, 4]


def test_names_that_match_no_rule_are_all_listed():
    with pytest.raises(PretrainedError, match=r"w\.pt: 2 of 3 names match no name rule.*'b', 'c'"):
        rename(dict.fromkeys("abc", np.ones(1)), [NameRule("a", "x")], source="w.pt")


def test_an_ignore_rule_drops_on_purpose():
    assert rename({"n": np.ones(1)}, [ignore("n")]) == {}


def test_two_names_for_one_path_are_an_error():
    with pytest.raises(PretrainedError, match="'a' and 'b' both become 'x'"):
        rename(dict.fromkeys("ab", np.ones(1)), [NameRule("[ab]", "x")])


@pytest.mark.parametrize(
    ("transform", "shape"), [("linear", (2,)), ("conv", (2, 3)), ("depthwise", (2, 3, 1, 1))]
)
def test_a_transform_refuses_another_rank(transform, shape):
    with pytest.raises(PretrainedError, match=rf"'a' cannot become 'x' by '{transform}'"):
        rename({"a": np.ones(shape)}, [NameRule("a", "x", transform)])


def test_malformed_rules_are_refused_where_they_are_written():
    with pytest.raises(PretrainedError, match="not a regular expression"):
        NameRule("(", "x")
    with pytest.raises(PretrainedError, match="unknown transform 'liner'; nearest: 'linear'"):
        NameRule("a", "x", "liner")
