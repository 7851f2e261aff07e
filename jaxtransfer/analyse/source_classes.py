"""LEEP and NCE: how well a source model's own classes tell the target's.

Both need a backbone that still has the classifier it was trained with, and no features.
"""

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.analyse.labelled import checked_labels, finite, left_out
from jaxtransfer.analyse.score import Score, undefined
from jaxtransfer.errors import EvaluationError

LEEP = "LEEP"
LEEP_DEFINITION = (
    "mean log of sum_z P(y | z) theta(x)_z, P the empirical conditional of target on source"
    " classes, in nats, at most 0 (Nguyen et al. 2020, arXiv 2002.12462)"
)
NCE = "NCE"
NCE_DEFINITION = (
    "minus the empirical conditional entropy of target given source classes, in nats, at most 0"
    " (Tran et al. 2019, arXiv 1908.08142)"
)
ONE_CLASS = "1 class has examples: there is nothing to tell apart"


def leep(
    probabilities: Float[np.ndarray, "n s"],
    labels: Int[np.ndarray, "n"],
) -> Score:
    """The log expected empirical prediction; larger is better.

    A source class to which no example gives any probability has no conditional, but no part in the
    prediction either: it is left out.

    Args:
      probabilities: (n, s) of the source classes, rows summing to 1 within 1e-3.
      labels: (n,) target classes.

    Raises:
      EvaluationError: if the arrays are malformed.
    """
    codes, counts, _ = checked_labels(labels)
    theta = _probabilities(probabilities, len(codes))
    if len(counts) < 2:
        return undefined(LEEP, len(codes), LEEP_DEFINITION, ONE_CLASS)
    mass = theta.sum(axis=0)
    known = mass > 0
    theta, mass = theta[:, known], mass[known]
    joint = np.zeros((len(counts), len(mass)))
    np.add.at(joint, codes, theta)
    predicted = (theta * (joint / mass)[codes]).sum(axis=1)
    return Score(
        name=LEEP,
        value=float(np.log(predicted).mean()),
        n=len(codes),
        definition=LEEP_DEFINITION,
        note=left_out(int((~known).sum()), len(known), "source classes", "mass"),
    )


def nce(
    source_labels: Int[np.ndarray, "n"],
    labels: Int[np.ndarray, "n"],
    source_classes: int | None = None,
) -> Score:
    """The negative conditional entropy; larger is better.

    Args:
      source_labels: (n,) the source class of each example, such as the model's prediction.
      labels: (n,) target classes.
      source_classes: how many source classes there are; those without examples have no part.

    Raises:
      EvaluationError: if the arrays are malformed.
    """
    codes, counts, _ = checked_labels(labels)
    sources, source_counts, known = checked_labels(source_labels, source_classes)
    if len(codes) != len(sources):
        raise EvaluationError(f"{len(sources)} source labels have {len(codes)} target labels")
    if len(counts) < 2:
        return undefined(NCE, len(codes), NCE_DEFINITION, ONE_CLASS)
    joint = np.zeros((len(counts), len(source_counts)))
    np.add.at(joint, (codes, sources), 1)
    conditional = joint / source_counts
    # What never occurs together adds nothing: p log p goes to 0 with p.
    logs = np.log(conditional, out=np.zeros_like(conditional), where=conditional > 0)
    return Score(
        name=NCE,
        value=float((joint * logs).sum() / len(codes)),
        n=len(codes),
        definition=NCE_DEFINITION,
        note=left_out(known - len(source_counts), known, "source classes"),
    )


def _probabilities(values: np.ndarray, n: int) -> Float[np.ndarray, "n s"]:
    values = np.asarray(values)
    if values.ndim != 2 or len(values) != n or not values.size:
        raise EvaluationError(
            f"source probabilities must be ({n}, classes), not of shape {values.shape}"
        )
    values = finite(values)
    sums = values.sum(axis=1)
    wrong = np.flatnonzero((values < 0).any(axis=1) | (np.abs(sums - 1) > 1e-3))
    if wrong.size:
        row = wrong[0]
        raise EvaluationError(
            f"source probabilities of row {row} sum to {sums[row]:.6g}, the least is"
            f" {values[row].min():.3g}; give probabilities, such as the softmax of logits"
        )
    return values
