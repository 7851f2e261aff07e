"""From a diagnosis to a ladder: which rungs to climb, in which order, and why.

The rules are few and stated; what they are worth is measured (`experiments/studies/diagnosis.py`),
and the ladder decides, not they.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

FEW = 10
"""Training labels a class below which the cheap rungs that tune little come first."""
MANY = 25
"""Training labels a class from which full fine-tuning is put before the rungs that tune little."""
HEADROOM = 0.01
"""Accuracy that a cross-fitted probe has to leave for heavier rungs to be worth their cost."""
NOISY = 0.1
SMOOTHING = 0.1
ALPHA = 0.05
STATISTICS_LABELS = 500
"""Training labels below which BatchNorm statistics stay frozen."""

BASELINES = ("majority_class", "nearest_mean", "linear_probe")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recommendation:
    """A ladder.

    Attributes:
      model: URI of the backbone.
      rungs: names, in the order in which to climb, first the baselines.
      methods: rung to its method, options and overrides, as a config's `methods`.
      first: the rung that is expected to win.
      reasons: rung to why it stands where it does.
      remarks: what else the diagnosis says, and changes nothing by itself.
    """

    model: str
    rungs: tuple[str, ...]
    methods: Mapping[str, Mapping[str, Any]]
    first: str
    reasons: Mapping[str, str]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "model": self.model,
            "rungs": list(self.rungs),
            "methods": {name: dict(values) for name, values in self.methods.items()},
            "first": self.first,
            "reasons": dict(self.reasons),
            "remarks": list(self.remarks),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What the rules read.

    Attributes:
      labels_per_class: training labels of the smallest class.
      train: training labels in all.
      probe: cross-fitted accuracy of a linear probe on the frozen encoder, or None.
      probe_interval: its 95 % interval, or None.
      nearest_mean: that of the class means, or None.
      noise: estimated share of wrong labels, or None.
      shifted: pairs of splits or domains that differ at `ALPHA`, corrected for their number.
      readings: stage to 'generic', 'task' or 'source', in depth order; empty if they were not read.
      has_statistics: whether the network has BatchNorm statistics.
    """

    labels_per_class: int
    train: int
    probe: float | None
    probe_interval: tuple[float, float] | None
    nearest_mean: float | None
    noise: float | None
    shifted: tuple[str, ...]
    readings: Mapping[str, str | None]
    has_statistics: bool


def recommend(facts: Facts, *, model: str) -> Recommendation:
    """Applies the rules.

    1. The majority class, the class means and a linear probe always come first: they cost next to
       nothing and are often not beaten.
    2. If the probe leaves less than `HEADROOM`, only BitFit follows, as the cheapest tuned rung.
    3. Otherwise the tuned rungs follow from few to many trained parameters; with `MANY` labels a
       class or more, those that tune everything are expected to win.
    4. `top_stages` trains the stages that the layer analysis reads as specific to the source, and
       the last one before them; two where stages were not read.
    5. LP-FT comes directly before full fine-tuning; where the domains differ it is expected to win
       (Kumar et al. 2022, arXiv 2202.10054).
    6. Label smoothing where more than `NOISY` of the labels look wrong; frozen BatchNorm statistics
       below `STATISTICS_LABELS` labels.
    """
    shared: dict[str, Any] = {}
    remarks = []
    if facts.noise is not None and facts.noise > NOISY:
        shared["label_smoothing"] = SMOOTHING
        remarks.append(
            f"{100 * facts.noise:.0f} % of the training labels look wrong to a probe that has not seen"
            f" them: label smoothing of {SMOOTHING:g} is set; look at them first (`jaxtransfer examine`)"
        )
    if facts.has_statistics:
        state = "frozen" if facts.train < STATISTICS_LABELS else "updated"
        shared["statistics"] = state
        remarks.append(f"BatchNorm statistics are {state}: {facts.train} training labels")
    reasons = {
        "majority_class": "what is to be beaten by anything",
        "nearest_mean": "costs one pass through the frozen encoder and has nothing to tune",
        "linear_probe": _probe_reason(facts),
    }
    methods: dict[str, dict[str, Any]] = {name: {"method": name} for name in BASELINES}
    methods["linear_probe"] |= {"steps": 200}
    tuned = _tuned(facts, reasons, methods)
    for name in tuned:
        methods[name] |= shared
    first = _first(facts, tuned)
    return Recommendation(
        model=model,
        rungs=(*BASELINES, *tuned),
        methods=methods,
        first=first,
        reasons=reasons,
        remarks=(f"expected to win: {first}, {_why_first(first, facts)}", *remarks),
    )


