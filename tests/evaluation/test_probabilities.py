"""From logits to probabilities, in the logarithms."""

import numpy as np

from jaxtransfer.evaluation.probabilities import mean_log_probabilities, softmax


def test_the_mean_of_probabilities_is_taken_without_leaving_the_logarithms():
    rng = np.random.default_rng(0)
    logits = [rng.normal(scale=scale, size=(7, 4)) for scale in (1.0, 5.0, 20.0)]
    found = mean_log_probabilities(logits)
    np.testing.assert_allclose(
        np.exp(found), np.mean([softmax(one) for one in logits], axis=0), rtol=1e-12
    )
    # One member rules a class out beyond what a float holds; the other does not.
    far = mean_log_probabilities([np.array([[0.0, -2000.0]]), np.array([[-2000.0, 0.0]])])
    np.testing.assert_allclose(far, np.log([[0.5, 0.5]]), rtol=1e-12)
    np.testing.assert_allclose(
        mean_log_probabilities([np.array([[0.0, -2000.0]])] * 2), [[0.0, -2000.0]], rtol=1e-12
    )
