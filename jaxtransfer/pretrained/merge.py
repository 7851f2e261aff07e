"""Strict merge of a checkpoint's arrays into a model's tree: no leaf unfilled, no array left."""

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from jaxtransfer.errors import PretrainedError
from jaxtransfer.pretrained.names import shown
from jaxtransfer.trees import PARAMS, flatten_any, unflatten, unflatten_variables


def merge(
    template: Mapping[str, Any], arrays: Mapping[str, np.ndarray], *, name: str, source: str
) -> dict[str, Any]:
    """Fills the leaves of a template with arrays of the same paths and shapes.

    Args:
      template: Linen variables (`{'params': ..., 'batch_stats': ...}`), a nested tree, or a flat
        map of paths. Leaves have `shape` and `dtype` (arrays, `ShapeDtypeStruct`), or are shapes
        as tuples.
      arrays: path to array, with the paths of `trees.flatten_variables`.
      name: the model, for error messages.
      source: the file or URI, for error messages.

    Returns:
      The template's structure with numpy leaves. A floating array takes the floating dtype of its
      template leaf; any other difference of kind is an error.

    Raises:
      PretrainedError: listing every missing, extra and mis-shaped leaf; nothing is skipped.

    >>> merge({"params": {"head": {"bias": (2,)}}}, {"head/bias": np.ones(2)}, name="m", source="f")
    {'params': {'head': {'bias': array([1., 1.])}}}
    """
    leaves = flatten_any(template)
    missing = [path for path in leaves if path not in arrays]
    extra = [path for path in arrays if path not in leaves]
    wrong = []
    merged = {}
    for path, leaf in leaves.items():
        if path not in arrays:
            continue
        array = np.asarray(arrays[path])
        shape = tuple(leaf) if isinstance(leaf, tuple) else tuple(leaf.shape)
        dtype = array.dtype if isinstance(leaf, tuple) else np.dtype(leaf.dtype)
        if array.shape != shape:
            wrong.append(f"{path} is {array.shape}, the model has {shape}")
        elif array.dtype == dtype:
            merged[path] = array
        elif _is_floating(array.dtype) and _is_floating(dtype):
            merged[path] = array.astype(dtype)
        else:
            wrong.append(f"{path} is {array.dtype}, the model has {dtype}")
    if missing or extra or wrong:
        parts = [f"{source} does not fit {name} ({len(leaves)} leaves, {len(arrays)} arrays)"]
        parts += [f"missing {len(missing)}: {shown(missing)}"] * bool(missing)
        parts += [f"extra {len(extra)}: {shown(extra)}"] * bool(extra)
        parts += [f"of another shape or kind {len(wrong)}: {'; '.join(wrong[:12])}"] * bool(wrong)
        raise PretrainedError(". ".join(parts))
    if isinstance(template.get(PARAMS), Mapping):
        return unflatten_variables(merged, template)
    return unflatten(merged) if any(isinstance(v, Mapping) for v in template.values()) else merged


def _is_floating(dtype: np.dtype) -> bool:
    try:
        ml_dtypes.finfo(dtype)
    except ValueError:
        return False
    return dtype.kind != "c"
