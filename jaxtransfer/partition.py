"""Labels every leaf of a variables tree, and splits the tree by label so that only what trains is differentiated.

A label is `frozen`, `statistic` (updated by the forward pass, as BatchNorm's running mean) or an optimizer group's name.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxtransfer import trees
from jaxtransfer.errors import RuleError
from jaxtransfer.trees import PARAMS, Rule, Tree

FROZEN = "frozen"
STATISTIC = "statistic"
DELTA = "delta"

Labels = Mapping[str, str]
"""Path (as `trees.flatten_variables` names it) to label."""


def label(variables: Tree, rules: Sequence[Rule]) -> dict[str, str]:
    """Labels every leaf of the variables by the first rule that matches its path.

    Raises:
      RuleError: as `trees.apply_rules`; also if a leaf outside `params` and `delta` is given to an optimizer group,
        or one inside them is called a statistic.
    """
    labels = trees.apply_rules(rules, trees.flatten_variables(variables))
    statistics = tuple(f"{name}/" for name in variables if name not in (PARAMS, DELTA))
    for path, value in labels.items():
        is_state = path.startswith(statistics) if statistics else False
        if is_state and value not in (FROZEN, STATISTIC):
            raise RuleError(
                f"{path!r} is not a parameter: label it 'frozen' or 'statistic', not {value!r}"
            )
        if not is_state and value == STATISTIC:
            raise RuleError(
                f"{path!r} is a parameter: label it 'frozen' or with an optimizer group"
            )
    return labels


def is_trainable(value: str) -> bool:
    """Whether a label names an optimizer group."""
    return value not in (FROZEN, STATISTIC)


def select(variables: Tree, labels: Labels, keep: Callable[[str], bool]) -> dict[str, Any]:
    """The variables whose label satisfies `keep`; empty modules and collections vanish."""
    flat = trees.flatten_variables(variables)
    chosen = {path: leaf for path, leaf in flat.items() if keep(labels[path])}
    return trees.unflatten_variables(chosen, variables)


def split(variables: Tree, labels: Labels) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits variables into the trainable ones and the rest; `join` puts them together again."""
    return (
        select(variables, labels, is_trainable),
        select(variables, labels, lambda value: not is_trainable(value)),
    )


def join(*parts: Tree) -> dict[str, Any]:
    """Joins disjoint variables trees into one.

    Raises:
      RuleError: if two parts hold the same leaf.
    """
    joined: dict[str, Any] = {}
    for part in parts:
        _merge(joined, part, "")
    return joined


def _merge(into: dict[str, Any], tree: Tree, prefix: str) -> None:
    for key, node in tree.items():
        if not isinstance(node, Mapping):
            if key in into:
                raise RuleError(f"two parts hold the leaf '{prefix}{key}'")
            into[key] = node
            continue
        child = into.setdefault(key, {})
        if not isinstance(child, dict):
            raise RuleError(f"two parts hold the leaf '{prefix}{key}'")
        _merge(child, node, f"{prefix}{key}/")
