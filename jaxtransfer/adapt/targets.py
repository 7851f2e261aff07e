"""Chooses the parameters that a low-rank delta acts on, by ordered rules over paths.

A rule that chooses nothing is an error: a target list that matches only in part must not pass.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtransfer import trees
from jaxtransfer.adapt.linear import LINEAR, MatrixView, has_factored_form, matrix_view
from jaxtransfer.adapt.method import matched_paths, parameter_paths
from jaxtransfer.adapt.modules import ModuleInfo, module_index, parameter_path
from jaxtransfer.adapt.reads import unread_leaves
from jaxtransfer.errors import AdaptationError, nearest
from jaxtransfer.models.model import Model
from jaxtransfer.trees import PARAMS, Rule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """A parameter that gets a low-rank delta.

    Attributes:
      module: path of the module that owns it.
      parameter: its name there.
      type: the module's class.
      view: how it is a matrix, as the module sees it.
      lead: lengths of the axes over which a lifted transformation stacks it.
      rank: of the delta.
      factored: whether the delta acts on the module's output; through the weights otherwise.
    """

    module: str
    parameter: str
    type: type[nn.Module]
    view: MatrixView
    lead: tuple[int, ...]
    rank: int
    factored: bool

    @property
    def path(self) -> str:
        """The parameter's path."""
        return parameter_path(self.module, self.parameter)

    @property
    def leaves(self) -> tuple[str, str]:
        """Names of the two new leaves in the module; they say through which handle they act."""
        prefix = "" if self.factored else f"{self.parameter}_"
        return f"{prefix}lora_a", f"{prefix}lora_b"

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of the two new leaves."""
        outer = (*self.lead, *self.view.batch_shape)
        return (*outer, self.view.fan_in, self.rank), (*outer, self.rank, self.view.fan_out)


def choose_targets(
    model: Model, rules: Sequence[str | Rule] | None, *, head: str | None, rank: int
) -> tuple[Target, ...]:
    """The matrices that the rules choose; neither biases nor the head are ever chosen.

    Args:
      model: the network.
      rules: regular expressions over whole paths of modules or of parameters, first match wins. A
        `Rule`'s value is a rank, True for the default one, or False for "not this". None chooses
        the kernels of all linear layers (Dense, DenseGeneral, Einsum, and what derives from them);
        of a network that has none, those of its 1x1 convolutions, which are linear maps of channels.
      head: pattern of the parameters that are trained in full.
      rank: the default.

    Raises:
      AdaptationError: if a rule that is not optional chooses nothing, all rules together choose
        nothing, or there are no linear layers.
    """
    in_head = matched_paths(parameter_paths(model), head)
    candidates = [
        (info, name)
        for info in module_index(model).values()
        for name, shape in info.params.items()
        # DenseGeneral and Einsum have biases of several axes, which are no matrices.
        if len(shape) >= 2 and name != "bias" and parameter_path(info.path, name) not in in_head
    ]
    if rules is None:
        linear = [i for i, (info, _) in enumerate(candidates) if issubclass(info.type, LINEAR)]
        pointwise = [i for i, candidate in enumerate(candidates) if _is_pointwise(*candidate)]
        chosen = dict.fromkeys(linear or pointwise, rank)
        if not chosen:
            kinds = sorted({info.type.__name__ for info, _ in candidates})
            raise AdaptationError(
                f"model {model.name!r} has no linear layers and no 1x1 convolutions outside the head;"
                f" give targets, patterns of paths as `inspect` shows them (modules with matrices:"
                f" {', '.join(kinds) or 'none'})"
            )
    else:
        chosen = _apply(rules, candidates, in_head, rank, model)
        if not chosen:
            shown = [rule.pattern if isinstance(rule, Rule) else rule for rule in rules]
            raise AdaptationError(
                f"targets {shown} leave nothing of model {model.name!r} to adapt; give the pattern"
                " of a matrix, or None for all linear layers"
            )
    targets = [_target(model, *candidates[i], chosen[i]) for i in sorted(chosen)]
    for target in targets:
        if target.rank > min(target.view.fan_in, target.view.fan_out):
            raise AdaptationError(
                f"rank {target.rank} is more than {target.path!r} has: it is"
                f" {target.view.fan_in} by {target.view.fan_out}; give it a lower one by a rule in"
                " targets"
            )
    shared = _read_elsewhere(model, targets)
    return tuple(
        dataclasses.replace(target, factored=target.factored and target.path not in shared)
        for target in targets
    )


def _is_pointwise(info: ModuleInfo, name: str) -> bool:
    is_plain = info.type is nn.Conv and info.attributes["feature_group_count"] == 1
    return is_plain and name == "kernel" and set(info.params[name][:-2]) == {1}


def _apply(
    rules: Sequence[str | Rule],
    candidates: Sequence[tuple[ModuleInfo, str]],
    in_head: set[str],
    default: int,
    model: Model,
) -> dict[int, int]:
    ordered = [rule if isinstance(rule, Rule) else Rule(rule, True) for rule in rules]
    winners: dict[int, int] = {}
    for i, (info, name) in enumerate(candidates):
        path = parameter_path(info.path, name)
        for number, rule in enumerate(ordered):
            if rule.matches(info.path) or rule.matches(path):
                winners[i] = number
                break
    for number, rule in enumerate(ordered):
        if number in winners.values() or rule.optional:
            continue
        known = [path for info, name in candidates for path in _names(info, name)]
        if any(rule.matches(path) for path in known):
            reason = "chooses nothing that earlier targets leave"
        elif any(rule.matches(p) or rule.matches(p.rpartition("/")[0]) for p in in_head):
            reason = "matches the head alone, which is trained in full; give head=None to adapt it"
        else:
            reason = f"matched no matrix; nearest: {nearest(rule.pattern, known)}"
        raise AdaptationError(f"target {rule.pattern!r} on model {model.name!r} {reason}")
    ranks = {i: ordered[number].value for i, number in winners.items()}
    for i, value in ranks.items():
        if value is not True and not (isinstance(value, int) and value >= 0):
            pattern = ordered[winners[i]].pattern
            raise AdaptationError(
                f"target {pattern!r} has value {value!r}; give a rank, True or False"
            )
    return {i: default if v is True else int(v) for i, v in ranks.items() if v}


def _names(info: ModuleInfo, name: str) -> tuple[str, str]:
    return info.path, parameter_path(info.path, name)


def _target(model: Model, info: ModuleInfo, name: str, rank: int) -> Target:
    path = parameter_path(info.path, name)
    stored = tuple(trees.flatten(model.variables[PARAMS])[path].shape)
    seen = info.params[name]
    lead = stored[: len(stored) - len(seen)]
    if (*lead, *seen) != stored:
        raise AdaptationError(
            f"{path!r} is stored as {stored} and used as {seen}: only stacking along the first"
            " axis (variable_axes={'params': 0}) is supported"
        )
    return Target(
        module=info.path,
        parameter=name,
        type=info.type,
        view=matrix_view(info, name),
        lead=lead,
        rank=rank,
        factored=has_factored_form(info, name),
    )


def _read_elsewhere(model: Model, targets: Sequence[Target]) -> set[str]:
    """Matrices that the network also reads past their module's methods (as in tied decoders)."""
    owners = {t.module: t for t in targets if t.factored}
    if not owners:
        return set()

    def silence(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
        result = next_fun(*args, **kwargs)
        owner = owners.get("/".join(context.module.path))
        is_use = owner is not None and type(context.module) is owner.type
        if is_use and context.method_name in ("__call__", "attend"):
            return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), result)
        return result

    def run(params: Any, rest: Any, inputs: Any) -> Any:
        with nn.intercept_methods(silence):
            return model.apply({**rest, PARAMS: params}, inputs)

    rest = {name: tree for name, tree in model.variables.items() if name != PARAMS}
    unread = unread_leaves(run, model.variables[PARAMS], rest, dict(model.example))
    return {target.path for target in owners.values()} - set(unread)
