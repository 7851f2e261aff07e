"""How much of a rung to examine: corruptions, severities, examples and sets of outliers."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.data import corruptions
from jaxtransfer.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extent:
    """How much to examine.

    Attributes:
      kinds: corruptions; empty means all of the input's kind.
      severities: of 1 to 5.
      examples: of the test split, the first so many in the split's order, that are corrupted.
      outliers: name to (near or far, data as a config's `data`), whose examples are no class's.
      seed: of corruptions and bootstrap.
    """

    kinds: tuple[str, ...] = ()
    severities: tuple[int, ...] = (1, 3, 5)
    examples: int = 200
    outliers: Mapping[str, tuple[str, Mapping[str, Any]]] = dataclasses.field(default_factory=dict)
    seed: int = 0


def extent_of(
    *,
    kinds: str | None,
    severities: str,
    examples: int,
    outliers: Sequence[tuple[str, str, Mapping[str, Any]]],
    seed: int,
) -> Extent:
    """An extent from the words of a command.

    Raises:
      ConfigError: if a severity or a number is out of range, or a name repeats.
      DataError: if a corruption is unknown, naming the nearest.
    """
    wanted = tuple(kind.strip() for kind in (kinds or "").split(",") if kind.strip())
    for kind in wanted:
        corruptions.corruption(kind)
    levels = tuple(level.strip() for level in severities.split(","))
    if not levels or len(set(levels)) != len(levels) or not set(levels) <= set("12345"):
        raise ConfigError(f"--severities {severities!r} must be some of 1 to 5, such as 1,3,5")
    if examples < 2:
        raise ConfigError(f"--examples {examples}: corrupt at least 2")
    if seed < 0:
        raise ConfigError(f"--seed {seed} must be 0 or more")
    names = [name for name, _, _ in outliers]
    if len(set(names)) != len(names):
        raise ConfigError(f"--outliers names {names}: each set needs a name of its own")
    return Extent(
        kinds=wanted,
        severities=tuple(int(level) for level in levels),
        examples=examples,
        outliers={name: (distance, data) for name, distance, data in outliers},
        seed=seed,
    )
