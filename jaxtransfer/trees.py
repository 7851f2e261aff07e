"""Paths name the leaves of a variables tree, and ordered rules over paths decide things about them.

Every decision about parameters (frozen or trained, optimizer group, sharding, rank) is a list of rules applied here.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxtransfer.errors import RuleError, nearest

Tree = Mapping[str, Any]
PARAMS = "params"


@dataclasses.dataclass(frozen=True)
class Rule:
    """A regular expression over whole paths, and the value its matches get.

    Attributes:
      pattern: regular expression that must match the whole path.
      value: what a matching leaf gets.
      optional: whether the rule may win no leaf at all.
    """

    pattern: str
    value: Any
    optional: bool = False

    def __post_init__(self):
        try:
            re.compile(self.pattern)
        except (re.error, TypeError) as error:
            raise RuleError(f"rule {self.pattern!r} is not a regular expression: {error}") from None

    def matches(self, path: str) -> bool:
        """Whether the pattern matches the whole path."""
        return re.fullmatch(self.pattern, path) is not None


def segment(key: str) -> str:
    """A key as one segment of a path: Linen's WeightNorm, for one, has slashes in its parameters' names.

    >>> segment("Dense_0/kernel/scale")
    'Dense_0%2Fkernel%2Fscale'
    """
    return key.replace("%", "%25").replace("/", "%2F")


def _key(part: str) -> str:
    return part.replace("%2F", "/").replace("%25", "%")


def flatten(tree: Tree) -> dict[str, Any]:
    """Maps each leaf's path to the leaf, depth first in the tree's own order; empty subtrees vanish.

    A slash in a key is `%2F` in the path, so that a path says where its keys end.

    >>> flatten({"head": {"kernel": 1, "bias": 2}})
    {'head/kernel': 1, 'head/bias': 2}
    """
    flat: dict[str, Any] = {}

    def visit(node: Any, prefix: str) -> None:
        if isinstance(node, Mapping):
            for key, child in node.items():
                part = segment(str(key))
                visit(child, f"{prefix}/{part}" if prefix else part)
        else:
            flat[prefix] = node

    visit(tree, "")
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Inverse of `flatten`, up to empty subtrees.

    >>> unflatten({"head/kernel": 1})
    {'head': {'kernel': 1}}
    """
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, name = map(_key, path.split("/"))
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def flatten_variables(variables: Tree) -> dict[str, Any]:
    """Flattens Linen variables; a leaf of `params` has no prefix, one of another collection has the collection's name.

    >>> flatten_variables({"params": {"bn": {"scale": 1}}, "batch_stats": {"bn": {"mean": 2}}})
    {'bn/scale': 1, 'batch_stats/bn/mean': 2}

    Raises:
      RuleError: if a top-level module is named like a collection, which would make paths ambiguous.
    """
    others = {name: tree for name, tree in variables.items() if name != PARAMS}
    clash = sorted(set(others) & set(variables.get(PARAMS, {})))
    if clash:
        raise RuleError(f"modules {clash} are named like variable collections; rename the modules")
    return flatten({**variables.get(PARAMS, {}), **others})


def flatten_any(tree: Tree) -> dict[str, Any]:
    """The paths of Linen variables, of a nested tree, or of a map that is flat already.

    >>> flatten_any({"params": {"a": {"b": 1}}}) == flatten_any({"a": {"b": 1}}) == flatten_any({"a/b": 1})
    True
    """
    if isinstance(tree.get(PARAMS), Mapping):
        return flatten_variables(tree)
    is_nested = any(isinstance(child, Mapping) for child in tree.values())
    return flatten(tree) if is_nested else dict(tree)


def unflatten_variables(flat: Mapping[str, Any], collections: Iterable[str]) -> dict[str, Any]:
    """Inverse of `flatten_variables`, given the names of the collections other than `params`."""
    others = set(collections) - {PARAMS}
    tree = unflatten(flat)
    variables = {name: tree.pop(name) for name in list(tree) if name in others}
    return {PARAMS: tree, **variables} if tree else variables


def apply_rules(rules: Sequence[Rule], paths: Iterable[str]) -> dict[str, Any]:
    """Gives each path the value of the first rule that matches it.

    Raises:
      RuleError: if a path is covered by no rule, or if a rule that is not optional wins no path.

    >>> apply_rules([Rule("head/.*", "trained"), Rule(".*", "frozen")], ["head/bias", "body/bias"])
    {'head/bias': 'trained', 'body/bias': 'frozen'}
    """
    winners = winning_rules(rules, paths)
    return {path: rules[index].value for path, index in winners.items()}


def winning_rules(rules: Sequence[Rule], paths: Iterable[str]) -> dict[str, int]:
    """Gives each path the index of the first rule that matches it; raises as `apply_rules` does."""
    paths = list(paths)
    winners: dict[str, int] = {}
    for path in paths:
        index = next((i for i, rule in enumerate(rules) if rule.matches(path)), None)
        if index is None:
            raise RuleError(
                f"no rule covers {path!r}; add one for it, or a last rule '.*'"
                f" (rules: {[rule.pattern for rule in rules]})"
            )
        winners[path] = index
    won = set(winners.values())
    for index, rule in enumerate(rules):
        if rule.optional or index in won:
            continue
        shadows = [path for path in paths if rule.matches(path)]
        if shadows:
            first = winners[shadows[0]]
            raise RuleError(
                f"rule {index} {rule.pattern!r} wins no parameter: all {len(shadows)} it matches are taken by"
                f" earlier rules (rule {first} {rules[first].pattern!r} takes {shadows[0]!r});"
                " reorder the rules or mark it optional"
            )
        raise RuleError(
            f"rule {index} {rule.pattern!r} matched no parameter; nearest: {nearest(rule.pattern, paths)}"
        )
    return winners
