"""What a record says of its own limits follows from its facts."""

import copy

import pytest

from jaxtransfer.protocol import account


def difference(incumbent, value, ci):
    return {"incumbent": incumbent, "value": value, "ci": ci}


def rung(name, decision, found=None, *, trainable=10, trials=0, reason="so it is"):
    return {
        "name": name,
        "decision": decision,
        "reason": reason,
        "method": {"method": name},
        "difference": found,
        "trainable": trainable,
        "tuning": [{}] * trials,
    }


@pytest.fixture
def record():
    return {
        "name": "bbc",
        "chosen": "probe",
        "task": {
            "kind": "classification",
            "classes": ["a", "b"],
            "metric": "accuracy",
            "margin": 0.0,
        },
        "data": {
            "source": "bbc.csv",
            "splits": {"train": 20, "tune": 30, "accept": 40, "test": 50},
            "truncated": {"examples": 3, "of": 140},
        },
        "config": {
            "model": {"uri": "minilm"},
            "splits": {"train_per_class": 10, "seed": 4},
            "seeds": [0, 1, 2],
            "tuning": {"seed": 1000},
        },
        "environment": {"device": "cpu"},
        "rungs": [
            rung("majority", "baseline", trainable=0),
            rung("probe", "accepted", difference("majority", 0.3, [0.2, 0.4]), trials=3),
            rung("lora", "rejected", difference("probe", 0.01, [-0.05, 0.07])),
            rung("full", "rejected", difference("probe", -0.1, [-0.15, -0.05]), trials=2),
            rung("from_scratch", "reference", trials=2),
        ],
        "plan": {"skipped": [{"rung": "lp_ft"}], "not_run": [{"rung": "deep"}]},
    }


def test_the_question_names_task_data_model_and_budget(record):
    assert account.question(record) == (
        "Which of 4 rungs should adapt minilm to bbc.csv (classification, 2 classes: a, b), with 20 labelled training"
        " examples (10 a class) and 30 to tune, 40 to decide, judged by accuracy?"
    )
    record["config"]["splits"]["train_per_class"] = 0.25
    record["task"]["classes"] = [str(number) for number in range(15)]
    assert "a share of 0.25 of each class" in account.question(record)
    assert "10, 11 and 3 more)" in account.question(record)


def test_the_rationale_follows_the_incumbent(record):
    assert account.rationale(record) == [
        "The ladder begins with majority as its incumbent.",
        "probe replaces majority: so it is.",
        "lora does not replace probe: so it is.",
        "full does not replace probe: so it is.",
    ]
    del record["rungs"][2:]
    assert account.rationale(record)[-1] == "No rung stands above probe."


def test_limits_name_seeds_examples_one_split_and_open_intervals(record):
    found = " ".join(account.limits(record))
    for text in (
        "3 seeds a rung",
        "One draw of the splits (seed 4), one training set of 20 examples, all from bbc.csv",
        "40 examples decide: the corrected intervals against probe reach 0.050 to 0.060 to either side",
        "Not settled, since the interval against probe holds an advantage beyond the margin of 0",
        "brackets): lora (0.070). Not shown",
        "Learning rates are the best of 2 to 3, by one seed (1000).",
        "One learning rate alone was tried for lora.",
        "Not climbed, and so not judged: lp_ft and deep.",
        "3 of 140 documents are longer than the encoder reads",
    ):
        assert text in found
    assert "Without an interval" not in found


def test_limits_change_with_the_facts(record):
    other = copy.deepcopy(record)
    other["config"]["seeds"] = [0]
    other["task"]["margin"] = 0.08
    other["rungs"][3]["difference"]["ci"] = None
    found = " ".join(account.limits(other))
    assert "One seed: no interval holds" in found
    assert "Not settled" not in found
    assert "Without an interval, and so not decided on evidence: full." in found


def test_for_a_metric_that_should_be_small_the_lower_end_is_what_may_be_gained(record):
    record["task"]["metric"] = "nll"
    found = " ".join(account.limits(record))
    assert "lora (0.050) and full (0.150)" in found


def test_without_a_command_the_way_back_is_the_config(record):
    record |= {"command": "", "hashes": {}, "versions": {}}
    found = account.reproduction(record, "abc")
    assert "jaxtransfer.protocol.settings.from_json" in found["how"]
    assert (found["revision"], found["device"]) == ("abc", "cpu")
