"""What a run's steps read: the examples, or their activations above the stages that nothing moves.

Both choices made here change how fast a run is, and not where it ends.
"""

from collections.abc import Mapping

import numpy as np

from jaxtransfer.adapt.adapted import Adapted
from jaxtransfer.data.examples import ArrayExamples, RandomAccess
from jaxtransfer.data.stream import Augment
from jaxtransfer.errors import ConfigError
from jaxtransfer.train.cache import ActivationCache
from jaxtransfer.train.compiled import CompiledSteps
from jaxtransfer.train.recipe import Recipe


def above_prefix(
    adapted: Adapted,
    streams: dict[str, RandomAccess],
    augment: Mapping[str, Augment],
    recipe: Recipe,
    cache: ActivationCache,
    compiled: CompiledSteps,
) -> tuple[dict[str, RandomAccess], int]:
    """Replaces examples by their cached activations where that is possible and pays.

    It is not possible without a frozen prefix, for examples that are augmented, or for activations
    that the cache cannot hold.

    Returns:
      The streams, and the first stage that is run on them: 0 if they are the examples themselves.
    """
    boundary = adapted.frozen_prefix
    if not boundary or any(name in augment for name in streams):
        return streams, 0
    seen = recipe.steps * recipe.batch_size
    if any(len(examples) > seen for examples in streams.values()):
        return streams, 0  # computing every example once would cost more than the steps themselves
    found: dict[str, RandomAccess] = {}
    for name, examples in streams.items():
        activations = cache.examples(
            adapted,
            adapted.variables,
            examples,
            boundary,
            precision=recipe.precision,
            batch_size=recipe.evaluation_batch_size,
            compiled=compiled,
        )
        if activations is None:
            return streams, 0
        found[name] = activations
    return found, boundary


def takes_scan(
    adapted: Adapted,
    recipe: Recipe,
    streams: Mapping[str, RandomAccess],
    start: int,
    augment: Mapping[str, Augment],
) -> bool:
    """Whether many steps run in one call, over examples in device memory.

    Unless the recipe says, they do when only the last stage runs, on cached activations that are in
    memory; those that are mapped were too many for it.

    Raises:
      ConfigError: if the recipe asks for it, and examples are augmented.
    """
    if recipe.scan is None:
        is_mapped = any(
            isinstance(array, np.memmap)
            for examples in streams.values()
            if isinstance(examples, ArrayExamples)
            for array in examples.arrays.values()
        )
        return start > 0 and start >= len(adapted.model.stages) - 1 and not is_mapped
    if recipe.scan and augment:
        raise ConfigError(
            "recipe: scan=True takes examples as they are; leave out the augmentation"
        )
    return recipe.scan
