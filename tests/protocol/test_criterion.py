"""The parts of a criterion on predictions made for the purpose, and the judge that applies them."""

import dataclasses

import numpy as np
import pytest

from jaxtransfer.errors import ConfigError
from jaxtransfer.evaluation.groups import by_group
from jaxtransfer.evaluation.paired import paired_difference
from jaxtransfer.evaluation.seeds import measure_seeds
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol.acceptance import (
    AcceptanceSettings,
    BudgetSettings,
    digest,
    frozen_document,
    guards_of,
)
from jaxtransfer.protocol.criterion import (
    check_groups,
    failed_guards,
    improvement,
    parts_of,
    together,
)
from jaxtransfer.protocol.decision import climb
from jaxtransfer.protocol.judging import Judge
from jaxtransfer.protocol.serving_figures import NOTHING, Serving


def table(rng, accuracy, n=400, confident=4.0):
    """A share `accuracy` of the examples is right, to one example: seeds do not differ in it."""
    labels = np.arange(n) % 2
    right = rng.permutation(n) < round(accuracy * n)
    return Predictions(
        ids=np.arange(n),
        labels=labels,
        logits=confident * np.eye(2)[np.where(right, labels, 1 - labels)],
        classes=("a", "b"),
        groups={"site": np.where(np.arange(n) % 4 < 2, "north", "south")},
    )


def seeds(accuracy, **options):
    rng = np.random.default_rng(0)
    return [table(rng, accuracy, **options) for _ in range(3)]


def rule(**values):
    return AcceptanceSettings(metric="accuracy", **values)


@pytest.mark.parametrize(
    ("target", "verdict"), [(0.8, "pass"), (0.97, "fail"), (0.89, "inconclusive")]
)
def test_a_target_is_judged_by_the_interval_of_the_seeds(target, verdict):
    tables = seeds(0.9)
    (part,) = parts_of(tables, rule(target=target), None)
    assert part.verdict == verdict
    measured = measure_seeds(tables, ["accuracy"])["accuracy"]
    assert (part.value, part.ci) == (measured.value, measured.ci)
    assert (part.settle is None) == (verdict != "inconclusive")


def test_intervals_are_as_wide_as_the_number_of_parts_asks():
    tables = seeds(0.9)
    guards = {"ece": 0.2, "nll": 5.0, "brier": 1.9}
    found = parts_of(tables, rule(target=0.8, guards=guards), None)
    measured = measure_seeds(tables, ["accuracy", "nll"], confidence=1 - 0.05 / 4)
    by_name = {part.name: part for part in found}
    assert by_name["target"].ci == measured["accuracy"].ci
    assert by_name["nll"].ci == measured["nll"].ci


def test_a_guard_has_the_direction_of_its_metric():
    tables = seeds(0.9, confident=9.0)
    tight, loose = (parts_of(tables, rule(guards={"nll": bound}), None)[0] for bound in (0.1, 9.0))
    assert (tight.verdict, loose.verdict) == ("fail", "pass")
    assert tight.wanted == "nll at most 0.1"
    (kept,) = parts_of(tables, rule(guards={"macro_f1": 0.5}), None)
    assert (kept.wanted, kept.verdict) == ("macro_f1 at least 0.5", "pass")
    assert failed_guards([loose, kept]) is None
    assert failed_guards([tight, kept]).startswith("breaks a guard: nll at most 0.1: fail")


def with_bad_group(tables):
    """The south is guessed the wrong way round."""
    return [
        dataclasses.replace(
            one, logits=np.where(one.groups["site"][:, None] == "south", -one.logits, one.logits)
        )
        for one in tables
    ]


def test_the_worst_group_is_that_of_the_groups_report_and_fails_alone():
    tables = with_bad_group(seeds(0.9))
    guard = {"worst_group:site": 0.6}
    (part,) = parts_of(tables[:1], rule(guards=guard), None)
    worst = next(
        one
        for one in by_group(tables[0], "site", ["accuracy"], permutations=0).worst
        if one.metric == "accuracy"
    )
    assert part.verdict == "fail"
    assert part.value == pytest.approx(worst.value)
    assert worst.group in part.note
    assert parts_of(seeds(0.9), rule(guards=guard), None)[0].verdict == "pass"


def test_a_group_too_small_to_be_judged_is_named():
    tables = [
        dataclasses.replace(one, groups={"site": np.where(np.arange(400) < 3, "tiny", "rest")})
        for one in seeds(0.9)
    ]
    (part,) = parts_of(tables, rule(guards={"worst_group:site": 0.5}), None)
    assert "tiny has fewer than 10 examples" in part.note
    with pytest.raises(ConfigError, match=r"'sites', which is no column .* nearest: 'site'"):
        check_groups(rule(guards={"worst_group:sites": 0.5}), {"site": np.zeros(3)})


