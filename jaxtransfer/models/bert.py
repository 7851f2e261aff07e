"""BERT as a Linen encoder that runs stage by stage, written for speed on XLA's CPU backend.

Post-norm transformer of Devlin et al. (arXiv 1810.04805). Tokens are flattened to two dimensions
before every dense layer, which saves about 15 % of a step on a CPU and costs nothing elsewhere.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxtransfer.errors import AdaptationError, DataError
from jaxtransfer.models import site
from jaxtransfer.models.model import Inputs, Outputs
from jaxtransfer.models.site import Site

EMBEDDINGS = "embeddings"
POOL = "pool"

Pooling = Literal["mean", "cls", "max"]


@jax.custom_jvp
def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The exact Gaussian error linear unit (arXiv 1606.08415), by erf, with its derivative given.

    XLA's CPU backend is slow at the erfc of `jax.nn.gelu(approximate=False)` and at its derivative,
    and keeps more of it for the backward pass; the values differ by rounding (4e-7).
    """
    return 0.5 * x * (1.0 + jax.lax.erf(x * math.sqrt(0.5)))


@gelu.defjvp
def _gelu_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    cumulative = 0.5 * (1.0 + jax.lax.erf(x * math.sqrt(0.5)))
    density = jnp.exp(-0.5 * x * x) * (1.0 / math.sqrt(2.0 * math.pi))
    return gelu(x), (cumulative + x * density) * dx


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu,
    "gelu_new": nn.gelu,
    "relu": nn.relu,
}
"""By their names in Hugging Face configurations."""


