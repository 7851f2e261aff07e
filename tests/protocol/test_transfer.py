"""What pretraining is worth, from tables made for the purpose."""

import numpy as np

from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol.acceptance import AcceptanceSettings
from jaxtransfer.protocol.decision import compare_family
from jaxtransfer.protocol.transfer import measure_transfer

RULE = AcceptanceSettings(metric="accuracy")


def tables(**accuracies):
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 2
    found = {}
    for name, accuracy in accuracies.items():
        each = []
        for _ in range(3):
            right = rng.permutation(300) < accuracy * 300
            logits = 3.0 * np.eye(2)[np.where(right, labels, 1 - labels)]
            each.append(
                Predictions(ids=np.arange(300), labels=labels, logits=logits, classes=("a", "b"))
            )
        found[name] = each
    return found


def test_each_reference_has_its_verdict_corrected_for_their_number():
    test = tables(lora=0.8, from_scratch=0.95, random_features=0.6)
    found = measure_transfer(test, "lora", ["from_scratch", "random_features"], RULE)
    verdicts = {one["reference"]: one["verdict"] for one in found["against"]}
    assert verdicts == {"from_scratch": "hurt", "random_features": "helped"}
    pairs = [("lora", "from_scratch"), ("lora", "random_features")]
    expected = compare_family(test, pairs, RULE, two_sided=True)
    assert [one["ci"] for one in found["against"]] == [list(item.ci) for item in expected]
    assert "negative transfer: lora is worse than from_scratch by -0.150" in found["sentence"]
    assert "pretraining helped: lora is better than random_features by +0.200" in found["sentence"]


def test_a_difference_that_is_open_is_called_so_and_an_untested_one_has_a_reason():
    found = measure_transfer(tables(lora=0.8, from_scratch=0.8), "lora", ["from_scratch"], RULE)
    assert found["against"][0]["verdict"] == "not distinguishable"
    assert "lora cannot be told from from_scratch" in found["sentence"]
    none = measure_transfer({}, "lora", [], RULE, untested="the budget is spent")
    assert none["sentence"] == "Negative transfer was not tested: the budget is spent."
