"""What the cells of a ladder share, so that none of them computes anew what another one has."""

import dataclasses

from jaxtransfer.protocol.problem import Problem
from jaxtransfer.train.cache import ActivationCache
from jaxtransfer.train.compiled import CompiledSteps


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Workbench:
    """What the cells of a ladder share: compiled steps and the activations of frozen stages."""

    problem: Problem
    compiled: CompiledSteps
    cache: ActivationCache
