"""Configs become typed settings, and mistakes in them are named."""

import copy
import pathlib
import runpy

import pytest

from jaxtransfer.errors import ConfigError
from jaxtransfer.protocol.settings import from_config, train_settings

CONFIGS = sorted(pathlib.Path("configs").glob("*.py"))
MINIMAL = {
    "model": {"uri": "m"},
    "data": {"kind": "csv", "path": "x.csv"},
    "splits": {"sizes": {"validation": 10, "test": 10}, "train_per_class": 2},
    "rungs": ("probe",),
    "methods": {"probe": {"method": "linear_probe", "steps": 7, "learning_rates": (0.1,)}},
}


def changed(path, value):
    config = copy.deepcopy(MINIMAL)
    *parents, last = path.split(".")
    node = config
    for parent in parents:
        node = node[parent]
    node[last] = value
    return config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_that_is_shipped_can_be_read(path):
    settings = from_config(runpy.run_path(str(path))["get_config"]())
    assert settings.rungs
    assert "jaxtransfer" in runpy.run_path(str(path))["__doc__"]


def test_a_rung_overrides_the_shared_settings():
    settings = from_config(MINIMAL)
    assert train_settings(settings, settings.rung("probe")).steps == 7
    assert settings.train.steps == 50


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("rungs", (), "rungs is empty"),
        ("rungs", ("probe", "probe"), "more than once"),
        ("rungs", ("prob",), "does not define; nearest: 'probe'"),
        ("seeds", (0, 0), "distinct"),
        ("model.ur", "x", "no key 'ur'; nearest: 'uri'"),
        ("splits.sizes", {"validation": 10}, "needs 'test'"),
        ("splits.train_per_class", 0, "at least 1"),
        ("train", {"step": 3}, "no key 'step'; nearest: 'steps'"),
        ("train", {"batch_size": 0}, "batch_size >= 1"),
        ("acceptance", {"margin": -1.0}, "margin >= 0"),
        ("methods.probe", {"steps": 3}, "lacks 'method'"),
        ("methods.probe", {"method": "full", "learning_rates": (0.0,)}, "must be positive"),
    ],
)
def test_mistakes_are_named(path, value, message):
    with pytest.raises(ConfigError, match=message):
        from_config(changed(path, value))


def test_the_hash_depends_on_what_decides_the_outcome():
    assert from_config(MINIMAL).hash == from_config(copy.deepcopy(MINIMAL)).hash
    assert from_config(MINIMAL).hash != from_config(changed("seeds", (5,))).hash


def test_an_unknown_rung_names_the_nearest():
    with pytest.raises(ConfigError, match="nearest: 'probe'"):
        from_config(MINIMAL).rung("prob")
