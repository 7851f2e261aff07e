"""The rungs that start from random weights: what a ladder's pretraining is worth is measured against them.

They run at the same number of steps as the rungs that they answer to, and cannot be chosen.
"""

from collections.abc import Sequence

from jaxtransfer.errors import ConfigError
from jaxtransfer.protocol.sections import RungSettings

FROM_SCRATCH, RANDOM_FEATURES = "from_scratch", "random_features"
SCRATCH_RATE = 1e-3
"""Adam's usual rate for a network that is not pretrained."""


def default_references(rungs: Sequence[RungSettings]) -> tuple[RungSettings, RungSettings]:
    """Full training from scratch, and a linear probe on random features, each as long as its pretrained counterpart.

    Training from scratch has the overrides of the ladder's full fine-tuning, but for what presumes pretrained
    weights: no pull towards them, no layer-wise decay, no head that learns faster. Where the network has BatchNorm
    statistics they are updated (`training.statistics_of`), since those it is drawn with are of no data. The probe has all of the linear probe's settings, its grid of learning rates included.
    """
    full = next((rung for rung in rungs if rung.method == "full"), None)
    probe = next((rung for rung in rungs if rung.method == "linear_probe"), None)
    scratch = RungSettings(
        name=FROM_SCRATCH,
        method="full",
        learning_rates=(SCRATCH_RATE,),
        initialisation="random",
        options={} if full is None else full.options,
        overrides={
            **({} if full is None else full.overrides),
            "l2_sp": 0.0,
            "layer_decay": 1.0,
            "group_rates": {"head": 1.0},
        },
    )
    features = RungSettings(
        name=RANDOM_FEATURES,
        method="linear_probe",
        learning_rates=() if probe is None else probe.learning_rates,
        initialisation="random",
        options={} if probe is None else probe.options,
        overrides={} if probe is None else probe.overrides,
    )
    return scratch, features


def check_references(rungs: Sequence[RungSettings], references: Sequence[RungSettings]) -> None:
    """Finds references and rungs that cannot be told apart, or cannot be what they say.

    Raises:
      ConfigError: if none is left to climb, a reference has the name of a rung, does not start from random
        weights, or is a baseline or an ensemble.
    """
    if not rungs:
        raise ConfigError(
            f"config.rungs names {[rung.name for rung in references]} alone, which start from random weights and"
            " cannot be chosen: name a rung that can"
        )
    names = {rung.name for rung in rungs}
    for rung in references:
        if rung.name in names:
            raise ConfigError(
                f"config.rungs names {rung.name!r}, which is the name of a reference: set its"
                " initialisation='random', rename it, or set config.negative_transfer=False"
            )
        if not rung.is_reference:
            raise ConfigError(
                f"config.methods.{rung.name} is a reference: set its initialisation='random', rename it, or set"
                " config.negative_transfer=False"
            )
        if rung.is_baseline or rung.is_ensemble:
            raise ConfigError(
                f"rung {rung.name!r} ({rung.method}) trains nothing, and has no initialisation; leave it out"
            )
