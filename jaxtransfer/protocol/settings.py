"""Typed settings of a ladder: the ConfigDict of a config file stops here.

Every key and value is checked against the dataclasses of `sections` and `acceptance`, so that a misspelt one is an
error that names the nearest.
"""

import dataclasses
import hashlib
import json
import numbers
import re
from collections.abc import Mapping
from typing import Any, Literal

from jaxtransfer.checking import (
    check,
    check_document,
    check_fields,
    check_section,
    kinds_of,
)
from jaxtransfer.errors import ConfigError, nearest
from jaxtransfer.protocol.acceptance import (
    AcceptanceSettings,
    BudgetSettings,
    check_reachable,
    frozen_document,
    guards_of,
)
from jaxtransfer.protocol.reference_rungs import check_references, default_references
from jaxtransfer.protocol.sections import (
    OPERATORS,
    Count,
    ModelSettings,
    Rate,
    RungSettings,
    Seed,
    SplitSettings,
    TrainSettings,
    TuningSettings,
)

SPLITS = ("validation", "calibration", "test")
OTHER_VERBS = ("sweep", "ablation")
"""Sections that `sweep` and `ablate` read, and a ladder does not."""
OWN = ("method", "options", "learning_rates", "first_phase", "when", "initialisation")
"""Keys of a rung beside the `TrainSettings` that it overrides."""
LONGEST_NAME = 100
"""Characters of a name: file systems allow a folder 255 bytes, and files beside it are named by it with a seed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LadderSettings:
    """Everything that decides a ladder's outcome.

    Attributes:
      rungs: as they are listed, which is the order in which they are climbed unless `order` says otherwise.
      task: `kind` and fields of the task, but for `classes`, which the data say, and `criterion`,
        which is the metric of `acceptance`.
      budget: what may be spent.
      order: `listed`, by estimated `cost`, or by the wins in `records` of similar tasks.
      records: directory of earlier records, for that order.
      diagnosis: file with facts for the rungs' preconditions; read if it is there.
      negative_transfer: whether rungs that start from random weights are run beside the ladder.
      references: those rungs; they cannot be chosen.
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
    budget: BudgetSettings = dataclasses.field(default_factory=BudgetSettings)
    order: Literal["listed", "cost", "records"] = "listed"
    records: str | None = None
    diagnosis: str | None = None
    negative_transfer: bool = True
    references: tuple[RungSettings, ...] = ()
    spare: tuple[RungSettings, ...] = ()

    def rung(self, name: str) -> RungSettings:
        """The rung of that name; ConfigError with the nearest names if there is none."""
        known = {rung.name: rung for rung in (*self.rungs, *self.references, *self.spare)}
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

    @property
    def criterion(self) -> dict[str, Any]:
        """What is frozen before anything runs: acceptance and budget, as plain values."""
        return frozen_document(self.acceptance, self.budget)

    @property
    def ensemble(self) -> RungSettings | None:
        """The rung that is an ensemble of seeds, if there is one; it is the last."""
        return self.rungs[-1] if self.rungs[-1].is_ensemble else None


