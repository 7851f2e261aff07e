"""Search spaces: what they draw, what they refuse, and that JSON gives them back."""

import json

import numpy as np
import pytest

from jaxtransfer.adapt import BitFit, Full, LinearProbe, LoRA, TopStages
from jaxtransfer.errors import ConfigError, JaxTransferError
from jaxtransfer.protocol import samplers, trials
from jaxtransfer.protocol.priors import Choice, IntUniform, LogUniform, Uniform
from jaxtransfer.protocol.search_space import Conditional, SearchSpace, default_space, from_json
from jaxtransfer.protocol.settings import from_config

METHODS = {
    "method": {"prior": "choice", "values": ("lora", "bitfit"), "default": "lora"},
    "learning_rate": {"prior": "log_uniform", "low": 1e-4, "high": 1e-2, "default": 1e-3},
    "options": {
        "rank": {
            "prior": "choice",
            "values": (2, 4, 8),
            "default": 4,
            "when": {"method": ("lora",)},
        }
    },
}


@pytest.mark.parametrize(
    "prior",
    [
        LogUniform(low=1e-5, high=1e-1, default=1e-3),
        Uniform(low=-1.0, high=2.0, default=0.0),
        IntUniform(low=1, high=7, default=3),
        Choice(values=(2, 4, 8), default=8),
    ],
    ids=lambda prior: prior.kind,
)
def test_every_quantile_is_in_the_prior_and_they_rise(prior):
    drawn = [prior.at(u) for u in np.linspace(0, 1, 401)[:-1]]
    assert all(prior.contains(value) for value in drawn)
    assert drawn == sorted(drawn)
    assert drawn[0] == prior.ends()[0]
    space = SearchSpace(parameters={"a": prior})
    assert from_json(json.loads(json.dumps(space.to_json()))) == space


def test_a_logarithmic_prior_is_even_in_the_logarithm():
    prior = LogUniform(low=1e-4, high=1e-1, default=1e-2)
    drawn = np.log10([prior.at(u) for u in np.random.default_rng(0).random(3000)])
    counts, _ = np.histogram(drawn, bins=[-4, -3, -2, -1])
    np.testing.assert_allclose(counts / 3000, 1 / 3, atol=0.04)


@pytest.mark.parametrize(
    ("prior", "values"),
    [
        (LogUniform, {"low": 1e-4, "high": 1e-2, "default": 0.1}),
        (Uniform, {"low": 0.0, "high": 1.0, "default": -1.0}),
        (IntUniform, {"low": 1, "high": 4, "default": 2.5}),
        (Choice, {"values": (8, 16), "default": 10}),
    ],
)
def test_a_prior_that_excludes_its_default_is_refused(prior, values):
    with pytest.raises(ConfigError, match=r"excludes its default .*widen it"):
        prior(**values)


def test_the_default_of_a_config_is_what_the_rung_has_and_must_be_inside(ladder_values):
    settings = from_config(ladder_values)
    now = trials.current(settings, settings.rung("lora"))
    document = {"options": {"rank": {"prior": "choice", "values": (2, 4)}}}
    space = from_json(document, place="config.sweep.lora", defaults=now)
    assert space.defaults() == {"options.rank": 2}
    misspelt = {"lerning_rate": {"prior": "uniform", "low": 0.0, "high": 1.0}}
    with pytest.raises(
        ConfigError, match=r"rung has no 'lerning_rate' .* nearest: 'learning_rate'"
    ):
        from_json(misspelt, defaults=now)
    document["options"]["rank"]["values"] = (4, 8)
    with pytest.raises(ConfigError, match=r"config.sweep.lora.options.rank: .*default 2: widen"):
        from_json(document, place="config.sweep.lora", defaults=now)


