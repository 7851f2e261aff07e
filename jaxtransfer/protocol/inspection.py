"""The parameter table: every leaf of a model with its stage, shape and dtype, and which rule freezes or trains it."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxtransfer import trees
from jaxtransfer.adapt import adapt, from_description
from jaxtransfer.data.load import load_table
from jaxtransfer.errors import ConfigError
from jaxtransfer.models import zoo
from jaxtransfer.models.model import Model, with_head
from jaxtransfer.partition import is_trainable
from jaxtransfer.protocol.console import align
from jaxtransfer.protocol.settings import LadderSettings, train_settings


def of_model(uri: str) -> list[dict[str, Any]]:
    """The rows of a zoo model, URI or path: nothing is adapted, so nothing trains."""
    model = zoo.load(uri)
    return [
        _row(model, path, leaf) for path, leaf in trees.flatten_variables(model.variables).items()
    ]


def of_config(settings: LadderSettings, rung: str | None = None) -> list[dict[str, Any]]:
    """The rows of a config's model under one rung's rules; of its last phase if it has several.

    Raises:
      ConfigError: if the rung is a baseline, which has no parameters.
    """
    last = [one for one in settings.rungs if not one.is_ensemble][-1]
    chosen = settings.rung(rung) if rung else last
    if chosen.is_baseline or chosen.is_ensemble:
        what = "a baseline" if chosen.is_baseline else "an ensemble"
        raise ConfigError(f"rung {chosen.name!r} is {what} without parameters; inspect another")
    classes = load_table(settings.data).classes
    encoder = zoo.load(settings.model.uri, **settings.model.options)
    model = with_head(encoder, len(classes), rng=jax.random.key(0))
    method = from_description({"method": chosen.method, **chosen.options}).phases()[-1]
    statistics = train_settings(settings, chosen).statistics
    adapted = adapt(model, method, rng=jax.random.key(0), statistics=statistics)
    leaves = trees.flatten_variables(adapted.variables)
    winners = trees.winning_rules(adapted.rules, leaves)
    return [
        {
            **_row(model, path, leaf),
            "label": adapted.labels[path],
            "rule": adapted.rules[winners[path]].pattern,
        }
        for path, leaf in leaves.items()
    ]


def as_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table as aligned text, with totals."""
    columns = ["path", "stage", "shape", "dtype"]
    if rows and "label" in rows[0]:
        columns += ["label", "rule"]
    cells = [[_text(row[column]) for column in columns] for row in rows]
    total = sum(row["size"] for row in rows)
    summary = f"{len(rows)} leaves, {total:,} values"
    if "label" in columns:
        trained = sum(row["size"] for row in rows if is_trainable(row["label"]))
        summary += f", {trained:,} trained ({trained / max(total, 1):.2%})"
    return f"{align([columns, *cells])}\n{summary}"


def _row(model: Model, path: str, leaf: Any) -> dict[str, Any]:
    return {
        "path": path,
        "stage": model.stage_of(path),
        "shape": list(leaf.shape),
        "dtype": str(leaf.dtype),
        "size": int(np.prod(leaf.shape)),
    }


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return "x".join(map(str, value)) or "scalar"
    return str(value)
