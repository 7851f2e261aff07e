"""LogME: how probable the labels are under a Bayesian linear model of frozen features.

You et al. (2021), arXiv 2102.11005. The evidence is maximised in one variable, which finds the
point that the published iteration heads for, and the limits at which that divides by zero.
"""

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.analyse.labelled import labelled
from jaxtransfer.analyse.score import Score, joined, undefined

NAME = "LogME"
DEFINITION = (
    "largest log evidence per example of a linear model w ~ N(0, 1/alpha), noise 1/beta, of each"
    " class against the rest, mean over classes, in nats (You et al. 2021, arXiv 2102.11005)"
)
LEAST_NOISE = 1e-10
"""Noise variance below which none is looked for, as a share of the target's mean square: well above
the squared rounding of float32 features."""
GRID = 257


def logme(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    classes: int | None = None,
) -> Score:
    """LogME of features, as they are; larger is better.

    A class that the features predict exactly has no finite maximum where there are more examples
    than dimensions; its evidence is then taken at the noise `LEAST_NOISE`, and the note says so.

    Args:
      features: (n, d), finite; neither centred nor scaled here, for the score depends on neither
        being done for it.
      labels: (n,) in [0, classes).
      classes: how many there are; those without examples are left out of the mean.

    Raises:
      EvaluationError: if the arrays are malformed.
    """
    data = labelled(features, labels, classes)
    if data.nothing_to_tell:
        return undefined(NAME, data.n, DEFINITION, data.nothing_to_tell)
    left, singular, _ = np.linalg.svd(data.features, full_matrices=False)
    rank = int((singular > singular[0] * max(data.features.shape) * np.finfo(float).eps).sum())
    squares = singular[:rank] ** 2
    found = [
        _largest_evidence((data.codes == code).astype(np.float64), left[:, :rank], squares)
        for code in range(len(data.counts))
    ]
    exact = sum(is_exact for _, is_exact in found)
    noiseless = None
    if exact:
        beyond = "grows without bound" if rank < data.n else "changes no more"
        noiseless = (
            f"the features predict {exact} of {len(found)} classes exactly: their evidence is taken"
            f" at a noise variance of {LEAST_NOISE:g} of the target's mean square, below which it"
            f" {beyond}"
        )
    return Score(
        name=NAME,
        value=float(np.mean([value for value, _ in found])),
        n=data.n,
        definition=DEFINITION,
        note=joined(data.absent, noiseless, None if rank else "the features are all 0"),
    )


def _largest_evidence(
    target: Float[np.ndarray, "n"],
    left: Float[np.ndarray, "n r"],
    squares: Float[np.ndarray, "r"],
) -> tuple[float, bool]:
    """Largest log evidence per example, and whether it is that of the least noise looked at.

    With t = alpha / beta the target is normal with covariance (I + F F' / t) / beta. The best beta
    is n / q(t), q the target's squared length under that matrix's inverse, and t alone remains.
    """
    n = len(target)
    energy = (left.T @ target) ** 2
    total = float(target @ target)
    rest = max(0.0, total - float(energy.sum()))

    def residual(t: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
        return (energy / (1 + squares / t[:, None])).sum(axis=1) + rest

    def evidence(log_t: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
        t = np.exp(log_t)
        spread = np.log1p(squares / t[:, None]).sum(axis=1)
        return -0.5 * (np.log(2 * np.pi * residual(t) / n) + 1 + spread / n)

    if not len(squares):
        return float(evidence(np.zeros(1))[0]), False
    low, high = np.log(squares[-1]) - 30.0, np.log(squares[0]) + 30.0
    limit = LEAST_NOISE * total
    is_limited = bool(residual(np.exp([low]))[0] < limit)
    if is_limited:
        inside, outside = high, low
        for _ in range(100):
            middle = (inside + outside) / 2
            if residual(np.exp([middle]))[0] < limit:
                outside = middle
            else:
                inside = middle
        low = inside
    from scipy.optimize import minimize_scalar

    grid = np.linspace(low, high, GRID)
    values = evidence(grid)
    best = int(values.argmax())
    refined = minimize_scalar(
        lambda log_t: -float(evidence(np.array([log_t]))[0]),
        bounds=(grid[max(best - 1, 0)], grid[min(best + 1, GRID - 1)]),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return max(float(-refined.fun), float(values[best])), is_limited and best == 0
