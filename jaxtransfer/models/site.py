"""Named identity modules that mark where a method may reach into a network.

A backbone calls `Site(name="values")(x)`; alone it changes nothing, and an interceptor that finds
the module by its path may replace what it returns.
"""

import flax.linen as nn
from jaxtyping import Array, Shaped

ATTENTION_BRANCH = "attention_branch"
MLP_BRANCH = "mlp_branch"
BLOCK_INPUT = "block_input"
KEYS = "keys"
VALUES = "values"

NAMES = (ATTENTION_BRANCH, MLP_BRANCH, BLOCK_INPUT, KEYS, VALUES)
"""The sites that backbones of this package place.

Transformers: the residual branches `(B, T, D)` just before they are added, a block's input
`(B, T, D)`, attention's keys and values `(B, T, heads, head_dim)`. Convolutional networks: a block's
input `(B, H, W, C)`.
"""


class Site(nn.Module):
    """Returns its argument; its name says what the argument is."""

    @nn.compact
    def __call__(self, x: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
        """Returns `x`."""
        return x
