"""Agreement with cleanlab on random noisy labels."""

import numpy as np
import pytest

from jaxtransfer.evaluation.label_errors import confident_joint, find_label_errors, label_quality
from jaxtransfer.evaluation.probabilities import softmax
from jaxtransfer.evaluation.table import Predictions

count = pytest.importorskip("cleanlab.count")
cleanlab_filter = pytest.importorskip("cleanlab.filter")
rank = pytest.importorskip("cleanlab.rank")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]

PEERS = {
    "noise_rate": "prune_by_noise_rate",
    "class": "prune_by_class",
    "both": "both",
    "confident": "confident_learning",
}


@pytest.mark.parametrize("seed", range(25))
def test_joint_candidates_and_quality_agree_with_cleanlab(seed):
    """Counts and rows identical but for ties in rounding, scores within 1e-12."""
    rng = np.random.default_rng(seed)
    n, classes = int(rng.integers(30, 500)), int(rng.integers(2, 12))
    true = rng.integers(0, classes, n)
    true[:classes] = np.arange(classes)
    labels = np.where(rng.random(n) < rng.uniform(0, 0.5), rng.integers(0, classes, n), true)
    labels[:classes] = np.arange(classes)
    logits = rng.normal(size=(n, classes)) + rng.uniform(0, 4) * np.eye(classes)[true]
    probabilities = softmax(logits)
    table = Predictions(
        ids=np.arange(n), labels=labels, logits=logits, classes=[str(k) for k in range(classes)]
    )
    joint = confident_joint(labels, probabilities)
    expected = count.compute_confident_joint(labels, probabilities)
    np.testing.assert_array_equal(joint.sum(axis=1), expected.sum(axis=1))
    # cleanlab leaves to an unstable sort which of equal fractions is rounded up, hence to the CPU.
    counts = count.compute_confident_joint(labels, probabilities, calibrate=False)
    exact = counts / counts.sum(axis=1, keepdims=True) * np.bincount(labels)[:, None]
    for row in np.flatnonzero((joint != expected).any(axis=1)):
        fractions = exact[row, joint[row] != expected[row]] % 1
        assert np.ptp(fractions) < 1e-9
    assert np.abs(joint - expected).max() <= 1
    for ours, peer in PEERS.items():
        if ours != "confident" and (joint != expected).any():
            continue
        issues = cleanlab_filter.find_label_issues(labels, probabilities, filter_by=peer, n_jobs=1)
        found = find_label_errors(table, method=ours, out_of_sample=True)
        assert sorted(c.row for c in found.candidates) == np.flatnonzero(issues).tolist()
    for ranking in ("self_confidence", "normalized_margin"):
        np.testing.assert_allclose(
            label_quality(labels, probabilities, ranking),
            rank.get_label_quality_scores(labels, probabilities, method=ranking),
            atol=1e-12,
        )
