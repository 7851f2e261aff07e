"""Confident learning: flipped labels are found, the joint adds up, in-sample tables are refused."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.label_errors import (
    METHODS,
    confident_joint,
    find_label_errors,
    label_quality,
)
from jaxtransfer.evaluation.table import Predictions

FIXTURE = pathlib.Path(__file__).parent / "fixtures" / "cleanlab.json"


def noisy(seed=0, n=600, rate=0.1):
    """Probabilities of a good model, and labels of which a tenth are changed."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 4, n)
    logits = rng.normal(size=(n, 4)) + 4 * np.eye(4)[true]
    flipped = rng.random(n) < rate
    labels = np.where(flipped, (true + rng.integers(1, 4, n)) % 4, true)
    table = Predictions(
        ids=np.arange(n), labels=labels, logits=logits, classes=tuple("abcd"), split=["test"] * n
    )
    return table, flipped


@pytest.mark.parametrize("method", METHODS)
def test_most_flipped_labels_are_found_and_little_else(method):
    table, flipped = noisy()
    found = find_label_errors(table, method=method)
    rows = [candidate.row for candidate in found.candidates]
    assert flipped[rows].mean() > 0.85
    assert flipped[rows].sum() > 0.65 * flipped.sum()
    assert found.estimated == pytest.approx(flipped.sum(), rel=0.25)
    assert all(candidate.label != candidate.suggested for candidate in found.candidates)
    json.dumps(found.to_json(), allow_nan=False)


def test_candidates_come_by_the_score_asked_for_and_carry_their_example():
    table, _ = noisy()
    texts = {str(name): f"text {name}" for name in table.ids}
    for rank_by in ("self_confidence", "normalized_margin"):
        found = find_label_errors(table, rank_by=rank_by, examples=texts)
        scores = [getattr(candidate, rank_by) for candidate in found.candidates]
        assert scores == sorted(scores)
        assert found.candidates[0].example == f"text {found.candidates[0].id}"


def test_the_joint_keeps_the_counts_of_the_labels_and_right_labels_have_no_errors():
    table, _ = noisy()
    probabilities = np.exp(table.logits) / np.exp(table.logits).sum(axis=1, keepdims=True)
    joint = confident_joint(table.labels, probabilities)
    np.testing.assert_array_equal(joint.sum(axis=1), np.bincount(table.labels))
    certain = np.eye(3)[[0, 1, 2, 2, 1]]
    clean = confident_joint(np.array([0, 1, 2, 2, 1]), certain)
    np.testing.assert_array_equal(clean, np.diag([1, 2, 2]))


def test_the_joint_of_four_examples_is_that_by_hand():
    """Thresholds (.9+.2)/2 = .55 and (.8+.7)/2 = .75: rows 0 and 2 count, row 1 counts as b."""
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.2, 0.8], [0.3, 0.7]])
    labels = np.array([0, 0, 1, 1])
    np.testing.assert_array_equal(confident_joint(labels, probabilities), [[1, 1], [0, 2]])
    assert label_quality(labels, probabilities, "normalized_margin") == pytest.approx(
        [0.9, 0.2, 0.8, 0.7]
    )


def test_a_class_without_examples_has_no_noise_rate_and_attracts_nobody():
    table, _ = noisy()
    wider = Predictions(
        ids=table.ids,
        labels=table.labels,
        logits=np.column_stack([table.logits, np.full(len(table), 9.0)]),
        classes=tuple("abcde"),
    )
    found = find_label_errors(wider, out_of_sample=True)
    assert found.noise_rates[4] is None
    assert (found.joint[:, 4] == 0).all()


def test_probabilities_of_the_training_split_are_refused_unless_cross_fitted():
    table, _ = noisy()
    split = np.where(np.arange(len(table)) < 5, "train", "test")
    trained = dataclasses.replace(table, split=split)
    with pytest.raises(EvaluationError, match="5 rows are of split 'train'"):
        find_label_errors(trained)
    assert find_label_errors(trained, out_of_sample=True).n == len(table)
    unknown = dataclasses.replace(table, split=None)
    with pytest.raises(EvaluationError, match="pass out_of_sample=True"):
        find_label_errors(unknown)
    with pytest.raises(EvaluationError, match="method 'prune'"):
        find_label_errors(table, method="prune")
    with pytest.raises(EvaluationError, match="rank_by 'entropy'"):
        find_label_errors(table, rank_by="entropy")


def test_joint_candidates_and_scores_are_cleanlabs():
    """Identical rows and counts, scores within 1e-9: what `fixtures/make_cleanlab.py` wrote."""
    stored = json.loads(FIXTURE.read_text())
    assert len(stored["cases"]) >= 5
    for case in stored["cases"]:
        logits = np.log(np.array(case["probabilities"]))
        table = Predictions(
            ids=np.arange(len(logits)),
            labels=np.array(case["labels"]),
            logits=logits,
            classes=[str(k) for k in range(logits.shape[1])],
        )
        for method, expected in case["rows"].items():
            found = find_label_errors(table, method=method, out_of_sample=True)
            np.testing.assert_array_equal(found.joint, case["joint"])
            assert sorted(c.row for c in found.candidates) == expected
        probabilities = np.array(case["probabilities"])
        for ranking, expected in case["quality"].items():
            ours = label_quality(table.labels, probabilities, ranking)
            np.testing.assert_allclose(ours, expected, atol=1e-9)
