"""Latency: what is counted and when, on a clock that the tests turn; no real time is asserted."""

import dataclasses
import gc
import itertools
import json

import numpy as np
import pytest
import toys
from scipy.stats import binom

from jaxtransfer.adapt import LoRA
from jaxtransfer.adapt.adapted import merge
from jaxtransfer.errors import EvaluationError
from jaxtransfer.train.compiled import CompiledSteps
from jaxtransfer.train.latency import measure_latency, quantile, serve
from jaxtransfer.train.predict import predict


def raw(count=5):
    return list(np.random.default_rng(0).normal(size=(count, 6)).astype(np.float32))


def ticking(*steps):
    """A clock that advances by each of the steps in turn."""
    times = itertools.accumulate(itertools.cycle(steps))
    return lambda: next(times)


@dataclasses.dataclass(eq=False)
class Counted:
    """A preprocessing that keeps what it was given."""

    fingerprint: str = "counted"
    batches: list = dataclasses.field(default_factory=list)
    widths: tuple = (6,)

    def __call__(self, given):
        self.batches.append([float(row[0]) for row in given])
        width = self.widths[min(len(self.batches), len(self.widths)) - 1]
        return {"inputs": np.stack(given)[:, :width]}


def counted(**options):
    preprocess = Counted(**options)
    return dataclasses.replace(toys.make_model(), preprocess=preprocess), preprocess


def test_phases_are_what_the_clock_says_between_its_three_readings():
    found = measure_latency(
        toys.make_adapted(), raw(), batch_size=2, repetitions=30, warmup=3, clock=ticking(1, 2, 5)
    )
    # The clock is read before preprocessing, after it (2 later) and when outputs are ready (5).
    assert set(found.samples["preprocess"]) == {2}
    assert set(found.samples["compute"]) == {5}
    assert found.first == {"preprocess": 2, "compute": 5, "total": 7}
    assert {len(times) for times in found.samples.values()} == {30}
    assert found.quantiles["total"]["p95"].value == 7
    assert found.examples_per_second == pytest.approx(2 / 7)
    document = json.loads(json.dumps(found.to_json()))
    assert document["repetitions"] == 30
    assert document["seconds"]["compute"]["p50"]["value"] == 5


def test_calls_take_the_next_examples_and_nothing_compiles_twice():
    model, preprocess = counted()
    compiled, given = CompiledSteps(), raw(5)
    measure_latency(model, given, batch_size=2, repetitions=4, warmup=2, compiled=compiled)
    # One batch to compile for, the first call, two of warming up, four timed ones.
    assert len(preprocess.batches) == 1 + 1 + 2 + 4
    firsts = [float(row[0]) for row in given]
    flat = [value for batch in preprocess.batches for value in batch]
    assert flat == list(itertools.islice(itertools.cycle(firsts), len(flat)))
    assert compiled.traces == 1


def test_what_is_timed_computes_what_predict_does():
    adapted, examples = toys.make_adapted(LoRA(rank=2)), toys.make_examples(4)
    rows = list(examples.arrays["inputs"])
    expected = predict(adapted, adapted.variables, examples)
    for source in (adapted, merge(adapted)):
        served = serve(source, rows)
        outputs = served.compute(served.arrays(rows))
        np.testing.assert_allclose(outputs["logits"], expected, atol=1e-6)


def test_other_variables_are_served_if_they_are_given():
    adapted = toys.make_adapted()
    zeros = {"params": {**adapted.variables["params"]}}
    zeros["params"]["head"] = {k: 0 * v for k, v in zeros["params"]["head"].items()}
    served = serve(adapted, raw(3), variables=zeros)
    assert not np.any(served.compute(served.arrays(raw(3)))["logits"])


def test_the_garbage_collector_rests_and_comes_back():
    states = []
    clock = ticking(1)

    def watching():
        states.append(gc.isenabled())
        return clock()

    measure_latency(toys.make_adapted(), raw(), repetitions=2, clock=watching)
    assert not any(states)
    assert gc.isenabled()


def test_the_quantiles_interval_is_the_binomial_one():
    times = np.random.default_rng(0).permutation(np.arange(1.0, 201.0))
    for level in (0.5, 0.95):
        found = quantile(times, level, 0.95)
        low, high = (int(end) for end in found.ci)
        # Coverage of [x_(l), x_(u)] is P(l <= B <= u - 1); a step closer would leave a tail above 2.5 %.
        assert binom.cdf(low - 1, 200, level) <= 0.025 < binom.cdf(low, 200, level)
        assert binom.sf(high - 1, 200, level) <= 0.025 < binom.sf(high - 2, 200, level)
        assert found.value == int(200 * level)


def test_the_interval_covers_as_it_says():
    rng = np.random.default_rng(1)
    truth = -np.log(0.05)
    hits = [
        found.ci[0] <= truth <= found.ci[1]
        for found in (quantile(rng.exponential(size=200), 0.95, 0.95) for _ in range(1000))
    ]
    assert 0.94 < np.mean(hits) < 0.99


def test_few_times_do_not_bound_the_95th_percentile_from_above():
    assert quantile(range(71), 0.95, 0.95).ci[1] is None
    assert quantile(range(72), 0.95, 0.95).ci[1] == 71
    assert quantile([3.0], 0.5, 0.95).ci == (None, None)
    assert "?" in str(quantile([3.0], 0.5, 0.95))
    assert quantile([3.0] * 40, 0.5, 0.95).ci == (3.0, 3.0)


def test_bad_input_is_refused():
    adapted = toys.make_adapted()
    cases = [
        ({"raw": []}, "0 examples"),
        ({"batch_size": 0}, "with 0 of 5"),
        ({"repetitions": 0}, "cannot time 0 calls"),
        ({"warmup": -1}, r"\(after -1\)"),
    ]
    for change, message in cases:
        options = {"raw": raw(), "repetitions": 1, **change}
        with pytest.raises(EvaluationError, match=message):
            measure_latency(adapted, options.pop("raw"), **options)
    with pytest.raises(EvaluationError, match="no quantile"):
        quantile([], 0.5, 0.95)
    model, _ = counted(widths=(6, 5))
    with pytest.raises(EvaluationError, match=r"unlike those that were compiled for"):
        measure_latency(model, raw(), repetitions=1)
    lazy = dataclasses.replace(toys.make_model(), preprocess=lambda given: {"inputs": given[:1]})
    with pytest.raises(EvaluationError, match="made 1 rows of 'inputs' from 2"):
        serve(lazy, raw(2))
