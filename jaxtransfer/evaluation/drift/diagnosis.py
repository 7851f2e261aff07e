"""After an alarm: what has moved, by how much, and what that suggests doing.

The rows since the likely start of the drift are compared with all rows before it. The start was
chosen by the data, so these p-values describe; the alarm itself is what has a declared error rate.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxtransfer.evaluation.drift.label_shift import (
    ClassShares,
    confusion_rates,
    estimate_shares,
    why_not_invertible,
)
from jaxtransfer.evaluation.drift.performance import Z
from jaxtransfer.evaluation.drift.two_sample import ks_distances, ks_p_values
from jaxtransfer.evaluation.drift.views import WEIGHTS

if TYPE_CHECKING:
    from jaxtransfer.evaluation.drift.monitor import Monitor, Rows

SEPARABLE = 0.9
"""AUC between old and new features from which on the features themselves are taken to have changed.

The proxy A-distance is then about 1.3 of 2 (normal features, equal variance); below it most rows still look alike and a new head on
the same features is the cheaper remedy to try first.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What has moved since the likely start of the drift.

    Attributes:
      start: the look it likely began at, by the kind with the most evidence.
      rows: how many rows came since then.
      before: how many came before.
      p: kind to its p-value over these rows, weighted Bonferroni over its tests and Holm over
        kinds.
      moved: the kinds that alarmed, or whose p is at most the declared rate.
      shift: root mean square of the standardised shifts of the features' means, without what chance
        adds; None without features.
      separability: AUC of a classifier between old and new features; None without features.
      features_moved: how many features' distributions differ (Kolmogorov-Smirnov, Holm, 0.05).
      inputs: input statistic to the shift of its mean in standard deviations.
      confidence: change of the mean confidence, label shift taken out, with its 95 % interval.
      predicted: class to its share of the predictions, before and since.
      shares: the classes' estimated shares if label shift explains the predictions; None where
        features moved, or the reference does not allow it.
    """

    start: int
    rows: int
    before: int
    p: Mapping[str, float]
    moved: tuple[str, ...]
    shift: float | None
    separability: float | None
    features_moved: int | None
    inputs: Mapping[str, float]
    confidence: tuple[float, float, float] | None
    predicted: Mapping[str, tuple[float, float]]
    shares: ClassShares | None

    def to_json(self) -> dict:
        """Plain values."""
        plain = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "shares"
        }
        return {**plain, "shares": None if self.shares is None else self.shares.to_json()}


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P-values adjusted for their number by Holm's step-down.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    adjusted, running = {}, 0.0
    ordered = sorted(p_values, key=lambda name: p_values[name])
    for rank, name in enumerate(ordered):
        running = max(running, min(1.0, (len(ordered) - rank) * p_values[name]))
        adjusted[name] = running
    return {name: adjusted[name] for name in p_values}


def diagnose(
    monitor: "Monitor", alarms: Mapping[str, int]
) -> tuple[Diagnosis | None, str, tuple[str, ...]]:
    """What the monitor's alarms suggest: diagnosis, advice, and the reasons in words."""
    if not alarms:
        return None, "nothing", ()
    # The kind with the most evidence dates the drift best; others follow it, or come by chance.
    strongest = max(alarms, key=lambda kind: monitor.evidence(kind).path[-1])
    start = monitor.evidence(strongest).likely_start
    found = _describe(monitor, alarms, start)
    advice, why = _advise(found)
    return found, advice, (*_reasons(monitor, alarms, found), why)


def _describe(monitor: "Monitor", alarms: Mapping[str, int], start: int) -> Diagnosis:
    rows = monitor.rows
    new, old = rows.take(rows.look >= start), rows.take(rows.look < start)
    rng = np.random.default_rng([monitor.settings.seed, len(monitor.looks), 1])
    tests = monitor.compare(new, old, rng)
    p = holm(
        {
            kind: min(1.0, min(test.p / WEIGHTS[kind][test.name] for test in results))
            for kind, results in tests.items()
        }
    )
    limit = monitor.settings.false_alarms
    moved = tuple(kind for kind in monitor.kinds if kind in alarms or p[kind] <= limit)
    shift = separability = features_moved = confidence = None
    inputs, predicted = {}, {}
    if "features" in tests:
        shift = _root_mean_square(new.numbers["features"], old.numbers["features"])
        separability = next(t.statistic for t in tests["features"] if t.name == "classifier")
        features_moved = _count_moved(new.numbers["features"], old.numbers["features"])
    if "inputs" in tests:
        change = new.numbers["inputs"].mean(axis=0) - old.numbers["inputs"].mean(axis=0)
        inputs = {name: float(value) for name, value in zip(monitor.inputs, change)}
    if "confidence" in tests:
        confidence = _confidence(monitor, new, old)
    for index, name in enumerate(monitor.classes):
        before, since = ((r.predicted == index).mean() for r in (old, new))
        predicted[name] = (float(before), float(since))
    return Diagnosis(
        start=start,
        rows=len(new),
        before=len(old),
        p=p,
        moved=moved,
        shift=shift,
        separability=separability,
        features_moved=features_moved,
        inputs=inputs,
        confidence=confidence,
        predicted=predicted,
        shares=_shares(monitor, new) if "labels" in moved and "features" not in moved else None,
    )