def _tuned(
    facts: Facts, reasons: dict[str, str], methods: dict[str, dict[str, Any]]
) -> tuple[str, ...]:
    per_class = facts.labels_per_class
    methods["bitfit"] = {"method": "bitfit"}
    if _is_saturated(facts):
        reasons["bitfit"] = (
            f"the probe leaves less than {HEADROOM:g} of accuracy: one cheap tuned rung is enough"
        )
        return ("bitfit",)
    reasons["bitfit"] = "the fewest tuned parameters: biases and the head"
    methods["lora"] = {"method": "lora", "options": {"rank": 8, "alpha": 16.0}}
    reasons["lora"] = "low-rank updates of all linear layers, the base as it was"
    count, why = _stages(facts.readings)
    methods["top_stages"] = {"method": "top_stages", "options": {"count": count}}
    reasons["top_stages"] = why
    methods["lp_ft"] = {"method": "lp_ft"}
    reasons["lp_ft"] = (
        f"{_listed(facts.shifted)} differ: fine-tuning from a fitted head distorts features less"
        if facts.shifted
        else "full fine-tuning from a fitted head"
    )
    methods["full"] = {"method": "full"}
    reasons["full"] = f"everything is tuned, with {per_class} labels a class"
    return ("bitfit", "lora", "top_stages", "lp_ft", "full")


def _first(facts: Facts, tuned: Sequence[str]) -> str:
    if _is_saturated(facts):
        return "linear_probe"
    if facts.labels_per_class < FEW:
        return "nearest_mean" if facts.labels_per_class < FEW / 2 else "bitfit"
    if facts.labels_per_class >= MANY:
        return "lp_ft" if facts.shifted else "full"
    return "lora" if "lora" in tuned else tuned[0]


def _why_first(first: str, facts: Facts) -> str:
    if first == "linear_probe":
        return "because it leaves no room"
    per_class = f"{facts.labels_per_class} training labels a class"
    return {
        "nearest_mean": f"because {per_class} do not support more",
        "bitfit": f"because {per_class} are few",
        "lora": f"at {per_class}",
        "lp_ft": f"at {per_class} and under shift",
        "full": f"at {per_class}",
    }[first]


def _is_saturated(facts: Facts) -> bool:
    return facts.probe is not None and facts.probe > 1 - HEADROOM


def _probe_reason(facts: Facts) -> str:
    if facts.probe is None:
        return "the strongest head that leaves the encoder as it is"
    around = ""
    if facts.probe_interval is not None:
        low, high = facts.probe_interval
        around = f" [{low:.3f}, {high:.3f}]"
    means = "" if facts.nearest_mean is None else f", the class means {facts.nearest_mean:.3f}"
    return f"cross-fitted accuracy {facts.probe:.3f}{around}{means}"


def _stages(readings: Mapping[str, str | None]) -> tuple[int, str]:
    """How many of the last stages to train, and why."""
    known = [reading for reading in readings.values() if reading is not None]
    if not known:
        return 2, "the last two stages: the layer analysis could not read them"
    source = sum(reading == "source" for reading in known)
    count = min(max(2, source + 1), len(known))
    if source:
        last = list(readings)[len(readings) - source - 1]
        return count, (
            f"the last {source} stage{'s' if source > 1 else ''} are specific to the source; they and"
            f" {last}, the last one that holds what the task needs, are trained"
        )
    return count, f"no stage is specific to the source: the last {count} are trained"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