def test_a_conditional_parameter_exists_where_its_condition_holds():
    space = from_json(METHODS)
    points = samplers.points("random", 200, 3, seed=0)
    drawn = [space.at(point) for point in points]
    assert {one["method"] for one in drawn} == {"lora", "bitfit"}
    assert all(("options.rank" in one) == (one["method"] == "lora") for one in drawn)
    assert space.with_end("options.rank", 8)["method"] == "lora"
    reverse = from_json(dict(reversed(METHODS.items())))
    assert reverse.with_end("options.rank", 8)["method"] == "lora"


def test_a_condition_may_name_an_option_in_sections():
    """A ConfigDict has no key with a dot."""
    choice = {"prior": "choice", "values": (2, 4), "default": 2}
    document = {
        "options": {"rank": choice},
        "batch_size": {**choice, "when": {"options": {"rank": (4,)}}},
    }
    space = from_json(document)
    assert space.parameters["batch_size"].on == "options.rank"
    assert space.defaults() == {"options.rank": 2}
    assert from_json(json.loads(json.dumps(space.to_json()))) == space


def test_a_choice_may_be_among_sequences():
    choice = {"prior": "choice", "values": ([".*/query/kernel"], [".*/value/kernel"])}
    space = from_json({"options": {"targets": {**choice, "default": choice["values"][0]}}})
    assert space.defaults() == {"options.targets": (".*/query/kernel",)}
    assert from_json(json.loads(json.dumps(space.to_json()))) == space


def test_a_space_comes_back_from_json_with_its_hash():
    space = from_json(METHODS)
    again = from_json(json.loads(json.dumps(space.to_json())))
    assert again == space
    assert again.hash == space.hash
    assert isinstance(again.parameters["options.rank"], Conditional)
    other = SearchSpace(
        parameters={**space.parameters, "steps": IntUniform(low=1, high=9, default=2)}
    )
    assert other.hash != space.hash


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"a": {"prior": "log_unifrom", "low": 1}}, r"no prior 'log_unifrom'; nearest: 'log_unif"),
        ({"a": {"prior": "uniform", "low": 0.0}}, r"space.a, a uniform prior, lacks 'default', 'h"),
        ({"a": {"prior": "uniform", "lo": 0.0}}, r"space.a has no key 'lo'; nearest: 'low'"),
        (
            {"a": {"prior": "log_uniform", "low": 0.0, "high": 1.0, "default": 0.5}},
            r"begins above 0",
        ),
        (
            {"a": {"prior": "uniform", "low": 1.0, "high": 0.0, "default": 0.5}},
            r"from a smaller to a larger",
        ),
        ({"a": {"prior": "choice", "values": (1, 1), "default": 1}}, r"distinct values"),
        (
            {"a": {"prior": "choice", "values": ({"b": 1},), "default": 1}},
            r"space.a: a choice is among numbers, texts and sequences of these, not the section",
        ),
        (
            {"a": {"prior": ["choice"], "values": (1,)}},
            r"space.a.prior must be text, not \['choice",
        ),
        ({}, r"at least one parameter"),
        (
            {
                name: {"prior": "choice", "values": (1,), "default": 1, "when": {other: (1,)}}
                for name, other in ("ab", "bc", "ca")
            },
            r"space: each of 'a', 'b', 'c' exists when another of them, or itself, has some values",
        ),
        (
            {"a": {"prior": "choice", "values": (1,), "default": 1, "when": {"a": (1,)}}},
            r"space: each of 'a' exists when",
        ),
        (
            {"a": {"prior": "choice", "values": (1, 2), "default": 1, "when": {"b": (1,)}}},
            r"'a' exists when 'b' .* must stand before it",
        ),
        (
            {
                "b": {"prior": "choice", "values": (1, 2), "default": 1},
                "a": {"prior": "choice", "values": (1, 2), "default": 1, "when": {"b": (3,)}},
            },
            r"never gives \[3\]",
        ),
    ],
)
def test_malformed_spaces_are_named(document, message):
    with pytest.raises(ConfigError, match=message):
        from_json(document)


