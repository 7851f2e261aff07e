"""Typed settings of a ladder: the ConfigDict of a config file stops here.

Every key is checked against the dataclasses below, so that a misspelt one is an error that names the nearest.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from jaxtransfer.errors import ConfigError, nearest

BASELINES = ("majority_class", "nearest_mean")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which pretrained model, and the options of its loader (`max_length`, `image_size`, `dropout`)."""

    uri: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """How many examples each split gets.

    Attributes:
      sizes: examples per split, stratified; `validation` and `test` are needed, `calibration` is optional.
      train_per_class: labelled training examples of each class.
      seed: seed of the draw.
    """

    sizes: Mapping[str, int]
    train_per_class: int
    seed: int = 0


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
      l2_sp: weight of the pull towards the pretrained values.
      patience: evaluations without a lower negative log-likelihood on the tuning half after which
        training stops and the best one counts; 0 trains to the last step.
      evaluate_every: steps between those evaluations, which also draw the learning curves; 0 for none.
      precision: `auto`, `float32` or `bfloat16`.
    """

    steps: int = 50
    batch_size: int = 16
    weight_decay: float = 0.01
    schedule: str = "cosine"
    warmup: float = 0.1
    clip_norm: float = 1.0
    layer_decay: float = 1.0
    group_rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
    statistics: Literal["frozen", "updated"] = "frozen"
    label_smoothing: float = 0.0
    l2_sp: float = 0.0
    patience: int = 0
    evaluate_every: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuningSettings:
    """How learning rates are chosen: by one seed, on one half of validation."""

    seed: int = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class AcceptanceSettings:
    """The rule, fixed beforehand, by which a rung replaces the incumbent.

    Attributes:
      metric: name of a metric of `jaxtransfer.evaluation`.
      margin: what the paired difference has to exceed, in units of the metric.
      confidence: level of the intervals; 1 minus it is the error rate of the family of rungs.
    """

    metric: str = "macro_f1"
    margin: float = 0.0
    confidence: float = 0.95


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
    learning_rates: tuple[float, ...] = ()
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
    seeds: tuple[int, ...]
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
      ConfigError: on an unknown or missing key, a rung without a method, a repeated rung, no seed, or a value out of
        its range; the message names the key and, where there is one, the nearest.
    """
    values = dict(config.to_dict()) if hasattr(config, "to_dict") else dict(config)
    _check_keys(
        "config", values, {f.name for f in dataclasses.fields(LadderSettings)} | {"methods"}
    )
    methods = values.get("methods", {})
    names = tuple(values.get("rungs", ()))
    if not names:
        raise ConfigError("config.rungs is empty: name at least one rung")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(
            f"config.rungs names {repeated} more than once; every rung needs a name of its own"
        )
    seeds = tuple(int(seed) for seed in values.get("seeds", (0, 1, 2)))
    if not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(f"config.seeds must be distinct and at least one, not {seeds}")
    settings = LadderSettings(
        name=str(values.get("name", "ladder")),
        model=_read("model", ModelSettings, values),
        data=_require("data", values),
        splits=_read("splits", SplitSettings, values),
        train=_read("train", TrainSettings, values, needed=False),
        tuning=_read("tuning", TuningSettings, values, needed=False),
        acceptance=_read("acceptance", AcceptanceSettings, values, needed=False),
        rungs=tuple(_rung(name, methods) for name in names),
        spare=tuple(_rung(name, methods) for name in methods if name not in names),
        seeds=seeds,
        task={"kind": "classification", **values.get("task", {})},
    )
    _check_values(settings)
    return settings


def _rung(name: str, methods: Mapping[str, Any]) -> RungSettings:
    if name not in methods:
        raise ConfigError(
            f"config.rungs names {name!r}, which config.methods does not define; nearest: {nearest(name, methods)}"
        )
    values = dict(methods[name])
    shared = {field.name for field in dataclasses.fields(TrainSettings)}
    own = {"method", "options", "learning_rates", "first_phase"}
    _check_keys(f"config.methods.{name}", values, shared | own)
    if "method" not in values:
        raise ConfigError(f"config.methods.{name} lacks 'method'")
    rates = tuple(float(rate) for rate in values.get("learning_rates", ()))
    if any(rate <= 0 for rate in rates):
        raise ConfigError(f"config.methods.{name}.learning_rates must be positive, not {rates}")
    first_phase = dict(values.get("first_phase", {}))
    _check_keys(f"config.methods.{name}.first_phase", first_phase, {"learning_rate", "steps"})
    return RungSettings(
        name=name,
        first_phase=first_phase,
        method=values["method"],
        options=values.get("options", {}),
        learning_rates=rates,
        overrides={key: value for key, value in values.items() if key in shared},
    )


def _require(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    if name not in values:
        raise ConfigError(f"the config lacks the section {name!r}")
    return dict(values[name])


def _read(name: str, kind: type, values: Mapping[str, Any], *, needed: bool = True) -> Any:
    section = _require(name, values) if needed else dict(values.get(name, {}))
    fields = dataclasses.fields(kind)
    _check_keys(f"config.{name}", section, {field.name for field in fields})
    for field in fields:
        has_default = (
            field.default is not dataclasses.MISSING
            or field.default_factory is not dataclasses.MISSING
        )
        if not has_default and field.name not in section:
            raise ConfigError(f"config.{name} lacks {field.name!r}")
    return kind(**section)


def _check_keys(place: str, values: Mapping[str, Any], known: set[str]) -> None:
    for key in values:
        if key not in known:
            raise ConfigError(f"{place} has no key {key!r}; nearest: {nearest(key, sorted(known))}")


def _check_values(settings: LadderSettings) -> None:
    for name, place in (("classes", "the data"), ("criterion", "config.acceptance.metric")):
        if name in settings.task:
            raise ConfigError(f"config.task says {name!r}, which comes from {place}; leave it out")
    for name in ("validation", "test"):
        if settings.splits.sizes.get(name, 0) < 2:
            raise ConfigError(f"config.splits.sizes needs {name!r} with at least 2 examples")
    if settings.splits.train_per_class < 1:
        raise ConfigError("config.splits.train_per_class must be at least 1")
    if settings.acceptance.margin < 0 or not 0.5 < settings.acceptance.confidence < 1:
        raise ConfigError(
            "config.acceptance needs margin >= 0 and confidence between 0.5 and 1, not"
            f" {settings.acceptance.margin} and {settings.acceptance.confidence}"
        )
    for rung in (*settings.rungs, *settings.spare):
        train = train_settings(settings, rung)
        if train.steps < 1 or train.batch_size < 1:
            raise ConfigError(f"rung {rung.name!r} needs steps >= 1 and batch_size >= 1")
