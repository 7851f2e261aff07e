"""Label shift: new class shares from predictions alone, and what is left of a shift without it.

Under label shift the share of classes q changes and what an example of a class looks like does
not. Then the share of predictions is C q, with C[i, j] = P(predicted i | class j), which the
labelled reference gives (black-box shift estimation, Lipton, Wang and Smola 2018).
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.drift.permutation import p_value
from jaxtransfer.evaluation.drift.two_sample import TwoSample

FEWEST = 5
"""Reference rows a class needs for its column of C to be estimated."""
SINGULAR = 0.1
"""Smallest singular value of C below which it is not inverted."""


def confusion_rates(
    labels: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"], classes: int
) -> Float[np.ndarray, "k k"]:
    """C[i, j], the share of class j predicted as i; NaN in the column of an absent class."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (predicted, labels), 1)
    totals = counts.sum(axis=0)
    return counts / np.where(totals > 0, totals, np.nan)


def why_not_invertible(labels: Int[np.ndarray, "n"], rates: Float[np.ndarray, "k k"]) -> str | None:
    """Why C cannot be inverted on these reference labels; None if it can."""
    classes = len(rates)
    counts = np.bincount(labels, minlength=classes)
    if counts.min() < FEWEST:
        rare = int(np.argmin(counts))
        return f"class {rare} has {counts[rare]} labelled reference rows, fewer than {FEWEST}"
    smallest = float(np.linalg.svd(rates, compute_uv=False)[-1])
    if smallest < SINGULAR:
        return (
            "predictions do not tell the classes apart (smallest singular value of the confusion"
            f" matrix {smallest:.3g}, below {SINGULAR})"
        )
    return None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ClassShares:
    """Estimated shares of the classes, with percentile bootstrap intervals.

    Attributes:
      reference: (k,) the shares in the reference.
      estimate: (k,) of the batch, on the simplex.
      low: (k,) lower bounds.
      high: (k,) upper bounds.
      confidence: nominal coverage of each.
      definition: how they were estimated.
    """

    reference: Float[np.ndarray, "k"]
    estimate: Float[np.ndarray, "k"]
    low: Float[np.ndarray, "k"]
    high: Float[np.ndarray, "k"]
    confidence: float
    definition: str

    def to_json(self) -> dict:
        """Plain values."""
        return {
            "reference": self.reference.tolist(),
            "estimate": self.estimate.tolist(),
            "ci": [[float(a), float(b)] for a, b in zip(self.low, self.high)],
            "confidence": self.confidence,
            "definition": self.definition,
        }


def estimate_shares(
    labels: Int[np.ndarray, "n"],
    predicted: Int[np.ndarray, "n"],
    batch_predicted: Int[np.ndarray, "m"],
    classes: int,
    *,
    seed: int,
    replicates: int = 500,
    confidence: float = 0.95,
) -> ClassShares:
    """The class shares of a batch under label shift, by black-box shift estimation.

    The estimate solves C q = shares of the batch's predictions, projected onto the simplex. The
    bootstrap redraws the batch, and the reference within each class.

    Args:
      labels: of the reference.
      predicted: the reference's predicted classes.
      batch_predicted: the batch's predicted classes.
      classes: how many there are.
      seed: of the bootstrap.
      replicates: of the bootstrap.
      confidence: nominal coverage of each interval.

    Raises:
      EvaluationError: if C cannot be inverted, saying why.
    """
    rates = confusion_rates(labels, predicted, classes)
    reason = why_not_invertible(labels, rates)
    if reason is not None:
        raise EvaluationError(f"class shares cannot be estimated from predictions: {reason}")
    totals = np.bincount(labels, minlength=classes)
    m = len(batch_predicted)
    shares = np.bincount(batch_predicted, minlength=classes) / m
    estimate = _on_simplex(np.linalg.solve(rates, shares)[None])[0]
    rng = np.random.default_rng(seed)
    batches = rng.multinomial(m, shares, size=replicates) / m
    drawn = np.stack(
        [
            rng.multinomial(total, rates[:, j], size=replicates) / total
            for j, total in enumerate(totals)
        ],
        axis=2,
    )
    # A redrawn C may be singular by chance; least squares then gives the nearest solution.
    solved = np.stack([np.linalg.lstsq(c, b, rcond=None)[0] for c, b in zip(drawn, batches)])
    tail = (1 - confidence) / 2
    low, high = np.quantile(_on_simplex(solved), [tail, 1 - tail], axis=0)
    return ClassShares(
        reference=totals / totals.sum(),
        estimate=estimate,
        low=np.minimum(low, estimate),
        high=np.maximum(high, estimate),
        confidence=confidence,
        definition="black-box shift estimation, projected onto the simplex; percentile bootstrap"
        f" of batch and confusion matrix, {replicates} replicates",
    )


