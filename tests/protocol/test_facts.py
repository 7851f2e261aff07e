"""Preconditions of rungs on the facts of a task."""

import json

import pytest

from jaxtransfer.errors import ConfigError, JaxTransferError
from jaxtransfer.protocol.facts import unmet, with_diagnosis
from jaxtransfer.protocol.sections import RungSettings

FACTS = {"input": "text", "labels_per_class": 4, "truncated_share": None}


def rung(**when):
    return RungSettings(name="full", method="full", when=when)


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ({"labels_per_class": (">=", 4)}, None),
        ({"labels_per_class": (">", 4)}, "labels_per_class is 4, and should be > 4"),
        ({"input": ("==", "text"), "labels_per_class": ("<", 9)}, None),
        ({"input": ("!=", "text")}, "input is 'text', and should be != 'text'"),
        ({"truncated_share": ("<", 1)}, "truncated_share is undefined, and should be < 1"),
    ],
)
def test_a_rung_is_skipped_where_a_precondition_does_not_hold(when, reason):
    assert unmet(rung(**when), FACTS, None) == reason


def test_an_unknown_fact_names_the_nearest_and_the_diagnosis(tmp_path):
    with pytest.raises(ConfigError, match=r"when.labels is no fact; nearest: 'labels_per_class'"):
        unmet(rung(labels=(">", 1)), FACTS, None)
    missing = str(tmp_path / "none.json")
    with pytest.raises(ConfigError, match=r"none\.json' is not there"):
        unmet(rung(noise=(">", 1)), FACTS, missing)
    with pytest.raises(ConfigError, match="text with a number"):
        unmet(rung(input=(">", 1)), FACTS, None)


def test_a_diagnosis_adds_its_scalars_and_may_not_contradict_the_data(tmp_path):
    path = tmp_path / "diagnosis.json"
    path.write_text(json.dumps({"distance": {"mmd": 0.2, "list": [1]}, "labels_per_class": 4}))
    found = with_diagnosis(FACTS, str(path), {})
    assert found == {**FACTS, "distance/mmd": 0.2}
    assert with_diagnosis(FACTS, str(tmp_path / "none.json"), {}) == FACTS
    path.write_text(json.dumps({"labels_per_class": 5}))
    with pytest.raises(ConfigError, match="of other data: labels_per_class is 5 there and 4 here"):
        with_diagnosis(FACTS, str(path), {})
    for number in ("NaN", "1e999"):
        path.write_text(f'{{"distance": {{"mmd": {number}}}}}')
        with pytest.raises(JaxTransferError, match=r"\.json.*(NaN|is inf)"):
            with_diagnosis(FACTS, str(path), {})
    path.write_text("[")
    with pytest.raises(ConfigError, match="cannot be read"):
        with_diagnosis(FACTS, str(path), {})
