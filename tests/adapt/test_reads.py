import jax
import jax.numpy as jnp

from jaxtransfer.adapt.reads import unread_leaves

SHAPE = jax.ShapeDtypeStruct((3,), jnp.float32)


def unread(function, *names):
    return unread_leaves(function, {"m": dict.fromkeys(names, SHAPE)})


def test_dependence_is_on_outputs_not_on_use():
    def function(tree):
        m = tree["m"]
        jnp.sin(m["b"])
        return m["a"] * 0.0

    assert unread(function, "a", "b", "c") == ["m/b", "m/c"]


def test_calls_are_looked_into():
    @jax.jit
    @jax.checkpoint
    def inner(a, b):
        return a + 1, b + 1

    assert unread(lambda t: inner(t["m"]["a"], t["m"]["b"])[0], "a", "b") == ["m/b"]


def test_scans_carry_dependence_through_their_steps():
    def shaped(tree):
        m = tree["m"]

        def body(carry, x):
            first, second, third = carry
            del first
            return (second, second + m["constant"], third + m["unused"] + x), x

        zeros = jnp.zeros(3)
        return jax.lax.scan(body, (zeros, m["late"], m["lost"]), jnp.zeros((2, 3)))[0][0]

    assert unread(shaped, "constant", "late", "lost", "unused") == ["m/lost", "m/unused"]
