"""Metrics per group are those of the group's rows, and the worst of many is known to look bad."""

import dataclasses
import json

import numpy as np
import pytest

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.groups import by_group, intersect
from jaxtransfer.evaluation.metrics import measure
from jaxtransfer.evaluation.table import Predictions


def table_of(n=240, groups=4, seed=0, hurt=None):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    member = rng.integers(0, groups, n)
    strength = np.where(member == hurt, 0.0, 1.5)
    return Predictions(
        ids=np.arange(n),
        labels=labels,
        logits=rng.normal(size=(n, 3)) + strength[:, None] * np.eye(3)[labels],
        classes=tuple("abc"),
        groups={"site": member, "sex": rng.choice(["f", "m"], n)},
    )


def test_a_group_has_the_metrics_of_its_rows_and_their_interval():
    table = table_of()
    report = by_group(table, "site", permutations=0)
    assert [group.name for group in report.groups] == ["0", "1", "2", "3"]
    for group in report.groups:
        rows = table.groups["site"] == group.name
        assert group.n == rows.sum()
        assert group.metrics == measure(table.take(rows))
    assert sum(group.n for group in report.groups) == len(table)


def test_the_worst_group_is_found_and_told_from_chance():
    report = by_group(table_of(hurt=2), "site", ["accuracy", "nll"])
    accuracy, nll = report.worst
    assert accuracy.group == nll.group == "2"
    assert accuracy.p_value < 0.01
    assert accuracy.value < accuracy.expected
    assert nll.value > nll.expected
    assert "overstates" in accuracy.caveat
    json.dumps(report.to_json(), allow_nan=False)


def test_the_worst_of_equal_groups_is_expected_to_be_that_bad():
    found = [
        by_group(table_of(seed=seed), "site", ["accuracy"], replicates=0, permutations=100).worst[0]
        for seed in range(60)
    ]
    overall = np.mean(
        [measure(table_of(seed=s), ["accuracy"])["accuracy"].value for s in range(60)]
    )
    values = np.array([worst.value for worst in found])
    assert values.mean() < overall - 0.04
    assert np.mean([worst.expected for worst in found]) == pytest.approx(values.mean(), abs=0.01)
    assert np.mean([worst.p_value <= 0.05 for worst in found]) <= 0.05 + 3 * 0.028


def test_a_tiny_group_has_wilson_proportions_and_is_never_the_worst():
    table = table_of(60, groups=3)
    member = table.groups["site"].copy()
    member[np.flatnonzero(table.predicted != table.labels)[0]] = "lone"
    table = dataclasses.replace(table, groups={"site": member})
    report = by_group(table, "site")
    lone = next(group for group in report.groups if group.name == "lone")
    assert list(lone.metrics) == ["accuracy"]
    assert lone.metrics["accuracy"].value == 0
    assert lone.metrics["accuracy"].ci[1] == pytest.approx(0.7935, abs=1e-4)
    assert lone.note.startswith("too small: n=1, fewer than 10")
    assert any(rates.tpr.value is None for rates in lone.rates)
    for worst in report.worst:
        assert worst.group != "lone"
        assert worst.left_out["lone"] == "1 examples, fewer than 10"
    assert all("lone" in gap.left_out for gap in report.gaps)
    # Asked for nonetheless, a group of one is measured without a crash.
    assert len(by_group(table, "site", minimum=1).groups[-1].metrics) > 1


def test_one_group_has_no_worst():
    table = table_of(40, groups=1)
    worst = by_group(table, "site", ["accuracy"]).worst[0]
    assert worst.group is None
    assert str(worst) == "worst accuracy undefined: 1 of 1 groups can be compared"


def test_intersections_are_the_combinations_that_occur():
    table, name = intersect(table_of(), "sex", "site")
    assert name == "sex & site"
    joined = table.groups[name]
    pairs = [f"{a} & {b}" for a, b in zip(table.groups["sex"], table.groups["site"])]
    assert joined.tolist() == pairs
    small = by_group(table, name, ["accuracy"], minimum=35)
    assert {group.name for group in small.groups} == set(pairs)
    assert any(group.note for group in small.groups)
    three, longer = intersect(table, "sex", "site", name)
    assert three.groups[longer][0].startswith(pairs[0])


def test_intersections_that_cannot_be_told_apart_are_refused():
    table = table_of()
    with pytest.raises(EvaluationError, match="two different group columns"):
        intersect(table, "sex", "sex")
    with pytest.raises(EvaluationError, match="no group column 'age'"):
        intersect(table, "sex", "age")
    groups = {"a": np.array(["x", "x & y"]), "b": np.array(["y & z", "z"])}
    twins = Predictions(ids=[0, 1], labels=[0, 1], logits=np.eye(2), classes="ab", groups=groups)
    with pytest.raises(EvaluationError, match="both named 'x & y & z'"):
        intersect(twins, "a", "b")
