"""A network as a value: a Linen module, its variables, its stages and how it is called.

Everything above this layer sees networks through `Model` alone, whether they come from the zoo or
are a user's own.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import FlaxError
from jax import ShapeDtypeStruct
from jaxtyping import Array, Float

from jaxtransfer.errors import AdaptationError
from jaxtransfer.partition import DELTA
from jaxtransfer.trees import PARAMS

Inputs = Mapping[str, Array]
"""Text: `input_ids` and `attention_mask` `(B, T)` int32; images: `image` `(B, H, W, C)` float32,
normalised."""
Outputs = dict[str, Array]
"""`features` `(B, D)` of an encoder, `logits` `(B, K)` beside them when there is a head."""
Call = Callable[..., Outputs]
"""`call(bound_module, inputs, *, train, start, stop)` gives outputs, or the activations at stage
`stop`."""

ENCODER = "encoder"
HEAD = "head"


def staged_call(
    module: nn.Module, inputs: Inputs, *, train: bool, start: int, stop: int | None
) -> Outputs:
    """Calls a module that takes the stages to run as arguments."""
    return module(inputs, train=train, start=start, stop=stop)


@dataclasses.dataclass(frozen=True)
class PlainCall:
    """Calls a module that knows no stages, with `inputs["inputs"]`.

    Attributes:
      flag: the module's argument that says whether it trains, or None if it has none.
      inverted: whether the flag is true when the module does *not* train.
      output: what a bare array that the module returns is called.
    """

    flag: str | None = None
    inverted: bool = False
    output: str = "logits"

    def __call__(
        self, module: nn.Module, inputs: Inputs, *, train: bool, start: int, stop: int | None
    ) -> Outputs:
        """Runs the whole module; there is nothing to start or stop at."""
        del start, stop
        flags = {} if self.flag is None else {self.flag: train is not self.inverted}
        outputs = module(inputs["inputs"], **flags)
        return dict(outputs) if isinstance(outputs, Mapping) else {self.output: outputs}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A network with its variables.

    Attributes:
      name: what it is called in tables and messages.
      module: the Linen module, unbound.
      variables: nested dicts `{"params": ..., "batch_stats": ...}` of arrays, or of
        `ShapeDtypeStruct`s.
      example: abstract inputs, for traces that compute nothing.
      stages: depth order; a stage is the path prefix of what it holds (inside `encoder` if there
        is a head). Empty for a network that can only be run whole.
      call: how the module is called.
      features: width of the outputs' `features`, or None if it is not known.
      preprocess: from a batch of raw inputs (documents, images) to the module's inputs.
      source: the URI that the variables came from.
    """

    name: str
    module: nn.Module
    variables: dict[str, Any]
    example: Mapping[str, ShapeDtypeStruct]
    stages: tuple[str, ...] = ()
    call: Call = staged_call
    features: int | None = None
    preprocess: Any = None
    source: str = ""

    def apply(
        self,
        variables: Mapping[str, Any],
        inputs: Inputs,
        *,
        train: bool = False,
        start: int = 0,
        stop: int | None = None,
        rngs: Mapping[str, Array] | None = None,
        mutable: Any = False,
    ) -> Any:
        """Runs stages `start` to `stop` (exclusive; None for all).

        Args:
          variables: as `self.variables`, with further collections if an interceptor reads them.
          inputs: the network's inputs if `start` is 0, otherwise what a run with `stop=start`
            returned.
          train: whether dropout drops and BatchNorm uses its batch.
          start: first stage to run.
          stop: the stage to stop before.
          rngs: keys by name (`dropout`).
          mutable: collections that may change, as for `nn.Module.apply`.

        Returns:
          The outputs, or the activations before stage `stop`; a pair with the changed collections
          if `mutable`.

        Raises:
          AdaptationError: if the stages asked for do not exist.
        """
        last = len(self.stages) if self.stages else 0
        end = last if stop is None else stop
        if not 0 <= start <= end <= last:
            known = ", ".join(self.stages) or "none: it can only be run whole"
            raise AdaptationError(
                f"model {self.name!r} cannot run stages {start} to {stop}; its stages are {known}"
            )

        def forward(module: nn.Module) -> Outputs:
            return self.call(module, inputs, train=train, start=start, stop=stop)

        return nn.apply(forward, self.module, mutable=mutable)(variables, rngs=rngs)

    def stage_of(self, path: str) -> str | None:
        """The stage that holds a leaf or module, by its path; None if it lies in no stage.

        Paths of collections other than `params` start with the collection
        (`batch_stats/stem/norm/mean`).
        """
        collection, _, rest = path.partition("/")
        if collection == DELTA or (collection != PARAMS and collection in self.variables):
            path = rest
        inner = path
        if isinstance(self.module, Predictor) and path.startswith(f"{ENCODER}/"):
            inner = path.removeprefix(f"{ENCODER}/")
        for candidate in (path, inner):
            for stage in self.stages:
                if f"{candidate}/".startswith(f"{stage}/"):
                    return stage
        return None


