"""A network drawn anew has the same leaves, other values, and none of the pretrained ones."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxtransfer import trees
from jaxtransfer.errors import AdaptationError
from jaxtransfer.models import zoo
from jaxtransfer.models.initialise import initialiser


def test_every_leaf_keeps_its_path_and_shape_and_follows_the_key(tiny_bert):
    model = zoo.load(tiny_bert)
    draw = jax.jit(initialiser(model))
    one, other, again = (draw(jax.random.key(seed)) for seed in (0, 1, 0))
    own, first, second, third = map(trees.flatten_variables, (model.variables, one, other, again))
    assert {path: leaf.shape for path, leaf in own.items()} == {
        path: leaf.shape for path, leaf in first.items()
    }
    kernels = [path for path in own if path.endswith("kernel")]
    assert kernels
    for path in kernels:
        assert not np.allclose(first[path], own[path])
        assert not np.allclose(first[path], second[path])
        np.testing.assert_array_equal(first[path], third[path])


def test_a_module_that_draws_other_leaves_is_refused(tiny_bert):
    model = zoo.load(tiny_bert)
    params = {**model.variables["params"], "stray": {"kernel": np.zeros((2, 2), np.float32)}}
    with pytest.raises(AdaptationError, match=r"initialises other leaves .*stray/kernel"):
        initialiser(dataclasses.replace(model, variables={"params": params}))
