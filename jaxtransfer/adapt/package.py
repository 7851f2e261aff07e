"""The shareable adapter: a directory with what was trained, and what it was trained on.

`adapter.json` holds the method, the base's source and hash, the classes and the preprocessing;
`adapter.safetensors` every leaf that differs from the base, head and running statistics included,
by path. Loading is strict: another base, a missing, extra or mis-shaped leaf is an error.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxtransfer import trees
from jaxtransfer.adapt.adapted import Adapted, adapt
from jaxtransfer.adapt.method import from_description
from jaxtransfer.errors import PretrainedError, nearest
from jaxtransfer.models.model import Model, Predictor, with_head, without_head
from jaxtransfer.partition import FROZEN
from jaxtransfer.pretrained.arrays import read_arrays
from jaxtransfer.pretrained.fingerprint import fingerprint
from jaxtransfer.version import __version__

DESCRIPTION = "adapter.json"
ARRAYS = "adapter.safetensors"
FORMAT = 1


def is_package(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a directory that `save` wrote."""
    return (pathlib.Path(path) / DESCRIPTION).is_file()


def save(
    adapted: Adapted,
    directory: str | os.PathLike[str],
    *,
    variables: Mapping[str, Any] | None = None,
    classes: Sequence[str | int | float | bool] = (),
    task: str = "classification",
    base_hash: str | None = None,
) -> pathlib.Path:
    """Writes an adapter directory, whole or not at all; one that was there is replaced.

    Args:
      adapted: what was trained.
      directory: where to.
      variables: the trained variables, if they are not `adapted.variables`.
      classes: the classes, in the order of the logits; numbers come back as numbers.
      task: what is predicted.
      base_hash: `fingerprint` of the pretrained variables without a head, if training went through
        several phases. Where `adapted.model` no longer has those, all leaves are saved.

    Returns:
      The directory.
    """
    from safetensors.numpy import save as to_bytes

    model = adapted.model
    leaves = trees.flatten_variables(adapted.variables if variables is None else variables)
    present = fingerprint(_base(model).variables)
    is_pristine = base_hash is None or base_hash == present
    kept = {
        path: np.ascontiguousarray(leaf)
        for path, leaf in leaves.items()
        if not is_pristine or adapted.labels[path] != FROZEN or not _is_in_base(path, model)
    }
    module = model.module
    description = {
        "format": FORMAT,
        "version": __version__,
        "task": task,
        "classes": list(classes),
        "method": adapted.method.describe(),
        "statistics": adapted.statistics,
        "base": {
            "name": model.name,
            "source": model.source,
            "hash": present if base_hash is None else base_hash,
            "options": _options(model),
        },
        "head": {"classes": module.classes, "dropout": module.dropout}
        if isinstance(module, Predictor)
        else None,
        "preprocess": getattr(model.preprocess, "fingerprint", None),
    }
    files = {
        DESCRIPTION: (json.dumps(description, indent=2, sort_keys=True) + "\n").encode(),
        ARRAYS: to_bytes(kept),
    }
    return _write_directory(pathlib.Path(directory), files)


def load(
    directory: str | os.PathLike[str], base: Model | None = None
) -> tuple[Adapted, tuple[str | int | float | bool, ...]]:
    """Reads an adapter directory.

    Args:
      directory: what `save` wrote.
      base: the pretrained model, whose head if it has one is left out; loaded from the source on
        record if left out. A network of the user's own (`from_module`) has no such source.

    Returns:
      The adapted model with its trained variables, and the classes as they were given.

    Raises:
      PretrainedError: if a file is missing or malformed, the base or its preprocessing is not what
        was trained on, or the leaves do not fit.
    """
    path = pathlib.Path(directory)
    description = read_description(path)
    base = _base(load_base(path) if base is None else base)
    found = fingerprint(base.variables)
    if found != description["base"]["hash"]:
        raise PretrainedError(
            f"{path} was trained on a base with hash {description['base']['hash'][:16]}...; model"
            f" {base.name!r} has {found[:16]}...: load it from {description['base']['source']!r}"
        )
    preprocess = getattr(base.preprocess, "fingerprint", None)
    if preprocess != description["preprocess"]:
        raise PretrainedError(
            f"{path} was trained with another preprocessing than model {base.name!r} has; load the"
            f" base with the options {description['base']['options']}"
        )
    model = base
    if description["head"] is not None:
        head = description["head"]
        model = with_head(base, head["classes"], rng=jax.random.key(0), dropout=head["dropout"])
    adapted = adapt(
        model,
        from_description(description["method"]),
        rng=jax.random.key(0),
        statistics=description["statistics"],
    )
    variables = _fill(path, adapted, read_arrays(path / ARRAYS))
    base_leaves = {name: variables[name] for name in model.variables}
    # The model carries the trained leaves too, so that a later phase starts from them.
    model = dataclasses.replace(model, variables=base_leaves)
    adapted = dataclasses.replace(adapted, model=model, variables=variables)
    return adapted, tuple(description["classes"])


