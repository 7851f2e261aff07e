"""A finished ladder of three rungs, for tests of what is done with a decision afterwards."""

import copy

import pytest


@pytest.fixture(scope="session")
def decided_values(ladder_values):
    """The tiny ladder's settings, cut to three rungs and few metrics."""
    values = copy.deepcopy(ladder_values)
    values["rungs"] = ("majority_class", "linear_probe", "bitfit")
    values["task"] = {"metrics": ("accuracy", "macro_f1", "nll")}
    return values


@pytest.fixture(scope="session")
def decided(decided_values, tmp_path_factory):
    """The directory of its decision; copy it before changing anything."""
    from jaxtransfer.protocol import ladder
    from jaxtransfer.protocol.settings import from_config

    workdir = tmp_path_factory.mktemp("decided") / "run"
    ladder.run(from_config(decided_values), workdir, command="jaxtransfer ladder --config c.py")
    return workdir


@pytest.fixture(scope="session")
def guarded(decided_values, tmp_path_factory):
    """The directory of a ladder with all that a criterion, a budget and a plan can ask for."""
    from jaxtransfer.protocol import ladder
    from jaxtransfer.protocol.settings import from_config

    values = copy.deepcopy(decided_values)
    values["rungs"] = ("nearest_mean", "linear_probe", "full", "seeds")
    values["methods"]["seeds"] = {"method": "seed_ensemble"}
    values["methods"]["random_features"] = {
        "method": "linear_probe",
        "learning_rates": (0.03,),
        "initialisation": "random",
    }
    values["rungs"] += ("random_features",)
    values["acceptance"] |= {"target": 0.9, "guards": {"latency_p95_ms": 1e4, "accuracy": 0.0}}
    values["budget"] = {"trainable": 500}
    workdir = tmp_path_factory.mktemp("guarded") / "run"
    ladder.run(from_config(values), workdir, command="jaxtransfer ladder --config g.py")
    return workdir
