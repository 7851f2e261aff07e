"""Serving cost: sizes are counted exactly, and what a platform does not give has its reason."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import toys

from jaxtransfer.adapt import LinearProbe, LoRA
from jaxtransfer.adapt.adapted import merge
from jaxtransfer.errors import EvaluationError
from jaxtransfer.models.model import from_module
from jaxtransfer.train import resident_worker, serving
from jaxtransfer.train.resident import Resident, measure_resident
from jaxtransfer.train.serving import measure_serving_cost

WIDTH, CLASSES, INPUTS = 8, 3, 6


def raw(count=4):
    return list(np.random.default_rng(0).normal(size=(count, INPUTS)).astype(np.float32))


def cost(source, sizes=(1,), **options):
    settings = {"repetitions": 2, "warmup": 0, "resident": False, **options}
    return measure_serving_cost(source, raw(), sizes, **settings)


def dense(rows, columns):
    return rows * columns + columns


def test_parameters_are_counted_exactly():
    adapted = toys.make_adapted(LinearProbe(), norm=True)
    body = dense(INPUTS, WIDTH) + 2 * dense(WIDTH, WIDTH) + 3 * 2 * WIDTH
    head, statistics = dense(WIDTH, CLASSES), 3 * 2 * WIDTH
    found = cost(adapted).figures
    assert found["parameters"].value == body + head
    assert found["trainable_parameters"].value == head
    assert found["variables_bytes"].value == 4 * (body + head + statistics)
    assert found["trainable_bytes"].value == 4 * head
    assert 4 * head < found["adapter_file_bytes"].value < 4 * head + 10_000


def test_a_merged_model_does_fewer_operations_and_has_no_adapter():
    adapted = toys.make_adapted(LoRA(rank=2))
    with_lora, merged = cost(adapted), cost(merge(adapted))
    flops = [found.batches[0].figures["flops"].value for found in (with_lora, merged)]
    assert flops[0] > flops[1] > 2 * (INPUTS * WIDTH + 2 * WIDTH * WIDTH + WIDTH * CLASSES)
    assert (with_lora.method, merged.method) == ("lora", None)
    figure = merged.figures["adapter_file_bytes"]
    assert figure.value is None
    assert "no adapter" in figure.reason
    assert "unknown (a model without a method" in str(merged)


def test_larger_batches_take_more_operations_and_memory():
    small, large = cost(toys.make_adapted(), (1, 4)).batches
    assert (small.batch_size, large.batch_size) == (1, 4)
    for name in ("flops", "compiled_peak"):
        assert small.figures[name].value < large.figures[name].value
        assert small.figures[name].source == large.figures[name].source
    assert large.figures["compiled_peak"].source.startswith("compiled estimate")


def test_every_figure_is_json_with_its_source_or_reason():
    document = json.loads(json.dumps(cost(toys.make_adapted()).to_json(), allow_nan=False))
    figures = [
        value
        for part in (document, document["batches"][0])
        for value in part.values()
        if isinstance(value, dict) and "unit" in value
    ]
    assert len(figures) == 5 + 7
    assert all(figure["source"] for figure in figures)
    assert all(("reason" in figure) == (figure["value"] is None) for figure in figures)
    assert document["batches"][0]["rss_peak"]["reason"] == "not asked for"


def test_one_subprocess_reports_its_own_memory():
    size = 96 * 2**20
    adapted = toys.make_adapted()
    heavy = {**adapted.variables, "extra": {"weight": np.ones(size // 4, np.float32)}}
    found = measure_resident(adapted, raw(), batch_size=2, variables=heavy)
    assert dict(found.reasons) == {
        "device_peak": "the platform 'cpu' has no statistics of its memory"
    }
    # What this process holds is no part of it: the child began small and grew by the weights.
    assert found.baseline + size < found.peak
    # While they were read there were two copies.
    assert found.baseline < found.serving < found.peak


def test_a_network_that_no_other_process_can_import_has_no_figure_but_a_reason():
    adapted = toys.make_adapted()
    model = dataclasses.replace(adapted.model, preprocess=lambda given: {"inputs": given})
    found = measure_resident(dataclasses.replace(adapted, model=model), raw())
    assert found.peak is None
    assert "cannot be sent to a process of its own" in found.reasons["peak"]


@dataclasses.dataclass
class Failing:
    """A preprocessing that does not work elsewhere."""

    fingerprint: str = "failing"

    def __call__(self, given):
        raise ValueError("no tokenizer here")


def test_a_process_that_fails_says_why():
    model = dataclasses.replace(toys.make_model(), preprocess=Failing())
    found = measure_resident(model, raw())
    assert found == Resident.unknown(found.reasons["peak"])
    assert "the process ended with status 1" in found.reasons["peak"]


def test_a_platform_without_proc_gives_none(monkeypatch, tmp_path):
    monkeypatch.setattr(resident_worker, "STATUS", tmp_path / "status")
    monkeypatch.setattr(resident_worker, "CLEAR", tmp_path / "nowhere" / "clear_refs")
    assert resident_worker.resident("VmHWM") is None
    assert resident_worker.forget_peak() is False
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t    12 kB\nVmRSS:\t  7 kB\n")
    assert resident_worker.resident("VmHWM") == 12 * 1024


def test_a_backend_that_analyses_nothing_gives_none():
    class Silent:
        def cost_analysis(self):
            return None

        def memory_analysis(self):
            return None

    executable = dataclasses.replace(
        serving.serve(toys.make_adapted(), raw()).executable, call=Silent()
    )
    found = serving._compiled_figures(executable)
    assert [figure.value for figure in found.values()] == [None, None]
    assert found["flops"].reason == "the backend does not count them"


def test_shapes_without_weights_are_refused():
    model = toys.make_model()
    shapes = jax.eval_shape(lambda: model.variables)
    bare = from_module(
        toys.Staged(),
        {"params": shapes["params"]["encoder"]},
        {"inputs": raw()[0][None]},
        name="bare",
        stages=("block_0", "block_1", "block_2"),
    )
    with pytest.raises(EvaluationError, match="'bare' has shapes and no weights"):
        cost(bare)
