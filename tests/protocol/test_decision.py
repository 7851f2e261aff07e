"""The acceptance rule on predictions made for the purpose."""

import numpy as np
import pytest

from jaxtransfer.errors import ConfigError
from jaxtransfer.evaluation.power import to_settle
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol.acceptance import AcceptanceSettings
from jaxtransfer.protocol.conclusion import conclude
from jaxtransfer.protocol.decision import (
    ACCEPTED,
    BASELINE,
    REJECTED,
    can_accept,
    climb,
    compare_family,
)
from jaxtransfer.protocol.ensemble import average_seeds

CLASSES = 3


def predictions(rng, accuracy, n=300):
    """A table in which about a share `accuracy` of n balanced examples is right."""
    labels = np.arange(n) % CLASSES
    right = rng.random(n) < accuracy
    guess = np.where(right, labels, (labels + 1 + rng.integers(0, CLASSES - 1, n)) % CLASSES)
    return Predictions(
        ids=np.array([f"e{i}" for i in range(n)]),
        labels=labels,
        logits=4.0 * np.eye(CLASSES)[guess],
        classes=("a", "b", "c"),
    )


def rungs(seed, **accuracies):
    rng = np.random.default_rng(seed)
    return {name: [predictions(rng, a) for _ in range(3)] for name, a in accuracies.items()}


def test_a_clearly_better_rung_replaces_the_incumbent_and_an_equal_one_does_not():
    tables = rungs(0, majority=0.34, probe=0.7, same=0.7, tuned=0.95)
    tables["same"] = tables["probe"]
    verdicts, chosen = climb(tables, AcceptanceSettings())
    assert chosen == "tuned"
    assert [v.decision for v in verdicts.values()] == [BASELINE, ACCEPTED, REJECTED, ACCEPTED]
    assert verdicts["same"].comparison.second == "probe"
    assert verdicts["tuned"].comparison.second == "probe"
    assert verdicts["tuned"].comparison.ci[0] > 0


def test_a_margin_is_part_of_what_has_to_be_cleared():
    tables = rungs(1, probe=0.70, tuned=0.90)
    assert climb(tables, AcceptanceSettings(margin=0.0))[1] == "tuned"
    verdicts, chosen = climb(tables, AcceptanceSettings(margin=0.5))
    assert chosen == "probe"
    assert verdicts["tuned"].reason.startswith("no better than probe by the margin of 0.5")


def test_an_open_comparison_is_called_inconclusive():
    verdicts, chosen = climb(rungs(4, probe=0.90, tuned=0.90), AcceptanceSettings())
    assert chosen == "probe"
    assert verdicts["tuned"].reason.startswith("inconclusive")


def test_a_metric_to_be_minimised_is_accepted_downwards():
    tables = rungs(3, probe=0.6, tuned=0.95)
    verdicts, chosen = climb(tables, AcceptanceSettings(metric="nll"))
    assert chosen == "tuned"
    assert verdicts["tuned"].comparison.difference.value < 0


def test_the_interval_agrees_with_the_decision_at_holms_level():
    for seed in range(12):
        family = compare_family(
            rungs(seed, base=0.8, a=0.82, b=0.86, c=0.9),
            [("a", "base"), ("b", "base"), ("c", "base")],
            AcceptanceSettings(),
            two_sided=seed % 2 == 1,
        )
        for item in family:
            excludes = item.ci[0] > 0 or (seed % 2 == 1 and item.ci[1] < 0)
            assert excludes == item.is_significant == (item.p_adjusted <= 0.05)


def test_comparisons_after_the_first_open_one_stay_at_its_level():
    """Three equal p-values in (1/60, .05): Holm rejects none, so no interval may exclude 0."""
    tables = rungs(2, base=0.80, a=0.85)
    alone = compare_family(tables, [("a", "base")], AcceptanceSettings())[0]
    assert 0.05 / 3 < alone.p_value < 0.05
    copies = {"base": tables["base"], **dict.fromkeys("abc", tables["a"])}
    family = compare_family(copies, [(name, "base") for name in "abc"], AcceptanceSettings())
    for item in family:
        assert not item.is_significant
        assert item.p_adjusted == pytest.approx(3 * alone.p_value)
        assert item.ci == item.difference.interval(1 - 0.05 / 3)
        assert item.ci[0] < 0 < item.ci[1]
    assert climb(copies, AcceptanceSettings())[1] == "base"
    pair = {name: copies[name] for name in ("base", "a")}
    assert climb(pair, AcceptanceSettings())[1] == "a"
    verdicts, chosen = climb(pair, AcceptanceSettings(confidence=0.99))
    assert chosen == "base"
    assert verdicts["a"].comparison.ci[0] < 0