class Embeddings(nn.Module):
    """Sum of word, position and token-type embeddings, normalised.

    Attributes:
      vocabulary: number of word pieces.
      width: D.
      positions: longest sequence there are position embeddings for.
      token_types: number of segments.
      epsilon: of the layer norm.
      dropout: rate after the norm, when training.
      dtype: of the computation; parameters are float32.
    """

    vocabulary: int
    width: int
    positions: int
    token_types: int
    epsilon: float
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(
        self,
        input_ids: Int[Array, "B T"],
        token_type_ids: Int[Array, "B T"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "B T D"]:
        """Embeds tokens.

        Raises:
          DataError: if the sequence is longer than there are positions.
        """
        length = input_ids.shape[1]
        if length > self.positions:
            raise DataError(
                f"sequences of {length} tokens do not fit a model with {self.positions} positions;"
                f" tokenize with max_length={self.positions} or less"
            )
        if token_type_ids is None:
            token_type_ids = jnp.zeros((1, 1), jnp.int32)
        x = nn.Embed(self.vocabulary, self.width, dtype=self.dtype, name="word")(input_ids)
        x = x + nn.Embed(self.positions, self.width, dtype=self.dtype, name="position")(
            jnp.arange(length)[None]
        )
        x = x + nn.Embed(self.token_types, self.width, dtype=self.dtype, name="token_type")(
            token_type_ids
        )
        x = nn.LayerNorm(epsilon=self.epsilon, dtype=self.dtype, name="norm")(x)
        return nn.Dropout(self.dropout)(x, deterministic=not train)


def attend(
    query: Float[Array, "B T H K"],
    key: Float[Array, "B S H K"],
    value: Float[Array, "B S H K"],
    bias: Float[Array, "B 1 1 S"],
    drop: Callable[[Array], Array],
) -> Float[Array, "B T H K"]:
    """Scaled dot-product attention (arXiv 1706.03762), heads first, normalised after the values.

    Dividing the few sums of weighted values and not the many weights, and leaving out the gradient
    of the largest score, which is 0, takes about a fifth off an attention layer's time on a CPU.
    Scores, their exponentials and sums are float32.

    Args:
      query: of T tokens.
      key: of the S tokens attended to.
      value: of the same.
      bias: added to the scores.
      drop: applied to the weights, for dropout.
    """
    query, key, value = (x.swapaxes(1, 2) for x in (query, key, value))
    products = jnp.einsum("bhtk,bhsk->bhts", query, key, preferred_element_type=jnp.float32)
    scores = products * (1.0 / math.sqrt(query.shape[-1])) + bias
    highest = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))
    weights = jnp.exp(scores - highest)
    total = weights.sum(axis=-1, keepdims=True)
    weighted = jnp.einsum(
        "bhts,bhsk->bhtk",
        drop(weights).astype(value.dtype),
        value,
        preferred_element_type=jnp.float32,
    )
    return (weighted / total).astype(value.dtype).swapaxes(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention, its residual connection and the norm after it.

    Keys and values may be lengthened in front by a method that acts at their sites; every query
    attends to what was added.
    """

    heads: int
    epsilon: float
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(
        self, x: Float[Array, "B T D"], bias: Float[Array, "B 1 1 T"], *, train: bool = False
    ) -> Float[Array, "B T D"]:
        """Attends; `bias` is added to the scores, in float32."""
        batch, length, width = x.shape
        tokens = x.reshape(-1, width)

        def project(name: str) -> Float[Array, "B T H K"]:
            projected = nn.Dense(width, dtype=self.dtype, name=name)(tokens)
            return projected.reshape(batch, length, self.heads, width // self.heads)

        query = project("query")
        key = Site(name=site.KEYS)(project("key"))
        value = Site(name=site.VALUES)(project("value"))
        added = key.shape[1] - length
        if added:
            bias = jnp.pad(bias, ((0, 0), (0, 0), (0, 0), (added, 0)))
        drop = nn.Dropout(self.dropout, deterministic=not train)
        context = attend(query, key, value, bias, drop).reshape(-1, width)
        branch = nn.Dense(width, dtype=self.dtype, name="output")(context).reshape(x.shape)
        branch = nn.Dropout(self.dropout)(branch, deterministic=not train)
        branch = Site(name=site.ATTENTION_BRANCH)(branch)
        return nn.LayerNorm(epsilon=self.epsilon, dtype=self.dtype, name="norm")(x + branch)


class Mlp(nn.Module):
    """Two dense layers with an activation between, their residual connection and the norm after."""

    hidden: int
    activation: str
    epsilon: float
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"], *, train: bool = False) -> Float[Array, "B T D"]:
        """Maps each token by itself."""
        width = x.shape[-1]
        up = nn.Dense(self.hidden, dtype=self.dtype, name="up")(x.reshape(-1, width))
        down = nn.Dense(width, dtype=self.dtype, name="down")(ACTIVATIONS[self.activation](up))
        branch = nn.Dropout(self.dropout)(down.reshape(x.shape), deterministic=not train)
        branch = Site(name=site.MLP_BRANCH)(branch)
        return nn.LayerNorm(epsilon=self.epsilon, dtype=self.dtype, name="norm")(x + branch)


class Layer(nn.Module):
    """One transformer block: attention, then the MLP."""

    heads: int
    hidden: int
    activation: str
    epsilon: float
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(
        self, x: Float[Array, "B T D"], bias: Float[Array, "B 1 1 T"], *, train: bool = False
    ) -> Float[Array, "B T D"]:
        """Runs the block."""
        x = Site(name=site.BLOCK_INPUT)(x)
        x = Attention(self.heads, self.epsilon, self.dropout, self.dtype, name="attention")(
            x, bias, train=train
        )
        return Mlp(
            self.hidden, self.activation, self.epsilon, self.dropout, self.dtype, name="mlp"
        )(x, train=train)


class Bert(nn.Module):
    """BERT without its pooler and language-model heads.

    Attributes:
      vocabulary: number of word pieces.
      width: D, of the hidden states.
      layers: number of transformer blocks.
      heads: attention heads; they divide the width.
      hidden: width of the MLP's hidden layer.
      positions: longest sequence.
      token_types: number of segments.
      activation: a key of `ACTIVATIONS`.
      pooling: how hidden states become features: mean or maximum over the mask, or the first token.
      epsilon: of the layer norms.
      dropout: rate everywhere, when training.
      dtype: of the computation; parameters, softmax and features are float32.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    hidden: int
    positions: int = 512
    token_types: int = 2
    activation: str = "gelu"
    pooling: Pooling = "mean"
    epsilon: float = 1e-12
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @property
    def stages(self) -> tuple[str, ...]:
        """Embeddings, the blocks in order, pooling (which has no parameters)."""
        return (EMBEDDINGS, *(f"layer_{i}" for i in range(self.layers)), POOL)

    @nn.compact
    def __call__(
        self, inputs: Inputs, *, train: bool = False, start: int = 0, stop: int | None = None
    ) -> Outputs:
        """Runs stages `start` to `stop`.

        Args:
          inputs: `input_ids` and `attention_mask` `(B, T)`, perhaps `token_type_ids`; or, if
            `start` is not 0, what the run with `stop=start` returned.
          train: whether dropout drops.
          start: first stage.
          stop: stage to stop before; None for all.

        Returns:
          `hidden` `(B, T, D)` and `features` `(B, D)` float32; before the last stage, `hidden` and
          `attention_mask`.
        """
        stop = self.layers + 2 if stop is None else stop
        if start == stop:
            return dict(inputs)
        mask = inputs["attention_mask"]
        if start == 0:
            x = Embeddings(
                self.vocabulary,
                self.width,
                self.positions,
                self.token_types,
                self.epsilon,
                self.dropout,
                self.dtype,
                name=EMBEDDINGS,
            )(inputs["input_ids"], inputs.get("token_type_ids"), train=train)
        else:
            x = inputs["hidden"]
        bias = jnp.where(mask > 0, 0.0, jnp.finfo(jnp.float32).min)[:, None, None, :]
        for i in range(max(start - 1, 0), min(stop - 1, self.layers)):
            x = Layer(
                self.heads,
                self.hidden,
                self.activation,
                self.epsilon,
                self.dropout,
                self.dtype,
                name=f"layer_{i}",
            )(x, bias, train=train)
        if stop < self.layers + 2:
            return {"hidden": x, "attention_mask": mask}
        return {"hidden": x, "features": pool(x, mask, self.pooling)}


def pool(
    hidden: Float[Array, "B T D"], mask: Int[Array, "B T"], pooling: Pooling
) -> Float[Array, "B D"]:
    """Features of hidden states, in float32: mean or maximum over the mask, or the first token's.

    Raises:
      AdaptationError: if the pooling is unknown.
    """
    hidden = hidden.astype(jnp.float32)
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "mean":
        weights = mask.astype(jnp.float32)
        total = jnp.maximum(weights.sum(axis=1, keepdims=True), 1.0)
        return jnp.einsum("btd,bt->bd", hidden, weights / total)
    if pooling == "max":
        lowest = jnp.finfo(jnp.float32).min
        return jnp.where(mask[:, :, None] > 0, hidden, lowest).max(axis=1)
    raise AdaptationError(f"pooling {pooling!r} is unknown; there are 'mean', 'cls' and 'max'")
