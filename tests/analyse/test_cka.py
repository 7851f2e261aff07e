"""Debiased CKA: the average over quadruples, its invariances, and where it has no value."""

import importlib.util
import itertools
import json
import pathlib

import numpy as np
import pytest

from jaxtransfer.analyse import cka as module
from jaxtransfer.analyse.cka import cka, hsic, one_hot, similarities
from jaxtransfer.errors import EvaluationError

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
PUBLIC = json.loads((FIXTURES / "transferability.json").read_text())["cases"]


def drawn(case):
    spec = importlib.util.spec_from_file_location("make", FIXTURES / "make_transferability.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    return make.draw(case["seed"], *make.CASES[case["seed"]])


def pair(n=30, d=4, e=6, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, x @ rng.normal(size=(d, e)) + rng.normal(size=(n, e))


def rotation(d, seed=1):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


@pytest.mark.parametrize("case", PUBLIC, ids=lambda case: f"seed{case['seed']}")
def test_it_is_that_of_public_code(case):
    features, labels, probabilities = drawn(case)
    found = similarities({"f": features, "p": probabilities, "y": one_hot(labels)})
    assert found.of("f", "p").value == pytest.approx(case["cka_probabilities"], abs=1e-10)
    assert found.of("f", "y").value == pytest.approx(case["cka_labels"], abs=1e-10)
    assert found.of("f", "f").value == pytest.approx(case["cka_self"], abs=1e-10)


def test_hsic_is_its_definition_averaged_over_quadruples():
    x, y = pair(7, 2, 3)
    k, m = x @ x.T, y @ y.T
    # E[k_ij m_ij] + E[k_ij m_qr] - 2 E[k_ij m_iq], over different i, j, q, r.
    terms = [
        k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
        for i, j, q, r in itertools.permutations(range(7), 4)
    ]
    assert hsic(x, y) == pytest.approx(np.mean(terms), abs=1e-12)


def test_products_of_features_and_of_gram_matrices_agree():
    sets = dict(zip("xy", pair()))
    centred = {name: array - array.mean(axis=0) for name, array in sets.items()}
    np.testing.assert_allclose(module._by_gram(centred), module._by_features(centred), rtol=1e-12)


@pytest.mark.parametrize("shape", [(40, 3), (10, 200)], ids=["features", "gram"])
def test_a_set_is_as_itself_whatever_the_rotation_the_scale_and_the_shift(shape):
    x = np.random.default_rng(0).normal(size=shape)
    y = np.random.default_rng(1).normal(size=shape) + x
    moved = 1e-3 * x @ rotation(shape[1]) + 5.0
    assert cka(x, x).value == pytest.approx(1, abs=1e-12)
    assert cka(x, moved).value == pytest.approx(1, abs=1e-6)
    assert cka(moved, y).value == pytest.approx(cka(x, y).value, abs=1e-6)
    assert cka(x, y).value == cka(y, x).value


def test_it_is_about_0_for_independent_features_of_many_dimensions():
    rng = np.random.default_rng(0)
    values = [cka(rng.normal(size=(20, 100)), rng.normal(size=(20, 100))).value for _ in range(200)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
    # Without the correction they would look alike.
    x, y = (rng.normal(size=(20, 100)) for _ in range(2))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    biased = ((x.T @ y) ** 2).sum() / np.sqrt(((x.T @ x) ** 2).sum() * ((y.T @ y) ** 2).sum())
    assert biased > 0.7


def test_a_stretch_that_is_not_isotropic_changes_it():
    x, _ = pair()
    assert cka(x, x * [1.0, 1.0, 1.0, 30.0]).value < 0.9


def test_it_is_undefined_where_a_set_has_no_structure():
    x, _ = pair()
    found = similarities({"x": x, "constant": np.full((30, 2), 0.1), "own": np.eye(30)})
    assert found.values[0] == (pytest.approx(1.0), None, None)
    assert found.of("x", "constant").undefined == "its features are the same for all examples"
    assert "equally far apart" in found.of("own", "x").undefined
    assert json.dumps(found.to_json())
    one_class = one_hot(np.zeros(30, int), 3)
    assert cka(x, one_class).undefined == "its features are the same for all examples"


def test_three_examples_are_too_few():
    assert cka(np.eye(3), np.eye(3)).undefined == "3 examples are too few: unbiased HSIC needs four"
    with pytest.raises(EvaluationError, match="needs four"):
        hsic(np.eye(3), np.eye(3))


def test_sets_of_different_examples_are_refused():
    with pytest.raises(EvaluationError, match=r"of the same examples.*\(4, 2\).*\(5, 2\)"):
        cka(np.ones((4, 2)), np.ones((5, 2)))
