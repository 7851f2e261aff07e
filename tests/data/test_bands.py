import pytest

from jaxtransfer.data.bands import class_of_band
from jaxtransfer.errors import DataError

SIGNS = {"negative": (None, -0.5), "positive": (0.5, None)}


def places(values):
    return [f"f:{row}" for row in range(len(values))]


def cut(values, bands):
    return class_of_band(values, places(values), bands)


def test_both_bounds_are_inside_and_a_zone_between_has_no_class():
    found, classes = cut(["-4", "-0.5", "-0.499", "0", "0.5", 3], SIGNS)
    assert found == ["negative", "negative", None, None, "positive", "positive"]
    assert classes == ("negative", "positive")


def test_classes_go_upwards_however_the_bands_are_listed():
    bands = {"high": (2, None), "low": (None, 0), "middle": (1, 1.5)}
    assert cut([0, 1, 5], bands)[1] == ("low", "middle", "high")


def test_a_value_where_bands_touch_belongs_to_the_upper_one():
    assert cut([0, 1, 2], {"low": (0, 1), "high": (1, 2)})[0] == ["low", "high", "high"]


@pytest.mark.parametrize(
    ("values", "bands", "message"),
    [
        (["x", "1"], SIGNS, r"f:0 is 'x', which is no number"),
        (["1", "nan"], SIGNS, r"f:1 is 'nan', which is no number"),
        ([True, 1], SIGNS, r"f:0 is True, which is no number"),
        ([None], SIGNS, r"f:0 is None, which is no number"),
        (["1"], SIGNS, r"none of 1 values lies in the band 'negative', \[None, -0\.5\]"),
        (["1"], {"all": (None, None)}, r"make 1 classes; give at least two"),
        (["1"], {"a": (0, 1), "b": (0.5, 2)}, r"bands 'a' and 'b' overlap: \(0\.0, 1\.0\)"),
        (["1"], {"a": (1, 0), "b": (2, 3)}, r"band 'a' goes from 1 down to 0"),
        (["1"], {"a": (1,), "b": (2, 3)}, r"band 'a' is \(1,\); give its lowest and highest"),
        (["1"], {"a": 1, "b": (2, 3)}, r"band 'a' is 1; give its lowest and highest"),
        (["1"], {"a": ("0", 1), "b": (2, 3)}, r"band 'a' is \('0', 1\)"),
        (["1"], {"a": (float("nan"), 1), "b": (2, 3)}, r"band 'a' is \(nan, 1\)"),
    ],
)
def test_what_cannot_be_cut_is_named(values, bands, message):
    with pytest.raises(DataError, match=message):
        cut(values, bands)
