"""What an ablation changes: the section `config.ablation`, as variants of one rung.

A component names what the rung is without it, or which alternatives it has; each is a set of
overrides of the rung's keys in `config.methods`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jaxtransfer.checking import check, check_section
from jaxtransfer.errors import ConfigError, nearest
from jaxtransfer.protocol.sections import RungSettings
from jaxtransfer.protocol.settings import LadderSettings, from_config
from jaxtransfer.protocol.training import method_of

LEAVE_ONE_OUT, ONE_FACTOR = "leave_one_out", "one_factor"
Mode = Literal["leave_one_out", "one_factor"]
WITHOUT, ALTERNATIVES = "without", "alternatives"
ALONE: Mapping[str, Any] = {
    "negative_transfer": False,
    "budget": {},
    "order": "listed",
    "records": None,
    "diagnosis": None,
}
"""What of a ladder is not an ablation's: references, budget, order and preconditions."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """The base rung with one component changed.

    Attributes:
      component: what is changed.
      label: `without`, or the alternative's name.
      changes: what differs from the base: path of the rung to its value there and here.
      rung: the changed rung's name among the settings' rungs.
    """

    component: str
    label: str
    changes: Mapping[str, tuple[Any, Any]]
    rung: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ablation:
    """An ablation, checked.

    Attributes:
      mode: `leave_one_out` or `one_factor` at a time.
      base: name of the rung that is changed.
      variants: in the order of the config.
      settings: whose rungs are the base and the variants.
    """

    mode: Mode
    base: str
    variants: tuple[Variant, ...]
    settings: LadderSettings

    @property
    def rungs(self) -> tuple[RungSettings, ...]:
        """The base and its variants; those of random weights are references to a ladder."""
        return (*self.settings.rungs, *self.settings.references)


def read(config: Mapping[str, Any], only: Sequence[str] = ()) -> Ablation:
    """Reads `config.ablation`: `rung`, `mode` and `components`.

    In the mode `leave_one_out` each component's `without` is run, in `one_factor` each of its
    `alternatives`, by name. Overrides are keys of the rung in `config.methods`; sections such as
    `options` are merged into the rung's, unless the `method` is another.

    Args:
      config: of the ladder, with the section.
      only: components to take; all if empty.

    Raises:
      ConfigError: if the section is missing or malformed, names an unknown rung or component, a
        component changes nothing, or two variants would share a rung's name; or as `settings.from_config` does, of the changed rungs.
    """
    plain = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    settings = from_config(plain)
    if "ablation" not in plain:
        raise ConfigError(
            "the config has no section 'ablation': name in it the rung, the mode"
            f" ({LEAVE_ONE_OUT} or {ONE_FACTOR}) and the components"
        )
    section = check_section("config.ablation", plain["ablation"], {"rung", "mode", "components"})
    for name in ("rung", "components"):
        if name not in section:
            raise ConfigError(f"config.ablation lacks {name!r}")
    mode = check("config.ablation.mode", section.get("mode", LEAVE_ONE_OUT), Mode)
    base = settings.rung(check("config.ablation.rung", section["rung"], str))
    components = check_section("config.ablation.components", section["components"])
    for name in only:
        if name not in components:
            raise ConfigError(
                f"config.ablation has no component {name!r}; nearest: {nearest(name, components)}"
            )
    if base.is_baseline or base.is_ensemble or base.is_reference:
        raise ConfigError(
            f"config.ablation.rung is {base.name!r} ({base.method}, {base.initialisation}): name a"
            " rung that trains pretrained weights"
        )
    if len(settings.seeds) < 2:
        raise ConfigError(
            f"an ablation is paired over seeds, and config.seeds is {settings.seeds}: give at"
            " least two"
        )
    methods = {base.name: _mapping(base)}
    variants: list[Variant] = []
    for name, component in components.items():
        if only and name not in only:
            continue
        for label, overrides in _versions(name, component, mode).items():
            place = f"config.ablation.components.{name}.{label}"
            rung = f"{base.name}-{name}-{label}"
            if rung in methods:
                other = next(one for one in variants if one.rung == rung)
                raise ConfigError(
                    f"{place} and config.ablation.components.{other.component}.{other.label} would both be"
                    f" run as {rung!r}: rename a component or an alternative of them"
                )
            if "when" in overrides:
                raise ConfigError(
                    f"{place} has 'when', but an ablation runs every variant, whatever the facts are: leave it out"
                )
            methods[rung] = _merged(place, methods[base.name], overrides)
            changes = _changes(settings, base, methods[rung])
            if not changes:
                raise ConfigError(
                    f"{place} changes nothing of rung {base.name!r}: {overrides!r} is what it has"
                )
            variants.append(Variant(component=name, label=label, changes=changes, rung=rung))
    if not variants:
        raise ConfigError("config.ablation.components is empty: name at least one")
    return Ablation(
        mode=mode,
        base=base.name,
        variants=tuple(variants),
        settings=from_config({**plain, **ALONE, "methods": methods, "rungs": tuple(methods)}),
    )


def _versions(name: str, component: Any, mode: Mode) -> dict[str, Mapping[str, Any]]:
    place = f"config.ablation.components.{name}"
    given = check_section(place, component, {WITHOUT, ALTERNATIVES})
    key = WITHOUT if mode == LEAVE_ONE_OUT else ALTERNATIVES
    if not given.get(key):
        raise ConfigError(f"{place} lacks {key!r}, which the mode {mode!r} runs")
    found = {WITHOUT: given[key]} if key == WITHOUT else check_section(place, given[key])
    return {label: check_section(f"{place}.{label}", one) for label, one in found.items()}


def _mapping(rung: RungSettings) -> dict[str, Any]:
    """A rung as `config.methods` has it."""
    return {
        "method": rung.method,
        "options": dict(rung.options),
        "learning_rates": rung.learning_rates,
        "first_phase": dict(rung.first_phase),
        "initialisation": rung.initialisation,
        **rung.overrides,
    }


def _merged(place: str, base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(base)
    if overrides.get("method", base["method"]) != base["method"]:
        # What belongs to the base's method: options, phases, and the rates that suit it.
        found |= {"options": {}, "first_phase": {}, "learning_rates": ()}
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            inner = check_section(f"{place}.{key}", value)
            found[key] = {**check_section(place, found.get(key, {})), **inner}
        else:
            found[key] = value
    return found


def _changes(
    settings: LadderSettings, base: RungSettings, other: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """What differs, where what neither names is as in `config.train` and the method's defaults."""
    shared = dataclasses.asdict(settings.train)
    before, after = (_flat({**shared, **one}) for one in (_mapping(base), other))
    if other["method"] == base.method:
        for name, default in method_of(base).describe().items():
            if f"options.{name}" in after:
                before.setdefault(f"options.{name}", default)
    return {
        key: (before.get(key), after.get(key))
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    }


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = tuple(value) if isinstance(value, list) else value
    return found
