"""Scalings by name, and calibration before and after each, with paired intervals."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from jaxtransfer.errors import EvaluationError, nearest
from jaxtransfer.evaluation.definition import Measured
from jaxtransfer.evaluation.isotonic import Isotonic, fit_isotonic
from jaxtransfer.evaluation.paired import PairedDifference, paired_difference
from jaxtransfer.evaluation.scaling import Scaling
from jaxtransfer.evaluation.seeds import measure_seeds
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.evaluation.temperature import (
    Temperature,
    VectorScaling,
    fit_temperature,
    fit_vector,
)

SCALINGS: dict[str, Callable[[Predictions], Scaling]] = {
    Temperature.name: fit_temperature,
    VectorScaling.name: fit_vector,
    Isotonic.name: fit_isotonic,
}
"""From a scaling's name to the function that fits it on a calibration table."""

CLASSES: dict[str, type[Scaling]] = {
    kind.name: kind for kind in (Temperature, VectorScaling, Isotonic)
}
METRICS = ("accuracy", "nll", "brier", "ece", "smooth_ece")
CHANCE = ("ece_perfect", "smooth_ece_perfect")
"""What is measured besides, but cannot be compared."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Recalibration:
    """What a scaling did to the test split.

    Attributes:
      name: of the scaling.
      scalings: the fitted ones, one a seed.
      tables: the test tables after, one a seed.
      before: metrics of the test split as predicted.
      after: the same after scaling.
      differences: after minus before; the fitted scaling is taken as given, so the chance of the
        calibration split is in no interval.
    """

    name: str
    scalings: tuple[Scaling, ...]
    tables: tuple[Predictions, ...]
    before: dict[str, Measured]
    after: dict[str, Measured]
    differences: dict[str, PairedDifference]

    def __str__(self) -> str:
        notes = [f"  note: {s.note}" for s in self.scalings if s.note]
        lines = [f"  {difference}" for difference in self.differences.values()]
        return "\n".join([f"{self.name} scaling, after - before:", *lines, *notes])

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values; of each scaling what it is without its examples' ids."""
        scalings = []
        for scaling in self.scalings:
            document = scaling.to_json()
            del document["fitted_on"]["ids"]
            scalings.append(document)
        return {
            "name": self.name,
            "scalings": scalings,
            "before": {name: measured.to_json() for name, measured in self.before.items()},
            "after": {name: measured.to_json() for name, measured in self.after.items()},
            "differences": {name: d.to_json() for name, d in self.differences.items()},
        }


def before_and_after(
    calibration: Predictions | Sequence[Predictions],
    test: Predictions | Sequence[Predictions],
    names: Sequence[str] | None = None,
    *,
    metrics: Sequence[str] = METRICS,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = 1000,
) -> dict[str, Recalibration]:
    """Fits scalings on the calibration split and compares the test split before and after.

    Args:
      calibration: the calibration table, or one a seed.
      test: the test table of the same model, or one a seed; it may share no example.
      names: of `SCALINGS`; None means all.
      metrics: compared by paired differences; ECE and smooth ECE by chance are measured besides.
      confidence: nominal coverage.
      seed: of the bootstrap.
      replicates: bootstrap samples.

    Raises:
      EvaluationError: if a name is unknown, tables do not go in pairs, a calibration table has one
        class, or shares an example with its test table.
    """
    fitted = [calibration] if isinstance(calibration, Predictions) else list(calibration)
    tested = [test] if isinstance(test, Predictions) else list(test)
    if not fitted or len(fitted) != len(tested):
        raise EvaluationError(
            f"{len(fitted)} calibration tables for {len(tested)} test tables: give one of each a"
            " seed"
        )
    chosen = list(SCALINGS if names is None else names)
    for name in chosen:
        if name not in SCALINGS:
            raise EvaluationError(f"unknown scaling {name!r}; nearest: {nearest(name, SCALINGS)}")
    options: dict[str, Any] = {"confidence": confidence, "seed": seed, "replicates": replicates}
    measured = list(dict.fromkeys([*metrics, *CHANCE]))
    before = measure_seeds(tested, measured, **options)
    results = {}
    for name in chosen:
        scalings = [SCALINGS[name](table) for table in fitted]
        after = [scaling.apply(table) for scaling, table in zip(scalings, tested)]
        results[name] = Recalibration(
            name=name,
            scalings=tuple(scalings),
            tables=tuple(after),
            before=before,
            after=measure_seeds(after, measured, **options),
            differences={
                metric: paired_difference(after, tested, metric, **options) for metric in metrics
            },
        )
    return results


def scaling_from_json(document: dict[str, Any]) -> Scaling:
    """Inverse of `Scaling.to_json`, whichever scaling it is.

    Raises:
      EvaluationError: if the document names no scaling.
    """
    name = document.get("name")
    if name not in CLASSES:
        raise EvaluationError(f"unknown scaling {name!r}; nearest: {nearest(str(name), CLASSES)}")
    return CLASSES[name].from_json(document)
