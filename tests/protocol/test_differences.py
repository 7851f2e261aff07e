"""Where two documents differ."""

import pytest

from jaxtransfer.protocol.differences import ABSENT, differences, shown


def places(first, second, **options):
    return [one.place for one in differences(first, second, **options)]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": None}, {}, ["a"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a"]),
        ({"a": [{"b": "x"}]}, {"a": [{"b": "y"}]}, ["a[0].b"]),
        ({"a": {}}, {"a": []}, ["a"]),
        ("x", "y", [""]),
    ],
)
def test_places(first, second, expected):
    assert places(first, second) == expected


def test_floats_may_be_near_and_integers_may_not():
    assert places(1.0, 1.0 + 1e-10, relative=1e-9) == []
    assert places(1.0, 1.0 + 1e-8, relative=1e-9) == [""]
    assert places(0.0, 1e-17, relative=1e-9) == []
    assert places(0.0, 1e-17) == [""]
    assert places(10**12, 10**12 + 1, relative=1e-9) == [""]


def test_what_is_absent_is_said():
    (found,) = differences({"a": 1}, {}, "config")
    assert (found.place, found.second) == ("config.a", ABSENT)
    assert shown(ABSENT) == "nothing"
    assert shown([{"name": "lora"}, {"rank": 1}]) == "['lora', {'rank': 1}]"
    assert shown("x" * 200).endswith("...")
