"""Scores of how far an example lies from what a model was trained on; larger is farther, for all.

A detector is fitted on reference features or logits of the training distribution alone: nothing
here takes an outlier to fit or to choose by.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float

from jaxtransfer.errors import EvaluationError, nearest
from jaxtransfer.evaluation.features import Features
from jaxtransfer.evaluation.probabilities import log_softmax
from jaxtransfer.evaluation.shrinkage import ledoit_wolf, shrunk

BLOCK = 4_000_000
"""Numbers of a block of distances held at once."""


class Detector(Protocol):
    """What a fitted detector is."""

    @property
    def definition(self) -> str:
        """What the score is, with its settings and source."""

    def score(self, table: Features) -> Float[np.ndarray, "n"]:
        """The scores of a table; larger is farther from the reference."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogitScore:
    """A score of the logits alone; nothing is fitted."""

    definition: str
    function: Callable[[Float[np.ndarray, "n k"]], Float[np.ndarray, "n"]]

    def score(self, table: Features) -> Float[np.ndarray, "n"]:
        """See Detector."""
        return self.function(_logits(table))


def max_softmax(logits: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n"]:
    """Minus the log of the largest probability (Hendrycks and Gimpel 2017).

    Ranks as one minus the probability does, without the ties of probabilities that round to 1.

    >>> max_softmax(np.zeros((1, 2))).round(3)
    array([0.693])
    """
    return -log_softmax(logits).max(axis=1)


def max_logit(logits: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n"]:
    """Minus the largest logit (Hendrycks et al. 2022)."""
    return -np.asarray(logits, np.float64).max(axis=1)


def energy(logits: Float[np.ndarray, "n k"], temperature: float = 1.0) -> Float[np.ndarray, "n"]:
    """The free energy -T log sum exp(logits / T) (Liu et al. 2020, equation 4).

    Raises:
      EvaluationError: if the temperature is not positive.
    """
    if not 0 < temperature < np.inf:
        raise EvaluationError(f"temperature {temperature} is not positive")
    scaled = np.asarray(logits, np.float64) / temperature
    top = scaled.max(axis=1)
    return -temperature * (top + np.log(np.exp(scaled - top[:, None]).sum(axis=1)))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Mahalanobis:
    """Smallest squared Mahalanobis distance to a class mean (Lee et al. 2018, equation 2).

    Attributes:
      means: (k, d) of the classes that have examples.
      factor: (d, d) whose product with its transpose is the inverse of the covariance that all
        classes share.
      shrinkage: in [0, 1], the weight of the identity times the mean variance in that covariance.
      definition: see Detector.
    """

    means: Float[np.ndarray, "k d"]
    factor: Float[np.ndarray, "d d"]
    shrinkage: float
    definition: str

    def score(self, table: Features) -> Float[np.ndarray, "n"]:
        """See Detector."""
        features, means = (
            _features(table, self.means.shape[1]) @ self.factor,
            self.means @ self.factor,
        )
        return np.min([((features - mean) ** 2).sum(axis=1) for mean in means], axis=0)


def fit_mahalanobis(
    reference: Features, *, shrinkage: float | Literal["ledoit_wolf"] = "ledoit_wolf"
) -> Mahalanobis:
    """Fits class means and their tied covariance, (1 - s) S + s mean(diag S) I.

    S is the mean outer product of the features less their class means (over n, not n - k).

    Args:
      reference: features and labels of the training distribution.
      shrinkage: s in [0, 1], or the s of least expected squared error (Ledoit and Wolf 2004), which
        is needed where the d dimensions are many beside the examples; 0 is the published score.

    Raises:
      EvaluationError: if there are no labels, or the covariance is singular.
    """
    reference.need("label")
    features = _features(reference)
    classes, index = np.unique(np.asarray(reference.labels), return_inverse=True)
    means = np.stack([features[index == place].mean(axis=0) for place in range(len(classes))])
    residual = features - means[index]
    n, width = residual.shape
    covariance, amount = ledoit_wolf(residual)
    if shrinkage != "ledoit_wolf":
        if isinstance(shrinkage, str) or not 0 <= shrinkage <= 1:
            raise EvaluationError(f"shrinkage is {shrinkage!r}; give 0 to 1, or 'ledoit_wolf'")
        amount = float(shrinkage)
    values, vectors = np.linalg.eigh(shrunk(covariance, amount))
    if values[0] <= width * np.finfo(np.float64).eps * values[-1]:
        raise EvaluationError(
            f"{reference.source}: the covariance of {width} features within {len(classes)} classes"
            f" from {n} examples is singular at shrinkage {amount:g}; give a larger one, more"
            " examples, or leave constant features out"
        )
    return Mahalanobis(
        means=means,
        factor=vectors / np.sqrt(values),
        shrinkage=amount,
        definition="smallest squared Mahalanobis distance to a class mean, covariance tied over"
        f" {len(classes)} classes, shrinkage {amount:.3g} (Lee et al. 2018)",
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Neighbours:
    """Distance to the k-th nearest reference example among features of length 1 (Sun et al. 2022).

    Attributes:
      reference: (n, d) rows of length 1; a feature of zeros stays zero.
      k: which neighbour.
      definition: see Detector.
    """

    reference: Float[np.ndarray, "n d"]
    k: int
    definition: str

    def score(self, table: Features) -> Float[np.ndarray, "n"]:
        """See Detector."""
        rows = _unit(_features(table, self.reference.shape[1]))
        own = (self.reference**2).sum(axis=1)
        size = max(1, BLOCK // max(len(self.reference), self.k * self.reference.shape[1]))
        scores = []
        for start in range(0, len(rows), size):
            block = rows[start : start + size]
            near = np.argpartition(own - 2 * block @ self.reference.T, self.k - 1, axis=1)
            nearest_rows = self.reference[near[:, : self.k]]
            # Products lose the digits of a small distance: those that count are taken directly.
            squares = ((nearest_rows - block[:, None]) ** 2).sum(axis=2)
            scores.append(np.sqrt(squares.max(axis=1)))
        return np.concatenate(scores)


def fit_neighbours(reference: Features, *, k: int = 50) -> Neighbours:
    """Keeps the reference features, scaled to length 1.

    Args:
      reference: features of the training distribution.
      k: which neighbour; 50 is what Sun et al. use for 50,000 examples.

    Raises:
      EvaluationError: if there are fewer than k examples.
    """
    if not 1 <= k <= len(reference):
        raise EvaluationError(
            f"{reference.source}: {len(reference)} examples have no {k}-th neighbour; give k from 1"
            f" to {len(reference)}"
        )
    return Neighbours(
        reference=_unit(_features(reference)),
        k=k,
        definition=f"distance to the {k}-th nearest of {len(reference)} reference examples,"
        " features of length 1 (Sun et al. 2022)",
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Vim:
    """Virtual-logit matching (Wang et al. 2022): residual norm, scaled, less the energy of the logits.

    Attributes:
      origin: (d,) the features at which all logits are 0, in the sense of least squares.
      complement: (d, d - principal) the directions of least variance.
      alpha: scale of the residual norm, so that its mean is that of the largest logit.
      definition: see Detector.
    """

    origin: Float[np.ndarray, "d"]
    complement: Float[np.ndarray, "d r"]
    alpha: float
    definition: str

    def score(self, table: Features) -> Float[np.ndarray, "n"]:
        """See Detector; ranks as the softmax probability of the virtual logit does."""
        features = _features(table, len(self.origin))
        residual = np.linalg.norm((features - self.origin) @ self.complement, axis=1)
        return self.alpha * residual + energy(_logits(table))


def fit_vim(
    reference: Features,
    *,
    head: tuple[Float[np.ndarray, "d k"], Float[np.ndarray, "k"]] | None = None,
    principal: int | None = None,
) -> Vim:
    """Fits the principal space of the features and the scale of what lies outside of it.

    Args:
      reference: features and logits of the training distribution.
      head: kernel and bias of the linear layer from features to logits; None reads them off the
        table, by least squares.
      principal: dimensions kept; None takes the paper's 1000 from d = 2048 on, 512 from 768 on,
        else half of d, and at most half of the dimensions that the reference spans: fewer examples
        than dimensions would leave no residual.

    Raises:
      EvaluationError: if there are no logits, they are no linear function of the features and no
        head is given, the dimensions do not fit, or the features have no residual.
    """
    reference.need("logits")
    features, logits = _features(reference), _logits(reference)
    width = features.shape[1]
    kernel, bias = _head(reference, features, logits) if head is None else head
    kernel, bias = np.asarray(kernel, np.float64), np.asarray(bias, np.float64)
    if kernel.shape != (width, logits.shape[1]) or bias.shape != (logits.shape[1],):
        raise EvaluationError(
            f"a head of kernel {kernel.shape} and bias {bias.shape} does not take {width} features"
            f" to {logits.shape[1]} logits"
        )
    origin = -bias @ np.linalg.pinv(kernel)
    centred = features - origin
    values, vectors = np.linalg.eigh(centred.T @ centred / len(features))
    if principal is None:
        published = 1000 if width >= 2048 else 512 if width >= 768 else width // 2
        spanned = int((values > width * np.finfo(np.float64).eps * values[-1]).sum())
        principal = min(published, spanned // 2)
    if not 0 <= principal < width:
        raise EvaluationError(f"{principal} principal dimensions of {width} leave no residual")
    complement = vectors[:, : width - principal]
    residual = float(np.linalg.norm(centred @ complement, axis=1).mean())
    if residual <= 1e-12 * float(np.linalg.norm(centred, axis=1).mean()):
        raise EvaluationError(
            f"{reference.source}: the features lie within {principal} dimensions, so there is no"
            " residual to scale; give fewer principal dimensions"
        )
    return Vim(
        origin=origin,
        complement=complement,
        alpha=float(logits.max(axis=1).mean()) / residual,
        definition="norm of the features' residual, as a logit, less log sum exp of the logits,"
        f" {principal} of {width} dimensions principal (ViM, Wang et al. 2022)",
    )


def fit_detectors(
    reference: Features,
    names: Sequence[str] | None = None,
    *,
    k: int = 50,
    shrinkage: float | Literal["ledoit_wolf"] = "ledoit_wolf",
    head: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, Detector]:
    """Fits detectors on the training distribution.

    Args:
      reference: its features, with logits and labels where a detector needs them.
      names: of `DETECTORS`; None means all.
      k: see `fit_neighbours`.
      shrinkage: see `fit_mahalanobis`.
      head: see `fit_vim`.

    Raises:
      EvaluationError: if a name is unknown, or the table lacks a column.
    """
    fits: Mapping[str, Callable[[], Detector]] = {
        "max_softmax": lambda: _of_logits(
            reference,
            max_softmax,
            "minus the log of the largest probability (Hendrycks and Gimpel 2017)",
        ),
        "max_logit": lambda: _of_logits(
            reference, max_logit, "minus the largest logit (Hendrycks et al. 2022)"
        ),
        "energy": lambda: _of_logits(
            reference, energy, "minus log sum exp of the logits (Liu et al. 2020)"
        ),
        "mahalanobis": lambda: fit_mahalanobis(reference, shrinkage=shrinkage),
        "knn": lambda: fit_neighbours(reference, k=k),
        "vim": lambda: fit_vim(reference, head=head),
    }
    fitted: dict[str, Detector] = {}
    for name in DETECTORS if names is None else names:
        if name not in fits:
            raise EvaluationError(f"unknown detector {name!r}; nearest: {nearest(name, fits)}")
        fitted[name] = fits[name]()
    return fitted


DETECTORS = ("max_softmax", "max_logit", "energy", "mahalanobis", "knn", "vim")


def _of_logits(reference: Features, function: Callable, text: str) -> LogitScore:
    reference.need("logits")
    return LogitScore(definition=text, function=function)


def _logits(table: Features) -> np.ndarray:
    table.need("logits")
    return np.asarray(table.logits, np.float64)


def _features(table: Features, width: int | None = None) -> np.ndarray:
    features = np.asarray(table.features, np.float64)
    if width is not None and features.shape[1] != width:
        raise EvaluationError(
            f"{table.source}: {features.shape[1]} features cannot be scored by a detector fitted on"
            f" {width}"
        )
    return features


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def _head(
    reference: Features, features: np.ndarray, logits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The linear layer that made the logits, if one did."""
    padded = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    solution, *_ = np.linalg.lstsq(padded, logits, rcond=None)
    error = float(np.abs(padded @ solution - logits).max())
    # Float32 logits of a network are linear in its float32 features to about this.
    if len(features) <= features.shape[1] or error > 1e-3 * float(np.abs(logits).max()):
        raise EvaluationError(
            f"{reference.source}: the logits cannot be read as a linear layer of the"
            f" {features.shape[1]} features from {len(features)} examples (largest error"
            f" {error:.2g}); give head=(kernel, bias)"
        )
    return solution[:-1], solution[-1]