def test_an_undefined_comparison_accepts_nothing():
    tables = {
        name: [t.take(t.labels < 2) for t in each]
        for name, each in rungs(0, base=0.4, better=0.99).items()
    }
    verdicts, chosen = climb(tables, AcceptanceSettings(metric="auroc_ovr_macro"))
    assert chosen == "base"
    assert verdicts["better"].decision == REJECTED
    assert verdicts["better"].reason.startswith("undefined against base: class 'c' has no example")
    assert verdicts["better"].comparison.p_adjusted == 1
    assert "undefined is" in concluded(
        verdicts,
        "base",
        [verdicts["better"].comparison],
        measured={"base": {"value": None, "ci": None, "n": 9, "undefined": "no c"}},
        tuned=["better"],
        probe="base",
    )


def test_intervals_of_the_decision_hold_no_difference_that_cannot_be():
    tables = {
        name: [t.take(np.arange(9)) for t in each] for name, each in rungs(0, a=0.2, b=1).items()
    }
    item = compare_family(tables, [("b", "a")], AcceptanceSettings(metric="accuracy"))[0]
    assert item.ci[1] == 1


def test_a_two_sided_family_finds_the_worse_too():
    family = compare_family(
        rungs(7, base=0.9, worse=0.5), [("worse", "base")], AcceptanceSettings(), two_sided=True
    )
    assert family[0].is_significant
    assert family[0].ci[1] < 0


def test_equal_rungs_are_seldom_accepted():
    """The chance of any acceptance among five equal rungs is at most 5 %, in 200 ladders."""
    false = 0
    for seed in range(200):
        rng = np.random.default_rng(1000 + seed)
        tables = {f"rung{i}": [predictions(rng, 0.8, n=120) for _ in range(3)] for i in range(5)}
        false += climb(tables, AcceptanceSettings())[1] != "rung0"
    # 10 expected at the nominal rate; 17 is its 98 % quantile.
    assert false <= 17


def test_a_ladder_without_rungs_is_an_error():
    with pytest.raises(ConfigError, match="at least one rung"):
        climb({}, AcceptanceSettings())


def concluded(verdicts, chosen, comparisons, **changes):
    values = {
        "measured": {chosen: {"value": 0.8, "ci": [0.7, 0.9], "n": 1000}},
        "metric": "macro_f1",
        "margin": 0.0,
        "confidence": 0.95,
        "accept_count": 20,
        "tuned": ["tuned"],
        "probe": "probe",
    }
    values |= changes
    return " ".join(conclude(chosen=chosen, verdicts=verdicts, comparisons=comparisons, **values))


def test_the_conclusion_says_when_the_test_split_disagrees():
    """Twenty examples decide for the probe; a thousand find the tuned rung better, and it is said."""
    rng = np.random.default_rng(8)
    tables = {
        name: [predictions(rng, accuracy, n=1000) for _ in range(3)]
        for name, accuracy in (("probe", 0.8), ("tuned", 0.9))
    }
    few = {name: [t.take(np.arange(20)) for t in each] for name, each in tables.items()}
    rule = AcceptanceSettings()
    verdicts, chosen = climb(few, rule)
    assert chosen == "probe"
    comparisons = compare_family(tables, [("tuned", "probe")], rule, two_sided=True)
    text = concluded(verdicts, chosen, comparisons)
    assert "finds better than probe: tuned +0." in text
    assert "with 20 examples the acceptance half could not show it" in text
    assert "tuned did not clear the margin of 0 over probe; its interval does not exclude" in text
    assert "(corrected for all pairs): better is tuned +0." in text
    assert "macro_f1 of 0.800 [0.700, 0.900] (95 % interval), n=1000." in text
    assert "(97.5 % interval)" in concluded(verdicts, chosen, comparisons, confidence=0.975)


def test_the_conclusion_sorts_the_tuned_rungs_by_what_their_intervals_say():
    rng = np.random.default_rng(3)
    accuracies = {"probe": 0.7, "good": 0.9, "bad": 0.4, "same": 0.7}
    tables = {n: [predictions(rng, a, n=900) for _ in range(3)] for n, a in accuracies.items()}
    rule = AcceptanceSettings()
    tuned = ["good", "bad", "same"]
    pairs = [
        *((name, "probe") for name in tuned),
        ("bad", "good"),
        ("same", "good"),
        ("same", "bad"),
    ]
    for metric in ("macro_f1", "nll"):
        rule = AcceptanceSettings(metric=metric)
        verdicts, chosen = climb(tables, rule)
        text = concluded(
            verdicts,
            chosen,
            compare_family(tables, pairs, rule, two_sided=True),
            metric=metric,
            tuned=tuned,
        )
        assert chosen == "good"
        assert "better is good " in text
        assert "; worse is bad " in text
        assert "; not distinguishable is same " in text
        assert "3 of 3 differences" in text
        assert (
            "distinguishable: good over bad, good over same and same over bad; the largest is"
            in text
        )
        assert "bad minus good" in text
        assert "finds better than" not in text
        assert "did not clear" not in text  # their intervals exclude an advantage over good


