"""A configuration's `data` section to a table: a kind, a path or URI, and the loader's options."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from jaxtransfer.data import arrays, folders, tabular, tfds_source
from jaxtransfer.data.source import Table
from jaxtransfer.errors import ConfigError, nearest

LOADERS: Mapping[str, Callable[..., Table]] = {
    "text_folder": folders.text_folder,
    "image_folder": folders.image_folder,
    "csv": tabular.csv,
    "jsonl": tabular.jsonl,
    "parquet": tabular.parquet,
    "pixel_csv": arrays.pixel_csv,
    "npz": arrays.npz,
    "tfds": tfds_source.tfds,
}


def load_table(config: Mapping[str, Any]) -> Table:
    """Loads the table that a mapping describes.

    Args:
      config: `kind` (a key of `LOADERS`), `path` (a file, a folder or a URI that
        `pretrained.uri.resolve` takes; for 'tfds' `name` instead), and any option of the kind's
        loader. A ConfigDict will do.

    Raises:
      ConfigError: if the kind or an option is unknown (naming the nearest), one is lacking, or not of
        its type.
      DataError: as the loader does.
      PretrainedError: if a URI cannot be resolved.
    """
    if not hasattr(config, "keys"):
        raise ConfigError(
            f"load_table takes a mapping with 'kind' and 'path', such as {{'kind': 'csv', 'path': 'a.csv'}}, not"
            f" {config!r}; a file of predictions is read by Predictions.load"
        )
    options = {key: config[key] for key in config}
    if "kind" not in options:
        raise ConfigError(f"the data configuration lacks 'kind'; it is one of {list(LOADERS)}")
    kind = options.pop("kind")
    if not isinstance(kind, str) or kind not in LOADERS:
        raise ConfigError(f"unknown kind of data {kind!r}; nearest: {nearest(str(kind), LOADERS)}")
    loader = LOADERS[kind]
    parameters = inspect.signature(loader).parameters
    for name in options:
        if name not in parameters:
            raise ConfigError(
                f"data of kind {kind!r} takes no option {name!r};"
                f" nearest: {nearest(name, parameters)}; leave it out of the config's data section"
            )
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and options.get(name) in (None, ""):
            raise ConfigError(f"data of kind {kind!r} needs {name!r}")
    for name, value in options.items():
        wanted = parameters[name].annotation
        if not _is_of(value, wanted):
            shown = wanted.__name__ if isinstance(wanted, type) else str(wanted)
            raise ConfigError(f"{name!r} of data of kind {kind!r} must be {shown}, not {value!r}")
    if "path" in options:
        from jaxtransfer.pretrained.uri import resolve

        options["path"] = resolve(str(options["path"]))
    return loader(**options)


def _is_of(value: Any, annotation: Any) -> bool:
    """Whether a loader's parameter takes a value, as far as its outermost type says; a text is no sequence."""
    is_union = isinstance(annotation, types.UnionType)
    kinds = typing.get_args(annotation) if is_union else (annotation,)
    plain = tuple(typing.get_origin(kind) or kind for kind in kinds)
    return str in plain if isinstance(value, str) else isinstance(value, plain)
