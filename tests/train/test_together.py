"""Heads trained side by side end where each would end alone."""

import jax
import numpy as np
import pytest

from jaxtransfer.adapt import BitFit, LinearProbe, adapt
from jaxtransfer.data.examples import ArrayExamples
from jaxtransfer.models.model import with_head
from jaxtransfer.models.zoo import load
from jaxtransfer.objectives import Objective, cross_entropy, l2_sp
from jaxtransfer.train.cache import ActivationCache
from jaxtransfer.train.compiled import CompiledSteps
from jaxtransfer.train.loop import train
from jaxtransfer.train.predict import predict
from jaxtransfer.train.recipe import Recipe
from jaxtransfer.train.together import Member, can_share_steps, train_together

RECIPE = Recipe(steps=7, batch_size=8, learning_rate=0.1)
KINDS = ((0.1, 0.0, 8, 0), (0.01, 0.3, 4, 0), (0.03, 0.1, 16, 1))
"""Learning rate, weight decay, batch size and seed of three members."""


@pytest.fixture(scope="module")
def parts(tiny_bert):
    """The tiny encoder, and two sets of examples of random words."""
    model = load(str(tiny_bert), max_length=12)
    rng = np.random.default_rng(0)
    shapes = {name: value.shape[1:] for name, value in model.example.items()}
    sets = []
    for count in (20, 9):
        inputs = {
            name: (
                np.ones((count, *shape), np.int32)
                if "mask" in name
                else rng.integers(2, 20, (count, *shape)).astype(np.int32)
            )
            for name, shape in shapes.items()
        }
        labels = rng.integers(0, 3, count).astype(np.int32)
        ids = np.array([f"{count}-{row}" for row in range(count)])
        sets.append(ArrayExamples(ids, labels, inputs, key=str(count)))
    return model, *sets


def probe(encoder, seed):
    model = with_head(encoder, 3, rng=jax.random.key(seed))
    return adapt(model, LinearProbe(), rng=jax.random.key(seed))


def side_by_side(parts, kinds, objective, compiled=None):
    encoder, examples, validation = parts
    starts = {seed: probe(encoder, seed) for *_, seed in kinds}
    members = [
        Member(
            adapted=starts[seed],
            learning_rate=rate,
            weight_decay=decay,
            batch_size=size,
            seed=seed,
        )
        for rate, decay, size, seed in kinds
    ]
    return train_together(
        members,
        examples,
        validation,
        objective,
        RECIPE,
        cache=ActivationCache(),
        compiled=CompiledSteps() if compiled is None else compiled,
    )


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_members_end_where_each_ends_alone(parts, weight):
    encoder, examples, validation = parts
    objective = Objective((cross_entropy(), l2_sp(weight=weight, head=None)))
    found = side_by_side(parts, KINDS, objective)
    assert found.diverged == ("", "", "")
    assert found.trainable == 16 * 3 + 3
    for (rate, decay, size, seed), logits in zip(KINDS, found.logits):
        alone = train(
            probe(encoder, seed),
            {"labeled": examples},
            objective,
            Recipe(steps=7, batch_size=size, learning_rate=rate, weight_decay=decay),
            seed=seed,
        )
        expected = predict(alone.adapted, alone.variables, validation)
        np.testing.assert_allclose(logits, expected, atol=2e-5)


def test_more_members_of_as_many_compile_nothing(parts):
    compiled = CompiledSteps()
    objective = Objective((cross_entropy(),))
    side_by_side(parts, KINDS, objective, compiled)
    before = compiled.traces
    # Activations of two sets (of one batch shape), steps and prediction.
    assert before == 3
    side_by_side(parts, [(0.5, 0.2, size, seed) for _, _, size, seed in KINDS], objective, compiled)
    side_by_side(parts, [*KINDS, (0.2, 0.0, 8, 0)], objective, compiled)
    assert compiled.traces == before


def test_a_member_that_diverges_leaves_the_others_alone(parts):
    objective = Objective((cross_entropy(),))
    found = side_by_side(parts, [KINDS[0], (1e38, 1e30, 8, 0)], objective)
    assert found.diverged[0] == ""
    assert "at step" in found.diverged[1]
    assert "learning rate 1e+38" in found.diverged[1]
    alone = side_by_side(parts, [KINDS[0]], objective)
    np.testing.assert_allclose(found.logits[0], alone.logits[0], atol=1e-5)


def test_only_heads_share_their_steps(parts):
    encoder, *_ = parts
    model = with_head(encoder, 3, rng=jax.random.key(0))
    assert can_share_steps(probe(encoder, 0), RECIPE)
    assert not can_share_steps(adapt(model, BitFit(), rng=jax.random.key(0)), RECIPE)
    patient = Recipe(steps=7, batch_size=8, learning_rate=0.1, evaluate_every=1, patience=2)
    assert not can_share_steps(probe(encoder, 0), patient)


def test_a_run_that_stops_on_the_way_goes_on_to_the_same_bits(parts, tmp_path):
    encoder, examples, _ = parts
    start = probe(encoder, 0)

    def to(step, place):
        return train(
            start,
            {"labeled": examples},
            Objective((cross_entropy(),)),
            RECIPE,
            seed=0,
            workdir=tmp_path / place,
            until=step,
        )

    part = to(3, "stopped")
    assert part.steps == 3
    whole, resumed = to(None, "whole"), to(None, "stopped")
    assert resumed.steps == whole.steps == 7
    for one, other in zip(jax.tree.leaves(whole.variables), jax.tree.leaves(resumed.variables)):
        np.testing.assert_array_equal(one, other)
