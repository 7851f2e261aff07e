"""A monitor as one `.npz` file: what it was fitted on, the rows it keeps, and every look.

Plain arrays and one JSON text, never a pickle; written whole or not at all.
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.drift.monitor import Look, Monitor, Rows, Settings
from jaxtransfer.evaluation.drift.views import Effort, View
from jaxtransfer.evaluation.formats import read_npz, write

SCHEMA = 1


def save(monitor: Monitor, path: str | os.PathLike) -> pathlib.Path:
    """Writes a monitor: all of it or, on failure, what stood there before.

    Raises:
      EvaluationError: if the path does not end in `.npz`.
      WorkdirError: if the file cannot be written.
    """
    state = {
        "schema": SCHEMA,
        "settings": dataclasses.asdict(monitor.settings),
        "classes": monitor.classes,
        "inputs": monitor.inputs,
        "views": {
            kind: {"bandwidth": view.bandwidth, "rule": view.rule}
            for kind, view in monitor.views.items()
        },
        "looks": [look.to_json() for look in monitor.looks],
    }
    arrays: dict[str, Any] = {
        "monitor": np.asarray(json.dumps(state)),
        "predicted": monitor.predicted,
        "confidence": monitor.confidence,
        "rows/predicted": monitor.rows.predicted,
        "rows/look": monitor.rows.look,
    }
    if monitor.labels is not None:
        arrays["labels"] = monitor.labels
    for kind, view in monitor.views.items():
        arrays[f"rows/{kind}"] = monitor.rows.numbers[kind]
        for name in ("offsets", "scale", "whitening"):
            arrays[f"{kind}/{name}"] = getattr(view, name)
    return write(pathlib.Path(path), arrays, what="a monitor's arrays", suffixes=(".npz",))


def load(path: str | os.PathLike) -> Monitor:
    """Reads a monitor that `save` has written.

    Raises:
      EvaluationError: if there is no such file, or it is not a monitor.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise EvaluationError(
            f"{path}: there is no such monitor; make one with jaxtransfer monitor fit REFERENCE.npz"
            f" --out {path}"
        )
    arrays = read_npz(path)
    if "monitor" not in arrays:
        raise EvaluationError(
            f"{path}: this .npz is not a monitor (it has {sorted(arrays)[:8]}); give the file that"
            " jaxtransfer monitor fit has written"
        )
    try:
        monitor = _from_arrays(arrays, path)
        _check(monitor)
        return monitor
    except EvaluationError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise EvaluationError(
            f"{path}: the monitor is damaged ({type(error).__name__}: {error}); fit it anew"
        ) from error


def _from_arrays(arrays: dict[str, np.ndarray], path: pathlib.Path) -> Monitor:
    state = json.loads(str(arrays["monitor"]))
    if state["schema"] != SCHEMA:
        raise EvaluationError(
            f"{path}: a monitor of schema {state['schema']}, and this version reads {SCHEMA}; fit"
            " it anew"
        )
    settings = state["settings"]
    views = {
        kind: View(
            offsets=arrays[f"{kind}/offsets"],
            scale=arrays[f"{kind}/scale"],
            whitening=arrays[f"{kind}/whitening"],
            bandwidth=about["bandwidth"],
            rule=about["rule"],
        )
        for kind, about in state["views"].items()
    }
    return Monitor(
        settings=Settings(**{**settings, "effort": Effort(**settings["effort"])}),
        classes=tuple(state["classes"]),
        inputs=tuple(state["inputs"]),
        views=views,
        rows=Rows(
            numbers={kind: arrays[f"rows/{kind}"] for kind in views},
            predicted=arrays["rows/predicted"],
            look=arrays["rows/look"],
        ),
        labels=arrays.get("labels"),
        predicted=arrays["predicted"],
        confidence=arrays["confidence"],
        looks=tuple(Look.from_json(look) for look in state["looks"]),
    )


def _check(monitor: Monitor) -> None:
    """Finds arrays that `save` cannot have written: they would alarm, or never do.

    Raises:
      ValueError: naming the first of them.
    """
    rows, examples = len(monitor.rows.look), len(monitor.predicted)
    shapes: dict[str, tuple[np.ndarray, tuple[int | None, ...]]] = {
        "rows/predicted": (monitor.rows.predicted, (rows,)),
        "predicted": (monitor.predicted, (examples,)),
        "confidence": (monitor.confidence, (examples if "confidence" in monitor.views else 0,)),
    }
    if monitor.labels is not None:
        shapes["labels"] = (monitor.labels, (examples,))
    for kind, view in monitor.views.items():
        width = len(view.scale)
        shapes |= {
            f"rows/{kind}": (monitor.rows.numbers[kind], (rows, width)),
            f"{kind}/offsets": (view.offsets, (max(1, len(monitor.classes)), width)),
            f"{kind}/scale": (view.scale, (width,)),
            f"{kind}/whitening": (view.whitening, (width, width)),
        }
    for name, (array, shape) in shapes.items():
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape} and not {shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds a number that is not finite")
