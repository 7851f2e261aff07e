"""What many decisions say together, on decisions made up for it."""

import pathlib

import numpy as np
import pytest
from scipy import stats

from jaxtransfer.evaluation.intervals import wilson
from jaxtransfer.protocol.entries import Decision, Rung
from jaxtransfer.protocol.lessons import gains, recommendations, wins


def rung(method, gain=None, distinct=False, decision="rejected"):
    return Rung(
        name=f"my_{method}",
        method=method,
        trainable=1,
        seconds=1.0,
        value=0.5,
        ci=(0.4, 0.6),
        decision=decision,
        gain=gain,
        is_distinct=distinct,
    )


def decision(
    chosen,
    *others,
    train=10,
    classes=2,
    data="a",
    metric="macro_f1",
    recommended=None,
    imbalance=1.0,
):
    return Decision(
        directory=pathlib.Path("d"),
        name="d",
        created="2026-01-01",
        question="?",
        conclusion=(),
        rationale=(),
        limits=(),
        command="",
        hashes={},
        metric=metric,
        confidence=0.95,
        chosen=chosen,
        rungs=(chosen, *others),
        model="m",
        input="text",
        labels_per_class=train / classes,
        classes=classes,
        train=train,
        imbalance=imbalance,
        seeds=2,
        record_hash="",
        data_hash=data,
        recommended=recommended,
        examination=None,
        is_sealed=True,
    )


PROBE, LORA, FULL = (rung(method) for method in ("linear_probe", "lora", "full"))


def test_a_method_is_counted_where_it_stood():
    found = wins([decision(LORA, PROBE), decision(PROBE, LORA), decision(PROBE), decision(LORA)])
    (all_,) = found["All"]
    assert (all_.n, all_.tasks) == (4, 1)
    assert {m: (won.k, won.n) for m, won in all_.methods.items()} == {
        "linear_probe": (2, 3),
        "lora": (2, 3),
    }
    assert all_.methods["lora"].ci == wilson(2, 3)


def test_a_reference_cannot_be_chosen_and_does_not_stand():
    scratch = rung("full", decision="reference")
    (all_,) = wins([decision(LORA, scratch), decision(FULL, PROBE)])["All"]
    assert (all_.methods["full"].k, all_.methods["full"].n) == (1, 1)


def test_conditions_are_bands_in_the_order_of_their_numbers():
    tasks = [
        decision(LORA, train=train, classes=2, data=str(train)) for train in (2000, 20, 60, 21, 500)
    ]
    assert [(one.condition, one.n) for one in wins(tasks)["Labels per class"]] == [
        ("at most 10", 1),
        ("11 to 50", 2),
        ("51 to 250", 1),
        ("more than 250", 1),
    ]
    assert [(one.condition, one.n, one.tasks) for one in wins(tasks)["Classes"]] == [("2", 5, 5)]
    skewed = [decision(LORA, imbalance=9.0), decision(LORA, imbalance=1.2)]
    assert [one.condition for one in wins(skewed)["Largest over smallest class"]] == [
        "at most 1.5",
        "more than 5",
    ]


def test_no_decision_has_no_winners():
    assert wins([])["All"] == []
    assert gains([]) == []
    assert recommendations([]) is None


def test_gains_are_averaged_within_one_metric_with_students_interval():
    values = [0.02, 0.05, -0.01]
    found = gains(
        [
            *(decision(PROBE, rung("lora", g, g > 0.04), data=str(g)) for g in values),
            decision(PROBE, rung("lora", 0.4), metric="accuracy"),
        ]
    )
    alone, three = sorted(found, key=lambda row: row.n)
    assert (alone.metric, alone.n, alone.mean, alone.ci) == ("accuracy", 1, 0.4, None)
    assert (three.metric, three.n, three.tasks) == ("macro_f1", 3, 3)
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert three.mean == pytest.approx(0.02)
    assert three.ci == pytest.approx((low, high), rel=1e-9)
    assert (three.better.k, three.better.n, three.distinct) == (2, 3, 1)


def test_recommendations_are_held_to_the_most_frequent_winner():
    found = recommendations(
        [
            decision(LORA, PROBE, recommended=("my_lora", "my_full")),
            decision(LORA, PROBE, recommended=("linear_probe",)),
            decision(LORA, PROBE, recommended=("lora",)),
            decision(FULL, PROBE, recommended=("full",)),
            decision(FULL, PROBE),
        ]
    )
    assert (found.right.k, found.right.n) == (3, 4)
    assert (found.base_method, found.base.k, found.base.n) == ("lora", 3, 4)
    assert (found.only_right, found.only_base) == (1, 1)
