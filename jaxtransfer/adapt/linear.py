"""Linear maps inside Linen layers: a parameter as a matrix, and a low-rank matrix beside it.

`matrix_view` says which axes of a parameter are contracted with the input; `add_low_rank` adds
`x A B` to a layer's output without ever forming `A B`.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxtransfer.adapt.modules import ModuleInfo
from jaxtransfer.errors import AdaptationError

LINEAR = (nn.Dense, nn.DenseGeneral, nn.Einsum)
Drop = Callable[[Array], Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatrixView:
    """A parameter as a stack of matrices.

    Attributes:
      shape: of the parameter, as its module sees it.
      batch: axes along which there are independent matrices.
      rows: axes that are contracted with the input.
      columns: axes that the output has.
    """

    shape: tuple[int, ...]
    batch: tuple[int, ...] = ()
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Lengths of the batch axes."""
        return tuple(self.shape[axis] for axis in self.batch)

    @property
    def fan_in(self) -> int:
        """Rows of one matrix."""
        return math.prod(self.shape[axis] for axis in self.rows)

    @property
    def fan_out(self) -> int:
        """Columns of one matrix."""
        return math.prod(self.shape[axis] for axis in self.columns)

    def restore(self, matrix: Float[Array, "*batch rows columns"]) -> Float[Array, "..."]:
        """The matrix in the parameter's own shape, behind any further leading axes it has."""
        order = (*self.batch, *self.rows, *self.columns)
        lead = matrix.ndim - len(self.batch) - 2
        split = matrix.reshape(*matrix.shape[:lead], *(self.shape[axis] for axis in order))
        inverse = sorted(range(len(order)), key=order.__getitem__)
        return split.transpose(*range(lead), *(lead + axis for axis in inverse))


def matrix_view(info: ModuleInfo, name: str) -> MatrixView:
    """How a module's parameter is a matrix; of an unknown module, all axes but the last are rows.

    Raises:
      AdaptationError: if the parameter has fewer than two axes.
    """
    shape = info.params[name]
    axes = range(len(shape))
    if len(shape) < 2:
        raise AdaptationError(f"{info.path}/{name} has shape {shape} and is not a matrix")
    if info.type is nn.DenseGeneral and name == "kernel":
        batch = len(_tuple(info.attributes["batch_dims"]))
        rows = batch + len(_tuple(info.attributes["axis"]))
        return MatrixView(
            shape=shape,
            batch=tuple(axes[:batch]),
            rows=tuple(axes[batch:rows]),
            columns=tuple(axes[rows:]),
        )
    if info.type is nn.Einsum and name == "kernel" and info.attributes["einsum_str"]:
        lhs, kernel, out = einsum_labels(info.attributes["einsum_str"])
        columns = tuple(i for i, label in enumerate(kernel) if label in out and label not in lhs)
        batch_axes = tuple(i for i, label in enumerate(kernel) if label in out and label in lhs)
        rest = tuple(i for i in axes if i not in columns and i not in batch_axes)
        if columns and rest:
            return MatrixView(shape=shape, batch=batch_axes, rows=rest, columns=columns)
    return MatrixView(shape=shape, rows=tuple(axes[:-1]), columns=(axes[-1],))


def has_factored_form(info: ModuleInfo, name: str) -> bool:
    """Whether `add_low_rank` knows the layer; otherwise a delta goes through the weights."""
    if name in info.derived:
        return False
    if info.type is nn.Dense or info.type is nn.DenseGeneral:
        return name == "kernel" and not _tuple(info.attributes.get("batch_dims", ()))
    if info.type is nn.Einsum:
        if info.attributes["einsum_str"] is None:
            return False
        lhs, kernel, out = einsum_labels(info.attributes["einsum_str"])
        rows = [label for label in kernel if label in lhs and label not in out]
        columns = [label for label in kernel if label in out and label not in lhs]
        return (
            name == "kernel"
            and bool(rows and columns)
            and len(rows) + len(columns) == len(kernel)
            and len(set(kernel)) == len(kernel)
        )
    if info.type is nn.Conv:
        groups = info.attributes["feature_group_count"]
        return name == "kernel" and groups == 1 and info.attributes["mask"] is None
    return info.type is nn.Embed and name == "embedding"