def _on_simplex(points: Float[np.ndarray, "r k"]) -> Float[np.ndarray, "r k"]:
    """The nearest points whose entries are not negative and sum to 1 (Duchi et al. 2008)."""
    ordered = -np.sort(-points, axis=1)
    excess = np.cumsum(ordered, axis=1) - 1
    positions = np.arange(1, points.shape[1] + 1)
    last = (ordered - excess / positions > 0).sum(axis=1)
    shift = excess[np.arange(len(points)), last - 1] / last
    return np.maximum(points - shift[:, None], 0)


def offsets(
    values: Float[np.ndarray, "n d"],
    predicted: Int[np.ndarray, "n"],
    labels: Int[np.ndarray, "n"] | None,
    classes: int,
) -> tuple[Float[np.ndarray, "k d"], str]:
    """What to take off each row by its predicted class, so that label shift moves no mean.

    The offsets A solve sum_i C[i, j] A[i] = E[value | class j]: then value - A[predicted] has mean
    0 in every class, whatever the classes' shares. Without labels, or if C cannot be inverted, they
    are the means within each predicted class, which label shift moves where predictions err.

    Returns:
      The offsets, and how they were found.
    """
    if labels is not None:
        rates = confusion_rates(labels, predicted, classes)
        reason = why_not_invertible(labels, rates)
        if reason is None:
            means = np.stack([values[labels == j].mean(axis=0) for j in range(classes)])
            return np.linalg.solve(rates.T, means), "mean 0 in every class (confusion matrix)"
    else:
        reason = "the reference has no labels"
    overall = values.mean(axis=0)
    found = [values[predicted == i] for i in range(classes)]
    means = np.stack([rows.mean(axis=0) if len(rows) else overall for rows in found])
    return means, f"mean 0 in every predicted class, because {reason}"


def predicted_classes(
    batch: Int[np.ndarray, "m"],
    other: Int[np.ndarray, "n"],
    classes: int,
    rng: np.random.Generator,
    *,
    permutations: int,
) -> TwoSample:
    """Pearson's chi-squared of the predicted classes' counts, by permutation.

    The statistic is that of the 2 x k table, up to the factor n / (m + n) that all permutations
    share.
    """
    counts = np.bincount(batch, minlength=classes)
    pooled = counts + np.bincount(other, minlength=classes)
    m, total = len(batch), len(batch) + len(other)
    drawn = np.concatenate(
        [counts[None], rng.multivariate_hypergeometric(pooled, m, size=permutations)]
    )
    expected = m * pooled / total
    full = expected > 0
    squares = ((drawn[:, full] - expected[full]) ** 2 / expected[full]).sum(axis=1)
    squares *= total / len(other)
    return TwoSample(
        name="predicted classes",
        statistic=float(squares[0]),
        p=p_value(squares),
        n=m,
        n_other=len(other),
        permutations=permutations,
        definition=f"Pearson's chi-squared of the counts of {classes} predicted classes;"
        " permutation",
    )