def load_base(directory: str | os.PathLike[str]) -> Model:
    """The pretrained model that an adapter was trained on, from the source on record.

    Raises:
      PretrainedError: if there is no source, or nothing to be had from it.
    """
    from jaxtransfer.models import zoo

    path = pathlib.Path(directory)
    base = read_description(path)["base"]
    if not base["source"]:
        raise PretrainedError(
            f"{path} was trained on {base['name']!r}, which came from no URI; give the base model:"
            f" jaxtransfer.load({str(path)!r}, base=model)"
        )
    return zoo.load(base["source"], **base["options"])


def _fill(path: pathlib.Path, adapted: Adapted, arrays: Mapping[str, Any]) -> dict[str, Any]:
    leaves = trees.flatten_variables(adapted.variables)
    needed = {
        name
        for name, label in adapted.labels.items()
        if label != FROZEN or not _is_in_base(name, adapted.model)
    }
    problems = [f"missing: {name!r}" for name in sorted(needed - set(arrays))]
    for name in sorted(set(arrays) - set(leaves)):
        problems.append(f"extra: {name!r} (nearest: {nearest(name, leaves, count=1)})")
    for name in sorted(set(arrays) & set(leaves)):
        array, leaf = arrays[name], leaves[name]
        if tuple(array.shape) != tuple(leaf.shape) or array.dtype != leaf.dtype:
            problems.append(
                f"mis-shaped: {name!r} is {array.dtype}{list(array.shape)}, the network wants"
                f" {leaf.dtype}{list(leaf.shape)}"
            )
    if problems:
        shown = "; ".join(problems[:12]) + ("; ..." if len(problems) > 12 else "")
        raise PretrainedError(f"{path / ARRAYS} does not fit {adapted.model.name!r}: {shown}")
    filled = {**leaves, **{name: jax.numpy.asarray(array) for name, array in arrays.items()}}
    return trees.unflatten_variables(filled, adapted.variables)


def read_description(path: pathlib.Path) -> dict[str, Any]:
    """What `adapter.json` says: method, base, classes, head and preprocessing.

    Raises:
      PretrainedError: if it is missing, malformed or of another format.
    """
    file = path / DESCRIPTION
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PretrainedError(f"{path} is no adapter: it has no {DESCRIPTION}") from None
    except (OSError, ValueError) as error:
        raise PretrainedError(f"cannot read {file}: {error}") from error
    found = description.get("format") if isinstance(description, dict) else None
    if found != FORMAT:
        raise PretrainedError(f"{file} has format {found!r}; this version reads {FORMAT}")
    needed = {"base", "classes", "head", "method", "preprocess", "statistics"}
    absent = sorted(needed - set(description))
    if absent:
        raise PretrainedError(f"{file} lacks {absent}")
    return description


def _base(model: Model) -> Model:
    return without_head(model) if isinstance(model.module, Predictor) else model


def _is_in_base(path: str, model: Model) -> bool:
    is_head = isinstance(model.module, Predictor) and path.startswith("head/")
    return not is_head and not path.startswith("delta/")


def _options(model: Model) -> dict[str, Any]:
    preprocess = model.preprocess
    options: dict[str, Any] = {}
    if hasattr(preprocess, "max_length"):
        options["max_length"] = preprocess.max_length
    if hasattr(preprocess, "size"):
        height, width = preprocess.size
        options["image_size"] = height if height == width else [height, width]
    if hasattr(_base(model).module, "pooling"):
        options["pooling"] = _base(model).module.pooling
    return options


def _write_directory(directory: pathlib.Path, files: Mapping[str, bytes]) -> pathlib.Path:
    for place in (directory, *directory.parents):
        if place.exists() and not place.is_dir():
            raise PretrainedError(f"{place} is a file, and an adapter is a directory: name another")
    directory.parent.mkdir(parents=True, exist_ok=True)
    fresh = pathlib.Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        for name, content in files.items():
            with open(fresh / name, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        fresh.chmod(0o755)
        if directory.exists():
            if not is_package(directory):
                raise PretrainedError(f"{directory} exists and is no adapter; remove it first")
            old = pathlib.Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
            directory.replace(old)
            fresh.replace(directory)
            shutil.rmtree(old)
        else:
            fresh.replace(directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return directory
