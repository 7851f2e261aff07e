"""Builds a BERT of a Hugging Face directory: configuration, weights, pooling and tokenizer."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import ShapeDtypeStruct

from jaxtransfer.errors import ConfigError, PretrainedError, nearest
from jaxtransfer.models.bert import ACTIVATIONS, Bert, Pooling
from jaxtransfer.models.bert_names import RULES
from jaxtransfer.models.model import Model
from jaxtransfer.pretrained.merge import merge
from jaxtransfer.pretrained.names import rename

_POOLINGS: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
}
# Normalisation to unit length has no parameters; a head learns its scale, so features come without.
_MODULES = ("Transformer", "Pooling", "Normalize")


def load(
    weights: Mapping[str, np.ndarray],
    config: Path | None,
    source: str,
    name: str,
    *,
    max_length: int | None,
    pooling: str | None,
    tokenizer: str | os.PathLike | None,
    dropout: float,
    dtype: Any,
) -> Model:
    """Builds the model; see `zoo.load`.

    Raises:
      PretrainedError: if files are missing, name another architecture, or do not fit.
      ConfigError: if `max_length` exceeds the model's positions.
    """
    from jaxtransfer.data.text import Tokenize

    if config is None:
        raise PretrainedError(f"{source}: no config.json, which says what BERT it is")
    settings = _read(config)
    directory = config.parent
    module = _module(settings, config, _pooling(directory, pooling), dropout, dtype)
    length = _length(directory, module.positions, max_length, name)
    tokenizer = (
        Path(tokenizer).absolute() if tokenizer is not None else directory / "tokenizer.json"
    )
    if not tokenizer.is_file():
        raise PretrainedError(f"{tokenizer} does not exist; give tokenizer=, a tokenizer.json")
    tokens = ShapeDtypeStruct((2, length), jnp.int32)
    example = {"input_ids": tokens, "attention_mask": tokens}
    template = jax.eval_shape(module.init, jax.random.key(0), example)
    arrays = rename(weights, RULES, source=source)
    variables = merge(template, arrays, name=str(config), source=source)
    return Model(
        name=name,
        module=module,
        variables=jax.tree.map(jnp.array, variables),
        example=example,
        stages=module.stages,
        features=module.width,
        preprocess=Tokenize(tokenizer, length),
        source=source,
    )


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PretrainedError(f"{path}: not readable as JSON: {error}") from None


def _module(settings: Any, config: Path, pooling: Pooling, dropout: float, dtype: Any) -> Bert:
    kind = settings.get("model_type")
    if kind != "bert":
        raise PretrainedError(f"{config}: model_type {kind!r} is not supported; 'bert' is")
    positions = settings.get("position_embedding_type", "absolute")
    if positions != "absolute" or settings.get("is_decoder"):
        raise PretrainedError(
            f"{config}: only encoders with absolute positions are supported, this has"
            f" position_embedding_type {positions!r}, is_decoder {settings.get('is_decoder')}"
        )
    activation = settings.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        raise PretrainedError(
            f"{config}: hidden_act {activation!r} is unknown; nearest:"
            f" {nearest(str(activation), ACTIVATIONS)}"
        )
    try:
        return Bert(
            vocabulary=settings["vocab_size"],
            width=settings["hidden_size"],
            layers=settings["num_hidden_layers"],
            heads=settings["num_attention_heads"],
            hidden=settings["intermediate_size"],
            positions=settings["max_position_embeddings"],
            token_types=settings.get("type_vocab_size", 2),
            activation=activation,
            pooling=pooling,
            epsilon=settings.get("layer_norm_eps", 1e-12),
            dropout=dropout,
            dtype=dtype,
        )
    except KeyError as error:
        raise PretrainedError(f"{config}: has no {error}") from None


def _pooling(directory: Path, wanted: str | None) -> Pooling:
    """What was asked for, or what a sentence-transformers configuration says, or the mean."""
    if wanted is not None:
        if wanted not in _POOLINGS.values():
            raise ConfigError(f"pooling {wanted!r}: choose one of {sorted(_POOLINGS.values())}")
        return wanted  # type: ignore[return-value]
    modules = directory / "modules.json"
    if not modules.is_file():
        return "mean"
    for module in _read(modules):
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind not in _MODULES:
            raise PretrainedError(
                f"{modules}: a {kind} module is not supported; give pooling= to do without it"
            )
        if kind == "Pooling":
            path = directory / module["path"] / "config.json"
            settings = _read(path)
            chosen = [
                key for key, value in settings.items() if key.startswith("pooling_mode") and value
            ]
            if len(chosen) != 1 or chosen[0] not in _POOLINGS:
                raise PretrainedError(
                    f"{path}: pooling {chosen} is not supported; give pooling=, one of"
                    f" {sorted(_POOLINGS.values())}"
                )
            return _POOLINGS[chosen[0]]
    return "mean"


def _length(directory: Path, positions: int, wanted: int | None, name: str) -> int:
    if wanted is not None:
        if not 3 <= wanted <= positions:
            raise ConfigError(
                f"max_length {wanted}: {name} takes 3 to {positions} tokens, special ones included"
            )
        return wanted
    settings = directory / "sentence_bert_config.json"
    trained = _read(settings).get("max_seq_length") if settings.is_file() else None
    return min(trained or positions, positions)