def add_low_rank(
    module: nn.Module,
    method: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    output: Array,
    a: Float[Array, "rows rank"],
    b: Float[Array, "rank columns"],
    *,
    scale: float,
    drop: Drop | None,
) -> Array:
    """Adds `scale * drop(x) A B` to the output of a layer that `has_factored_form`.

    The scale is folded into the small matrix, tokens are flattened to two axes, and the branch is
    computed in the output's dtype.
    """
    x = args[0] if args else next(iter(kwargs.values()))
    a, b = a.astype(output.dtype), (b * scale).astype(output.dtype)
    precision = getattr(module, "precision", None)
    if type(module) is nn.Embed:
        if method == "attend":
            reduced = jnp.dot(x.astype(output.dtype), b.T)
            return output + jnp.dot(reduced, a.T)
        return output + jnp.dot(jnp.take(a, x, axis=0), b)
    x = x.astype(output.dtype)
    if drop is not None:
        x = drop(x)
    if type(module) is nn.Einsum:
        given = kwargs.get("einsum_str", args[1] if len(args) > 1 else module.einsum_str)
        return output + _einsum(given, x, a, b, module.shape, precision)
    if type(module) is nn.Conv:
        reduced = _reduce_by_convolution(module, x, a)
        flat = reduced.reshape(-1, a.shape[-1])
        return output + jnp.dot(flat, b, precision=precision).reshape(output.shape)
    if type(module) is nn.DenseGeneral:
        # Linen sorts the axes, so the kernel's rows are in the input's order.
        contracted = sorted(axis % x.ndim for axis in _tuple(module.axis))
        kept = [axis for axis in range(x.ndim) if axis not in contracted]
        x = x.transpose(*kept, *contracted)
    flat = x.reshape(-1, a.shape[0])
    reduced = _reduce(flat, a, precision)
    return output + jnp.dot(reduced, b, precision=precision).reshape(output.shape)


def _reduce(
    x: Float[Array, "tokens rows"], a: Float[Array, "rows rank"], precision: Any
) -> Float[Array, "tokens rank"]:
    """`x A`, with a gradient of `A` that is fast on XLA's CPU backend.

    XLA computes `x^T g` `(rows, rank)` 4 to 10 times slower than `g^T x` `(rank, rows)`, and folds
    a transposition of the latter back into the former; the barrier, whose transpose is a barrier
    too, keeps it from that.
    """
    transposed = jax.lax.optimization_barrier(a.T)
    return jax.lax.dot_general(x, transposed, (((1,), (1,)), ((), ())), precision=precision)


def _reduce_by_convolution(module: nn.Conv, x: Array, a: Array) -> Array:
    size = module.kernel_size
    window = (size,) if isinstance(size, int) else tuple(size)
    kernel = a.reshape(*window, x.shape[-1], a.shape[-1])
    layer = module.clone(
        parent=None, name=None, features=a.shape[-1], use_bias=False, dtype=x.dtype
    )
    reduced: Any = layer.apply({"params": {"kernel": kernel}}, x)
    return reduced


def _einsum(
    equation: str, x: Array, a: Array, b: Array, shape: Sequence[int], precision: Any
) -> Array:
    lhs, kernel, out = einsum_labels(equation)
    rows = [label for label in kernel if label in lhs]
    columns = [label for label in kernel if label not in lhs]
    length = dict(zip(kernel, shape, strict=True))
    rank = next(c for c in "zyxwvutsrqponmlkjihgfedcba" if c not in lhs + kernel + out)
    between = "".join(c for c in lhs if c not in rows) + rank
    reduced = jnp.einsum(
        f"{lhs},{''.join(rows)}{rank}->{between}",
        x,
        a.reshape(*(length[label] for label in rows), -1),
        precision=precision,
    )
    return jnp.einsum(
        f"{between},{rank}{''.join(columns)}->{out}",
        reduced,
        b.reshape(-1, *(length[label] for label in columns)),
        precision=precision,
    )


def einsum_labels(equation: str) -> tuple[str, str, str]:
    """Labels of input, kernel and output.

    >>> einsum_labels("bte, ehd -> bthd")
    ('bte', 'ehd', 'bthd')
    """
    left, out = equation.replace(" ", "").split("->")
    lhs, kernel = left.split(",")
    return lhs, kernel, out


def _tuple(value: int | Sequence[int]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)
