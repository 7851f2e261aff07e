"""The optimizer over trainables: groups, rates, clipping, accumulation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxtransfer import optim
from jaxtransfer.errors import ConfigError
from jaxtransfer.optim import Group, Optimizer

LABELS = {
    "body/kernel": "body",
    "body/bias": "body",
    "head/kernel": "head",
    "delta/body/a": "delta",
}
TRAINABLE = {
    "params": {
        "body": {"kernel": jnp.full((2, 3), 0.5), "bias": jnp.full((3,), 0.5)},
        "head": {"kernel": jnp.full((3, 2), -0.25)},
    },
    "delta": {"body": {"a": jnp.full((2, 2), 0.125)}},
}


def gradient(seed: int, scale: float = 1.0):
    leaves, structure = jax.tree.flatten(TRAINABLE)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return jax.tree.unflatten(
        structure, [scale * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves)]
    )


def run(optimizer, grads, *, learning_rate=0.1, weight_decay=0.0, weights=None):
    params, state = TRAINABLE, optimizer.init(TRAINABLE)
    for g, w in zip(grads, weights or [1.0] * len(grads)):
        updates, state = optimizer.update(
            g, state, params, learning_rate=learning_rate, weight_decay=weight_decay, weight=w
        )
        params = optax.apply_updates(params, updates)
    return params, state


def assert_close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


def test_equals_optax_adamw_when_there_is_one_group():
    grads = [gradient(i) for i in range(4)]
    ours, _ = run(
        Optimizer(labels=LABELS, steps=4, schedule="constant", warmup=0.0, clip_norm=1.0),
        grads,
        weight_decay=0.01,
    )
    mask = jax.tree.map(lambda x: x.ndim > 1, TRAINABLE)
    reference = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(0.1, weight_decay=0.01, mask=mask)
    )
    params, state = TRAINABLE, reference.init(TRAINABLE)
    for g in grads:
        updates, state = reference.update(g, state, params)
        params = optax.apply_updates(params, updates)
    assert_close(ours, params, rtol=1e-6)


def test_group_and_path_factors_multiply_the_update():
    grads = [gradient(0)]
    plain = Optimizer(labels=LABELS, steps=1, warmup=0.0)
    scaled = Optimizer(
        labels=LABELS,
        steps=1,
        warmup=0.0,
        groups={"head": Group(learning_rate=10.0)},
        multipliers={"body/bias": 0.5},
    )
    change = [
        jax.tree.map(lambda a, b: a - b, run(o, grads, learning_rate=0.01)[0], TRAINABLE)
        for o in (plain, scaled)
    ]
    ratio = jax.tree.map(lambda a, b: float(jnp.mean(b / a)), *change)
    assert_close(
        ratio,
        {
            "params": {"body": {"kernel": 1.0, "bias": 0.5}, "head": {"kernel": 10.0}},
            "delta": {"body": {"a": 1.0}},
        },
        rtol=1e-3,
    )


def test_decay_spares_leaves_of_one_dimension():
    zero = jax.tree.map(jnp.zeros_like, TRAINABLE)
    params, _ = run(
        Optimizer(labels=LABELS, steps=1, warmup=0.0, groups={"delta": Group(weight_decay=0.0)}),
        [zero],
        weight_decay=1.0,
    )
    np.testing.assert_allclose(params["params"]["body"]["kernel"], 0.45, rtol=1e-6)
    np.testing.assert_array_equal(params["params"]["body"]["bias"], 0.5)
    np.testing.assert_array_equal(params["delta"]["body"]["a"], 0.125)


def test_decay_spares_biases_and_scales_of_several_axes():
    """As attention's split heads have them, and layers that a scan stacks."""
    params = {"params": {name: jnp.ones((2, 2)) for name in ("kernel", "bias", "scale")}}
    optimizer = Optimizer(labels=dict.fromkeys(params["params"], "body"), steps=1, warmup=0.0)
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(
        zero, optimizer.init(params), params, learning_rate=0.1, weight_decay=1.0
    )
    means = jax.tree.map(lambda x: float(x.mean()), updates["params"])
    assert_close(means, {"kernel": -0.1, "bias": 0.0, "scale": 0.0}, rtol=1e-6)


def test_the_clip_is_by_the_norm_over_all_groups():
    """Adam's first moment after one update is (1 - b1) times the clipped gradient."""
    grads = gradient(0, scale=100.0)
    _, state = run(Optimizer(labels=LABELS, steps=1, clip_norm=0.5), [grads])
    moments = [
        x
        for path, x in jax.tree_util.tree_leaves_with_path(state)
        if ".mu" in jax.tree_util.keystr(path)
    ]
    np.testing.assert_allclose(optax.tree.norm(moments), 0.1 * 0.5, rtol=1e-5)


def test_learning_rate_and_weight_decay_are_traced():
    optimizer = Optimizer(labels=LABELS, steps=10)
    traces = []

    @jax.jit
    def update(grads, state, learning_rate, weight_decay):
        traces.append(1)
        return optimizer.update(
            grads, state, TRAINABLE, learning_rate=learning_rate, weight_decay=weight_decay
        )

    state = optimizer.init(TRAINABLE)
    for rate, decay in [(1e-3, 0.0), (1e-2, 0.1)]:
        update(gradient(0), state, jnp.float32(rate), jnp.float32(decay))
    assert len(traces) == 1


