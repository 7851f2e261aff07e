"""All transferability scores of one backbone or stage, beside the size-only baseline.

No score wins everywhere (Agostinelli et al. 2022, arXiv 2204.01403), and the logarithm of the
number of parameters can beat them all; so they are printed side by side.
"""

import math

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.analyse.h_score import h_score, shrunk_h_score
from jaxtransfer.analyse.logme import logme
from jaxtransfer.analyse.probes import linear_probe, nearest_mean
from jaxtransfer.analyse.score import Score, undefined
from jaxtransfer.analyse.source_classes import (
    LEEP,
    LEEP_DEFINITION,
    NCE,
    NCE_DEFINITION,
    leep,
    nce,
)
from jaxtransfer.errors import EvaluationError

SIZE = "log parameters"
SIZE_DEFINITION = "natural logarithm of the number of parameters, whatever the data: a baseline"


def log_parameters(parameters: int) -> Score:
    """The size-only baseline.

    >>> round(log_parameters(1000).value, 3)
    6.908

    Raises:
      EvaluationError: if there is no parameter.
    """
    if parameters < 1:
        raise EvaluationError(f"{parameters} parameters have no logarithm")
    return Score(name=SIZE, value=math.log(parameters), n=0, definition=SIZE_DEFINITION)


def transferability(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    classes: int | None = None,
    *,
    parameters: int,
    source_probabilities: Float[np.ndarray, "n s"] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> tuple[Score, ...]:
    """Every score: size, nearest mean, linear probe, LogME, two H-scores, LEEP and NCE.

    Args:
      features: (n, d) of the backbone or stage, finite.
      labels: (n,) in [0, classes).
      classes: how many there are.
      parameters: of the backbone.
      source_probabilities: (n, s) that the backbone's own classifier gives; without them LEEP and
        NCE are undefined. NCE takes the most probable class, the first among ties.
      folds: of the probes.
      seed: of the folds.

    Raises:
      EvaluationError: if the arrays are malformed.
    """
    if source_probabilities is None:
        reason = "the backbone has no classifier of source classes"
        by_source = (
            undefined(LEEP, len(labels), LEEP_DEFINITION, reason),
            undefined(NCE, len(labels), NCE_DEFINITION, reason),
        )
    else:
        source = np.asarray(source_probabilities)
        by_source = (
            leep(source, labels),
            nce(source.argmax(axis=1), labels, source.shape[1]),
        )
    return (
        log_parameters(parameters),
        nearest_mean(features, labels, classes, folds=folds, seed=seed).score,
        linear_probe(features, labels, classes, folds=folds, seed=seed).score,
        logme(features, labels, classes),
        h_score(features, labels, classes),
        shrunk_h_score(features, labels, classes),
        *by_source,
    )