class Predictor(nn.Module):
    """An encoder with a linear head on its `features`.

    Attributes:
      encoder: gives `features` `(B, D)`.
      classes: width of the logits.
      encoder_call: how the encoder is called.
      encoder_stages: number of stages of the encoder, 1 if it can only be run whole.
      dropout: rate on the features, when training.
    """

    encoder: nn.Module
    classes: int
    encoder_call: Call = staged_call
    encoder_stages: int = 1
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, inputs: Inputs, *, train: bool = False, start: int = 0, stop: int | None = None
    ) -> Outputs:
        """Gives `features` `(B, D)` and `logits` `(B, classes)`, or activations before `stop`."""
        depth = self.encoder_stages
        end = depth + 1 if stop is None else stop
        outputs = dict(inputs)
        if start < min(end, depth):
            inner = None if end >= depth else end
            outputs = self.encoder_call(self.encoder, inputs, train=train, start=start, stop=inner)
            if inner is not None:
                return outputs
            outputs = {"features": outputs["features"]}
        if end <= depth:
            return outputs
        features = outputs["features"]
        dropped = nn.Dropout(self.dropout, name="head_dropout")(features, deterministic=not train)
        return {"features": features, "logits": nn.Dense(self.classes, name=HEAD)(dropped)}


def from_module(
    module: nn.Module,
    variables: Mapping[str, Any],
    example: Any,
    *,
    name: str,
    call: Call | None = None,
    stages: tuple[str, ...] = (),
    output: Literal["logits", "features"] = "logits",
) -> Model:
    """Makes a model of any Linen module with its variables.

    Without `call`, a module without stages is called with `inputs["inputs"]` and, if it has an
    argument `train`, `training`, `is_training`, `deterministic` or `use_running_average`, with
    that; one with stages is called as `module(inputs, train=..., start=..., stop=...)`.

    Args:
      module: unbound.
      variables: what `module.init` returned, or trained ones.
      example: an input array, or a mapping of them, or their shapes; nothing is computed on it.
      name: what to call the model.
      call: how to call the module, if not as above; returns `logits` or `features`, or both.
      stages: the path prefixes of its stages in depth order, if it can be run from stage to stage.
      output: what the array is that the module returns; `with_head` needs `features`.

    Raises:
      AdaptationError: if the variables have no `params`, the example is no array, the module does
        not run on it, or returns neither logits nor features.
    """
    if call is None:
        call = staged_call if stages else _plain_call(module, output)
    inputs = example if isinstance(example, Mapping) else {"inputs": example}
    wrong = [key for key, x in inputs.items() if not (hasattr(x, "shape") and hasattr(x, "dtype"))]
    if wrong:
        raise AdaptationError(
            f"model {name!r}: example {wrong} must be arrays, or jax.ShapeDtypeStruct of them"
        )
    if isinstance(call, PlainCall) and "inputs" not in inputs:
        raise AdaptationError(
            f"model {name!r}: its example has no 'inputs', with which the module is called; name it"
            " so, or give call="
        )
    if PARAMS not in variables:
        raise AdaptationError(
            f"model {name!r} has collections {sorted(variables)} and no {PARAMS!r}; give all that"
            " module.init returned, {'params': ..., ...}"
        )
    shapes = {key: ShapeDtypeStruct(jnp.shape(x), x.dtype) for key, x in inputs.items()}
    model = Model(
        name=name,
        module=module,
        variables=_plain_dict(variables),
        example=shapes,
        stages=stages,
        call=call,
    )
    try:
        outputs = abstract_outputs(model)
    except (FlaxError, TypeError, ValueError) as error:
        raise AdaptationError(f"model {name!r} does not run on its example: {error}") from error
    if not {"logits", "features"} & set(outputs):
        raise AdaptationError(
            f"model {name!r} returns {sorted(outputs)}; its call must return 'logits' or 'features'"
        )
    features = outputs["features"].shape[-1] if "features" in outputs else None
    return dataclasses.replace(model, features=features)


