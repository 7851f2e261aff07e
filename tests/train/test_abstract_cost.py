"""The cost of a function from its shapes, beside what XLA says once it is compiled."""

import jax
import jax.numpy as jnp
import pytest

from jaxtransfer.train.abstract_cost import cost_of, flop_rate


def test_a_product_counts_its_multiplications_and_additions_and_holds_its_three_matrices():
    found = cost_of(jnp.matmul, *(jax.ShapeDtypeStruct((8, 8), jnp.float32),) * 2)
    assert found.flops == 2 * 8**3
    assert found.peak_bytes == 3 * 8 * 8 * 4


def test_what_is_read_no_more_is_let_go_and_what_is_unread_is_not_held():
    one = jax.ShapeDtypeStruct((1000,), jnp.float32)

    def chain(x, unread):
        for _ in range(5):
            x = jnp.sin(x)
        return x

    # The argument, the result before and the one that is made; never five at once.
    assert cost_of(chain, one, one).peak_bytes == 3 * 4000
    assert cost_of(chain, one, one, consumed=one).peak_bytes == 2 * 4000


def test_the_inside_of_a_loop_counts_while_it_runs():
    one = jax.ShapeDtypeStruct((100,), jnp.float32)

    def loop(x):
        return jax.lax.fori_loop(0, 3, lambda _, y: (y[:, None] * y[None]).sum(axis=1), x)

    assert cost_of(loop, one).peak_bytes > 100 * 100 * 4


@pytest.mark.parametrize("width", [16, 64])
def test_a_gradient_is_within_a_factor_of_two_of_what_xla_takes(width):
    def loss(weights, x):
        for weight in weights:
            x = jnp.tanh(x @ weight)
        return (x**2).mean()

    weights = [jnp.ones((width, width))] * 3
    x = jnp.ones((32, width))
    found = cost_of(jax.grad(loss), weights, x)
    compiled = jax.jit(jax.grad(loss)).lower(weights, x).compile()
    memory = compiled.memory_analysis()
    taken = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )
    assert 0.5 < found.peak_bytes / taken < 2
    assert found.flops == pytest.approx(compiled.cost_analysis()["flops"], rel=0.1)


def test_a_device_has_a_rate():
    assert 1e8 < flop_rate("float32", seconds=0.01) < 1e16