def test_state_exists_for_trainables_alone():
    size = sum(x.size for x in jax.tree.leaves(TRAINABLE))
    state = Optimizer(labels={**LABELS, "frozen/kernel": "frozen"}, steps=4).init(TRAINABLE)
    assert sum(x.size for x in jax.tree.leaves(state) if x.ndim) == 2 * size
    state = Optimizer(labels=LABELS, steps=4, accumulate=2).init(TRAINABLE)
    assert sum(x.size for x in jax.tree.leaves(state) if x.ndim) == 3 * size


def test_accumulated_masked_means_equal_one_large_batch():
    """A full batch of 4 and a padded one of 1: the mean over the five examples, and one update."""
    a, b = gradient(1), gradient(2)
    union = jax.tree.map(lambda x, y: (4 * x + y) / 5, a, b)
    large, _ = run(Optimizer(labels=LABELS, steps=1), [union])
    small, _ = run(Optimizer(labels=LABELS, steps=2, accumulate=2), [a, b], weights=[4.0, 1.0])
    assert_close(small, large, rtol=1e-6)


def test_each_accumulation_starts_afresh_and_schedules_count_changes():
    """Three changes of two padded batches each, under every setting, are three large batches."""
    settings = {
        "schedule": "linear",
        "warmup": 0.34,
        "clip_norm": 3.0,
        "groups": {"head": Group(learning_rate=3.0, schedule="constant")},
        "multipliers": {"body/kernel": 0.25},
    }
    grads, weights = [gradient(i) for i in range(6)], [4.0, 1.0, 2.0, 3.0, 0.0, 5.0]
    unions = [
        jax.tree.map(
            lambda x, y, i=i: (weights[i] * x + weights[i + 1] * y) / sum(weights[i : i + 2]),
            grads[i],
            grads[i + 1],
        )
        for i in (0, 2, 4)
    ]
    large, _ = run(Optimizer(labels=LABELS, steps=3, **settings), unions, weight_decay=0.1)
    accumulating = Optimizer(labels=LABELS, steps=6, accumulate=2, **settings)
    small, _ = run(accumulating, grads, weight_decay=0.1, weights=weights)
    assert_close(small, large, rtol=2e-6)


def test_a_group_has_a_schedule_of_its_own():
    """Of four updates by equal gradients, a linear course makes 1 + 3/4 + 1/2 + 1/4 of the first."""
    groups = {"head": Group(schedule="linear")}
    optimizer = Optimizer(
        labels=LABELS, steps=4, warmup=0.0, schedule="constant", groups=groups, clip_norm=None
    )
    params, _ = run(optimizer, [gradient(0)] * 4)
    moved = jax.tree.map(lambda a, b: jnp.abs(a - b), params, TRAINABLE)["params"]
    np.testing.assert_allclose(moved["body"]["kernel"], 0.1 * 4, rtol=1e-4)
    np.testing.assert_allclose(moved["head"]["kernel"], 0.1 * 2.5, rtol=1e-4)


def test_nothing_moves_until_the_accumulation_is_full():
    params, state = run(Optimizer(labels=LABELS, steps=3, accumulate=3), [gradient(0), gradient(1)])
    assert_close(params, TRAINABLE)
    assert int(state.count) == 2


@pytest.mark.parametrize(("name", "end"), [("cosine", 0.0), ("linear", 0.0), ("constant", 1.0)])
def test_unit_schedules_rise_to_one_and_end_as_named(name, end):
    schedule = optim.unit_schedule(name, 100, 0.1)
    values = np.asarray([schedule(i) for i in range(101)])
    np.testing.assert_allclose(values[:10], np.arange(1, 11) / 10, rtol=1e-6)
    np.testing.assert_allclose(values.max(), 1.0)
    np.testing.assert_allclose(values[100], end, atol=1e-6)
    assert (np.diff(values[10:]) <= 0).all()


def test_layer_decay_falls_with_depth_and_spares_what_is_in_no_stage():
    """A pooling has no leaves, and the layer below it is one below the head all the same."""
    labels = {"embeddings/w": "body", "layer_0/w": "body", "head/w": "head", "extra": "body"}
    stages = ("embeddings", "layer_0", "pool", "head")

    def decayed(decay=0.5, stages=stages):
        return optim.layer_multipliers(labels, stages, lambda path: path.split("/")[0], decay)

    with pytest.raises(ConfigError, match="above 0, and at most 1"):
        decayed(-0.5)
    with pytest.raises(ConfigError, match=r"no leaf lies in a stage \(blok\)"):
        decayed(stages=("blok",))
    found = decayed()
    assert found == {"embeddings/w": 0.25, "layer_0/w": 0.5, "head/w": 1.0, "extra": 1.0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; nearest: 'cosine'"),
        ({"groups": {"haed": Group()}}, "'haed' labels no leaf that trains; nearest: 'head'"),
        ({"groups": {"frozen": Group()}}, "'frozen' labels no leaf that trains"),
        ({"multipliers": {"body/kernl": 0.5}}, "'body/kernl', which is no leaf; nearest: 'body/k"),
        ({"clip_norm": -1.0}, "clip_norm=-1.0 must be positive"),
        ({"clip_norm": 0.0}, "clip_norm=0.0 must be positive"),
        ({"steps": 5, "accumulate": 2}, "multiple of accumulate=2"),
        ({"warmup": 10}, "warmup=10 is a fraction"),
    ],
)
def test_contradictory_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Optimizer(**{"labels": {**LABELS, "still": "frozen"}, "steps": 4, **settings})
