"""Configs become typed settings, and mistakes in them are named."""

import copy
import dataclasses
import pathlib
import runpy

import pytest

from jaxtransfer.errors import ConfigError, JaxTransferError
from jaxtransfer.protocol.settings import from_config, from_json, train_settings

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
        ("train", {"batch_size": 0}, r"train.batch_size must be an integer at least 1, not 0"),
        ("acceptance", {"margin": -1.0}, "margin must be a finite number at least 0, not -1"),
        ("methods.probe", {"steps": 3}, "lacks 'method'"),
        (
            "methods.probe",
            {"method": "full", "learning_rates": (0.0,)},
            r"rates\[0\] must .* above 0",
        ),
    ],
)
def test_mistakes_are_named(path, value, message):
    with pytest.raises(ConfigError, match=message):
        from_config(changed(path, value))


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        ("train", {"steps": "many"}, "config.train.steps must be an integer, not 'many'"),
        ("train", {"steps": 6.5}, "steps must be an integer, not 6.5"),
        ("train", {"steps": True}, "steps must be an integer, not True"),
        ("train", {"weight_decay": -3}, "weight_decay must be a finite number at least 0"),
        ("train", {"evaluate_every": -1}, "evaluate_every must be an integer at least 0"),
        ("train", {"warmup": 1.0}, r"warmup must be a finite number in \[0, 1\), not 1.0"),
        ("train", {"clip_norm": -1.0}, "clip_norm must be a finite number at least 0"),
        ("train", {"clip_norm": INF}, "clip_norm must be a finite number, not inf"),
        ("train", {"layer_decay": 0}, "layer_decay must be a finite number above 0, not 0"),
        ("train", {"label_smoothing": 2.0}, r"label_smoothing must be .* in \[0, 1\)"),
        ("train", {"l2_sp": NAN}, "l2_sp must be a finite number, not nan"),
        ("train", {"schedule": "cosin"}, "schedule must be one of .*nearest: 'cosine'"),
        ("train", {"precision": "float23"}, "precision must be one of .*nearest: 'float32'"),
        ("train", {"statistics": "updatd"}, "statistics must be one of .*nearest: 'updated'"),
        ("train", {"group_rates": {"head": "ten"}}, "train.group_rates.head must be .*'ten'"),
        ("train", {"patience": 2}, "patience=2, which counts evaluations"),
        ("train", None, "config.train must be a section, not None; its keys are among .*'steps'"),
        ("acceptance", {"margin": "0.1"}, "acceptance.margin must be a finite number, not '0.1'"),
        ("acceptance", {"margin": NAN}, "acceptance.margin must be a finite number, not nan"),
        ("acceptance", {"confidence": 1.0}, r"confidence must be .* in \(0.5, 1\)"),
        ("model", "all-minilm", "config.model must be a section, not 'all-minilm'; .*'uri'"),
        ("model.uri", 3, "config.model.uri must be text, not 3"),
        ("data", "x.csv", "config.data must be a section"),
        ("data.shape", {1, 2}, "config.data.shape must be text, a number"),
        ("splits.sizes", {"validation": "20", "test": 9}, "sizes.validation must be an integer"),
        (
            "splits.sizes",
            {"validation": 9, "test": 9, "calibration": -1},
            r"calibration must be an integer at least 0, or a finite number in \(0, 1\), not -1",
        ),
        ("splits.sizes", {"validation": 9, "test": 1.0}, r"in \(0, 1\), not 1.0"),
        ("splits.sizes", {"validation": 9, "test": 0.0}, r"in \(0, 1\), not 0.0"),
        ("splits.sizes", {"validation": 1, "test": 0.5}, "needs 'validation' with at least 2"),
        ("splits.train_per_class", 1.5, r"an integer at least 1, or .* in \(0, 1\), not 1.5"),
        ("splits.train_per_class", True, r"in \(0, 1\), not True"),
        (
            "splits.sizes",
            {"validation": 9, "test": 9, "tune": 5},
            "no split 'tune'; nearest: 'test'",
        ),
        ("splits.seed", -1, r"splits.seed must be an integer in \[0, 4294967295\], not -1"),
        ("tuning", {"seed": "a"}, "tuning.seed must be an integer, not 'a'"),
        ("seeds", "012", "config.seeds must be a sequence"),
        ("seeds", (0, 1.5), r"config.seeds\[1\] must be an integer, not 1.5"),
        ("seeds", (-1,), r"config.seeds\[0\] must be an integer in"),
        ("rungs", "probe", "config.rungs must be a sequence"),
        ("name", "a/b", "config.name is 'a/b', but folders are named by it"),
        ("name", "..", "config.name is '..', but folders"),
        ("task", "regression", "config.task must be a section"),
        ("methods", {"probe": "linear_probe"}, "config.methods.probe must be a section"),
        ("methods.a/b", {"method": "full"}, "name of a rung in config.methods is 'a/b'"),
        ("methods.probe.method", 3, "config.methods.probe.method must be text"),
        ("methods.probe.steps", "x", "config.methods.probe.steps must be an integer"),
        ("methods.probe.options", 3, "config.methods.probe.options must be a section"),
        ("methods.probe.learning_rates", "a", "learning_rates must be a sequence"),
        ("methods.probe.learning_rates", (NAN,), r"learning_rates\[0\] must be .*nan"),
        ("methods.probe.learning_rates", (0.1, 0.1), "has 0.1 more than once"),
        ("methods.probe.learning_rates", (0.1, 0.1 + 1e-9), "more than once .to six digits"),
        ("methods.probe.first_phase", {"steps": 1.5}, "first_phase.steps must be an integer"),
        ("methods.probe.first_phase", {"learning_rate": 0}, "first_phase.learning_rate must be"),
        ("methods.probe.when", {"labels": 3}, "probe.when.labels must be a sequence"),
        ("methods.probe.when", {"labels": ("=>", 3)}, r"labels must be \(operator, value\)"),
        ("methods.probe.initialisation", "randm", "initialisation must be one of .*'random'"),
        ("acceptance", {"target": "high"}, "target must be a finite number, or None, not 'high'"),
        ("acceptance", {"guards": {"ecee": 0.1}}, "guards.ecee is no metric .*nearest: 'ece'"),
        ("acceptance", {"family": "al"}, "family must be one of .*nearest: 'all'"),
        ("acceptance", {"stop_when_met": 1}, "stop_when_met must be True or False"),
        ("budget", {"second": 3}, "config.budget has no key 'second'; nearest: 'seconds'"),
        ("budget", {"seconds": 0}, "seconds must be a finite number above 0, or None"),
        ("order", "costs", "config.order must be one of .*nearest: 'cost'"),
        ("order", "records", "config.records is None"),
        ("records", "runs", "no other order reads it"),
        ("negative_transfer", "no", "config.negative_transfer must be True or False"),
    ],
)
def test_a_value_of_another_kind_is_named_with_what_is_wanted(path, value, wanted):
    with pytest.raises(ConfigError, match=wanted):
        from_config(changed(path, value))


