import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtransfer.errors import ConfigError, DataError
from jaxtransfer.objectives import (
    Context,
    LinearRamp,
    Objective,
    SigmoidRamp,
    Term,
    coral,
    cross_entropy,
    l2_sp,
)
from jaxtransfer.objectives.terms import masked_mean


def context(step=0, trainable=None, reference=None):
    return Context(
        rng=jax.random.key(0),
        step=jnp.asarray(step),
        trainable=trainable or {},
        reference=reference,
    )


def make_batch(rows=6, stream="labeled"):
    rng = np.random.default_rng(0)
    outputs = {
        "logits": jnp.asarray(rng.normal(size=(rows, 3)), jnp.float32),
        "features": jnp.asarray(rng.normal(size=(rows, 4)), jnp.float32),
    }
    batch = {
        "label": jnp.asarray(rng.integers(3, size=rows), jnp.int32),
        "mask": jnp.arange(rows) < rows - 2,
    }
    return {stream: outputs}, {stream: batch}


@dataclasses.dataclass(frozen=True)
class Infinite:
    """A term whose value and gradient are infinite."""

    def __call__(self, outputs, batch, context):
        value = (1 / (0 * outputs["labeled"]["logits"])).sum()
        return value, {"part": value}


def test_the_loss_is_the_weighted_sum_of_its_terms():
    outputs, batch = make_batch()
    other, target = make_batch(5, "target")
    outputs, batch = {**outputs, **other}, {**batch, **target}
    objective = Objective((cross_entropy(weight=2.0), coral(weight=0.5)))
    loss, metrics = objective(outputs, batch, context())
    np.testing.assert_allclose(loss, 2 * metrics["cross_entropy"] + 0.5 * metrics["coral"])
    assert set(metrics) == {"cross_entropy", "cross_entropy/accuracy", "coral"}
    assert objective.streams == ("labeled", "target")
    assert not objective.needs_reference


def test_a_term_of_constant_weight_zero_leaves_the_same_bits():
    outputs, batch = make_batch()
    off = Term(name="infinite", weight=0.0, function=Infinite(), streams=("labeled", "absent"))
    with_it = Objective((cross_entropy(), off))
    without = Objective((cross_entropy(),))
    assert with_it == without
    assert hash(with_it) == hash(without)

    def program(objective):
        return str(jax.make_jaxpr(lambda o: objective(o, batch, context()))(outputs))

    assert program(with_it) == program(without)


def test_a_scheduled_term_is_not_evaluated_where_its_weight_is_zero():
    outputs, batch = make_batch()
    ramp = LinearRamp(start=2, end=4)
    objective = Objective(
        (cross_entropy(), Term(name="infinite", weight=ramp, function=Infinite()))
    )

    @jax.jit
    def gradient(outputs, step):
        own = dataclasses.replace(context(), step=step)
        return jax.value_and_grad(lambda o: objective(o, batch, own), has_aux=True)(outputs)

    plain = jax.grad(lambda o: Objective((cross_entropy(),))(o, batch, context())[0])(outputs)
    (loss, metrics), found = gradient(outputs, jnp.asarray(2))
    np.testing.assert_array_equal(found["labeled"]["logits"], plain["labeled"]["logits"])
    assert np.isfinite(loss)
    assert metrics["infinite/weight"] == metrics["infinite"] == metrics["infinite/part"] == 0
    (loss, metrics), _ = gradient(outputs, jnp.asarray(3))
    assert not np.isfinite(loss)
    assert metrics["infinite/weight"] == 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Objective(()), "needs a term of weight above 0"),
        (lambda: Objective((cross_entropy(weight=0),)), r"needs a term.*\['cross_entropy'\]"),
        (lambda: Objective((cross_entropy(), cross_entropy())), "several terms are named"),
        (lambda: cross_entropy(weight=-1.0), "weight -1.0; give a finite number"),
        (lambda: cross_entropy(weight=float("nan")), "weight nan"),
        (lambda: cross_entropy(1.0), r"label smoothing is in \[0, 1\), not 1.0"),
        (lambda: LinearRamp(end=0), "does not rise"),
        (lambda: SigmoidRamp(steps=0), "does not rise"),
    ],
)
def test_a_wrong_objective_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_stream_that_is_not_there_is_named():
    outputs, batch = make_batch()
    with pytest.raises(DataError, match="stream 'target' that is not in the batch; nearest: 'lab"):
        Objective((coral(),))(outputs, batch, context())
    with pytest.raises(ConfigError, match=r"terms \['l2_sp'\] need the reference"):
        Objective((l2_sp(),))(outputs, batch, context())


def test_equal_objectives_share_a_compiled_step():
    traces = 0

    def step(objective, outputs, batch):
        nonlocal traces
        traces += 1
        return objective(outputs, batch, context())[0]

    jitted = jax.jit(step, static_argnums=0)
    outputs, batch = make_batch()
    for _ in range(2):
        jitted(Objective((cross_entropy(0.1, weight=SigmoidRamp(steps=5)),)), outputs, batch)
    assert traces == 1


def test_schedules_take_their_published_values():
    ramp = SigmoidRamp(steps=100, peak=2.0)
    values = [float(ramp(jnp.asarray(step))) for step in (0, 50, 100, 1000)]
    expected = [2 * (2 / (1 + np.exp(-10 * p)) - 1) for p in (0, 0.5, 1, 1)]
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-7)
    linear = LinearRamp(start=10, end=20, peak=3.0)
    assert [float(linear(jnp.asarray(s))) for s in (0, 10, 15, 20, 99)] == [0, 0, 1.5, 3, 3]


def test_a_masked_mean_of_nothing_is_zero_and_shapes_must_agree():
    assert masked_mean(jnp.array([jnp.nan]), jnp.array([False])) == 0
    with pytest.raises(DataError, match="differ in shape"):
        masked_mean(jnp.ones(3), jnp.ones((3, 1), bool))


@dataclasses.dataclass(frozen=True)
class Draw:
    """A term that is a random number."""

    def __call__(self, outputs, batch, context):
        return jax.random.uniform(context.rng), {}


def test_terms_draw_independently():
    outputs, batch = make_batch()
    terms = tuple(Term(name=name, weight=1.0, function=Draw()) for name in "ab")
    _, metrics = Objective(terms)(outputs, batch, context())
    assert metrics["a"] != metrics["b"]
