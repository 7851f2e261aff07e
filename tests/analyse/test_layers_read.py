"""Layer analysis: a network built to be generic, then of the task, then of its source, is read so."""

import json

import numpy as np
import pytest
import stages

from jaxtransfer.analyse.layers import GENERIC, RULE, SOURCE, TASK, analyse_layers, read_stages
from jaxtransfer.errors import EvaluationError
from jaxtransfer.train.compiled import CompiledSteps

LABELS = np.repeat([0, 1], 50)


def right(share):
    """Correct on the first examples of each class."""
    one = np.arange(50) < round(50 * share)
    return np.concatenate([one, one])


def test_a_network_is_read_as_it_was_built():
    compiled = CompiledSteps()
    found = analyse_layers(stages.signs(), stages.sign_examples(), compiled=compiled)
    assert compiled.traces == 2
    assert [stage.reading for stage in found.stages] == [GENERIC, TASK, TASK, SOURCE]
    assert [stage.parameters for stage in found.stages] == [2, 3, 0, 2]
    assert [stage.width for stage in found.stages] == [2, 3, 3, 2]
    raw, product, double, lost = found.stages
    assert raw.probe.value < 0.7 < 0.9 < product.probe.value == double.probe.value
    assert raw.target.value < product.target.value
    assert product.target.value == pytest.approx(double.target.value, abs=1e-6)
    assert found.cka.of("product", "double").value == pytest.approx(1, abs=1e-6)
    assert found.cka.of("raw", "lost").value == pytest.approx(1, abs=1e-6)
    assert double.gradient.undefined == "the stage has no parameters"
    assert lost.gradient.value > 0
    assert str(found) == (
        "stages of signs by linear probes (n=120): generic: raw; task: product, double; source: lost"
    )
    document = json.loads(json.dumps(found.to_json()))
    assert document["rule"] == RULE
    assert [stage["reading"] for stage in document["stages"]] == [GENERIC, TASK, TASK, SOURCE]


def test_labels_that_no_stage_knows_leave_it_unread():
    examples = stages.sign_examples()
    labels = np.random.default_rng(4).permutation(np.repeat([0, 1], 60)).astype(np.int32)
    shuffled = type(examples)(examples.ids, labels, examples.arrays)
    found = analyse_layers(stages.signs(), shuffled)
    assert {stage.reading for stage in found.stages} == {None}
    assert "not more than 2 standard errors" in found.unread
    assert str(found).startswith("stages of signs cannot be read")


def test_one_class_has_no_analysis_but_reasons():
    examples = stages.sign_examples(12)
    one = type(examples)(examples.ids, np.zeros(12, np.int32), examples.arrays)
    found = analyse_layers(stages.signs(), one, 2)
    for stage in found.stages:
        assert stage.probe.value is stage.target.value is stage.gradient.value is None
        assert stage.gradient.undefined == "1 class has examples: there is no probe to fit"
    assert found.unread.startswith("stage 'raw': 1 class has examples")
    assert json.dumps(found.to_json())


def test_unlabelled_examples_are_refused():
    examples = stages.sign_examples(12)
    some = type(examples)(examples.ids, np.full(12, -1, np.int32), examples.arrays)
    with pytest.raises(EvaluationError, match="leave unlabelled examples out"):
        analyse_layers(stages.signs(), some)


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ((0.6, 0.8, 0.9, 0.7), (GENERIC, GENERIC, TASK, SOURCE)),
        ((0.9, 0.9, 0.9), (TASK, TASK, TASK)),
        ((0.9, 0.6, 0.9, 0.5), (TASK, TASK, TASK, SOURCE)),
        ((0.6, 0.7, 0.9), (GENERIC, GENERIC, TASK)),
        ((0.9, 0.7), (TASK, SOURCE)),
    ],
)
def test_stages_are_read_by_the_rule(accuracies, expected):
    correct = {str(place): right(share) for place, share in enumerate(accuracies)}
    readings, unread = read_stages(correct, LABELS)
    assert unread is None
    assert tuple(readings.values()) == expected


def test_a_stage_within_two_paired_standard_errors_of_the_best_suffices():
    best = right(0.9)
    worse = best.copy()
    worse[:3] = False
    # Three of 100 lost and none won: 0.030, whose standard error is 0.0171.
    assert read_stages({"a": worse, "b": best}, LABELS)[0] == {"a": TASK, "b": TASK}
    worse[:5] = False
    # 0.050, whose standard error is 0.0219.
    assert read_stages({"a": worse, "b": best}, LABELS)[0] == {"a": GENERIC, "b": TASK}


def test_reading_needs_stages_of_the_same_examples():
    with pytest.raises(EvaluationError, match="must be of the same 100 examples"):
        read_stages({"a": right(0.5)[:3]}, LABELS)
    with pytest.raises(EvaluationError, match="must be of the same 100 examples"):
        read_stages({}, LABELS)
