"""How strongly each stage would move: the norm of its gradient over that of its parameters.

Lee et al. (2023), arXiv 2210.11466, tune the stages of large relative gradient norm. The loss is
that of a probe fitted on the frozen features, so that the head is not what is learnt.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from jaxtransfer import trees
from jaxtransfer.analyse.labelled import labelled
from jaxtransfer.analyse.score import Score, undefined
from jaxtransfer.analyse.stage_features import pooled, staged_encoder
from jaxtransfer.data.examples import RandomAccess
from jaxtransfer.data.stream import Stream
from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.cross_fitting import fit_probe, standardisation
from jaxtransfer.models.model import Model
from jaxtransfer.objectives.supervised import CrossEntropy
from jaxtransfer.objectives.terms import LABELED, Context
from jaxtransfer.train import sharding
from jaxtransfer.train.compiled import SHARED, CompiledSteps, hashable
from jaxtransfer.train.predict import place_whole
from jaxtransfer.train.step import Precision, cast, cast_variables, compute_dtype
from jaxtransfer.trees import PARAMS

NAME = "relative gradient norm"
DEFINITION = (
    "norm of the gradient over norm of the parameters of the stage, of the cross-entropy of a probe"
    " fitted on the last stage's features, mean over {batches} batches of {size} (Lee et al. 2023,"
    " arXiv 2210.11466)"
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ProbeHead:
    """A linear head on features as they are.

    Attributes:
      kernel: (d, k).
      bias: (k,).
      classes: (k,) the label of each column; those without examples have none.
    """

    kernel: Float[np.ndarray, "d k"]
    bias: Float[np.ndarray, "k"]
    classes: Int[np.ndarray, "k"]


def probe_head(
    features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, "n"], *, l2: float = 1.0
) -> ProbeHead:
    """The probe of `cross_fitting.fit_probe` on standardised features, for features as they are.

    Raises:
      EvaluationError: if the arrays are malformed, fewer than two classes have examples, or the
        probe does not converge.
    """
    data = labelled(features, labels)
    if data.nothing_to_tell:
        raise EvaluationError(data.nothing_to_tell)
    mean, scale = standardisation(data.features)
    kernel, bias = fit_probe((data.features - mean) / scale, data.codes, len(data.counts), l2=l2)
    kernel = kernel / scale[:, None]
    return ProbeHead(kernel=kernel, bias=bias - mean @ kernel, classes=np.unique(labels))


def relative_gradient_norms(
    model: Model,
    examples: RandomAccess,
    head: ProbeHead,
    *,
    batch_size: int = 32,
    batches: int = 8,
    seed: int = 0,
    mesh: Mesh | None = None,
    precision: Precision = "auto",
    compiled: CompiledSteps | None = None,
) -> dict[str, Score]:
    """The relative gradient norm of each stage, by stage in depth order.

    The network runs as in evaluation: dropout is off, BatchNorm uses its running statistics. All
    batches are full and drawn without replacement within an epoch, unless there are fewer examples
    than a batch has rows; a class without a column in the head is refused.

    Args:
      model: with stages; a linear head of its own is left out.
      examples: labelled.
      head: of `probe_head`, on the features of the last stage.
      batch_size: rows of a batch.
      batches: how many, at most as many full ones as there are.
      seed: of the draw.
      mesh: where to run; see `sharding.default_mesh`.
      precision: of the computation; see `step.compute_dtype`.
      compiled: executables to share; one compiles per network and batch size, whatever the head's
        weights.

    Raises:
      AdaptationError: if the model has no stages.
      EvaluationError: if an example has a label that the head has not, or there is no batch.
    """
    encoder = staged_encoder(model)
    labels = np.asarray(examples.labels)
    strange = np.setdiff1d(labels, head.classes)
    if strange.size:
        raise EvaluationError(f"label {strange[0]} is not among the head's {head.classes.tolist()}")
    if batches < 1:
        raise EvaluationError(f"{batches} batches have no gradient; give at least 1")
    mesh = sharding.default_mesh() if mesh is None else mesh
    compiled = SHARED if compiled is None else compiled
    stream = Stream(
        examples,
        batch_size,
        seed,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    steps = min(batches, max(1, len(examples) // batch_size))
    variables = place_whole(encoder.variables, mesh)
    linear = place_whole(
        {"kernel": head.kernel.astype(np.float32), "bias": head.bias.astype(np.float32)}, mesh
    )
    rows = []
    for step in range(steps):
        batch = stream.batch(step)
        batch["label"] = np.searchsorted(head.classes, batch["label"]).astype(np.int32)
        arguments = (variables, linear, sharding.place_batch(batch, mesh, batch_size))
        function = compiled.get(
            (
                "gradient norms",
                hashable(encoder.module),
                hashable(encoder.call),
                encoder.stages,
                compute_dtype(precision),
            ),
            lambda: _make_norms(encoder, precision),
            arguments,
            out_shardings=sharding.replicated(mesh),
        )
        rows.append(np.asarray(function.call(*arguments)))
    return _scores(encoder, np.stack(rows), min(batch_size, len(examples)), steps * batch_size)


def _make_norms(encoder: Model, precision: Precision):
    """Makes the function from variables, head and batch to gradient and parameter norms (s, 2)."""
    dtype = compute_dtype(precision)
    bare = dataclasses.replace(encoder, variables={})
    entropy = CrossEntropy()

    def norms(variables, linear, batch):
        rest = {name: tree for name, tree in variables.items() if name != PARAMS}

        def loss(params):
            outputs = bare.apply(
                cast_variables({**rest, PARAMS: params}, dtype), cast(dict(batch["inputs"]), dtype)
            )
            features = pooled(outputs, stage=bare.stages[-1], model=bare.name)
            logits = features @ linear["kernel"] + linear["bias"][None]
            context = Context(
                rng=jax.random.key(0),
                step=jnp.zeros((), jnp.int32),
                trainable={PARAMS: params},
            )
            return entropy({LABELED: {"logits": logits}}, {LABELED: batch}, context)[0]

        params = variables[PARAMS]
        gradient = trees.flatten(jax.grad(loss)(params))
        leaves = trees.flatten(params)
        stage_of = {path: encoder.stage_of(path) for path in leaves}
        return jnp.stack(
            [
                jnp.stack([_norm(tree, stage_of, stage) for tree in (gradient, leaves)])
                for stage in bare.stages
            ]
        )

    return norms


def _norm(tree, stage_of, stage):
    squares = [jnp.sum(jnp.square(leaf)) for path, leaf in tree.items() if stage_of[path] == stage]
    return jnp.sqrt(sum(squares, jnp.zeros((), jnp.float32)))


def _scores(
    encoder: Model, norms: Float[np.ndarray, "b s 2"], size: int, seen: int
) -> dict[str, Score]:
    definition = DEFINITION.format(batches=len(norms), size=size)
    seen = min(seen, size * len(norms))
    owned = {encoder.stage_of(path) for path in trees.flatten(encoder.variables[PARAMS])}
    found = {}
    for index, stage in enumerate(encoder.stages):
        gradients, lengths = norms[:, index].astype(np.float64).T
        if stage not in owned:
            found[stage] = undefined(NAME, seen, definition, "the stage has no parameters")
        elif not lengths[0] > 0:
            found[stage] = undefined(NAME, seen, definition, "the stage's parameters are all 0")
        elif not np.isfinite(gradients).all():
            found[stage] = undefined(NAME, seen, definition, "its gradient is not finite")
        else:
            found[stage] = Score(
                name=NAME,
                value=float((gradients / lengths).mean()),
                n=seen,
                definition=definition,
            )
    return found
