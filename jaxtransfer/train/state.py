"""What a training step changes, and what it only reads.

Only `TrainState` is donated and checkpointed; `Frozen` is placed once and shared by every step.
"""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from jaxtransfer import partition
from jaxtransfer.optim import Optimizer
from jaxtransfer.partition import FROZEN, STATISTIC, Labels


class TrainState(flax.struct.PyTreeNode):
    """Everything that a step changes.

    Attributes:
      step: steps taken; it is also the position in the data.
      trainable: variables tree of the leaves that an optimizer group owns, in float32.
      statistics: variables tree of the leaves that the forward pass updates; `{}` if none.
      optimizer: state of the optimizer, for `trainable` alone.
      key: the run's random key; a step uses `fold_in(key, step)`.
    """

    step: Int[Array, ""]
    trainable: dict[str, Any]
    statistics: dict[str, Any]
    optimizer: Any
    key: Key[Array, ""]


class Frozen(flax.struct.PyTreeNode):
    """Everything that a step reads and leaves alone.

    Attributes:
      variables: variables tree of the frozen leaves.
      reference: what `trainable` was at the start of training, for terms that need it; else None.
    """

    variables: dict[str, Any]
    reference: dict[str, Any] | None = None


def init_state(
    variables: Mapping[str, Any],
    labels: Labels,
    optimizer: Optimizer,
    seed: int,
    *,
    keep_reference: bool = False,
) -> tuple[TrainState, Frozen]:
    """The state before the first step; its leaves are copies, since a step consumes them."""
    trainable, _ = partition.split(variables, labels)
    statistics = partition.select(variables, labels, lambda value: value == STATISTIC)
    frozen = partition.select(variables, labels, lambda value: value == FROZEN)
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        trainable=_copy(trainable),
        statistics=_copy(statistics),
        optimizer=optimizer.init(trainable),
        key=jax.random.key(seed),
    )
    return state, Frozen(variables=frozen, reference=trainable if keep_reference else None)


def variables_of(state: TrainState, frozen: Frozen) -> dict[str, Any]:
    """All variables, as `Adapted.apply` takes them."""
    return partition.join(state.trainable, state.statistics, frozen.variables)


def _copy(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)
