"""Relative degradation has its analytic value and variance, and "degrades" is claimed no more than allowed."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.definition import Definition
from jaxtransfer.evaluation.joint import derived, interval_of, resampled
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.robustness import robustness
from jaxtransfer.evaluation.statistic import MeanStatistic, Undefined
from jaxtransfer.evaluation.table import Predictions

LABELS = np.repeat([0, 1], 100)


def table(correct, labels=LABELS, sure=2.0, name="predictions"):
    """A table of two classes that is right where `correct` says so."""
    predicted = np.where(np.asarray(correct, bool), labels, 1 - labels)
    return Predictions(
        ids=np.arange(len(labels)),
        labels=labels,
        logits=sure * np.eye(2)[predicted],
        classes=("a", "b"),
        source=name,
    )


def drawn(rate, seed, **options):
    rng = np.random.default_rng(seed)
    return table(rng.random(len(options.get("labels", LABELS))) < rate, **options)


def first(share):
    """Right on the first part of either class."""
    return table(np.tile(np.arange(100) < 100 * share, 2))


GRID = {(kind, s): first(0.9 - 0.1 * s) for kind in ("fog", "noise") for s in (1, 2, 3)}


def test_values_are_those_of_a_hand_count():
    found = robustness(first(0.9), GRID)
    assert found.clean == pytest.approx(0.9)
    assert [(cell.kind, cell.severity) for cell in found.cells] == list(GRID)
    cell = found.cells[1]
    assert cell.value == pytest.approx(0.7)
    assert cell.difference.value == pytest.approx(-0.2)
    assert cell.relative.value == pytest.approx(2 / 9)
    assert (cell.flips.changed, cell.flips.broken, cell.flips.mended) == pytest.approx(
        (0.2, 0.2, 0)
    )
    assert found.by_kind["fog"].value == pytest.approx(2 / 9)
    assert found.by_severity[3].value == pytest.approx(3 / 9)
    assert found.overall.value == pytest.approx(2 / 9)
    assert found.mean_corruption_error is None
    assert found.n == 200
    document = json.loads(json.dumps(found.to_json()))
    assert document["cells"][1]["relative"]["value"] == pytest.approx(2 / 9)
    assert document["by_severity"]["3"]["value"] == pytest.approx(1 / 3)
    assert "fog 2: 0.700, relative 0.222" in str(found)


def test_flips_count_what_was_mended():
    before, after = np.zeros(200, bool), np.zeros(200, bool)
    before[:100], after[50:120] = True, True
    flips = robustness(table(before), {("fog", 1): table(after)}).cells[0].flips
    assert (flips.changed, flips.broken, flips.mended) == pytest.approx((0.35, 0.25, 0.1))


def test_the_interval_of_the_ratio_is_that_of_the_delta_method():
    labels = np.repeat([0, 1], 2000)
    clean, corrupted = (drawn(rate, seed, labels=labels) for rate, seed in ((0.9, 0), (0.6, 1)))
    found = robustness(clean, {("fog", 3): corrupted}, replicates=4000).cells[0].relative
    a, b = (t.predicted == labels for t in (clean, corrupted))
    ratio = b.mean() / a.mean()
    influence = -(b - ratio * a) / a.mean()
    strata = [influence[labels == c].var(ddof=1) for c in (0, 1)]
    error = math.sqrt(sum(strata) * 2000) / 4000
    expected = 1 - ratio + error * stats.norm.ppf([0.025, 0.975])
    assert found.value == pytest.approx(1 - ratio, abs=1e-12)
    assert found.ci == pytest.approx(tuple(expected), abs=0.1 * error)


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(0)
    right = rng.random(200) < 0.8
    same = right & (rng.random(200) < 0.9)
    paired = robustness(table(right), {("fog", 1): table(same)}).cells[0].relative
    mixed = same[rng.permutation(200)]
    unpaired = robustness(table(right), {("fog", 1): table(mixed)}).cells[0].relative
    assert paired.ci[1] - paired.ci[0] < 0.7 * (unpaired.ci[1] - unpaired.ci[0])


def test_means_over_cells_share_their_examples():
    cells = {("fog", s): first(0.6) for s in (1, 2, 3)}
    found = robustness(first(0.9), cells)
    # Three equal cells say no more than one: averaging narrows nothing.
    assert found.overall.ci == pytest.approx(found.cells[0].relative.ci, abs=1e-12)
    # Nested numbers of right examples leave the mean within its parts.
    spread = robustness(first(0.9), GRID)
    assert spread.cells[0].relative.ci[0] < spread.overall.ci[0]
    assert spread.overall.ci[1] < spread.cells[2].relative.ci[1]


def test_smaller_is_better_turns_into_a_relative_increase():
    clean, corrupted = first(0.9), first(0.6)
    found = robustness(clean, {("fog", 1): corrupted}, "nll")
    loss = definition("nll").prepare
    expected = loss(corrupted).value / loss(clean).value - 1
    assert found.cells[0].relative.value == pytest.approx(expected)
    assert found.relative == "corrupted / clean - 1"
    assert found.cells[0].degrades
    assert not robustness(corrupted, {("fog", 1): clean}, "nll").cells[0].degrades


def test_several_seeds_add_their_variance():
    clean = [drawn(0.9, seed) for seed in range(4)]
    corrupted = [drawn(rate, seed + 10) for seed, rate in enumerate((0.5, 0.8, 0.6, 0.7))]
    found = robustness(clean, {("fog", 1): corrupted}, replicates=3000)
    ratios = [
        1 - np.mean(b.predicted == LABELS) / np.mean(a.predicted == LABELS)
        for a, b in zip(clean, corrupted)
    ]
    cell = found.cells[0]
    assert cell.relative.value == pytest.approx(np.mean(ratios), abs=1e-12)
    half = (cell.relative.ci[1] - cell.relative.ci[0]) / 2
    assert half > stats.t.ppf(0.975, 200) * np.std(ratios, ddof=1) / 2
    assert half < stats.t.ppf(0.975, 3) * np.std(ratios, ddof=1)
    assert found.seeds == cell.difference.seeds == 4
    equal = robustness([clean[0]] * 4, {("fog", 1): [corrupted[0]] * 4}, replicates=3000)
    alone = robustness(clean[0], {("fog", 1): corrupted[0]}, replicates=3000)
    assert equal.overall.ci == pytest.approx(alone.overall.ci, abs=0.01)


def test_corruption_error_is_relative_to_the_reference():
    reference = {key: first(0.5) for key in GRID}
    found = robustness(first(0.9), GRID, reference=reference)
    # Errors .2, .3, .4 over .5, .5, .5.
    assert found.corruption_error["fog"].value == pytest.approx(0.9 / 1.5)
    assert found.mean_corruption_error.value == pytest.approx(0.6)
    low, high = found.mean_corruption_error.ci
    assert low < 0.6 < high
    itself = robustness(first(0.9), GRID, reference=GRID)
    assert itself.mean_corruption_error.value == pytest.approx(1)
    seeds = robustness([first(0.9)] * 2, {k: [t] * 2 for k, t in GRID.items()}, reference=reference)
    assert seeds.mean_corruption_error.value == pytest.approx(0.6)
    perfect = robustness(first(0.9), GRID, reference={key: first(1.0) for key in GRID})
    assert perfect.mean_corruption_error.value is None
    assert "the reference makes no error under 'fog'" in perfect.corruption_error["fog"].undefined


def test_claims_are_corrected_for_their_number():
    cells = {("fog", 1): first(0.88), ("noise", 1): first(0.6)}
    weak, strong = robustness(first(0.9), cells).cells
    assert weak.p_adjusted == pytest.approx(min(1, weak.difference.p_value), rel=1e-9)
    assert strong.p_adjusted == pytest.approx(2 * strong.difference.p_value)
    assert strong.degrades
    many = {("noise", s): first(0.9 - 0.02 * (s == 1)) for s in range(1, 6)}
    found = robustness(first(0.9), many)
    assert found.cells[0].difference.p_value < 0.05 < found.cells[0].p_adjusted
    assert not any(cell.degrades for cell in found.cells)
    better = robustness(first(0.6), {("fog", 1): first(0.9)}).cells[0]
    assert better.p_adjusted < 0.001
    assert not better.degrades
    assert better.relative.value < 0


def test_no_corruption_is_said_to_degrade_where_none_does():
    claims = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        clean = table(rng.random(200) < 0.8)
        cells = {("none", s): table(rng.random(200) < 0.8) for s in range(1, 6)}
        found = robustness(clean, cells, replicates=200)
        claims += any(cell.degrades for cell in found.cells)
    # At most 5 % of families in either direction; P(more than 6 of 60) < 0.03 even at that.
    assert claims <= 6


def test_an_unchanged_table_degrades_by_nothing():
    found = robustness(first(0.9), {("fog", 1): first(0.9)})
    assert found.cells[0].relative.value == 0
    assert found.cells[0].difference.ci == (0, 0)
    assert "every bootstrap replicate equals" in found.cells[0].relative.undefined
    assert not found.cells[0].degrades


def test_a_clean_value_of_zero_has_no_relative_degradation():
    found = robustness(first(0.0), {("fog", 1): first(0.1)})
    assert found.cells[0].relative.value is None
    assert found.cells[0].relative.undefined.startswith("the clean accuracy is 0")
    assert found.cells[0].difference.value == pytest.approx(0.1)
    assert found.overall.value is None
    one = np.zeros(200, bool)
    one[0] = True
    rare = robustness(table(one), {("fog", 1): first(0.1)}).cells[0].relative
    assert rare.value is not None
    assert rare.ci is None
    assert "of the resamples do not define the value" in rare.undefined


def test_an_undefined_metric_says_why():
    undefined = Definition(
        name="odd", text="never defined", prepare=lambda table: Undefined("no such luck")
    )
    found = robustness(first(0.9), {("fog", 1): first(0.5)}, undefined)
    assert found.clean is None
    cell = found.cells[0]
    assert cell.value is cell.difference.value is cell.p_adjusted is None
    assert cell.relative.undefined == "no such luck"
    json.dumps(found.to_json())


def test_rows_are_paired_by_id():
    order = np.random.default_rng(0).permutation(200)
    shuffled = {key: t.take(order) for key, t in GRID.items()}
    assert robustness(first(0.9), shuffled).to_json() == robustness(first(0.9), GRID).to_json()


@pytest.mark.parametrize(
    ("clean", "corrupted", "options", "message"),
    [
        (first(0.9), {}, {}, "no corrupted tables"),
        ([], {("fog", 1): first(0.5)}, {}, "no table to measure"),
        ([first(0.9)] * 2, {("fog", 1): first(0.5)}, {}, "'fog' at severity 1: there are 1, but 2"),
        (
            first(0.9),
            {("fog", 2): first(0.5).take(np.arange(199))},
            {},
            "corrupted tables of 'fog' at severity 2: .*cannot be paired",
        ),
        (first(0.9), {("fog", 1): first(0.5)}, {"metric": "acuracy"}, "nearest: 'accuracy'"),
        (first(0.9), {("fog", 1): first(0.5)}, {"metric": "ece_perfect"}, "is simulated"),
        (first(0.9), {("fog", 1): first(0.5)}, {"replicates": 1}, "1 replicates"),
        (first(0.9), {("fog", 1): first(0.5)}, {"confidence": 95}, "confidence 95"),
        (
            first(0.9),
            {("fog", 1): first(0.5)},
            {"reference": {("noise", 1): first(0.5)}},
            r"the reference has no tables of 1 cells, such as \('fog', 1\)",
        ),
        (
            first(0.9),
            {("fog", 1): first(0.5), ("noise", 2): first(0.5)},
            {"reference": {("fog", 1): first(0.5), ("noise", 2): first(0.5)}},
            "need the same severities of all kinds",
        ),
    ],
)
def test_bad_input_is_named(clean, corrupted, options, message):
    with pytest.raises(EvaluationError, match=message):
        robustness(clean, corrupted, **options)


def test_quantities_see_the_same_resamples(monkeypatch):
    numbers = np.random.default_rng(0).normal(1, 1, 50)
    strata = np.zeros(50, np.int64)
    one, double = (MeanStatistic(labels=strata, numbers=numbers * f) for f in (1, 2))
    a, b = resampled([[one], [double]], seed=0, replicates=300)
    ratio = derived(lambda x, y: y / x, a, b)
    np.testing.assert_allclose(ratio.replicates, 2, rtol=1e-12)
    np.testing.assert_allclose(ratio.without, 2, rtol=1e-12)
    assert interval_of(ratio, strata, confidence=0.95).ci is None
    low, high = interval_of(a, strata, confidence=0.95).ci
    assert low < numbers.mean() < high
    # Every chunk of resamples is drawn anew.
    monkeypatch.setattr("jaxtransfer.evaluation.intervals.BUDGET", 100)
    (chunked,) = resampled([[one]], seed=0, replicates=300)
    assert len(np.unique(chunked.replicates)) > 290
    missing = Undefined("for a reason")
    assert derived(lambda x, y: x, a, missing) is missing
    assert resampled([missing, [one]], seed=0, replicates=2)[0] is missing


def test_resamples_of_several_seeds_are_unbiased_in_small_strata():
    numbers, strata = np.array([0.0, 1.0, 5.0, 7.0]), np.array([0, 0, 1, 1])
    mean = MeanStatistic(labels=strata, numbers=numbers)
    unbiased = sum(2 * numbers[strata == c].var(ddof=1) for c in (0, 1)) / 16
    (several,) = resampled([[mean, mean]], seed=0, replicates=20_000)
    assert several.replicates.mean(axis=0).var() == pytest.approx(unbiased, rel=0.05)
    (alone,) = resampled([[mean]], seed=0, replicates=20_000)
    assert alone.replicates.var() == pytest.approx(unbiased / 2, rel=0.05)
