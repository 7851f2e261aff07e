"""Isotonic recalibration (Zadrozny and Elkan 2002): the best monotone map of each probability."""

import dataclasses

import numpy as np
from jaxtyping import Float

from jaxtransfer.evaluation.probabilities import softmax
from jaxtransfer.evaluation.scaling import FittedOn, Scaling
from jaxtransfer.evaluation.table import Predictions


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Isotonic(Scaling):
    """A monotone map of each class's probability, then division by their sum; predictions may change.

    Of two classes the second is mapped, and the first is the rest. Between the calibration
    examples' probabilities a map is linear, and outside of them constant.

    Attributes:
      inputs: for each map its (m,) probabilities, increasing.
      outputs: for each map the (m,) values there, not decreasing, in [0, 1].
    """

    inputs: tuple[Float[np.ndarray, "m"], ...]
    outputs: tuple[Float[np.ndarray, "m"], ...]

    name = "isotonic"

    @property
    def floor(self) -> float:
        """The smallest probability in the logits, 1 / (n + 2): what n examples without one show."""
        return 1 / (self.fitted_on.n + 2)

    def probabilities(self, logits: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """The maps' probabilities, zeros and all; uniform where every class is mapped to 0."""
        p = softmax(logits)
        if len(self.inputs) == 1:
            second = np.interp(p[:, 1], self.inputs[0], self.outputs[0])
            return np.stack([1 - second, second], axis=1)
        maps = zip(p.T, self.inputs, self.outputs)
        mapped = np.stack([np.interp(column, x, y) for column, x, y in maps], axis=1)
        total = mapped.sum(axis=1, keepdims=True)
        uniform = np.full_like(mapped, 1 / mapped.shape[1])
        return np.divide(mapped, total, out=uniform, where=total > 0)

    def transform(self, logits):
        """See Scaling; log probabilities, none below `floor` before they are made to sum to 1."""
        raised = np.maximum(self.probabilities(logits), self.floor)
        return np.log(raised / raised.sum(axis=1, keepdims=True))


def fit_isotonic(table: Predictions) -> Isotonic:
    """Fits by pool-adjacent-violators on a calibration table, each class against the rest.

    Examples of equal probability are one point, their share. A class without calibration examples
    is mapped to 0, and a note says which.

    Raises:
      EvaluationError: naming the table, if its labels are all of one class.
    """
    fitted_on = FittedOn.of(table)
    p = softmax(table.logits)
    columns = [1] if len(table.classes) == 2 else range(len(table.classes))
    maps = [_fit(p[:, column], table.labels == column) for column in columns]
    absent = sorted(set(range(len(table.classes))) - set(table.labels.tolist()))
    note = None
    if absent:
        names = [table.classes[column] for column in absent]
        note = f"no calibration example of classes {names}: their probability is mapped to 0"
    return Isotonic(
        fitted_on=fitted_on,
        inputs=tuple(x for x, _ in maps),
        outputs=tuple(y for _, y in maps),
        note=note,
    )


def _fit(probability: np.ndarray, happened: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy.optimize import isotonic_regression

    x, index, count = np.unique(probability, return_inverse=True, return_counts=True)
    share = np.bincount(index.ravel(), weights=happened) / count
    y = np.clip(isotonic_regression(share, weights=count).x, 0, 1)
    # Inside a level the points lie on the line between its ends.
    kept = np.ones(len(x), bool)
    kept[1:-1] = (y[1:-1] != y[:-2]) | (y[1:-1] != y[2:])
    return x[kept], y[kept]
