"""The shrunk covariance is scikit-learn's, whichever of rows and columns are more."""

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from jaxtransfer.evaluation.shrinkage import ledoit_wolf, shrunk


@pytest.mark.parametrize("shape", [(40, 60), (300, 5)])
def test_ledoit_wolf_is_scikit_learns(shape):
    rows = np.random.default_rng(1).normal(size=shape) * np.linspace(0.5, 2, shape[1])
    theirs = LedoitWolf().fit(rows)
    covariance, amount = ledoit_wolf(rows - rows.mean(axis=0))
    assert amount == pytest.approx(theirs.shrinkage_, abs=1e-12)
    np.testing.assert_allclose(shrunk(covariance, amount), theirs.covariance_, atol=1e-12)


def test_equal_rows_are_not_shrunk():
    covariance, amount = ledoit_wolf(np.zeros((3, 2)))
    assert amount == 0
    assert not covariance.any()