def without_criterion(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, as `to_json` gives them, without what no cell depends on; the metric stays, which chose rates."""
    metric = {key: value for key, value in config["acceptance"].items() if key == "metric"}
    return {**{k: v for k, v in config.items() if k != "budget"}, "acceptance": metric}


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
    made = {"spare", "references"}
    known = {field.name for field in dataclasses.fields(LadderSettings)} - made
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
    train = check_fields("config.train", values.get("train", {}), TrainSettings)
    listed = tuple(_rung(name, methods) for name in names)
    rungs = tuple(rung for rung in listed if not rung.is_reference)
    negative_transfer = check(
        "config.negative_transfer", values.get("negative_transfer", True), bool
    )
    references = [rung for rung in listed if rung.is_reference]
    if negative_transfer:
        known_names = {rung.name for rung in references}
        references += [
            _rung(rung.name, methods) if rung.name in methods else rung
            for rung in default_references(rungs)
            if rung.name not in known_names
        ]
    taken = {rung.name for rung in (*rungs, *references)}
    settings = LadderSettings(
        name=check_name("config.name", values.get("name", "ladder")),
        model=check_fields("config.model", values["model"], ModelSettings),
        data=check("config.data", values["data"], Mapping[str, Any]),
        splits=check_fields("config.splits", values["splits"], SplitSettings),
        train=train,
        tuning=check_fields("config.tuning", values.get("tuning", {}), TuningSettings),
        acceptance=check_fields(
            "config.acceptance", values.get("acceptance", {}), AcceptanceSettings
        ),
        rungs=rungs,
        spare=tuple(_rung(name, methods) for name in methods if name not in taken),
        seeds=seeds,
        task={"kind": "classification", **task},
        budget=check_fields("config.budget", values.get("budget", {}), BudgetSettings),
        order=check(
            "config.order", values.get("order", "listed"), Literal["listed", "cost", "records"]
        ),
        records=check("config.records", values.get("records"), str | None),
        diagnosis=check("config.diagnosis", values.get("diagnosis"), str | None),
        negative_transfer=negative_transfer,
        references=tuple(references),
    )
    _check_together(settings)
    return settings


def from_json(document: Any) -> LadderSettings:
    """Inverse of `LadderSettings.to_json`, as `run.json` holds it; raises as `from_config` does.

    A run that was written before ladders had references had none.
    """
    rungs = [{"name": str, "overrides": Mapping[str, Any]}]
    check_document(document, {"rungs": rungs}, "config")
    check_document(document, {"references": rungs}, "config", partial=True)
    references = document.get("references", ())
    methods = {
        rung["name"]: {**{key: rung[key] for key in OWN if key in rung}, **rung["overrides"]}
        for rung in (*document["rungs"], *references)
    }
    rest = {key: value for key, value in document.items() if key != "references"}
    if "references" not in document:
        rest["negative_transfer"] = False
    return from_config({**rest, "methods": methods, "rungs": tuple(methods)})


def check_name(place: str, name: Any) -> str:
    """A name by which a folder can be called; ConfigError with the place if it is none."""
    text = check(place, name, str)
    if not re.fullmatch(r"[\w.-]+", text) or not text.strip("."):
        raise ConfigError(
            f"{place} is {text!r}, but folders are named by it: use letters, digits, '_', '-' and '.'"
        )
    if len(text) > LONGEST_NAME:
        raise ConfigError(
            f"{place} has {len(text)} characters, but folders are named by it: use at most {LONGEST_NAME}"
        )
    return text


def _rung(name: str, methods: Mapping[str, Any]) -> RungSettings:
    if name not in methods:
        raise ConfigError(
            f"config.rungs names {name!r}, which config.methods does not define; nearest: {nearest(name, methods)}"
        )
    check_name("the name of a rung in config.methods", name)
    place = f"config.methods.{name}"
    shared = kinds_of(TrainSettings)
    values = check_section(place, methods[name], {*shared, *OWN})
    if "method" not in values:
        raise ConfigError(f"{place} lacks 'method'")
    first_phase = check_section(
        f"{place}.first_phase", values.get("first_phase", {}), {"learning_rate", "steps"}
    )
    for key, kind in (("learning_rate", Rate), ("steps", Count)):
        if key in first_phase:
            first_phase[key] = check(f"{place}.first_phase.{key}", first_phase[key], kind)
    found = RungSettings(
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
        when=_preconditions(f"{place}.when", values.get("when", {})),
        initialisation=check(
            f"{place}.initialisation",
            values.get("initialisation", "pretrained"),
            Literal["pretrained", "random"],
        ),
    )
    if found.is_baseline:
        unread = {
            key for key in ("options", "learning_rates", "first_phase") if getattr(found, key)
        }
        unread |= set(found.overrides)
        if unread:
            raise ConfigError(
                f"{place} is a {found.method}, which trains nothing: leave out {sorted(unread)}"
            )
    return found


def _preconditions(place: str, given: Any) -> dict[str, tuple[str, Any]]:
    found = {}
    for fact, condition in check_section(place, given).items():
        pair = check(f"{place}.{fact}", condition, tuple[Any, ...])
        if len(pair) != 2 or pair[0] not in OPERATORS or not isinstance(pair[1], str | int | float):
            raise ConfigError(
                f"{place}.{fact} must be (operator, value) with an operator among {', '.join(OPERATORS)},"
                f" such as ('>=', 10), not {condition!r}"
            )
        found[fact] = (pair[0], pair[1])
    return found


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
    for rung in (*settings.rungs, *settings.references, *settings.spare):
        train = train_settings(settings, rung)
        if train.patience and not train.evaluate_every and not rung.is_baseline:
            raise ConfigError(
                f"rung {rung.name!r} has patience={train.patience}, which counts evaluations: set evaluate_every"
            )
    check_references(settings.rungs, settings.references)
    _check_ensemble(settings)
    check_reachable(settings.acceptance)
    guards_of(settings.acceptance)
    metrics, metric = settings.task.get("metrics"), settings.acceptance.metric
    if isinstance(metrics, list | tuple) and metric not in metrics:
        raise ConfigError(
            f"config.acceptance.metric {metric!r} is not among config.task.metrics {list(metrics)}; add it there, or"
            " leave config.task.metrics out"
        )
    if (settings.order == "records") != (settings.records is not None):
        raise ConfigError(
            f"config.order is {settings.order!r} and config.records is {settings.records!r}: the order by records"
            " needs their directory, and no other order reads it"
        )


def _check_ensemble(settings: LadderSettings) -> None:
    for position, rung in enumerate(settings.rungs):
        if not rung.is_ensemble:
            continue
        place = f"rung {rung.name!r} is an ensemble of the incumbent's seeds"
        if position == 0 or position + 1 < len(settings.rungs):
            raise ConfigError(f"{place}: put it last in config.rungs, above what it averages")
        if len(settings.seeds) < 2:
            raise ConfigError(f"{place}, and config.seeds has one: name two or more")
        if rung.options or rung.learning_rates or rung.first_phase or rung.overrides:
            raise ConfigError(f"{place} and trains nothing: leave out all but its method and when")
