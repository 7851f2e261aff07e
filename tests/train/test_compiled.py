"""Executables are found again by what they compute, and by nothing else."""

import jax.numpy as jnp
import numpy as np
import toys

from jaxtransfer.adapt.freezing import Full, LinearProbe
from jaxtransfer.train.compiled import CompiledSteps, hashable, structure_of


def test_the_same_key_and_shapes_compile_once():
    compiled = CompiledSteps()
    x, y = jnp.ones((2, 3)), jnp.ones((4, 3))
    for argument in (x, 2 * x, y, x):
        entry = compiled.get("double", lambda: lambda a: 2 * a, (argument,))
        np.testing.assert_array_equal(entry.call(argument), 2 * argument)
    assert compiled.traces == 2


def test_the_least_recently_used_goes_first():
    compiled, x = CompiledSteps(maximum=2), jnp.ones(3)
    for key in ("a", "b", "a", "c", "a", "b"):
        compiled.get(key, lambda: lambda a: a + 1, (x,))
    assert compiled.traces == 4


def test_cost_is_that_of_a_product():
    a = jnp.ones((64, 64))
    entry = CompiledSteps().get("product", lambda: lambda a, b: a @ b, (a, a))
    assert entry.flops == 2 * 64**3
    assert entry.peak_bytes >= 3 * 4 * 64**2


def test_structure_ignores_weights_and_sees_method_and_module():
    base = structure_of(toys.make_adapted(LinearProbe(), seed=0))
    assert base == structure_of(toys.make_adapted(LinearProbe(), seed=1))
    assert hash(base) == hash(structure_of(toys.make_adapted(LinearProbe(), seed=1)))
    assert base != structure_of(toys.make_adapted(Full(), seed=0))
    assert base != structure_of(toys.make_adapted(LinearProbe(), dropout=0.5))


def test_what_cannot_be_hashed_equals_itself_alone():
    a, b = np.ones(2), np.ones(2)
    assert hashable(a) == hashable(a)
    assert hashable(a) != hashable(b)
    assert hashable({"x": 1.0}) == hashable({"x": 1.0})