def _plain_call(module: nn.Module, output: str) -> PlainCall:
    arguments = inspect.signature(type(module).__call__).parameters
    for flag in ("train", "training", "is_training"):
        if flag in arguments:
            return PlainCall(flag=flag, output=output)
    for flag in ("deterministic", "use_running_average"):
        if flag in arguments:
            return PlainCall(flag=flag, inverted=True, output=output)
    return PlainCall(output=output)


def _plain_dict(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _plain_dict(node) for key, node in tree.items()}
    return tree


def abstract_outputs(model: Model, *, stop: int | None = None) -> dict[str, ShapeDtypeStruct]:
    """The shapes of a model's outputs (or of its activations before `stop`) on its example."""

    def run(variables: Mapping[str, Any], inputs: Inputs) -> Outputs:
        return model.apply(variables, inputs, stop=stop)

    return jax.eval_shape(run, model.variables, dict(model.example))


def with_head(
    model: Model,
    classes: int,
    *,
    rng: Array,
    kernel_init: Literal["zeros", "lecun_normal"] = "lecun_normal",
    dropout: float = 0.0,
) -> Model:
    """Puts a fresh linear head on a model's features; a head it already has is replaced.

    The encoder's leaves are those of `model`, under `encoder/`; the head's are `head/kernel` `(D,
    classes)` and `head/bias` `(classes,)`. The stages are the encoder's and `head`; an encoder
    without stages counts as one.

    Raises:
      AdaptationError: if the model gives no features, or several vectors an example, if `classes`
        is not positive, or `kernel_init` is unknown.
    """
    initializers = {"zeros": nn.initializers.zeros, "lecun_normal": nn.initializers.lecun_normal()}
    if classes < 1:
        raise AdaptationError(f"a head of {classes} classes predicts nothing; give at least 1")
    if kernel_init not in initializers:
        raise AdaptationError(
            f"kernel_init {kernel_init!r} is unknown; there are {sorted(initializers)}"
        )
    if isinstance(model.module, Predictor):
        model = without_head(model)
    outputs = abstract_outputs(model)
    if "features" not in outputs:
        raise AdaptationError(
            f"model {model.name!r} gives {sorted(outputs)} and no 'features' to put a head on;"
            " make it with from_module(..., output='features') or a call that returns them"
        )
    if len(outputs["features"].shape) != 2:
        raise AdaptationError(
            f"model {model.name!r} gives features of shape {outputs['features'].shape}; a head takes"
            " one vector an example, (batch, width): pool them first"
        )
    width = outputs["features"].shape[-1]

    def init(key: Array) -> dict[str, Float[Array, "..."]]:
        return {
            "kernel": initializers[kernel_init](key, (width, classes), jnp.float32),
            "bias": jnp.zeros((classes,), jnp.float32),
        }

    leaves = jax.tree.leaves(model.variables)
    abstract = any(isinstance(leaf, ShapeDtypeStruct) for leaf in leaves)
    head = jax.eval_shape(init, rng) if abstract else init(rng)
    variables = {name: {ENCODER: tree} for name, tree in model.variables.items() if tree}
    variables[PARAMS] = {**variables.get(PARAMS, {}), HEAD: head}
    return dataclasses.replace(
        model,
        module=Predictor(
            encoder=model.module,
            classes=classes,
            encoder_call=model.call,
            encoder_stages=len(model.stages) or 1,
            dropout=dropout,
        ),
        variables=variables,
        stages=(*(model.stages or (ENCODER,)), HEAD),
        call=staged_call,
        features=width,
    )


def without_head(model: Model) -> Model:
    """The encoder of a model that `with_head` made."""
    if not isinstance(model.module, Predictor):
        raise AdaptationError(f"model {model.name!r} has no head to take off")
    stages = model.stages[:-1]
    return dataclasses.replace(
        model,
        module=model.module.encoder,
        variables={
            name: tree[ENCODER] for name, tree in model.variables.items() if ENCODER in tree
        },
        stages=() if stages == (ENCODER,) else stages,
        call=model.module.encoder_call,
    )
