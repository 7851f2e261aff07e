"""K-means is deterministic, no worse than scikit-learn's, and survives empty clusters."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.clusters import k_means

DIGITS = load_digits().data[:600]


def test_inertia_is_that_of_scikit_learn_within_two_percent():
    ours = k_means(DIGITS, 10, seed=0, restarts=8)
    peer = KMeans(10, n_init=8, random_state=0).fit(DIGITS)
    assert ours.inertia <= peer.inertia_ * 1.02
    nearest = ours.assign(DIGITS)
    assert ours.inertia == pytest.approx(((DIGITS - ours.centers[nearest]) ** 2).sum(), rel=1e-9)
    assert set(nearest) == set(range(10))


def test_from_equal_centres_on_lloyds_fixed_point_is_scikit_learns():
    """A converged solution is one for scikit-learn too: 1e-9 of its centres."""
    ours = k_means(DIGITS, 5, seed=1, restarts=1)
    peer = KMeans(5, n_init=1, init=ours.centers, max_iter=5).fit(DIGITS)
    np.testing.assert_allclose(peer.cluster_centers_, ours.centers, atol=1e-9)


def test_the_same_seed_gives_the_same_bits_and_an_offset_changes_nothing():
    one, other = k_means(DIGITS, 6, seed=3), k_means(DIGITS, 6, seed=3)
    assert (one.centers == other.centers).all()
    assert k_means(DIGITS, 6, seed=4).inertia != one.inertia
    far = k_means(DIGITS + 1e6, 6, seed=3)
    assert far.inertia == pytest.approx(one.inertia, rel=1e-6)


def test_as_many_clusters_as_rows_leave_no_inertia():
    rows = np.array([[0.0], [0.0], [1.0], [5.0]])
    assert k_means(rows, 3, seed=0).inertia == pytest.approx(0, abs=1e-12)
    assert k_means(rows, 1).centers == pytest.approx(np.array([[1.5]]))


def test_impossible_clusters_are_refused():
    with pytest.raises(EvaluationError, match="3 clusters of 2 different rows"):
        k_means(np.array([[0.0], [0.0], [1.0]]), 3)
    with pytest.raises(EvaluationError, match="must be finite"):
        k_means(np.array([[np.nan]]), 1)