@pytest.mark.parametrize(
    ("acceptance", "message"),
    [
        ({"target": 5}, r"acceptance.target must be in \[0, 1\], as macro_f1 is, not 5"),
        ({"metric": "mcc", "target": -1.5}, r"target must be in \[-1, 1\], as mcc is, not -1.5"),
        ({"metric": "nll", "target": -1}, r"target must be at least 0, as nll is, not -1"),
        ({"margin": 2}, "no two values of macro_f1 differ by more than 1"),
        ({"guards": {"accuracy": 1.5}}, r"guards.accuracy must be in \[0, 1\], as accuracy is"),
        ({"guards": {"ece": -1}}, r"guards.ece must be in \[0, 1\], as ece is, not -1"),
        ({"guards": {"worst_group:a": 1.5}}, r"worst_group:a must be in \[0, 1\], as macro_f1 is"),
        ({"guards": {"latency_p95_ms": -1}}, "guards.latency_p95_ms must be above 0"),
        ({"guards": {"peak_mib": 0}}, "guards.peak_mib must be above 0"),
        ({"metric": "nope", "guards": {"worst_group:a": 0.5}}, "unknown metric 'nope'"),
    ],
)
def test_a_criterion_that_no_value_can_meet_names_the_range(acceptance, message):
    with pytest.raises(JaxTransferError, match=message):
        from_config(changed("acceptance", acceptance))


def test_a_criterion_may_ask_for_all_that_a_metric_can_be():
    guards = {"nll": 7.0, "brier": 2.0, "ece": 0.0, "latency_p95_ms": 0.1}
    for metric, target in (("mcc", -1.0), ("accuracy", 1.0), ("nll", 40.0)):
        acceptance = {"metric": metric, "target": target, "guards": guards}
        assert from_config(changed("acceptance", acceptance)).acceptance.target == target


