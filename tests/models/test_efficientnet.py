import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtransfer import trees
from jaxtransfer.errors import ConfigError
from jaxtransfer.models.efficientnet import Block, EfficientNetLite, blocks
from jaxtransfer.models.model import Model, with_head

BLOCKS = (Block(3, 1, 1, 4), Block(5, 2, 2, 6), Block(3, 1, 2, 6))


@functools.cache
def model(size=9):
    module = EfficientNetLite(BLOCKS, stem=4, top=8)
    example = {"image": jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)}
    variables = jax.jit(module.init)(jax.random.key(0), {"image": jnp.zeros((2, size, size, 3))})
    leaves, structure = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    leaves = [x + 0.1 * jax.random.uniform(k, x.shape) for x, k in zip(leaves, keys)]
    return Model(
        name="tiny",
        module=module,
        variables=jax.tree.unflatten(structure, leaves),
        example=example,
        stages=module.stages,
    )


def images(size=9):
    return {"image": jax.random.normal(jax.random.key(3), (2, size, size, 3))}


def test_paths_of_the_tree():
    flat = trees.flatten_variables(model().variables)
    assert flat["stem/conv/kernel"].shape == (3, 3, 3, 4)
    assert "block_0/expand/conv/kernel" not in flat
    assert flat["block_1/expand/conv/kernel"].shape == (1, 1, 4, 8)
    assert flat["block_1/depthwise/conv/kernel"].shape == (5, 5, 1, 8)
    assert flat["block_1/project/norm/scale"].shape == (6,)
    assert flat["batch_stats/top/norm/var"].shape == (8,)


@pytest.mark.parametrize("boundary", range(7))
def test_running_in_two_parts_gives_the_same_bits(boundary):
    network = with_head(model(), 3, rng=jax.random.key(2))
    assert network.stages == ("stem", "block_0", "block_1", "block_2", "top", "head")
    assert network.stage_of("batch_stats/encoder/block_1/expand/norm/mean") == "block_1"

    def run(start, stop):
        return jax.jit(lambda v, x: network.apply(v, x, start=start, stop=stop))

    whole = run(0, None)(network.variables, images())
    middle = run(0, boundary)(network.variables, images())
    parts = run(boundary, None)(network.variables, middle)
    np.testing.assert_array_equal(parts["logits"], whole["logits"])


def test_statistics_move_only_in_training():
    network = model()

    @functools.partial(jax.jit, static_argnums=0)
    def run(train):
        return network.apply(network.variables, images(), train=train, mutable=["batch_stats"])

    calm, none = run(False)
    _, moved = run(True)
    before = trees.flatten(network.variables["batch_stats"])
    assert all((x == before[p]).all() for p, x in trees.flatten(none["batch_stats"]).items())
    assert all((x != before[p]).any() for p, x in trees.flatten(moved["batch_stats"]).items())
    assert calm["features"].shape == (2, 8)


@pytest.mark.parametrize("size", [5, 16])
def test_images_of_any_size_give_features_of_one_width(size):
    shapes = jax.eval_shape(lambda x: model().apply(model().variables, x), images(size))
    assert shapes["features"].shape == (2, 8)


def test_the_family_is_scaled_as_published():
    assert len(blocks("efficientnet-lite0")) == 16
    assert [b.width for b in blocks("efficientnet-lite0")][-1] == 320
    assert next(b.width for b in blocks("efficientnet-lite2")) == 16
    assert {b.width for b in blocks("efficientnet-lite2")} == {16, 24, 48, 88, 120, 208, 352}
    with pytest.raises(ConfigError, match="nearest: 'efficientnet-lite4'"):
        blocks("efficientnet-lite44")
