"""A task is made from plain values and back, and refuses what it does not know."""

import json

import pytest

from jaxtransfer.errors import ConfigError
from jaxtransfer.evaluation.metrics import METRICS
from jaxtransfer.tasks import TASKS, Classification, from_config


def test_a_classification_names_head_loss_metrics_and_criterion():
    task = Classification(classes=["no", "yes", "maybe"])
    assert task.outputs == 3
    assert task.classes == ("no", "yes", "maybe")
    assert task.loss == "cross_entropy"
    assert task.criterion == "macro_f1"


def test_default_metrics_exist():
    assert set(Classification(classes=("a", "b")).metrics) <= set(METRICS["classification"])


def test_a_task_returns_from_its_description():
    task = Classification(classes=("a", "b"), criterion="nll")
    assert from_config(json.loads(json.dumps(task.describe()))) == task


def test_every_kind_is_its_own_name():
    assert all(TASKS[kind].kind == kind for kind in TASKS)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "clasification"}, "'clasification' is unknown; nearest: 'classification'"),
        ({}, "task.kind None is unknown"),
        ({"kind": "classification", "clases": ["a"]}, "no field 'clases'; nearest: 'classes'"),
        ({"kind": "classification"}, r"a classification task needs \['classes'\]"),
        ({"kind": "classification", "classes": ["a"]}, "at least two classes"),
        ({"kind": "classification", "classes": ["a", "b", "a"]}, r"repeats \['a'\]"),
        ({"kind": "classification", "classes": "ab"}, "must be a sequence of names, not 'ab'"),
        (
            {"kind": "classification", "classes": ["a", "b"], "criterion": "macrof1"},
            "task.criterion 'macrof1' is not among task.metrics; nearest: 'macro_f1'",
        ),
    ],
)
def test_a_wrong_config_is_refused_with_the_way_out(config, message):
    with pytest.raises(ConfigError, match=message):
        from_config(config)
