"""Balance, label noise and diversity: closed forms, public code, and reasons."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from jaxtransfer.analyse.catalogue import (
    effective_classes,
    imbalance_ratio,
    label_noise,
    mean_pairwise_distance,
    vendi_score,
)
from jaxtransfer.errors import EvaluationError

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
PUBLIC = json.loads((FIXTURES / "transferability.json").read_text())["cases"]


def blobs(n=200, k=3, seed=0, distance=6.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    return distance * np.eye(k)[labels] + rng.normal(size=(n, k)), labels


@pytest.mark.parametrize("counts", [(10, 10, 10), (97, 1, 1, 1)])
def test_effective_classes_are_the_exponential_of_the_entropy(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    shares = np.array(counts) / sum(counts)
    found = effective_classes(labels).value
    assert found == pytest.approx(np.prod(shares**-shares), rel=1e-12)
    assert 1 <= found <= len(counts) + 1e-12
    assert imbalance_ratio(labels).value == max(counts) / min(counts)


def test_a_class_without_examples_is_named():
    labels = np.array([0, 0, 2])
    assert effective_classes(labels).note == "1 of 3 classes has no example and is left out"
    assert imbalance_ratio(labels, 4).undefined == (
        "2 of 4 classes without an example make the ratio infinite"
    )
    with pytest.raises(EvaluationError, match="label -1"):
        effective_classes(np.array([0, -1]))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25])
def test_label_noise_of_separable_classes_is_about_the_share_flipped(share):
    features, labels = blobs(600)
    rng = np.random.default_rng(1)
    flipped = rng.random(600) < share
    noisy = np.where(flipped, (labels + rng.integers(1, 3, 600)) % 3, labels)
    assert label_noise(features, noisy).value == pytest.approx(flipped.mean(), abs=0.03)


def test_label_noise_without_two_classes_to_learn_is_undefined():
    assert (
        label_noise(np.eye(3), np.array([0, 0, 1])).undefined == "1 class has two examples or more"
    )
    assert label_noise(np.eye(3), np.zeros(3, int)).undefined.endswith("nothing to tell apart")
    features, labels = blobs(50)
    lonely = label_noise(np.concatenate([features, [[9.0] * 3]]), np.append(labels, 3), 5)
    assert lonely.note == (
        "1 of 5 classes has no example and is left out; 1 class has one example, and is left out"
    )


@pytest.mark.parametrize("shares", [(1, 1, 1), (18, 1, 1)])
def test_label_noise_of_a_probe_at_chance_is_not_estimated(shares):
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(3), np.array(shares) * 120 // sum(shares)))
    for features in (np.ones((120, 4)), rng.normal(size=(120, 4))):
        found = label_noise(features, labels)
        assert found.value is None
        assert "the probe is not shown to be better than chance: accuracy 0." in found.undefined
    rare = np.repeat([0, 1], [180, 20])
    assert label_noise(5.0 * rare[:, None] + rng.normal(size=(200, 1)), rare).value < 0.05


def test_mean_pairwise_distance_is_scipys():
    features, _ = blobs(40)
    found = mean_pairwise_distance(features + 100.0)
    assert found.value == pytest.approx(pdist(features).mean(), rel=1e-9)
    assert (
        mean_pairwise_distance(features[:1]).undefined == "one example has no distance to another"
    )


@pytest.mark.parametrize("case", PUBLIC, ids=lambda case: f"seed{case['seed']}")
def test_the_vendi_score_is_that_of_public_code(case):
    spec = importlib.util.spec_from_file_location("make", FIXTURES / "make_transferability.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    features, _, _ = make.draw(case["seed"], *make.CASES[case["seed"]])
    assert vendi_score(features).value == pytest.approx(case["vendi"], rel=1e-9)


def test_the_vendi_score_counts_different_directions():
    assert vendi_score(np.eye(7) * 3).value == pytest.approx(7)
    assert vendi_score(np.ones((7, 3))).value == pytest.approx(1)
    twice = np.concatenate([np.eye(4), np.eye(4)])
    assert vendi_score(twice).value == pytest.approx(4)
    assert (
        "1 of 2 examples have features all 0" in vendi_score(np.eye(2)[[0]] * [[1], [0]]).undefined
    )


def test_many_examples_are_drawn_from_and_that_is_said():
    features, _ = blobs(100)
    for score in (mean_pairwise_distance, vendi_score):
        found = score(features, rows=30)
        assert found.n == 30
        assert found.note == "of 30 examples drawn from 100"
        assert found == score(features, rows=30)
