"""A model with a method on it: variables, labels and the one function that runs them.

Interception is entered inside `Adapted.apply` and nowhere else, so that a jitted or differentiated
apply always has it.
"""

import contextlib
import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
from flax.errors import ModifyScopeVariableError
from jaxtyping import Array

from jaxtransfer import partition, trees
from jaxtransfer.adapt.freezing import statistics_rules
from jaxtransfer.adapt.method import Method
from jaxtransfer.adapt.reads import unread_leaves
from jaxtransfer.errors import AdaptationError
from jaxtransfer.models.model import Inputs, Model, Outputs
from jaxtransfer.partition import DELTA, FROZEN, STATISTIC
from jaxtransfer.trees import PARAMS, Rule

BATCH_STATS = "batch_stats"
Statistics = Literal["frozen", "updated"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Adapted:
    """A model, a method of one phase, and their variables.

    Attributes:
      model: the base.
      method: what adapts it.
      variables: the base's, and `delta` if the method brings new leaves.
      labels: a label for every leaf, by path.
      statistics: whether BatchNorm's running statistics stay ('frozen'; it then normalises with
        them in training too) or follow the batches ('updated').
      rules: the rules that gave the labels, in order.
    """

    model: Model
    method: Method
    variables: dict[str, Any]
    labels: dict[str, str]
    statistics: Statistics
    rules: tuple[Rule, ...]

    @property
    def frozen_prefix(self) -> int:
        """Number of leading stages in which nothing moves; 0 if the model has no stages."""
        moving = {
            self.model.stage_of(path) for path, label in self.labels.items() if label != FROZEN
        }
        if None in moving or not self.model.stages:
            return 0
        return next(
            (depth for depth, stage in enumerate(self.model.stages) if stage in moving),
            len(self.model.stages),
        )

    def apply(
        self,
        variables: Mapping[str, Any],
        inputs: Inputs,
        *,
        train: bool = False,
        rng: Array | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> tuple[Outputs, dict[str, Any]]:
        """Runs stages `start` to `stop` with the method acting; pure, to be called under `jit`.

        Stages of the frozen prefix run as in evaluation even if `train`, so that training from
        their cached activations and training through them are the same.

        Args:
          variables: all of them, as `partition.join` of trainable, statistics and frozen ones.
          inputs: the network's inputs, or the activations before stage `start`.
          train: whether dropout drops and statistics are updated.
          rng: key for dropout; needed if `train` and some rate is not 0.
          start: first stage to run.
          stop: the stage to stop before, None for all.

        Returns:
          The outputs (activations before `stop`), and the updated statistics as a variables tree
          `{"batch_stats": ...}` with the leaves labelled 'statistic'; `{}` if they are frozen or
          not `train`.

        Raises:
          AdaptationError: if the network changes variables that must stay as they are.
        """
        boundary = self.frozen_prefix
        if train and start < boundary and (stop is None or stop > boundary):
            inputs, _ = self._run(
                variables, inputs, train=False, rng=None, start=start, stop=boundary
            )
            start = boundary
        elif stop is not None and stop <= boundary:
            train, rng = False, None
        return self._run(variables, inputs, train=train, rng=rng, start=start, stop=stop)

    def _run(
        self,
        variables: Mapping[str, Any],
        inputs: Inputs,
        *,
        train: bool,
        rng: Array | None,
        start: int,
        stop: int | None,
    ) -> tuple[Outputs, dict[str, Any]]:
        params = self.method.effective(
            variables.get(PARAMS, {}), variables.get(DELTA, {}), self.model
        )
        updates = train and self.statistics == "updated"
        with contextlib.ExitStack() as stack:
            if self.statistics == "frozen":
                stack.enter_context(nn.intercept_methods(_freeze_batch_norm))
            interceptor = self.method.interceptor(self.model, train=train)
            collections = {**variables, PARAMS: params}
            if interceptor is not None:
                stack.enter_context(nn.intercept_methods(interceptor))
            else:
                # Nothing reads it, and layers like nn.SpectralNorm transform all they are given.
                collections.pop(DELTA, None)
            try:
                result = self.model.apply(
                    collections,
                    inputs,
                    train=train,
                    start=start,
                    stop=stop,
                    rngs=None if rng is None else {"dropout": rng},
                    mutable=[BATCH_STATS] if updates else False,
                )
            except ModifyScopeVariableError as error:
                raise AdaptationError(
                    f"model {self.model.name!r} changes variables that stay as they are with"
                    f" statistics={self.statistics!r}: {error}. Of nn.BatchNorm alone the package"
                    " knows how to freeze it, and nothing outside 'batch_stats' may change; adapt"
                    " with statistics='updated', or keep the module from updating"
                ) from error
        if not updates:
            return result, {}
        outputs, changed = result
        old = trees.flatten_variables({BATCH_STATS: variables.get(BATCH_STATS, {})})
        new = {**old, **trees.flatten_variables(changed)}
        kept = {path: leaf for path, leaf in new.items() if self.labels.get(path) == STATISTIC}
        return outputs, trees.unflatten_variables(kept, [BATCH_STATS])


def _freeze_batch_norm(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
    module, flag = context.module, "use_running_average"
    is_call = isinstance(module, nn.BatchNorm) and context.method_name == "__call__"
    # The call of a class that derives from it may take another flag; the call inside it is ours.
    if not is_call or flag not in inspect.signature(context.orig_method).parameters:
        return next_fun(*args, **kwargs)
    # Linen refuses a flag given both as attribute and as argument: the attribute steps aside.
    own = module.use_running_average
    if len(args) > 1:
        args = args[:1]
    object.__setattr__(module, flag, None)
    try:
        return next_fun(*args, **{**kwargs, flag: True})
    finally:
        object.__setattr__(module, flag, own)


def adapt(
    model: Model, method: Method, *, rng: Array, statistics: Statistics = "frozen"
) -> Adapted:
    """Puts a method on a model: new leaves, labels, and the check that the network reads them.

    Args:
      model: the base; its variables may be shapes, the new leaves are arrays in either case.
      method: of one phase; adapt to each of `method.phases()` in turn otherwise.
      rng: key for the new leaves.
      statistics: see `Adapted`.

    Raises:
      AdaptationError: if the method cannot act on the model, or some new leaf would have no
        effect; the message names the leaves.
      RuleError: if a rule wins no leaf.
    """
    if not isinstance(method, Method):
        raise AdaptationError(f"method must be one such as LoRA(rank=8), not {method!r}")
    if len(method.phases()) != 1:
        raise AdaptationError(
            f"method {method.name!r} has {len(method.phases())} phases; adapt model {model.name!r}"
            " to each of method.phases() in turn, each from the variables of the last"
        )
    if DELTA in model.variables:
        raise AdaptationError(
            f"model {model.name!r} already has a collection {DELTA!r}; merge it first"
        )
    rules = (
        *statistics_rules(model, statistics),
        *method.rules(model),
        Rule(".*", FROZEN, optional=True),
    )
    delta = method.init(rng, model)
    variables = {**model.variables, **({DELTA: delta} if delta else {})}
    adapted = Adapted(
        model=model,
        method=method,
        variables=variables,
        labels=partition.label(variables, rules),
        statistics=statistics,
        rules=rules,
    )
    if not any(partition.is_trainable(label) for label in adapted.labels.values()):
        raise AdaptationError(f"method {method.name!r} trains nothing on model {model.name!r}")
    check_delta_is_read(adapted)
    return adapted


def check_delta_is_read(adapted: Adapted) -> None:
    """Raises an AdaptationError that names the delta leaves without effect on any output."""
    variables = dict(adapted.variables)
    delta = variables.pop(DELTA, None)
    if not delta:
        return

    def run(new: Any, rest: Any, inputs: Any, rng: Array) -> Any:
        return adapted.apply({**rest, DELTA: new}, inputs, train=True, rng=rng)

    key = jax.eval_shape(lambda: jax.random.key(0))
    unread = unread_leaves(run, delta, variables, dict(adapted.model.example), key)
    if unread:
        shown = ", ".join(f"'{DELTA}/{path}'" for path in unread[:8])
        more = f" and {len(unread) - 8} more" if len(unread) > 8 else ""
        raise AdaptationError(
            f"{len(unread)} of {len(trees.flatten(delta))} new leaves of method"
            f" {adapted.method.name!r} are never read by model {adapted.model.name!r}:"
            f" {shown}{more}. Their module is not called, its output is not used, or it runs under"
            " a lifted transformation that does not pass the collection: declare"
            f" variable_axes={{'params': 0, '{DELTA}': 0}} on nn.scan or nn.vmap, or"
            f" variable_broadcast=('params', '{DELTA}') where it shares the parameters (nn.RNN)"
        )


def merge(adapted: Adapted, variables: Mapping[str, Any] | None = None) -> Model:
    """Folds an adapted model's delta into its base.

    Args:
      adapted: what was trained.
      variables: its trained variables; those it was made with if left out.

    Raises:
      AdaptationError: if the method cannot be merged.
    """
    merged = adapted.method.merge(
        adapted.variables if variables is None else variables, adapted.model
    )
    return dataclasses.replace(adapted.model, variables=merged)
