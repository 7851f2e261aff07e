"""Turns a label tree into one Optax transformation over the trainable leaves alone.

Learning rate and weight decay are arguments of every update rather than constants, so that one
compiled step serves a whole sweep; schedules are unit schedules that multiply the rate.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxtransfer import trees
from jaxtransfer.errors import ConfigError, nearest
from jaxtransfer.partition import Labels, is_trainable
from jaxtransfer.trees import Tree

SCHEDULES = ("cosine", "linear", "constant")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """How the leaves of one label are optimized, relative to the rates given to each update.

    Attributes:
      learning_rate: multiplies the learning rate of the update.
      weight_decay: multiplies the weight decay of the update.
      schedule: 'cosine' or 'linear' (both to zero) or 'constant', after the warmup; None is the
        optimizer's own.
    """

    learning_rate: float = 1.0
    weight_decay: float = 1.0
    schedule: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
    """AdamW by group, after a clip by the norm over all trainables.

    The decay is decoupled (arXiv 1711.05101) and leaves biases and norm scales alone: leaves of
    fewer than two dimensions, and those named `bias` or `scale`, which have more where heads split
    or layers are stacked.

    Attributes:
      labels: path of each trainable leaf to its group; other labels may be present.
      steps: length of the schedules, in calls of `update`.
      groups: group name to `Group`; a label without an entry gets `Group()`.
      schedule: schedule of the groups that name none.
      warmup: fraction of the updates over which the rate rises linearly from zero.
      clip_norm: largest norm of the gradient over all trainables; None does not clip.
      accumulate: calls of `update` that make one change of the parameters.
      multipliers: path to a factor on its learning rate (`layer_multipliers`); absent paths have 1.
      b1: decay of Adam's first moment.
      b2: decay of Adam's second moment.
      epsilon: added to the root of the second moment.
    """

    labels: Labels
    steps: int
    groups: Mapping[str, Group] = dataclasses.field(default_factory=dict)
    schedule: str = "cosine"
    warmup: float = 0.1
    clip_norm: float | None = 1.0
    accumulate: int = 1
    multipliers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    b1: float = 0.9
    b2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self):
        if self.steps < 1 or self.accumulate < 1 or self.steps % self.accumulate:
            raise ConfigError(
                f"steps={self.steps} must be a positive multiple of accumulate={self.accumulate}"
            )
        if not 0.0 <= self.warmup < 1.0:
            raise ConfigError(
                f"warmup={self.warmup} is a fraction of the steps: give 0 <= warmup < 1"
            )
        if self.clip_norm is not None and not self.clip_norm > 0.0:
            raise ConfigError(f"clip_norm={self.clip_norm} must be positive; None does not clip")
        owned = {path: name for path, name in self.labels.items() if is_trainable(name)}
        unknown = sorted(set(self.groups) - set(owned.values()))
        if unknown:
            raise ConfigError(
                f"optimizer group {unknown[0]!r} labels no leaf that trains;"
                f" nearest: {nearest(unknown[0], owned.values())}"
            )
        unknown = sorted(set(self.multipliers) - set(self.labels))
        if unknown:
            raise ConfigError(
                f"a learning rate multiplier is given for {unknown[0]!r}, which is no leaf;"
                f" nearest: {nearest(unknown[0], self.labels)}"
            )
        for name in {self.schedule} | {g.schedule for g in self.groups.values() if g.schedule}:
            unit_schedule(name, self.steps, self.warmup)

    def init(self, trainable: Tree) -> Any:
        """Optimizer state: moments for the trainable leaves, and nothing else."""
        state = self._transformation(trainable).init(trainable)
        if self.accumulate == 1:
            return state
        return Accumulator(
            inner=state,
            total=jax.tree.map(jnp.zeros_like, trainable),
            weight=jnp.zeros((), jnp.float32),
            count=jnp.zeros((), jnp.int32),
        )

    def update(
        self,
        grads: Tree,
        state: Any,
        trainable: Tree,
        *,
        learning_rate: Float[Array, ""] | float,
        weight_decay: Float[Array, ""] | float,
        weight: Float[Array, ""] | float = 1.0,
    ) -> tuple[Any, Any]:
        """Changes to add to the trainable leaves, and the next state.

        Args:
          grads: gradient of a *mean* over the examples of this call, a tree like `trainable`.
          state: from `init` or the previous `update`.
          trainable: the leaves as they are.
          learning_rate: peak rate, before schedule, group and layer factors.
          weight_decay: decay, before group factors.
          weight: number of real (unmasked) examples in this call. With `accumulate > 1` the
            gradient used is sum_i weight_i grads_i / sum_i weight_i, which for a masked mean is the
            gradient over the union of the batches; a plain mean of means would give the examples of
            a padded batch too much weight.
        """
        transformation = self._transformation(trainable)

        def apply(grads, state):
            updates, state = transformation.update(
                grads, state, trainable, learning_rate=learning_rate, weight_decay=weight_decay
            )
            return self._scale_by_path(updates), state

        if self.accumulate == 1:
            return apply(grads, state)

        total = jax.tree.map(lambda t, g: t + weight * g, state.total, grads)
        weights = state.weight + weight

        def emit(inner):
            mean = jax.tree.map(lambda t: t / jnp.maximum(weights, 1e-12), total)
            updates, inner = apply(mean, inner)
            return updates, Accumulator(
                inner=inner,
                total=jax.tree.map(jnp.zeros_like, total),
                weight=jnp.zeros_like(weights),
                count=jnp.zeros_like(state.count),
            )

        def collect(inner):
            kept = Accumulator(inner=inner, total=total, weight=weights, count=state.count + 1)
            return jax.tree.map(jnp.zeros_like, trainable), kept

        last = state.count + 1 == self.accumulate
        return jax.lax.cond(last, emit, collect, state.inner)

    def _transformation(self, trainable: Tree) -> optax.GradientTransformationExtraArgs:
        labels = {path: self.labels[path] for path in trees.flatten_variables(trainable)}
        groups = {
            name: self._group(self.groups.get(name, Group()))
            for name in sorted(set(labels.values()))
        }
        by_group = optax.partition(groups, trees.unflatten_variables(labels, trainable))
        if self.clip_norm is None:
            return optax.with_extra_args_support(by_group)
        return optax.with_extra_args_support(
            optax.chain(optax.clip_by_global_norm(self.clip_norm), by_group)
        )

    def _group(self, group: Group) -> optax.GradientTransformationExtraArgs:
        schedule = unit_schedule(
            group.schedule or self.schedule, self.steps // self.accumulate, self.warmup
        )
        return optax.chain(
            optax.scale_by_adam(self.b1, self.b2, self.epsilon),
            _decay_and_rate(group, schedule),
        )

    def _scale_by_path(self, updates: Tree) -> Any:
        if not self.multipliers:
            return updates
        flat = {
            path: leaf * self.multipliers.get(path, 1.0)
            for path, leaf in trees.flatten_variables(updates).items()
        }
        return trees.unflatten_variables(flat, updates)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Accumulator:
    """The weighted sum of gradients so far, around the state of the optimizer proper."""

    inner: Any
    total: Any
    weight: Float[Array, ""]
    count: Int[Array, ""]


def _decay_and_rate(
    group: Group, schedule: Callable[[Any], Any]
) -> optax.GradientTransformationExtraArgs:
    def init(params):
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

    def update(updates, state, params, *, learning_rate, weight_decay, **extra):
        del extra
        rate = learning_rate * group.learning_rate * schedule(state.count)
        decay = weight_decay * group.weight_decay

        def change(path, direction, leaf):
            if leaf.ndim > 1 and path[-1].key not in ("bias", "scale"):
                direction = direction + decay * leaf
            return -rate * direction

        changes = jax.tree_util.tree_map_with_path(change, updates, params)
        return changes, optax.ScaleByScheduleState(count=optax.safe_increment(state.count))

    return optax.GradientTransformationExtraArgs(init, update)


def unit_schedule(name: str, steps: int, warmup: float) -> Callable[[Any], Array]:
    """A schedule with peak 1: a linear rise over `warmup * steps` updates, then the named course.

    The rise gives 1/k, 2/k, ..., 1 to the first k updates, so that none of them is wasted at rate
    0.

    Raises:
      ConfigError: if the schedule is unknown.

    >>> [round(float(unit_schedule("linear", 4, 0.5)(i)), 2) for i in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    if name not in SCHEDULES:
        raise ConfigError(f"unknown schedule {name!r}; nearest: {nearest(name, SCHEDULES)}")
    rise = round(warmup * steps)

    def schedule(count):
        count = jnp.asarray(count, jnp.float32)
        progress = jnp.clip((count - rise) / max(steps - rise, 1), 0.0, 1.0)
        course = {
            "cosine": lambda: 0.5 * (1.0 + jnp.cos(math.pi * progress)),
            "linear": lambda: 1.0 - progress,
            "constant": lambda: jnp.ones_like(progress),
        }[name]()
        return jnp.where(count < rise, (count + 1.0) / max(rise, 1), course)

    return schedule


def layer_multipliers(
    labels: Labels,
    stages: Sequence[str],
    stage_of: Callable[[str], str | None],
    decay: float,
) -> dict[str, float]:
    """Layer-wise decay: each stage learns at `decay` times its successor's rate.

    Stages without leaves, as a pooling, do not count, and a leaf outside every stage keeps the full
    rate (arXiv 2106.08254, section A, counts depth the same way).

    Raises:
      ConfigError: if the model has no stages, or none that holds a leaf, or the decay is not in
        (0, 1].

    >>> layer_multipliers({"a/w": "body", "b/w": "body"}, ("a", "b"), lambda path: path[0], 0.5)
    {'a/w': 0.5, 'b/w': 1.0}
    """
    if not stages:
        raise ConfigError("layer-wise decay needs a model with stages; this one has none")
    if not 0.0 < decay <= 1.0:
        raise ConfigError(f"layer-wise decay {decay} must be above 0, and at most 1")
    held = {stage_of(path) for path in labels}
    counted = [stage for stage in stages if stage in held]
    if not counted:
        raise ConfigError(f"no leaf lies in a stage ({', '.join(stages)}) for layer-wise decay")
    depth = {stage: index for index, stage in enumerate(counted)}
    top = len(counted) - 1
    return {path: decay ** (top - depth.get(stage_of(path) or "", top)) for path in labels}
