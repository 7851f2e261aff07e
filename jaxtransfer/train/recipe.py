"""How to train, as one value: steps, batches, rates, and when to evaluate, stop and save."""

import dataclasses
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from jaxtransfer.adapt.adapted import Adapted
from jaxtransfer.errors import ConfigError
from jaxtransfer.optim import Group, Optimizer, layer_multipliers
from jaxtransfer.train.step import Precision, compute_dtype


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train.

    Attributes:
      steps: training steps, each on one batch of every stream.
      batch_size: examples of each stream in a step, over all devices.
      learning_rate: peak rate.
      weight_decay: decoupled, on leaves of two dimensions or more.
      schedule: 'cosine', 'linear' or 'constant'.
      warmup: fraction of the steps over which the rate rises.
      clip_norm: largest norm of the gradient over all trainables; None does not clip.
      accumulate: steps whose gradients make one change of the parameters.
      groups: optimizer group to its factors.
      layer_decay: factor on the rate from a stage to the one below it; 1 for none.
      evaluate_every: steps between evaluations; 0 evaluates after the last step alone.
      patience: evaluations without improvement after which training stops; 0 never stops early.
      keep_best: whether the best evaluation's variables are returned, and not the last step's;
        stopping early needs it.
      criterion: name of the validation metric that decides which evaluation is the best.
      higher_is_better: whether a larger criterion is better.
      checkpoint_every: steps between checkpoints; 0 saves after the last step alone.
      precision: 'auto' (bfloat16 on accelerators), 'float32' or 'bfloat16'.
      evaluation_batch_size: rows of a batch in evaluation.
      workers: processes that read batches; 0 reads in threads.
      scan: whether many steps run in one call, over examples in device memory; None does so when
        only the last stage runs, on cached activations in memory.
    """

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup: float = 0.1
    clip_norm: float | None = 1.0
    accumulate: int = 1
    groups: Mapping[str, Group] = dataclasses.field(default_factory=dict)
    layer_decay: float = 1.0
    evaluate_every: int = 0
    patience: int = 0
    keep_best: bool = True
    criterion: str = "loss"
    higher_is_better: bool = False
    checkpoint_every: int = 0
    precision: Precision = "auto"
    evaluation_batch_size: int = 64
    workers: int = 0
    scan: bool | None = None

    def __post_init__(self):
        for name in ("steps", "batch_size", "evaluation_batch_size", "accumulate"):
            self._check(name, operator.index, "a positive integer", lambda value: value >= 1)
            self._check(name, operator.index, "a 32-bit integer", lambda value: value < 2**31)
        for name in ("evaluate_every", "patience", "checkpoint_every", "workers"):
            self._check(name, operator.index, "an integer of at least 0", lambda value: value >= 0)
        clip = [] if self.clip_norm is None else ["clip_norm"]
        for name in ("learning_rate", "layer_decay", *clip):
            self._check(name, float, "positive and finite", lambda value: 0 < value < math.inf)
        self._check("weight_decay", float, "0 or more", lambda value: 0 <= value < math.inf)
        if self.patience and not self.evaluate_every:
            raise ConfigError(
                f"recipe: patience={self.patience} counts evaluations; set evaluate_every"
            )
        if self.patience and not self.keep_best:
            raise ConfigError("recipe: patience stops at the best evaluation; set keep_best")
        compute_dtype(self.precision)

    def _check(
        self, name: str, convert: Callable[[Any], Any], kind: str, fits: Callable[[Any], bool]
    ) -> None:
        value = getattr(self, name)
        try:
            is_fit = fits(convert(value))
        except (TypeError, ValueError):
            is_fit = False
        if not is_fit:
            raise ConfigError(f"recipe: {name}={value!r} must be {kind}")

    def optimizer(self, adapted: Adapted) -> Optimizer:
        """The optimizer over what trains.

        Raises:
          ConfigError: as `Optimizer` does, or if layer-wise decay is asked of a model without
            stages.
        """
        multipliers: dict[str, float] = {}
        if self.layer_decay != 1.0:
            model = adapted.model
            multipliers = layer_multipliers(
                adapted.labels, model.stages, model.stage_of, self.layer_decay
            )
        return Optimizer(
            labels=adapted.labels,
            steps=self.steps,
            groups=self.groups,
            schedule=self.schedule,
            warmup=self.warmup,
            clip_norm=self.clip_norm,
            accumulate=self.accumulate,
            multipliers=multipliers,
        )
