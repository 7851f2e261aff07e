"""Name rules turn a foreign checkpoint's names and layouts into our paths and layouts.

A family's table is data: a list of `NameRule`; this module is the only thing that interprets it.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from jaxtransfer.errors import PretrainedError, nearest


def _linear(array: np.ndarray) -> np.ndarray:
    if array.ndim != 2:
        raise ValueError(f"a linear kernel has 2 axes, not shape {array.shape}")
    return array.T


def _conv(array: np.ndarray) -> np.ndarray:
    if array.ndim != 4:
        raise ValueError(f"a 2-D convolution's kernel has 4 axes, not shape {array.shape}")
    return array.transpose(2, 3, 1, 0)


def _depthwise(array: np.ndarray) -> np.ndarray:
    if array.ndim != 4 or array.shape[1] != 1:
        raise ValueError(f"a depthwise kernel has shape (channels, 1, h, w), not {array.shape}")
    return array.transpose(2, 3, 1, 0)


TRANSFORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": _linear,
    "conv": _conv,
    "depthwise": _depthwise,
}
"""By name: `linear` (out, in) to (in, out); `conv` OIHW to HWIO; `depthwise` (C, 1, H, W) to
(H, W, 1, C)."""


@dataclasses.dataclass(frozen=True)
class NameRule:
    r"""A regular expression over whole source names, and the path its matches get.

    Attributes:
      pattern: regular expression that must match the whole name.
      replacement: path template as of `re.Match.expand` (`\1`, `\g<name>`); None drops the array on
        purpose.
      transform: change of layout, a key of `TRANSFORMS`, or None.
    """

    pattern: str
    replacement: str | None
    transform: str | None = None

    def __post_init__(self):
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise PretrainedError(
                f"name rule {self.pattern!r} is not a regular expression: {error}"
            ) from None
        if self.transform is not None and self.transform not in TRANSFORMS:
            raise PretrainedError(
                f"name rule {self.pattern!r} has the unknown transform {self.transform!r};"
                f" nearest: {nearest(self.transform, TRANSFORMS)}"
            )


def ignore(pattern: str) -> NameRule:
    """Makes the rule that drops the arrays a model does not use, such as `num_batches_tracked`."""
    return NameRule(pattern, None)


def rename(
    arrays: Mapping[str, np.ndarray], rules: Sequence[NameRule], *, source: str = "the checkpoint"
) -> dict[str, np.ndarray]:
    r"""Gives each array the path and layout of the first rule that matches its name.

    Args:
      arrays: source name to array.
      rules: tried in order; the first whole match wins.
      source: file or URI for error messages.

    Returns:
      Path to array; a changed layout is a view. Whether all of a model is there, `merge` asks.

    Raises:
      PretrainedError: if names match no rule (all are listed), if two names get one path, or if an
        array cannot take its rule's transform.

    >>> rule = NameRule(r"(\w+)\.weight", r"\1/kernel", "linear")
    >>> rename({"fc.weight": np.zeros((2, 3))}, [rule])["fc/kernel"].shape
    (3, 2)
    """
    renamed: dict[str, np.ndarray] = {}
    origins: dict[str, str] = {}
    unmatched = []
    for name, array in arrays.items():
        matches = ((rule, re.fullmatch(rule.pattern, name)) for rule in rules)
        rule, match = next(((r, m) for r, m in matches if m is not None), (None, None))
        if rule is None or match is None:
            unmatched.append(name)
            continue
        if rule.replacement is None:
            continue
        path = match.expand(rule.replacement)
        if path in origins:
            raise PretrainedError(
                f"{source}: {origins[path]!r} and {name!r} both become {path!r}"
                f" (rule {rule.pattern!r})"
            )
        origins[path] = name
        try:
            renamed[path] = TRANSFORMS[rule.transform](array) if rule.transform else array
        except ValueError as error:
            raise PretrainedError(
                f"{source}: {name!r} cannot become {path!r} by {rule.transform!r}: {error}"
            ) from None
    if unmatched:
        raise PretrainedError(
            f"{source}: {len(unmatched)} of {len(arrays)} names match no name rule, so this is"
            f" another architecture, or they need an ignore rule: {shown(unmatched)}"
        )
    return renamed


def shown(items: Sequence[str], limit: int = 12) -> str:
    """Lists items quoted, with the number of those left out.

    >>> shown(["a", "b", "c"], limit=2)
    "'a', 'b' and 1 more"
    """
    text = ", ".join(repr(item) for item in items[:limit])
    return text if len(items) <= limit else f"{text} and {len(items) - limit} more"
