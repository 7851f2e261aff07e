"""MinHash finds what brute force finds and nothing else; cosine and hashes compare all pairs."""

import itertools
import time

import numpy as np
import pytest

from jaxtransfer.data import minhash
from jaxtransfer.data.minhash import banding, candidate_pairs, shingle_sets, signatures
from jaxtransfer.data.near_duplicates import (
    perceptual_hashes,
    similar_embeddings,
    similar_images,
    similar_texts,
)
from jaxtransfer.errors import DataError


def edited_texts(seed, originals, length, vocabulary=500):
    """Texts, each followed by copies with one to a third of the words replaced."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(originals):
        words = rng.integers(0, vocabulary, length)
        texts.append(words)
        for edits in (1, 2, length // 10, length // 3):
            copy = words.copy()
            copy[rng.choice(length, edits, replace=False)] = rng.integers(0, vocabulary, edits)
            texts.append(copy)
    return [" ".join(f"w{word}" for word in words) for words in texts]


def brute_force(texts, width, unit="words"):
    """Jaccard index of all pairs, by sets of tuples of the plain words."""
    parts = [text.lower().split() if unit == "words" else text.lower() for text in texts]
    sets = [{tuple(p[i : i + width]) for i in range(len(p) - width + 1)} for p in parts]
    return {
        (i, j): len(sets[i] & sets[j]) / len(sets[i] | sets[j])
        for i, j in itertools.combinations(range(len(texts)), 2)
    }


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_pairs_are_those_of_brute_force_but_for_the_stated_recall(threshold):
    texts = edited_texts(0, 60, 40)
    truth = {pair: value for pair, value in brute_force(texts, 3).items() if value >= threshold}
    found = similar_texts(texts, threshold=threshold, seed=1)
    ours = dict(zip(map(tuple, found.pairs.tolist()), found.similarity.tolist()))
    assert len(truth) >= 70
    assert ours.keys() <= truth.keys()
    for pair, value in ours.items():
        assert value == pytest.approx(truth[pair], rel=1e-12)
    # Truth lies at the threshold or above, so its recall is at least that at the threshold.
    assert len(ours) >= (found.recall - 0.02) * len(truth)
    assert (np.diff(found.similarity) <= 0).all()


def test_recall_at_the_threshold_is_the_one_stated():
    """Sets of Jaccard index exactly 1/2, a thousand pairs: within four standard errors."""
    rng = np.random.default_rng(0)
    sets = []
    for _ in range(1000):
        shared, one, other = np.split(rng.integers(0, 2**63, 40).astype(np.uint64), [20, 30])
        sets += [np.sort(np.r_[shared, one]), np.sort(np.r_[shared, other])]
    bands, rows, recall = banding(0.5, 64, 0.8)
    pairs = candidate_pairs(signatures(sets, 64, 3), bands, rows)
    planted = sum(int(j == i + 1 and i % 2 == 0) for i, j in pairs.tolist())
    assert planted / 1000 == pytest.approx(recall, abs=4 * np.sqrt(recall * (1 - recall) / 1000))


def test_a_signature_estimates_the_index_with_the_standard_error_stated():
    shared, one, other = np.split(np.arange(300, dtype=np.uint64) << np.uint64(32), [100, 200])
    sets = [np.r_[shared, one], np.r_[shared, other]]
    estimates = []
    for seed in range(200):
        first, second = signatures(sets, 128, seed)
        estimates.append((first == second).mean())
    error = np.sqrt(1 / 3 * 2 / 3 / 128)
    assert np.mean(estimates) == pytest.approx(1 / 3, abs=4 * error / np.sqrt(200))
    assert np.std(estimates) == pytest.approx(error, rel=0.2)


def test_case_punctuation_and_white_space_do_not_count_and_short_texts_are_one_shingle():
    texts = ["The cat, the dog!", "the cat  the\ndog", "Short", "short.", "", " !", "other text"]
    found = similar_texts(texts)
    assert found.pairs.tolist() == [[0, 1], [2, 3]]
    assert found.similarity.tolist() == [1, 1]
    assert found.without.tolist() == [4, 5]
    signs = similar_texts(["東京都に住む人", "東京都に住む人々"], unit="characters", threshold=0.6)
    assert signs.similarity.tolist() == [pytest.approx(5 / 6)]


def test_neither_order_of_texts_nor_hash_seed_of_python_changes_what_is_found():
    texts = edited_texts(2, 20, 30)
    order = np.random.default_rng(0).permutation(len(texts))
    one = similar_texts(texts, threshold=0.6)
    other = similar_texts([texts[i] for i in order], threshold=0.6)
    back = {tuple(sorted(order[list(pair)].tolist())) for pair in other.pairs.tolist()}
    assert back == set(map(tuple, one.pairs.tolist()))
    assert shingle_sets(["a b c"])[0].tolist() == [944102295022078880]


def test_twenty_thousand_short_texts_take_seconds():
    rng = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(5000)])
    texts = [" ".join(row) for row in words[rng.integers(0, 5000, (20000, 20))]]
    texts[777] = texts[12345] + " more"
    start = time.perf_counter()
    found = similar_texts(texts)
    assert found.pairs.tolist() == [[777, 12345]]
    assert time.perf_counter() - start < 60


def test_too_many_similar_pairs_are_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr(minhash, "MOST_PAIRS", 1000)
    with pytest.raises(DataError, match="4950 pairs are similar, more than 1000: raise the"):
        similar_texts(["the same text again"] * 100)
    with pytest.raises(DataError, match="remove exact duplicates first"):
        similar_embeddings(np.ones((100, 3)))


def test_impossible_options_are_refused():
    with pytest.raises(DataError, match=r"threshold 0 and recall 0\.99"):
        similar_texts(["a"], threshold=0)
    with pytest.raises(DataError, match=r"4 hash functions do not find pairs of similarity 0\.1"):
        similar_texts(["a"], threshold=0.1, permutations=4)
    with pytest.raises(DataError, match="shingles of 0 words"):
        similar_texts(["a"], width=0)
    with pytest.raises(DataError, match="embeddings must be finite"):
        similar_embeddings(np.array([[np.nan]]))
    with pytest.raises(DataError, match="threshold 0 of the cosine"):
        similar_embeddings(np.ones((2, 2)), threshold=0)
    with pytest.raises(DataError, match="distance 64"):
        similar_images([], distance=64)
    with pytest.raises(DataError, match="threshold 2 of the correlation"):
        similar_images([], threshold=2)
    with pytest.raises(DataError, match="image 1 has shape"):
        perceptual_hashes([np.zeros((4, 4)), np.zeros(4)])


def test_no_texts_have_no_pairs():
    assert len(similar_texts([])) == 0
    assert len(similar_texts([""])) == 0
    assert len(similar_embeddings(np.zeros((0, 4)))) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cosines_are_those_of_all_pairs_whatever_the_block(monkeypatch, dtype):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(90, 4)).astype(dtype)
    rows[7] = 3 * rows[40]
    rows[50] = 0
    found = similar_embeddings(rows, threshold=0.9)
    norms = np.linalg.norm(rows, axis=1)
    cosine = rows @ rows.T / np.maximum(np.outer(norms, norms), 1e-30)
    truth = {(i, j) for i, j in zip(*np.nonzero(np.triu(cosine, 1) >= 0.9))}
    assert set(map(tuple, found.pairs.tolist())) == truth
    assert found.pairs[0].tolist() == [7, 40]
    assert found.without.tolist() == [50]
    assert [7, 40] in similar_embeddings(rows, threshold=1.0).pairs.tolist()
    monkeypatch.setattr("jaxtransfer.data.near_duplicates.BLOCK", 700)
    blocked = similar_embeddings(rows, threshold=0.9)
    np.testing.assert_array_equal(blocked.pairs, found.pairs)


def smooth_image(seed, side=96):
    """A picture whose frequencies fade, as those of photographs do."""
    rng = np.random.default_rng(seed)
    frequency = np.add.outer(np.arange(12), np.arange(12)) + 1
    waves = np.cos(np.pi * np.outer(np.arange(side) + 0.5, np.arange(12)) / side)
    grey = waves @ (rng.normal(size=(12, 12)) / frequency) @ waves.T
    return (grey - grey.min()) / np.ptp(grey) * 255


def test_a_scaled_brightened_or_noisy_picture_is_found_and_a_different_one_is_not():
    rng = np.random.default_rng(0)
    images = [smooth_image(seed) for seed in range(12)]
    images.append(images[0][::2, ::2])
    images.append(np.repeat(images[1][..., None] * 0.7 + 20, 3, axis=2))
    images.append(images[2] + rng.normal(size=images[2].shape))
    images.append(np.full((10, 10), 7.0))
    found = similar_images(images)
    assert sorted(found.pairs.tolist()) == [[0, 12], [1, 13], [2, 14]]
    assert found.without.tolist() == [15]
    assert found.threshold == 0.95


def test_a_pair_that_the_hash_proposes_needs_thumbnails_that_correlate():
    # Two blurred strokes of one shape have one hash; the second has a hook that the first has not.
    rows, columns = np.mgrid[:32, :32]
    stroke = 200 * np.exp(-(((columns - 16) / 5.0) ** 2) - ((rows - 16) / 9.0) ** 2)
    hook = 150 * np.exp(-(((columns - 24) / 3.0) ** 2) - ((rows - 26) / 3.0) ** 2)
    images = [stroke, stroke + hook, 0.5 * stroke + 30]
    correlation = np.corrcoef([image.ravel() for image in images])
    assert 0.9 < correlation[0, 1] < 0.95
    assert len(similar_images(images, distance=32, threshold=0.9)) == 3
    found = similar_images(images, distance=32)
    assert found.pairs.tolist() == [[0, 2]]
    assert found.similarity.tolist() == pytest.approx([1.0], abs=1e-12)