def test_a_methods_space_follows_what_is_known_of_it():
    for method in (LinearProbe(), Full(), BitFit(), LoRA(rank=8), TopStages(count=2)):
        space = default_space(method, batch_size=10)
        rate = space.parameters["learning_rate"]
        assert rate.low == pytest.approx(min(method.suggested_learning_rates) / 10)
        assert rate.high == pytest.approx(max(method.suggested_learning_rates) * 10)
        assert space.parameters["batch_size"].values == (4, 8, 16)
    assert default_space(LoRA(rank=8)).parameters["options.rank"].values == (2, 4, 8, 16, 32)
    assert "options.rank" not in default_space(Full()).parameters
    assert default_space(TopStages(count=3)).parameters["options.count"].ends() == (1, 3)
    assert default_space(Full(), weight_decay=0.0).defaults()["weight_decay"] == 0.0


def test_a_space_that_does_not_fit_the_rung_is_refused_before_anything_runs(ladder_values):
    rung = from_config(ladder_values).rung("lora")

    def check(**document):
        trials.check_space(from_json(document), rung)

    rank = {"prior": "choice", "values": (2, 4), "default": 2}
    check(options={"rank": rank})
    with pytest.raises(ConfigError, match=r"no parameter 'weight_dacay'; nearest: 'weight_decay'"):
        check(weight_dacay=rank)
    with pytest.raises(JaxTransferError, match=r"no field 'ranks'; nearest: 'rank'"):
        check(options={"ranks": rank})
    with pytest.raises(ConfigError, match=r"warmup must be a finite number in \[0, 1\), not 2"):
        check(warmup={"prior": "uniform", "low": 0.0, "high": 2.0, "default": 0.1})
    check(**METHODS)
    uniform = {"prior": "uniform", "low": 1, "high": 4, "default": 2}
    for document, message in (
        (
            {"options": {"rank": uniform}},
            r"parameter 'options.rank' at 1.0: lora\.rank must be an integer",
        ),
        ({"batch_size": uniform}, r"parameter 'batch_size' at 1.0: batch_size must be an integer"),
        (
            {"options": {"rank": {**rank, "values": ([2], [4]), "default": [2]}}},
            r"at \(2,\): lora\.rank must be an integer",
        ),
    ):
        with pytest.raises(JaxTransferError, match=message):
            check(**document)
    last_block = from_config(ladder_values).rung("last_block")
    with pytest.raises(
        JaxTransferError,
        match=r"parameter 'options.count' at 1.0: top_stages\.count must be an integer",
    ):
        trials.check_space(from_json({"options": {"count": uniform}}), last_block)
    unconditional = {**METHODS, "options": {"rank": rank}}
    with pytest.raises(JaxTransferError, match=r"'bitfit' has no field 'rank'"):
        check(**unconditional)


def test_sobol_points_are_balanced_and_prefixes_of_longer_series():
    points = samplers.points("sobol", 16, 3, seed=1)
    for column in points.T:
        assert sorted((column * 16).astype(int)) == list(range(16))
    for sampler in ("sobol", "random"):
        longer, shorter = (samplers.points(sampler, count, 3, seed=1) for count in (21, 10))
        np.testing.assert_array_equal(longer[:10], shorter)
        assert not np.array_equal(samplers.points(sampler, 10, 3, seed=2), shorter)
    assert samplers.note("sobol", 16) is None
    assert "--trials 33" in samplers.note("sobol", 31)


def test_halving_keeps_one_in_eta_and_ends_at_full_length():
    assert samplers.halving(9, 90) == ((9, 10), (3, 30), (1, 90))
    assert samplers.halving(32, 40)[-1].steps == 40
    assert samplers.promoted([0.1, 0.3, None, 0.3, 0.2], 2, maximise=True) == [1, 3]
    assert samplers.promoted([0.1, 0.3, None, 0.3, 0.2], 2, maximise=False) == [0, 4]
    with pytest.raises(ConfigError, match=r"2 trials of 90 steps make one stage"):
        samplers.halving(2, 90)
