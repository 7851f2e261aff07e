"""The training step: what it differentiates, computes in, and leaves alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toys

from jaxtransfer import partition, trees
from jaxtransfer.adapt import adapt
from jaxtransfer.adapt.freezing import BitFit, Full, LinearProbe, TopStages
from jaxtransfer.adapt.lora import LoRA
from jaxtransfer.errors import ConfigError
from jaxtransfer.objectives import Context, Objective, Term, l2_sp
from jaxtransfer.train.state import init_state, variables_of
from jaxtransfer.train.step import compute_dtype, make_predict, make_train_step

METHODS = [LinearProbe(), TopStages(count=1), BitFit(), LoRA(rank=4), Full()]


def make_batch(rows=4, inputs=6, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "labeled": {
            "inputs": {"inputs": rng.normal(size=(rows, inputs)).astype(np.float32)},
            "label": rng.integers(3, size=rows).astype(np.int32),
            "mask": np.ones(rows, bool),
        }
    }


def take_step(adapted, batch, *, objective=None, seed=0, steps=1, **settings):
    objective = objective or toys.supervised()
    optimizer = toys.make_recipe().optimizer(adapted)
    state, frozen = init_state(
        adapted.variables,
        adapted.labels,
        optimizer,
        seed,
        keep_reference=objective.needs_reference,
    )
    step = jax.jit(make_train_step(adapted, objective, optimizer, **settings))
    for _ in range(steps):
        state, metrics = step(state, frozen, batch, jnp.float32(0.1), jnp.float32(0.0))
    return state, frozen, metrics


def flops(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]


def abstract(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_the_step_costs_what_differentiating_the_trainables_alone_costs(method):
    """At most 1.01 of the FLOPs, with clip, logged norm and optimizer; state for them alone."""
    small = toys.make_model(inputs=512, width=512, depth=4)
    model = dataclasses.replace(small, variables=abstract(small.variables))
    adapted = adapt(model, method, rng=jax.random.key(0))
    optimizer = toys.make_recipe(clip_norm=1.0).optimizer(adapted)
    key = jax.random.key(0)
    state, frozen = jax.eval_shape(
        lambda v: init_state(v, adapted.labels, optimizer, 0), adapted.variables
    )
    batch = abstract(make_batch(rows=512, inputs=512))
    rate = jax.ShapeDtypeStruct((), jnp.float32)
    step = make_train_step(adapted, toys.supervised(), optimizer)

    def alone(trainable, still, batch):
        def loss(trainable):
            outputs, _ = adapted.apply(
                partition.join(trainable, still), batch["labeled"]["inputs"], train=True, rng=key
            )
            context = Context(rng=key, step=jnp.int32(0), trainable=trainable)
            return toys.supervised()({"labeled": outputs}, batch, context)[0]

        return jax.grad(loss)(trainable)

    ours = flops(step, state, frozen, batch, rate, rate)
    least = flops(alone, state.trainable, frozen.variables, batch)
    assert ours <= 1.01 * least
    size = sum(x.size for x in jax.tree.leaves(state.trainable))
    assert sum(x.size for x in jax.tree.leaves(state.optimizer) if x.ndim) == 2 * size
    if method.name in ("bitfit", "lora"):
        everything = flops(alone, abstract(adapted.variables), {}, batch)
        assert everything > 1.2 * ours


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_only_trainable_leaves_move(method):
    adapted = toys.make_adapted(method)
    state, frozen, _ = take_step(adapted, make_batch(), steps=2)
    before = trees.flatten_variables(adapted.variables)
    after = trees.flatten_variables(variables_of(state, frozen))
    assert set(before) == set(after)
    for path, label in adapted.labels.items():
        same = np.array_equal(before[path], after[path])
        assert same == (label == "frozen"), path


def test_the_first_update_is_that_of_adam_on_the_gradient_of_the_loss():
    adapted, batch = toys.make_adapted(), make_batch()
    recipe = toys.make_recipe(steps=1, warmup=0.0, clip_norm=None)
    optimizer = recipe.optimizer(adapted)
    state, frozen = init_state(adapted.variables, adapted.labels, optimizer, 0)
    step = jax.jit(make_train_step(adapted, toys.supervised(), optimizer))
    after, metrics = step(state, frozen, batch, jnp.float32(0.1), jnp.float32(0.0))

    def loss(variables):
        logits = adapted.model.apply(variables, batch["labeled"]["inputs"])["logits"]
        return optax.softmax_cross_entropy_with_integer_labels(
            logits, batch["labeled"]["label"]
        ).mean()

    value, grads = jax.value_and_grad(loss)(adapted.variables)
    reference = optax.adam(0.1)
    updates, _ = reference.update(grads, reference.init(adapted.variables))
    expected = optax.apply_updates(adapted.variables, updates)
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-6)
    np.testing.assert_allclose(metrics["grad_norm"], optax.tree.norm(grads), rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), after.trainable, expected
    )


@pytest.mark.parametrize("method", [LinearProbe(), TopStages(count=1)], ids=lambda m: m.name)
def test_a_step_from_cached_activations_is_the_step_from_inputs(method):
    """The frozen prefix runs as in evaluation, so its dropout does not drop."""
    adapted, batch = toys.make_adapted(method, dropout=0.5), make_batch()
    start = adapted.frozen_prefix
    assert start > 0
    activations = make_predict(adapted, stop=start)(adapted.variables, batch["labeled"]["inputs"])
    cached = {"labeled": {**batch["labeled"], "inputs": activations}}
    a, _, _ = take_step(adapted, batch, steps=3)
    b, _, _ = take_step(adapted, cached, steps=3, start=start)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), a.trainable, b.trainable)


def test_padded_rows_do_not_count():
    adapted, batch = toys.make_adapted(), make_batch(rows=4)["labeled"]
    padded = {
        "inputs": {"inputs": np.concatenate([batch["inputs"]["inputs"], np.full((2, 6), 50.0)])},
        "label": np.concatenate([batch["label"], [0, 0]]).astype(np.int32),
        "mask": np.array([True] * 4 + [False] * 2),
    }
    padded["inputs"] = {"inputs": padded["inputs"]["inputs"].astype(np.float32)}
    _, _, plain = take_step(adapted, {"labeled": batch})
    _, _, more = take_step(adapted, {"labeled": padded})
    np.testing.assert_allclose(plain["loss"], more["loss"], rtol=1e-6)
    np.testing.assert_allclose(plain["grad_norm"], more["grad_norm"], rtol=1e-5)


def test_rates_and_seeds_share_one_trace():
    adapted, batch = toys.make_adapted(dropout=0.1), make_batch()
    optimizer = toys.make_recipe().optimizer(adapted)
    step, traces = make_train_step(adapted, toys.supervised(), optimizer), []

    @jax.jit
    def counted(*arguments):
        traces.append(1)
        return step(*arguments)

    for seed in (0, 1):
        for rate in (1e-3, 1e-2):
            state, frozen = init_state(adapted.variables, adapted.labels, optimizer, seed)
            counted(state, frozen, batch, jnp.float32(rate), jnp.float32(0.0))
    assert len(traces) == 1


def test_dropout_depends_on_the_seed_and_the_step():
    adapted, batch = toys.make_adapted(dropout=0.5), make_batch()
    losses = [float(take_step(adapted, batch, seed=s)[2]["loss"]) for s in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    optimizer = toys.make_recipe().optimizer(adapted)
    state, frozen = init_state(adapted.variables, adapted.labels, optimizer, 0)
    step = jax.jit(make_train_step(adapted, toys.supervised(), optimizer))
    rates = jnp.float32(0.1), jnp.float32(0.0)
    later = step(state.replace(step=state.step + 1), frozen, batch, *rates)[1]
    assert float(later["loss"]) != losses[0]


def test_streams_drop_out_each_for_itself_and_terms_see_float32():
    """Two streams of the same examples, in bfloat16."""

    def apart(outputs, batch, context):
        pair = [outputs[name]["logits"] for name in ("labeled", "target")]
        assert all(logits.dtype == jnp.float32 for logits in pair)
        return jnp.abs(pair[0] - pair[1]).sum(), {}

    term = Term(name="apart", weight=1.0, function=apart, streams=("labeled", "target"))
    batch = make_batch()["labeled"]
    for rate, differ in ((0.5, True), (0.0, False)):
        _, _, metrics = take_step(
            toys.make_adapted(dropout=rate),
            {"labeled": batch, "target": batch},
            objective=Objective((term,)),
            precision="bfloat16",
        )
        assert (float(metrics["apart"]) > 0) == differ


def test_running_statistics_are_not_rounded_to_bfloat16():
    """Their steps are smaller than bfloat16 tells apart, so that a rounded sum would stall."""
    adapted = toys.make_adapted(norm=True, statistics="updated")
    state, _, _ = take_step(adapted, make_batch(rows=8), steps=5)
    rounded, _, _ = take_step(adapted, make_batch(rows=8), steps=5, precision="bfloat16")
    variances = [
        s.statistics["batch_stats"]["encoder"]["block_0"]["norm"]["var"] for s in (state, rounded)
    ]
    assert jnp.abs(variances[0] - 1.0).max() > 0.01
    np.testing.assert_allclose(*variances, atol=1e-3)


def test_statistics_follow_the_batches_only_if_asked():
    batch = make_batch(rows=8)
    still = toys.make_adapted(norm=True)
    state, _, _ = take_step(still, batch)
    assert state.statistics == {}
    moving = toys.make_adapted(norm=True, statistics="updated")
    state, _, _ = take_step(moving, batch)
    mean = state.statistics["batch_stats"]["encoder"]["block_0"]["norm"]["mean"]
    dense = moving.variables["params"]["encoder"]["block_0"]["dense"]
    expected = (batch["labeled"]["inputs"]["inputs"] @ dense["kernel"]).mean(axis=0)
    np.testing.assert_allclose(mean, 0.01 * (expected + dense["bias"]), atol=1e-6)


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_masters():
    adapted, batch = toys.make_adapted(norm=True), make_batch()
    optimizer = toys.make_recipe().optimizer(adapted)
    step = make_train_step(adapted, toys.supervised(), optimizer, precision="bfloat16")
    state, frozen = init_state(adapted.variables, adapted.labels, optimizer, 0)
    text = str(jax.make_jaxpr(step)(state, frozen, batch, jnp.float32(0.1), jnp.float32(0.0)))
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert products
    assert all("bf16[" in line for line in products)
    after, metrics = jax.jit(step)(state, frozen, batch, jnp.float32(0.1), jnp.float32(0.0))
    assert {x.dtype for x in jax.tree.leaves(after.trainable)} == {jnp.dtype("float32")}
    assert metrics["loss"].dtype == jnp.float32
    _, _, exact = take_step(adapted, batch)
    np.testing.assert_allclose(metrics["loss"], exact["loss"], rtol=0.02)


def test_the_reference_is_where_training_began():
    adapted, batch = toys.make_adapted(), make_batch()
    objective = Objective((*toys.supervised().terms, l2_sp(weight=1.0)))
    _, _, first = take_step(adapted, batch, objective=objective)
    state, _, second = take_step(adapted, batch, objective=objective, steps=2)
    assert float(first["l2_sp/distance"]) == 0.0
    assert float(second["l2_sp/distance"]) > 0.0
    assert int(state.step) == 2


def test_an_unknown_precision_is_refused():
    with pytest.raises(ConfigError, match="unknown precision 'bf16'; nearest: 'bfloat16'"):
        compute_dtype("bf16")


@dataclasses.dataclass(frozen=True)
class Apart:
    """The distance between the features of two streams."""

    def __call__(self, outputs, batch, context):
        difference = outputs["labeled"]["features"] - outputs["target"]["features"]
        return jnp.abs(difference).sum(), {}


def test_streams_draw_their_own_dropout_and_statistics_follow_both():
    batch = make_batch(rows=8)
    two = {"labeled": batch["labeled"], "target": batch["labeled"]}
    apart = Term(name="apart", weight=1.0, function=Apart(), streams=("labeled", "target"))
    objective = Objective((*toys.supervised().terms, apart))
    _, _, calm = take_step(toys.make_adapted(), two, objective=objective)
    _, _, noisy = take_step(toys.make_adapted(dropout=0.5), two, objective=objective)
    assert calm["apart"] == 0
    assert noisy["apart"] > 0.1

    moving = toys.make_adapted(norm=True, statistics="updated")
    state, _, _ = take_step(moving, two, objective=objective)
    once, _, _ = take_step(moving, batch)
    mean = lambda s: s.statistics["batch_stats"]["encoder"]["block_0"]["norm"]["mean"]  # noqa: E731
    np.testing.assert_allclose(mean(state), (1 + 0.99) * mean(once), rtol=1e-4)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_accumulated_steps_on_unequally_padded_batches_are_one_step_on_their_union(method):
    adapted, whole = toys.make_adapted(method), make_batch(rows=8)["labeled"]
    whole["mask"] = np.array([1, 1, 1, 1, 1, 0, 0, 0], bool)
    parts = [{"labeled": jax.tree.map(lambda x, i=i: x[i : i + 4], whole)} for i in (0, 4)]
    settings = {"schedule": "constant", "warmup": 0.0, "clip_norm": 0.1}

    def run(batches, **more):
        optimizer = toys.make_recipe(steps=len(batches), **settings, **more).optimizer(adapted)
        state, frozen = init_state(adapted.variables, adapted.labels, optimizer, 0)
        step = jax.jit(make_train_step(adapted, toys.supervised(), optimizer))
        for batch in batches:
            state, _ = step(state, frozen, batch, jnp.float32(0.1), jnp.float32(0.01))
        return state.trainable

    large, small = run([{"labeled": whole}]), run(parts, accumulate=2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), small, large)