def _root_mean_square(new: np.ndarray, old: np.ndarray) -> float:
    squares = (new.mean(axis=0, dtype=np.float64) - old.mean(axis=0, dtype=np.float64)) ** 2
    chance = new.var(axis=0, dtype=np.float64) / len(new)
    chance += old.var(axis=0, dtype=np.float64) / len(old)
    return float(np.sqrt(max(0.0, (squares - chance).mean())))


def _count_moved(new: np.ndarray, old: np.ndarray) -> int:
    p = ks_p_values(ks_distances(new, old), len(new), len(old))
    adjusted = holm({str(column): float(value) for column, value in enumerate(p)})
    return sum(value <= 0.05 for value in adjusted.values())


def _confidence(monitor: "Monitor", new: "Rows", old: "Rows") -> tuple[float, float, float]:
    scale = float(monitor.views["confidence"].scale[0])
    a, b = (rows.numbers["confidence"][:, 0].astype(np.float64) * scale for rows in (new, old))
    change = float(a.mean() - b.mean())
    half = Z * math.sqrt(a.var() / len(a) + b.var() / len(b))
    return change, change - half, change + half


def _shares(monitor: "Monitor", new: "Rows") -> ClassShares | None:
    if monitor.labels is None:
        return None
    classes = len(monitor.classes)
    rates = confusion_rates(monitor.labels, monitor.predicted, classes)
    if why_not_invertible(monitor.labels, rates) is not None:
        return None
    return estimate_shares(
        monitor.labels, monitor.predicted, new.predicted, classes, seed=monitor.settings.seed
    )


def _advise(found: Diagnosis) -> tuple[str, str]:
    """The advice, and why; the rules in order, the first that fits."""
    moved = set(found.moved)
    if "features" in moved:
        auc = found.separability or 0.5
        distance = f"a classifier tells new features from old with AUC {auc:.3f}"
        if auc >= SEPARABLE:
            return "re-adapt", f"{distance}, at least {SEPARABLE}: the features themselves changed"
        return (
            "refit the probe",
            f"{distance}, below {SEPARABLE}: old and new features overlap, so a head fitted on"
            " labelled new examples comes first",
        )
    if "labels" in moved:
        what = "reweight the class shares and recalibrate on them"
        if found.shift is None:
            return (
                "recalibrate",
                f"{what}; no features are watched, so covariate shift is not ruled out",
            )
        return "recalibrate", f"the classes' shares explain the shift of the features: {what}"
    if "confidence" in moved:
        also = " and inputs" if "inputs" in moved else ""
        seen = "neither features nor labels did" if found.shift is not None else "labels did not"
        return "recalibrate", f"confidence{also} moved, {seen}"
    if found.shift is None and not found.predicted:
        return "refit the probe", "inputs moved, and nothing behind them is watched"
    return "nothing", "inputs moved, and nothing computed from them did; look at the inputs"


def _reasons(monitor: "Monitor", alarms: Mapping[str, int], found: Diagnosis) -> tuple[str, ...]:
    rate = monitor.settings.false_alarms
    share = f"an equal share of {rate:g} over {len(monitor.kinds)} kinds and any number of looks"
    told = ", ".join(f"{kind} at look {look}" for kind, look in alarms.items())
    reasons = [
        f"alarm: {told} ({share})",
        f"likely since look {found.start}: {found.rows} rows against {found.before} before it;"
        " adjusted p " + ", ".join(f"{kind} {value:.2g}" for kind, value in found.p.items()),
    ]
    if "features" in found.moved:
        width = monitor.views["features"].scale.size
        reasons.append(
            f"features: means moved by {found.shift:.3f} SD (root mean square over {width}),"
            f" {found.features_moved} features by themselves, beyond what the classes' shares"
            " explain"
        )
    if "inputs" in found.moved:
        largest = sorted(found.inputs.items(), key=lambda item: -abs(item[1]))[:3]
        reasons.append("inputs: " + ", ".join(f"{name} {value:+.2f} SD" for name, value in largest))
    if "labels" in found.moved:
        changes = sorted(found.predicted.items(), key=lambda item: -abs(item[1][1] - item[1][0]))
        text = ", ".join(f"{name!r} {a:.1%} to {b:.1%}" for name, (a, b) in changes[:3])
        reasons.append(f"predicted classes: {text}")
        if found.shares is not None:
            s = found.shares
            order = np.argsort(-np.abs(s.estimate - s.reference), kind="stable")[:3]
            text = ", ".join(
                f"{monitor.classes[i]!r} {s.reference[i]:.1%} to {s.estimate[i]:.1%}"
                f" [{s.low[i]:.1%}, {s.high[i]:.1%}]"
                for i in order
            )
            reasons.append(f"estimated shares of the classes: {text}")
        elif "features" in found.moved:
            reasons.append("class shares are not estimated, since the features moved too")
    if found.confidence is not None and "confidence" in found.moved:
        change, low, high = found.confidence
        reasons.append(
            f"mean confidence {change:+.3f} [{low:+.3f}, {high:+.3f}], label shift taken out"
        )
    return tuple(reasons)
