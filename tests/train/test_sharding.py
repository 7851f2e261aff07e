"""Meshes, shardings by rule, and batches cut over devices."""

import jax
import numpy as np
import pytest
import toys
from jax.sharding import PartitionSpec

from jaxtransfer.errors import ConfigError, RuleError
from jaxtransfer.train import sharding
from jaxtransfer.train.loop import train
from jaxtransfer.train.state import init_state
from jaxtransfer.trees import Rule


def test_moments_lie_as_the_parameter_they_belong_to():
    adapted = toys.make_adapted()
    optimizer = toys.make_recipe(accumulate=2).optimizer(adapted)
    state, _ = init_state(adapted.variables, adapted.labels, optimizer, 0)
    mesh = sharding.make_mesh(data=2, model=4, devices=jax.devices()[:8])
    placed = sharding.state_shardings(state, mesh, [Rule("encoder/.*kernel", (None, "model"))])
    wanted = PartitionSpec(None, "model")
    kernel = placed.trainable["params"]["encoder"]["block_1"]["dense"]["kernel"]
    assert kernel.spec == wanted
    specs = {
        jax.tree_util.keystr(path): leaf.spec
        for path, leaf in jax.tree_util.tree_leaves_with_path(placed.optimizer)
    }
    kernels = {k: v for k, v in specs.items() if "encoder" in k and "kernel" in k}
    assert len(kernels) == 3 * 3  # both moments and the sum of gradients, of three blocks
    assert set(kernels.values()) == {wanted}
    assert {v for k, v in specs.items() if k not in kernels} == {PartitionSpec()}


def test_rows_are_padded_to_what_the_devices_divide():
    mesh = sharding.make_mesh(devices=jax.devices()[:4])
    batch = {
        "inputs": {"inputs": np.ones((6, 2), np.float32)},
        "label": np.arange(6, dtype=np.int32),
        "mask": np.ones(6, bool),
    }
    placed = sharding.place_batch(batch, mesh, 6)
    assert placed["inputs"]["inputs"].shape == (8, 2)
    np.testing.assert_array_equal(placed["mask"], [True] * 6 + [False] * 2)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Rule("head/kernel", ("modle",)), "names axis 'modle'; the mesh has"),
        (Rule("head/kernel", (None, "model")), r"cuts 'head/kernel' \(8, 3\) into 4 parts"),
        (Rule("head/bias", (None, "model")), "has 2 axes, but 'head/bias' has 1"),
    ],
)
def test_a_rule_that_does_not_fit_is_named(rule, message):
    mesh = sharding.make_mesh(data=2, model=4, devices=jax.devices()[:8])
    with pytest.raises(ConfigError, match=message):
        sharding.variable_shardings(toys.make_adapted().variables, mesh, [rule])


def test_a_rule_that_matches_nothing_is_an_error():
    with pytest.raises(
        RuleError, match="'haed/kernel' matched no parameter; nearest: 'head/kernel'"
    ):
        train(
            toys.make_adapted(),
            {"labeled": toys.make_examples()},
            toys.supervised(),
            toys.make_recipe(),
            seed=0,
            sharding_rules=[Rule("haed/kernel", ("model",))],
        )


def test_a_mesh_larger_than_the_machine_is_refused():
    with pytest.raises(ConfigError, match="data=4 x model=4 needs 16 devices; there are 8"):
        sharding.make_mesh(data=4, model=4, devices=jax.devices()[:8])
