"""Typed settings of a ladder: the ConfigDict of a config file stops here.

Every key and value is checked against the dataclasses below, so that a misspelt one is an error that names the nearest.
"""

import dataclasses
import hashlib
import json
import numbers
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from jaxtransfer.errors import ConfigError, nearest
from jaxtransfer.protocol.checking import Interval, check, check_fields, check_section, kinds_of

BASELINES = ("majority_class", "nearest_mean")
SPLITS = ("validation", "calibration", "test")
OTHER_VERBS = ("sweep", "ablation")
"""Sections that `sweep` and `ablate` read, and a ladder does not."""

Count = Annotated[int, Interval(1)]
CountOrNone = Annotated[int, Interval(0)]
Seed = Annotated[int, Interval(0, 2**32 - 1)]
Rate = Annotated[float, Interval(0, open_low=True)]
Weight = Annotated[float, Interval(0)]
Share = Annotated[float, Interval(0, 1, open_high=True)]
Part = Annotated[float, Interval(0, 1, open_low=True, open_high=True)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which pretrained model, and the options of its loader (`max_length`, `image_size`, `dropout`)."""

    uri: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """How many examples each split gets.

    Attributes:
      sizes: examples per split, stratified: a count, or a share in (0, 1) of all examples, rounded down;
        `validation` and `test` are needed, `calibration` is optional.
      train_per_class: labelled training examples of each class: one count for all, or the share in (0, 1) of
        each that trains.
      seed: seed of the draw.
    """

    sizes: Mapping[str, CountOrNone | Part]
    train_per_class: Count | Part
    seed: Seed = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What all trained rungs share; a rung may override each of them.

    Attributes:
      steps: optimizer steps.
      batch_size: examples per step, over all devices.
      weight_decay: decoupled weight decay of kernels.
      schedule: `cosine`, `linear` or `constant`, after the warm-up.
      warmup: share of the steps spent warming up.
      clip_norm: bound of the global norm of the trainable gradient; 0 for none.
      layer_decay: factor of the learning rate per stage downwards; 1 for none.
      group_rates: factor of the learning rate by optimizer group; a group left out takes the method's suggestion.
      statistics: `frozen` or `updated` BatchNorm statistics.
      label_smoothing: mass spread over the other classes.
      l2_sp: weight of the pull towards the pretrained values, in the last phase of a method.
      patience: evaluations without a lower negative log-likelihood on the tuning half after which
        training stops and the best one counts; 0 trains to the last step.
      evaluate_every: steps between those evaluations, which also draw the learning curves; 0 for none.
      precision: `auto`, `float32` or `bfloat16`.
    """

    steps: Count = 50
    batch_size: Count = 16
    weight_decay: Weight = 0.01
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: Share = 0.1
    clip_norm: Weight = 1.0
    layer_decay: Rate = 1.0
    group_rates: Mapping[str, Weight] = dataclasses.field(default_factory=dict)
    statistics: Literal["frozen", "updated"] = "frozen"
    label_smoothing: Share = 0.0
    l2_sp: Weight = 0.0
    patience: CountOrNone = 0
    evaluate_every: CountOrNone = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuningSettings:
    """How learning rates are chosen: by one seed, on one half of validation."""

    seed: Seed = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class AcceptanceSettings:
    """The rule, fixed beforehand, by which a rung replaces the incumbent.

    Attributes:
      metric: name of a metric of `jaxtransfer.evaluation`.
      margin: what the paired difference has to exceed, in units of the metric.
      confidence: level of the intervals; 1 minus it is the error rate of the family of rungs.
    """

    metric: str = "macro_f1"
    margin: Weight = 0.0
    confidence: Annotated[float, Interval(0.5, 1, open_low=True, open_high=True)] = 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class RungSettings:
    """One rung: a baseline, or a method with its options and grid of learning rates.

    Attributes:
      method: a method's name, or `majority_class` or `nearest_mean`.
      options: fields of the method.
      learning_rates: the grid; empty takes the method's suggestion.
      overrides: `TrainSettings` fields that differ for this rung.
      first_phase: for methods of two phases, `learning_rate` and `steps` of the first; the grid and
        the other settings are those of the last.
    """

    name: str
    method: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    learning_rates: tuple[Rate, ...] = ()
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    first_phase: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def is_baseline(self) -> bool:
        """Whether the rung has nothing to train."""
        return self.method in BASELINES


@dataclasses.dataclass(frozen=True, kw_only=True)
class LadderSettings:
    """Everything that decides a ladder's outcome.

    Attributes:
      rungs: in the order in which they are climbed.
      task: `kind` and fields of the task, but for `classes`, which the data say, and `criterion`,
        which is the metric of `acceptance`.
      spare: methods that the config defines and this ladder does not climb.
    """

    name: str
    model: ModelSettings
    data: Mapping[str, Any]
    splits: SplitSettings
    train: TrainSettings
    tuning: TuningSettings
    acceptance: AcceptanceSettings
    rungs: tuple[RungSettings, ...]
    seeds: tuple[Seed, ...]
    task: Mapping[str, Any]
    spare: tuple[RungSettings, ...] = ()

    def rung(self, name: str) -> RungSettings:
        """The rung of that name; ConfigError with the nearest names if there is none."""
        known = {rung.name: rung for rung in (*self.rungs, *self.spare)}
        if name not in known:
            raise ConfigError(
                f"config {self.name!r} defines no rung {name!r}; nearest: {nearest(name, known)}"
            )
        return known[name]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `run.json` holds them and `hash` digests them."""
        values = dataclasses.asdict(dataclasses.replace(self, spare=()))
        values.pop("spare")
        return json.loads(json.dumps(values, default=dict))

    @property
    def hash(self) -> str:
        """SHA-256 of the settings: two work directories agree on it or belong to different runs."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


def train_settings(settings: LadderSettings, rung: RungSettings) -> TrainSettings:
    """The training settings of one rung: the shared ones with the rung's own in their place."""
    return dataclasses.replace(settings.train, **rung.overrides)


def from_config(config: Mapping[str, Any]) -> LadderSettings:
    """Reads a ladder's settings from a ConfigDict or a plain mapping.

    Raises:
      ConfigError: on an unknown or missing key, a value of another kind or out of its range, a name that cannot be a
        folder's, a rung without a method, or a repeated rung, seed or learning rate; the message names the key and,
        where there is one, the nearest.
    """
    plain = config.to_dict() if hasattr(config, "to_dict") else config
    known = {field.name for field in dataclasses.fields(LadderSettings)} - {"spare"}
    values = check_section("config", plain, known | {"methods", *OTHER_VERBS})
    for name in ("model", "data", "splits"):
        if name not in values:
            raise ConfigError(f"the config lacks the section {name!r}")
    methods = check_section("config.methods", values.get("methods", {}))
    names = check("config.rungs", values.get("rungs", ()), tuple[str, ...])
    if not names:
        raise ConfigError("config.rungs is empty: name at least one rung")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(
            f"config.rungs names {repeated} more than once; every rung needs a name of its own"
        )
    seeds = check("config.seeds", values.get("seeds", (0, 1, 2)), tuple[Seed, ...])
    if not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(f"config.seeds must be distinct and at least one, not {seeds}")
    task = check("config.task", values.get("task", {}), Mapping[str, Any])
    settings = LadderSettings(
        name=_name("config.name", values.get("name", "ladder")),
        model=check_fields("config.model", values["model"], ModelSettings),
        data=check("config.data", values["data"], Mapping[str, Any]),
        splits=check_fields("config.splits", values["splits"], SplitSettings),
        train=check_fields("config.train", values.get("train", {}), TrainSettings),
        tuning=check_fields("config.tuning", values.get("tuning", {}), TuningSettings),
        acceptance=check_fields(
            "config.acceptance", values.get("acceptance", {}), AcceptanceSettings
        ),
        rungs=tuple(_rung(name, methods) for name in names),
        spare=tuple(_rung(name, methods) for name in methods if name not in names),
        seeds=seeds,
        task={"kind": "classification", **task},
    )
    _check_together(settings)
    return settings


def from_json(document: Mapping[str, Any]) -> LadderSettings:
    """Inverse of `LadderSettings.to_json`, as `run.json` holds it; raises as `from_config` does."""
    own = ("method", "options", "learning_rates", "first_phase")
    methods = {
        rung["name"]: {**{key: rung[key] for key in own}, **rung["overrides"]}
        for rung in document["rungs"]
    }
    return from_config({**document, "methods": methods, "rungs": tuple(methods)})


def _name(place: str, name: Any) -> str:
    text = check(place, name, str)
    if not re.fullmatch(r"[\w.-]+", text) or not text.strip("."):
        raise ConfigError(
            f"{place} is {text!r}, but folders are named by it: use letters, digits, '_', '-' and '.'"
        )
    return text


def _rung(name: str, methods: Mapping[str, Any]) -> RungSettings:
    if name not in methods:
        raise ConfigError(
            f"config.rungs names {name!r}, which config.methods does not define; nearest: {nearest(name, methods)}"
        )
    _name("the name of a rung in config.methods", name)
    place = f"config.methods.{name}"
    shared = kinds_of(TrainSettings)
    own = ("method", "options", "learning_rates", "first_phase")
    values = check_section(place, methods[name], {*shared, *own})
    if "method" not in values:
        raise ConfigError(f"{place} lacks 'method'")
    first_phase = check_section(
        f"{place}.first_phase", values.get("first_phase", {}), {"learning_rate", "steps"}
    )
    for key, kind in (("learning_rate", Rate), ("steps", Count)):
        if key in first_phase:
            first_phase[key] = check(f"{place}.first_phase.{key}", first_phase[key], kind)
    return RungSettings(
        name=name,
        first_phase=first_phase,
        method=check(f"{place}.method", values["method"], str),
        options=check(f"{place}.options", values.get("options", {}), Mapping[str, Any]),
        learning_rates=_rates(f"{place}.learning_rates", values.get("learning_rates", ())),
        overrides={
            key: check(f"{place}.{key}", value, shared[key])
            for key, value in values.items()
            if key in shared
        },
    )


def _rates(place: str, given: Any) -> tuple[float, ...]:
    grid = (given,) if isinstance(given, numbers.Real) else given
    rates = check(place, grid, tuple[Rate, ...])
    # Files are named by a rate's six digits.
    shown = [f"{rate:g}" for rate in rates]
    repeated = sorted({rate for rate in shown if shown.count(rate) > 1})
    if repeated:
        raise ConfigError(
            f"{place} has {', '.join(repeated)} more than once (to six digits): {rates}"
        )
    return rates


def _check_together(settings: LadderSettings) -> None:
    for name, place in (("classes", "the data"), ("criterion", "config.acceptance.metric")):
        if name in settings.task:
            raise ConfigError(f"config.task says {name!r}, which comes from {place}; leave it out")
    sizes = settings.splits.sizes
    for name in sizes:
        if name not in SPLITS:
            raise ConfigError(
                f"config.splits.sizes has no split {name!r}; nearest: {nearest(name, SPLITS)} (how many train is"
                " config.splits.train_per_class)"
            )
    for name in ("validation", "test"):
        if sizes.get(name, 0) in (0, 1):
            raise ConfigError(
                f"config.splits.sizes needs {name!r} with at least 2 examples, or a share in (0, 1)"
            )
    for rung in (*settings.rungs, *settings.spare):
        train = train_settings(settings, rung)
        if train.patience and not train.evaluate_every and not rung.is_baseline:
            raise ConfigError(
                f"rung {rung.name!r} has patience={train.patience}, which counts evaluations: set evaluate_every"
            )
