"""The identity of a set of arrays: one hash of their paths, shapes, dtypes and bytes."""

import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxtransfer.trees import flatten_any


def fingerprint(variables: Mapping[str, Any]) -> str:
    """The sha256, in hex, of a tree of arrays.

    Equal for equal values under equal paths, whatever the order of the leaves, the nesting of the
    mapping (Linen variables, or the flat map of `trees.flatten_variables`), the memory layout, and
    whether an array is numpy's or on a device.

    Raises:
      TypeError: if a leaf is no array of numbers (a `ShapeDtypeStruct`, a Python object).

    >>> fingerprint({"a": np.zeros(2)}) == fingerprint({"a": np.zeros(2, np.float32)})
    False
    """
    leaves = flatten_any(variables)
    digest = hashlib.sha256()
    for path in sorted(leaves):
        leaf = leaves[path]
        if isinstance(leaf, jax.ShapeDtypeStruct):
            raise TypeError(f"{path!r} is abstract; a fingerprint needs values")
        array = np.asarray(leaf)
        if array.dtype.hasobject:
            raise TypeError(f"{path!r} is {type(leaf).__name__}, not an array of numbers")
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        header = f"{path}\0{array.dtype.name}\0{array.shape}\0"
        digest.update(header.encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