def test_a_deciding_metric_that_the_task_does_not_list_is_named_as_the_config_has_it():
    config = {**changed("task", {"metrics": ("accuracy",)}), "acceptance": {"metric": "ece"}}
    with pytest.raises(ConfigError, match=r"metric 'ece' is not among config\.task\.metrics"):
        from_config(config)


def test_values_that_mean_the_same_are_the_same():
    settings = from_config(changed("methods.probe.learning_rates", 0.1))
    assert settings == from_config(changed("methods.probe.learning_rates", [0.1]))
    path = pathlib.Path("x.csv")
    assert from_config(changed("data.path", path)).hash == from_config(MINIMAL).hash
    assert from_config(changed("model.uri", pathlib.Path("m"))).model.uri == "m"
    whole = from_config(changed("acceptance", {"margin": 0}))
    assert whole.hash == from_config(MINIMAL).hash


def test_the_hash_depends_on_what_decides_the_outcome():
    assert from_config(MINIMAL).hash == from_config(copy.deepcopy(MINIMAL)).hash
    assert from_config(MINIMAL).hash != from_config(changed("seeds", (5,))).hash


def test_an_unknown_rung_names_the_nearest():
    with pytest.raises(ConfigError, match="nearest: 'probe'"):
        from_config(MINIMAL).rung("prob")


def test_references_start_from_random_weights_as_long_as_their_counterparts():
    settings = from_config(MINIMAL)
    assert [rung.name for rung in settings.references] == ["from_scratch", "random_features"]
    scratch, features = settings.references
    assert all(rung.is_reference for rung in settings.references)
    assert train_settings(settings, features).steps == 7
    assert features.learning_rates == (0.1,)
    assert scratch.learning_rates == (1e-3,)
    assert from_config({**MINIMAL, "negative_transfer": False}).references == ()
    assert from_json(settings.to_json()) == dataclasses.replace(settings, spare=())


def test_a_rung_from_random_weights_is_a_reference_wherever_it_is_named():
    config = changed("methods.mine", {"method": "full", "initialisation": "random"})
    config["rungs"], config["negative_transfer"] = ("mine", "probe"), False
    settings = from_config(config)
    assert [rung.name for rung in settings.rungs] == ["probe"]
    assert [rung.name for rung in settings.references] == ["mine"]
    assert from_json(settings.to_json()).hash == settings.hash
    with pytest.raises(ConfigError, match=r"\['mine'\] alone, which start from random weights"):
        from_config({**config, "rungs": ("mine",)})
    config["methods"]["from_scratch"] = {"method": "full"}
    with pytest.raises(ConfigError, match="from_scratch is a reference: set its initialisation"):
        from_config({**config, "negative_transfer": True})
    with pytest.raises(ConfigError, match="which is the name of a reference"):
        from_config({**config, "rungs": ("probe", "from_scratch"), "negative_transfer": True})


def test_a_baseline_takes_no_parameters_and_names_are_of_a_folders_length():
    config = changed(
        "methods.means", {"method": "nearest_mean", "learning_rates": (0.1,), "steps": 3}
    )
    with pytest.raises(
        ConfigError, match=r"means is a nearest_mean, .*leave out \['learning_rates', 'steps'\]"
    ):
        from_config(config)
    with pytest.raises(ConfigError, match=r"300 characters.*use at most 100"):
        from_config(changed("name", "a" * 300))


def test_an_ensemble_is_the_last_rung_of_several_seeds():
    config = changed("methods.mean", {"method": "seed_ensemble"})
    for rungs, seeds, message in (
        (("mean", "probe"), (0, 1), "put it last"),
        (("mean",), (0, 1), "put it last"),
        (("probe", "mean"), (0,), "config.seeds has one"),
    ):
        with pytest.raises(ConfigError, match=message):
            from_config({**config, "rungs": rungs, "seeds": seeds})
    good = {**config, "rungs": ("probe", "mean")}
    assert from_config(good).ensemble.name == "mean"
    good["methods"]["mean"]["steps"] = 3
    with pytest.raises(ConfigError, match="trains nothing: leave out all but its method"):
        from_config(good)


def test_a_run_from_before_references_had_none(ladder_values):
    settings = from_config({**ladder_values, "negative_transfer": True})
    document = settings.to_json()
    del document["references"]
    for rung in document["rungs"]:
        del rung["when"], rung["initialisation"]
    read = from_json(document)
    assert read.rungs == settings.rungs
    assert (read.references, read.negative_transfer) == ((), False)
    assert settings.references