@pytest.mark.parametrize("size", [4, 6, 8, 12, 16, 24])
@pytest.mark.parametrize("challengers", [1, 7])
def test_too_few_examples_are_those_on_which_a_flawless_rung_is_rejected(size, challengers):
    labels = np.arange(size) % 2
    rule = AcceptanceSettings(metric="macro_f1", margin=0.0, confidence=0.95)

    def table(logits):
        ids = np.arange(size).astype(str)
        return Predictions(ids=ids, labels=labels, logits=logits, classes=("a", "b"))

    flawless, majority = np.eye(2)[labels] * 9.0, np.tile([1.0, 0.0], (size, 1))
    # One flawless rung among others that equal the incumbent.
    rungs = {"majority": [table(majority)], "flawless": [table(flawless)]}
    rungs |= {f"other{i}": [table(majority)] for i in range(challengers - 1)}
    _, chosen = climb(rungs, rule)
    assert can_accept(table(majority), challengers, rule) == (chosen == "flawless")


def test_rungs_that_agree_on_every_example_are_said_to_and_not_called_no_better():
    labels = np.arange(12) % 2
    ids = np.arange(12).astype(str)
    same = Predictions(ids=ids, labels=labels, logits=np.eye(2)[labels], classes=("a", "b"))
    rule = AcceptanceSettings(metric="macro_f1", margin=0.0, confidence=0.95)
    verdicts, chosen = climb({"first": [same], "second": [same]}, rule)
    assert chosen == "first"
    assert verdicts["second"].reason == "does not differ from first on these 12 examples"


def test_one_family_of_all_pairs_accepts_no_more_than_families_by_incumbent():
    """With four rungs Holm's first step is six comparisons instead of three: a p between them is accepted by one alone."""
    tables = rungs(2, base=0.80, a=0.85)
    p_value = compare_family(tables, [("a", "base")], AcceptanceSettings())[0].p_value
    level = 1 - 4 * p_value
    copies = {**tables, "same": tables["base"], "other": tables["base"]}
    order = {name: copies[name] for name in ("base", "a", "same", "other")}
    assert climb(order, AcceptanceSettings(confidence=level))[1] == "a"
    verdicts, chosen = climb(order, AcceptanceSettings(confidence=level, family="all"))
    assert chosen == "base"
    assert verdicts["a"].comparison.p_adjusted == pytest.approx(6 * p_value)
    assert verdicts["a"].comparison.ci[0] < 0


def test_a_planned_rung_that_was_not_run_counts_in_the_family():
    tables = rungs(2, base=0.80, a=0.85)
    p_value = compare_family(tables, [("a", "base")], AcceptanceSettings())[0].p_value
    for planned, size in ((["base", "a"], 1), (["base", "a", "b", "c"], 3)):
        verdicts, _ = climb(tables, AcceptanceSettings(), planned=planned)
        assert verdicts["a"].comparison.p_adjusted == pytest.approx(size * p_value)
        assert set(verdicts) == {"base", "a"}


def test_an_ensemble_of_seeds_is_tried_last_against_the_incumbent():
    rng = np.random.default_rng(5)
    noisy = [predictions(rng, 0.7) for _ in range(5)]
    tables = {"majority": [predictions(rng, 0.34)] * 5, "probe": noisy}
    for family in ("incumbent", "all"):
        rule = AcceptanceSettings(family=family)
        verdicts, chosen = climb(tables, rule, ensemble="mean")
        assert chosen == "mean"
        assert verdicts["mean"].comparison.second == "probe"
        # The mean of probabilities, not of logits or votes.
        p = np.mean([np.exp(t.logits) / np.exp(t.logits).sum(1, keepdims=True) for t in noisy], 0)
        (mean, *rest) = average_seeds(noisy)
        np.testing.assert_allclose(np.exp(mean.logits), p)
        assert all(one is mean for one in rest)
        assert len(rest) == 4
    # Of seeds that agree, an ensemble is nothing new.
    same = {"majority": tables["majority"]}
    verdicts, chosen = climb(same, AcceptanceSettings(), ensemble="mean")
    assert chosen == "majority"
    assert verdicts["mean"].reason.startswith("does not differ from majority")


def test_a_rung_that_is_vetoed_is_rejected_and_the_next_one_is_tried():
    tables = rungs(0, base=0.4, bad=0.9, good=0.9)
    seen = []

    def veto(rung, incumbent, own):
        seen.append((rung, incumbent, len(own)))
        return "breaks a guard" if rung == "bad" else None

    verdicts, chosen = climb(tables, AcceptanceSettings(), veto=veto)
    assert chosen == "good"
    assert verdicts["bad"].decision == REJECTED
    assert verdicts["bad"].reason.startswith("breaks a guard; clears the margin")
    assert seen == [("bad", "base", 3), ("good", "base", 3)]


def test_an_open_comparison_says_what_would_settle_it():
    verdicts, _ = climb(rungs(4, probe=0.90, tuned=0.93), AcceptanceSettings())
    comparison = verdicts["tuned"].comparison
    assert not comparison.is_significant
    assert comparison.to_json()["settle"] == str(
        to_settle(comparison.difference, confidence=comparison.level)
    )
