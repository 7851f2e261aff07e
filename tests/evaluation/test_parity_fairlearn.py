"""Agreement with fairlearn on rates and gaps, where every group has positives and negatives."""

import numpy as np
import pytest

from jaxtransfer.evaluation.fairness import gaps
from jaxtransfer.evaluation.rates import class_rates
from jaxtransfer.evaluation.table import Predictions

fairlearn = pytest.importorskip("fairlearn.metrics")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]


@pytest.mark.parametrize("seed", range(20))
def test_rates_gaps_and_ratios_agree_with_fairlearn(seed):
    """Within 1e-12, groups as small as a handful."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(60, 400))
    labels, predicted = rng.integers(0, 2, n), rng.integers(0, 2, n)
    group = rng.choice(list("abcd"), n, p=[0.5, 0.3, 0.15, 0.05])
    for name in "abcd":
        # One of each label, predicted positive, so that every rate is defined and not 0.
        rows = np.flatnonzero(group == name)[:2]
        labels[rows], predicted[rows] = [0, 1][: len(rows)], 1
    table = Predictions(
        ids=np.arange(n),
        labels=labels,
        logits=np.eye(2)[predicted],
        classes=("no", "yes"),
        groups={"g": group},
    )
    frame = fairlearn.MetricFrame(
        metrics={
            "selection_rate": fairlearn.selection_rate,
            "tpr": fairlearn.true_positive_rate,
            "fpr": fairlearn.false_positive_rate,
        },
        y_true=labels,
        y_pred=predicted,
        sensitive_features=group,
    )
    for name in np.unique(group):
        (rates,) = class_rates(table.take(group == name), positive="yes")
        for metric in ("selection_rate", "tpr", "fpr"):
            ours = getattr(rates, metric)
            if ours.value is not None:
                assert ours.value == pytest.approx(frame.by_group[metric][name], abs=1e-12)
    found = gaps(table, "g", positive="yes", minimum=1, replicates=0)
    ours = {gap.name: gap for gap in found}
    common = {"sensitive_features": group}
    for name, peer in (
        ("demographic_parity", "demographic_parity"),
        ("equal_opportunity", "equal_opportunity"),
        ("equalised_odds", "equalized_odds"),
    ):
        if ours[name].left_out:
            continue
        difference = getattr(fairlearn, f"{peer}_difference")(labels, predicted, **common)
        ratio = getattr(fairlearn, f"{peer}_ratio")(labels, predicted, **common)
        assert ours[name].value == pytest.approx(difference, abs=1e-12)
        assert ours[name].ratio == pytest.approx(ratio, abs=1e-12)
