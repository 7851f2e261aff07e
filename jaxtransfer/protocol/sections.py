"""The sections of a ladder's config as typed values, each field with its limits in its annotation.

`settings` puts them together and checks what several of them say at once.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from jaxtransfer.checking import Interval

BASELINES = ("majority_class", "nearest_mean")
ENSEMBLE = "seed_ensemble"
"""Method of the rung that averages the seeds of the incumbent; it trains nothing of its own."""
OPERATORS = (">=", ">", "<=", "<", "==", "!=")

Count = Annotated[int, Interval(1)]
CountOrNone = Annotated[int, Interval(0)]
Seed = Annotated[int, Interval(0, 2**32 - 1)]
Rate = Annotated[float, Interval(0, open_low=True)]
Weight = Annotated[float, Interval(0)]
Share = Annotated[float, Interval(0, 1, open_high=True)]
Part = Annotated[float, Interval(0, 1, open_low=True, open_high=True)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which pretrained model, and the options of its loader (`max_length`, `image_size`, `dropout`)."""

    uri: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """How many examples each split gets.

    Attributes:
      sizes: examples per split, stratified: a count, or a share in (0, 1) of all examples, rounded down;
        `validation` and `test` are needed, `calibration` is optional.
      train_per_class: labelled training examples of each class: one count for all, or the share in (0, 1) of
        each that trains.
      seed: seed of the draw.
    """

    sizes: Mapping[str, CountOrNone | Part]
    train_per_class: Count | Part
    seed: Seed = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What all trained rungs share; a rung may override each of them.

    Attributes:
      steps: optimizer steps.
      batch_size: examples per step, over all devices.
      weight_decay: decoupled weight decay of kernels.
      schedule: `cosine`, `linear` or `constant`, after the warm-up.
      warmup: share of the steps spent warming up.
      clip_norm: bound of the global norm of the trainable gradient; 0 for none.
      layer_decay: factor of the learning rate per stage downwards; 1 for none.
      group_rates: factor of the learning rate by optimizer group; a group left out takes the method's suggestion.
      statistics: `frozen` or `updated` BatchNorm statistics.
      label_smoothing: mass spread over the other classes.
      l2_sp: weight of the pull towards the pretrained values, in the last phase of a method.
      patience: evaluations without a lower negative log-likelihood on the tuning half after which
        training stops and the best one counts; 0 trains to the last step.
      evaluate_every: steps between those evaluations, which also draw the learning curves; 0 for none.
      precision: `auto`, `float32` or `bfloat16`.
    """

    steps: Count = 50
    batch_size: Count = 16
    weight_decay: Weight = 0.01
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: Share = 0.1
    clip_norm: Weight = 1.0
    layer_decay: Rate = 1.0
    group_rates: Mapping[str, Weight] = dataclasses.field(default_factory=dict)
    statistics: Literal["frozen", "updated"] = "frozen"
    label_smoothing: Share = 0.0
    l2_sp: Weight = 0.0
    patience: CountOrNone = 0
    evaluate_every: CountOrNone = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuningSettings:
    """How learning rates are chosen: by one seed, on one half of validation."""

    seed: Seed = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class RungSettings:
    """One rung: a baseline, a method with its options and grid of learning rates, or an ensemble of seeds.

    Attributes:
      method: a method's name, or `majority_class`, `nearest_mean` or `seed_ensemble`.
      options: fields of the method.
      learning_rates: the grid; empty takes the method's suggestion.
      overrides: `TrainSettings` fields that differ for this rung.
      first_phase: for methods of two phases, `learning_rate` and `steps` of the first; the grid and
        the other settings are those of the last.
      when: preconditions: name of a fact of the data or the diagnosis to (operator, value); a rung
        of which one does not hold is skipped.
      initialisation: whether training starts from the `pretrained` weights or from `random` ones; a
        random rung is a reference, and cannot be chosen.
    """

    name: str
    method: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    learning_rates: tuple[Rate, ...] = ()
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    first_phase: Mapping[str, float] = dataclasses.field(default_factory=dict)
    when: Mapping[str, tuple[str, Any]] = dataclasses.field(default_factory=dict)
    initialisation: Literal["pretrained", "random"] = "pretrained"

    @property
    def is_baseline(self) -> bool:
        """Whether the rung has nothing to train."""
        return self.method in BASELINES

    @property
    def is_ensemble(self) -> bool:
        """Whether the rung is computed from the predictions of another one's seeds."""
        return self.method == ENSEMBLE

    @property
    def is_reference(self) -> bool:
        """Whether the rung only measures what pretraining is worth."""
        return self.initialisation == "random"
