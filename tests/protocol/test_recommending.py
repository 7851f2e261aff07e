"""The rules from a diagnosis to a ladder, one by one."""

import dataclasses

import pytest

from jaxtransfer.adapt.method import from_description
from jaxtransfer.protocol.recommending import BASELINES, Facts, recommend

FACTS = Facts(
    labels_per_class=12,
    train=60,
    probe=0.8,
    probe_interval=(0.7, 0.9),
    nearest_mean=0.75,
    noise=0.02,
    shifted=(),
    readings={"a": "generic", "b": "task", "c": "task", "d": "source", "e": "source"},
    has_statistics=False,
)


def suggested(**changes):
    return recommend(dataclasses.replace(FACTS, **changes), model="m")


def test_baselines_come_first_and_every_rung_has_a_method_and_a_reason():
    found = suggested()
    assert found.rungs[:3] == BASELINES
    assert set(found.methods) == set(found.reasons) == set(found.rungs)
    for name in found.rungs[2:]:
        values = found.methods[name]
        from_description({"method": values["method"], **values.get("options", {})})
    assert "0.800 [0.700, 0.900], the class means 0.750" in found.reasons["linear_probe"]


@pytest.mark.parametrize(
    ("labels", "shifted", "first"),
    [
        (2, (), "nearest_mean"),
        (6, (), "bitfit"),
        (12, (), "lora"),
        (25, (), "full"),
        (25, ("web",), "lp_ft"),
    ],
)
def test_what_is_expected_to_win_follows_labels_and_shift(labels, shifted, first):
    found = suggested(labels_per_class=labels, shifted=shifted)
    assert found.first == first
    assert found.remarks[0].startswith(f"expected to win: {first}")
    assert ("web differ" in found.reasons["lp_ft"]) == bool(shifted)


def test_a_probe_that_leaves_no_room_is_followed_by_one_cheap_rung():
    found = suggested(probe=0.995, labels_per_class=100)
    assert found.rungs == (*BASELINES, "bitfit")
    assert found.first == "linear_probe"


def test_the_stages_trained_are_those_of_the_source_and_the_last_before_them():
    assert suggested().methods["top_stages"]["options"] == {"count": 3}
    assert "they and c" in suggested().reasons["top_stages"]
    unread = suggested(readings={"a": None, "b": None, "c": None})
    assert unread.methods["top_stages"]["options"] == {"count": 2}
    assert "could not read" in unread.reasons["top_stages"]
    late = suggested(readings={"a": "generic", "b": "generic", "c": "task"})
    assert late.methods["top_stages"]["options"] == {"count": 2}


def test_noise_smooths_labels_and_few_labels_freeze_statistics():
    plain = suggested().methods["full"]
    assert plain == {"method": "full"}
    changed = suggested(noise=0.2, has_statistics=True)
    assert changed.methods["full"] == {
        "method": "full",
        "label_smoothing": 0.1,
        "statistics": "frozen",
    }
    assert changed.methods["linear_probe"] == {"method": "linear_probe", "steps": 200}
    assert any("20 % of the training labels look wrong" in remark for remark in changed.remarks)
    many = suggested(has_statistics=True, train=600)
    assert many.methods["full"]["statistics"] == "updated"
