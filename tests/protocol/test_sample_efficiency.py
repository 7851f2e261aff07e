"""Learning curves within the training split end at all labels, and promise nothing they cannot fit."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from jaxtransfer.evaluation.features import Features
from jaxtransfer.protocol.sample_efficiency import sample_efficiency, sizes_within


def features(labels, name, seed):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(3, 4))
    return Features(
        ids=np.array([f"{name}{row}" for row in range(len(labels))]),
        features=centres[labels] + rng.normal(size=(len(labels), 4)),
        labels=labels,
    )


def found_for(labels):
    return sample_efficiency(
        features(labels, "train", 1),
        features(np.arange(90) % 3, "test", 2),
        classes=("a", "b", "c"),
        metric="macro_f1",
        confidence=0.95,
    )


def test_the_largest_subset_is_the_whole_split_whose_probe_is_scikit_learns():
    labels = np.arange(60) % 3
    found = found_for(labels)
    mean, probe = found["curves"]
    assert [point["train"] for point in probe["points"]] == sizes_within(labels, 3)
    last = probe["points"][-1]
    assert last["train"] == 60
    assert len(set(last["values"])) == 1 < len(set(probe["points"][0]["values"]))
    train, test = features(labels, "train", 1), features(np.arange(90) % 3, "test", 2)
    centre, scale = train.features.mean(axis=0), train.features.std(axis=0)
    peer = LogisticRegression(C=1.0, tol=1e-8, max_iter=2000)
    peer.fit((train.features - centre) / scale, labels)
    said = peer.predict((test.features - centre) / scale)
    assert last["value"] == pytest.approx(f1_score(test.labels, said, average="macro"), abs=1e-12)
    assert found["saved"]["level"] == pytest.approx(mean["points"][-1]["value"])
    for curve in found["curves"]:
        first = found["laws"][curve["method"]]["promises"][0]
        assert (first["train"], first["extrapolated"]) == (120, True)


def test_uneven_classes_start_where_every_draw_has_every_class():
    labels = np.repeat([0, 1, 2], [50, 40, 4])
    sizes = sizes_within(labels, 3)
    assert sizes[-1] == 93
    assert sizes[0] > 6
    assert [point["train"] for point in found_for(labels)["curves"][0]["points"]] == sizes


def test_too_few_labels_have_a_reason_and_no_curve():
    found = found_for(np.arange(6) % 3)
    assert found["curves"] == []
    assert "6 training labels of 3 classes hold no two subset sizes" in found["reason"]


def test_three_sizes_have_curves_and_no_law():
    found = found_for(np.arange(12) % 3)
    assert [point["train"] for point in found["curves"][0]["points"]] == [6, 9, 12]
    law = found["laws"]["linear probe"]
    assert law["promises"] == []
    assert "needs 4 sizes" in law["reason"]