def test_serving_is_judged_by_the_times_and_the_memory():
    serving = Serving(seconds=tuple(np.linspace(0.001, 0.002, 200)), peak_bytes=3 * 2**20, note="n")
    guards = {"latency_p95_ms": 3.0, "peak_mib": 2.0}
    slow, memory = parts_of(seeds(0.9), rule(guards=guards), serving)
    assert (slow.verdict, memory.verdict) == ("pass", "fail")
    assert slow.value == pytest.approx(1.95, abs=0.01)
    assert slow.ci[0] < slow.value < slow.ci[1]
    low, _ = parts_of(seeds(0.9), rule(guards={"latency_p95_ms": 1.0, "peak_mib": 3.0}), serving)
    assert low.verdict == "fail"
    free = parts_of(seeds(0.9), rule(guards=guards), NOTHING)
    assert together(free) == "pass"
    assert serving.times(3).peak_mib == 9.0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("eec", "no metric and no guard; nearest: 'ece'"),
        ("latency_p95", "nearest: 'latency_p95_ms'"),
        ("worst_group:", "no metric and no guard"),
        ("ece_perfect", "is simulated"),
    ],
)
def test_an_unknown_guard_names_the_nearest(name, message):
    with pytest.raises(ConfigError, match=message):
        guards_of(rule(guards={name: 0.1}))


def test_the_hash_is_that_of_everything_the_criterion_says():
    base = digest(frozen_document(rule(), BudgetSettings()))
    assert base == digest(frozen_document(rule(), BudgetSettings()))
    others = [
        (rule(target=0.9), BudgetSettings()),
        (rule(guards={"ece": 0.1}), BudgetSettings()),
        (rule(family="all"), BudgetSettings()),
        (rule(), BudgetSettings(seconds=3)),
    ]
    assert len({base, *(digest(frozen_document(*other)) for other in others)}) == 5


def judge(settings, **values):
    return Judge(
        **{
            "rule": settings,
            "budget": BudgetSettings(),
            "serving": {},
            "trainable": {"base": 0, "better": 10},
            "ensemble": None,
            "members": 3,
            **values,
        }
    )


def test_a_better_rung_that_breaks_a_guard_is_not_accepted_and_fails_no_other():
    settings = rule(guards={"nll": 0.5})
    tables = {"base": seeds(0.6), "better": seeds(0.9, confident=90.0), "good": seeds(0.95)}
    verdicts, chosen = climb(tables, settings, veto=judge(settings).veto)
    assert chosen == "good"
    assert verdicts["better"].reason.startswith("breaks a guard: nll at most 0.5: fail")
    assert "clears the margin" in verdicts["better"].reason


def test_the_ladders_verdict_is_on_the_improvement_where_there_is_no_target():
    settings = rule()
    tables = {"base": seeds(0.6), "better": seeds(0.9)}
    verdicts, chosen = climb(tables, settings)
    outcome, (part,) = judge(settings).verdict(chosen, "base", chosen, tables, verdicts)
    assert (outcome, part.name, part.verdict) == ("pass", "improvement", "pass")
    assert judge(settings).is_met(chosen, "base", tables, verdicts)
    same = {"base": seeds(0.9), "better": seeds(0.9)}
    verdicts, chosen = climb(same, settings)
    outcome, (part,) = judge(settings).verdict(chosen, "base", chosen, same, verdicts)
    assert (chosen, outcome) == ("base", "fail")
    assert "no rung replaced base" in part.note
    assert not judge(settings).is_met(chosen, "base", same, verdicts)
    strict = rule(target=0.99)
    outcome, parts = judge(strict).verdict("base", "base", "base", same, verdicts)
    assert (outcome, [part.name for part in parts]) == ("fail", ["target"])


def test_an_improvement_is_open_with_what_would_settle_it():
    difference = paired_difference(seeds(0.91), with_bad_group(seeds(0.9)), "accuracy")
    assert improvement(difference, rule(), "base").verdict == "pass"
    rng = np.random.default_rng(3)
    one, other = ([table(rng, p, n=60) for _ in range(3)] for p in (0.85, 0.8))
    part = improvement(paired_difference(one, other, "accuracy"), rule(), "base")
    assert part.verdict == "inconclusive"
    assert "more examples" in part.settle


def test_an_ensemble_that_is_over_the_budget_is_not_accepted():
    settings = rule()
    found = judge(settings, ensemble="mean", budget=BudgetSettings(trainable=25))
    assert (
        found.veto("mean", "better", seeds(0.9))
        == "over the budget: 3 seeds train 30 parameters of 25"
    )
    assert found.veto("mean", "base", seeds(0.9)) is None
