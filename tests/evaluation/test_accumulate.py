"""Counts under jit are those of the table: in any batches, masked, on one device or eight."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation import accumulate
from jaxtransfer.evaluation.errors import confusion_matrix
from jaxtransfer.evaluation.metrics import value
from jaxtransfer.evaluation.table import Predictions

CLASSES = 4


def draw(n=203, step=None):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, n).astype(np.int32)
    logits = rng.normal(size=(n, CLASSES)).astype(np.float32)
    logits[np.arange(n), labels] += 1
    if step:
        logits = np.round(logits / step) * step
    table = Predictions(
        ids=np.arange(n), labels=labels, logits=logits, classes=tuple("abcd"), normalised=True
    )
    return table, logits, labels


def batches(logits, labels, size):
    """Of equal size, the last one padded and masked."""
    for begin in range(0, len(labels), size):
        rows = np.arange(begin, begin + size)
        mask = rows < len(labels)
        rows = np.where(mask, rows, 0)
        yield logits[rows], np.where(mask, labels[rows], -1), mask


def count(logits, labels, size, place=lambda part: part):
    step = jax.jit(accumulate.update, donate_argnums=0)
    counts = accumulate.start(CLASSES)
    for batch in batches(logits, labels, size):
        counts = step(counts, *map(place, batch))
    return counts


@pytest.mark.parametrize("size", [8, 64, 203])
def test_counts_are_those_of_the_table_in_any_batches(size):
    table, logits, labels = draw(step=0.5)
    counts = count(logits, labels, size)
    np.testing.assert_array_equal(accumulate.confusion_matrix(counts), confusion_matrix(table))
    for name, number in accumulate.finish(counts).items():
        assert number == value(table, name), name


def test_sharded_counts_equal_unsharded_ones_exactly():
    _, logits, labels = draw()
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, P("data"))
    sharded = count(logits, labels, 64, lambda part: jax.device_put(part, sharding))
    alone = count(logits, labels, 64)
    np.testing.assert_array_equal(sharded.confusion, alone.confusion)


def test_one_compilation_serves_all_batches():
    _, logits, labels = draw()
    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(accumulate.update, n=1))
    counts = accumulate.start(CLASSES)
    for batch in batches(logits, labels, 64):
        counts = step(counts, *batch)
    assert accumulate.confusion_matrix(counts).sum() == len(labels)


def test_counts_pass_the_end_of_int32():
    nearly = jnp.zeros((2, 2, 2), jnp.int32).at[0, 0, 0].set(2**accumulate.LIMB - 1)
    counts = accumulate.start(2)._replace(confusion=nearly.at[1, 0, 0].set(7))
    counts = jax.jit(accumulate.update)(counts, jnp.array([[1.0, 0.0]] * 3), jnp.zeros(3, int))
    assert accumulate.confusion_matrix(counts)[0, 0] == 7 * 2**30 + 2**30 + 2


@pytest.mark.parametrize("step", [None, 0.5])
def test_areas_from_ranks_are_those_of_the_table(step):
    table, logits, labels = draw(step=step)
    padded, mask = np.pad(logits, ((0, 5), (0, 0))), np.arange(208) < 203
    of_all = np.pad(labels, (0, 5))
    counts = jax.jit(accumulate.rank_counts)(padded, of_all, mask)
    found = accumulate.areas(counts, of_all, CLASSES, mask)
    for name, number in found.items():
        assert number == pytest.approx(value(table, name), abs=1e-12), name
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    parts = [jax.device_put(p, NamedSharding(mesh, P("data"))) for p in (padded, of_all, mask)]
    for one, other in zip(counts, jax.jit(accumulate.rank_counts)(*parts)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("logits", "label"), [([1.0, 0.0], 2), ([1.0, 0.0], -1), ([np.nan, 0.0], 0)]
)
def test_what_cannot_be_counted_is_said_unless_it_is_masked(logits, label):
    rows = np.array([logits, [0.0, 1.0]]), np.array([label, 1])
    counts = jax.jit(accumulate.update)(accumulate.start(2), *rows)
    with pytest.raises(EvaluationError, match=r"1 examples have a label outside of 0\.\.1"):
        accumulate.finish(counts)
    masked = jax.jit(accumulate.update)(accumulate.start(2), *rows, np.array([False, True]))
    assert accumulate.finish(masked)["accuracy"] == 1.0


def test_a_mask_or_labels_of_another_shape_are_refused():
    counts = accumulate.start(2)
    with pytest.raises(EvaluationError, match=r"a mask of shape \(3,\) is not one entry a row"):
        jax.jit(accumulate.update)(counts, np.ones((2, 2)), np.zeros(2, int), np.ones(3, bool))
    with pytest.raises(EvaluationError, match=r"are not \(batch, 2\) and \(batch,\)"):
        jax.jit(accumulate.update)(counts, np.ones((2, 3)), np.zeros(2, int))
    with pytest.raises(EvaluationError, match="are not one entry a row"):
        accumulate.rank_counts(np.ones((2, 2)), np.zeros(3, int))


def test_nothing_counted_and_a_class_without_examples_are_said():
    with pytest.raises(EvaluationError, match="every row was masked"):
        accumulate.finish(accumulate.start(2))
    counts = accumulate.rank_counts(np.ones((2, 2)), np.zeros(2, int))
    with pytest.raises(EvaluationError, match="class 0 has every example of n=2"):
        accumulate.areas(counts, np.zeros(2, int), 2)
    with pytest.raises(EvaluationError, match="1 classes"):
        accumulate.start(1)


def test_counts_of_one_class_define_no_correlation():
    counts = accumulate.update(accumulate.start(2), np.eye(2)[[1, 1]], np.array([1, 1]))
    found = accumulate.finish(counts)
    assert found["accuracy"] == 1.0
    assert found["mcc"] is None
    assert found["cohen_kappa"] is None
