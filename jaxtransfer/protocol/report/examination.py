"""Checks that an examination has what the report shows of it, before anything is drawn.

A part that was not examined may be absent; a part that is there is there whole.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtransfer.errors import WorkdirError

SCHEMA = 1
EACH = "*"
"""Stands in a form for every key of an object."""

_NUMBER = (int, float)
_MAYBE_NUMBER = (*_NUMBER, type(None))
_MEASURED = {"value": _MAYBE_NUMBER, "ci": (list, type(None))}
_DIAGRAM: dict[str, Any] = dict.fromkeys(
    ("edges", "count", "confidence", "accuracy", "low", "high"), list
)
_FLIP = {
    **dict.fromkeys(("id", "label", "a", "b", "right"), str),
    **dict.fromkeys(("confidence_a", "confidence_b"), _NUMBER),
}
_FOUR = dict.fromkeys(("n", "both_right", "only_a", "only_b", "both_wrong"), int)
_WORST = {
    **_MEASURED,
    **{"metric": str, "group": (str, type(None)), "n": int, "caveat": str},
    **{"expected": _MAYBE_NUMBER, "p_value": _MAYBE_NUMBER, "left_out": dict},
}
_GAP = {
    **_MEASURED,
    **{"name": str, "label": str, "expected": _MAYBE_NUMBER, "p_value": _MAYBE_NUMBER},
    **{"groups": list, "left_out": dict},
}
_SLICE = {
    **{"description": str, "n_search": int, "n_confirm": int, "confirmed": bool},
    **dict.fromkeys(("inside", "outside", "difference"), _MAYBE_NUMBER),
    **{"ci": (list, type(None)), "p_search": _NUMBER, "p_confirm": _NUMBER},
}
_LATENCY = {
    "seconds": {EACH: dict.fromkeys(("p50", "p95"), _MEASURED)},
    **{"compile_seconds": _NUMBER, "repetitions": int, "notes": list},
}
_FIGURE = {"value": _MAYBE_NUMBER}

FORM: dict[str, Any] = {
    "summary": [str],
    "recalibration": {
        EACH: {
            "before": {EACH: {**_MEASURED, "n": int}},
            "after": {EACH: {**_MEASURED, "n": int}},
            "differences": {EACH: _MEASURED},
        }
    },
    "reliability": {EACH: _DIAGRAM},
    "brier": {
        **dict.fromkeys(("brier", "reliability", "resolution", "uncertainty"), _NUMBER),
        **dict.fromkeys(("within_variance", "within_covariance"), _NUMBER),
        **{"n": int, "bins": int},
    },
    "robustness": {
        **{"metric": str, "relative_definition": str, "clean": _MAYBE_NUMBER, "n": int},
        **{"seeds": int, "confidence": _NUMBER, "overall": _MEASURED},
        "cells": [
            {
                **{"kind": str, "severity": int, "value": _MAYBE_NUMBER, "degrades": bool},
                **{"relative": _MEASURED, "p_adjusted": _MAYBE_NUMBER, "flips": (dict, type(None))},
            }
        ],
        "by_kind": {EACH: _MEASURED},
        "by_severity": {EACH: _MEASURED},
        "corruption_error": {EACH: _MEASURED},
        "mean_corruption_error": (dict, type(None)),
    },
    "outliers": [
        {
            **{"detector": str, "definition": str, "outliers": str, "distance": str},
            **{"n_inliers": int, "n_outliers": int},
            **{"metrics": {EACH: {**_MEASURED, "definition": str}}},
        }
    ],
    "groups": {
        EACH: {
            "minimum": int,
            "groups": [{"name": str, "n": int, "metrics": {EACH: _MEASURED}}],
            "worst": [_WORST],
            "gaps": [_GAP],
        }
    },
    "slices": {
        **{"measured": str, "definition": str, "slices": [_SLICE]},
        **dict.fromkeys(("searched", "too_small", "minimum", "n_search", "n_confirm"), int),
    },
    "label_errors": {
        **{"n": int, "estimated": int, "definition": str},
        "candidates": [{"id": str, "label": str, "suggested": str, "self_confidence": _NUMBER}],
    },
    "leakage": {
        **{"sizes": dict, "method": (str, type(None)), "recall": _MAYBE_NUMBER},
        "overlaps": [
            {
                **dict.fromkeys(("exact", "normalised", "near", "conflicts"), int),
                **{"splits": list, "examples": list},
            }
        ],
        "pairs": [
            {
                **dict.fromkeys(("split_a", "id_a", "split_b", "id_b", "kind"), str),
                "similarity": _NUMBER,
            }
        ],
    },
    "flips": {
        **_FOUR,
        **{"of": str, "p_value": _NUMBER},
        "per_class": [{"label": str, **_FOUR}],
        "flipped": [_FLIP],
    },
    "sample_efficiency": {
        **{"metric": str, "n": int, "reason": (str, type(None))},
        "curves": [
            {
                **{"method": str, "seeds": list},
                "points": [{"train": int, "values": list, **_MEASURED}],
            }
        ],
        "laws": {
            EACH: {
                "reason": (str, type(None)),
                "promises": [{"train": _NUMBER, "metric": _MEASURED}],
            }
        },
    },
    "serving": {
        EACH: {
            **{"device": str, "precision": str},
            **dict.fromkeys(("parameters", "variables_bytes", "adapter_file_bytes"), _FIGURE),
            "batches": [
                {
                    **{"batch_size": int, "latency": _LATENCY},
                    **dict.fromkeys(("flops", "compiled_peak", "rss_peak"), _FIGURE),
                }
            ],
        }
    },
    "pareto": {
        **{"metric": str, "n": int, "replicates": int, "notes": list},
        "candidates": [
            {
                **{"name": str, "costs": {EACH: _NUMBER}, "on_front": bool, "dominated_by": list},
                **{"value": _NUMBER, "ci": list, "probability": _NUMBER},
            }
        ],
    },
}
"""The parts, and what the report reads of each: objects by key, `[form]` for lists, types."""


def check_examination(found: Any, rungs: Sequence[str], path: Path) -> Mapping[str, Any]:
    """Checks an examination.

    Args:
      found: what the file holds.
      rungs: names of the record's rungs.
      path: of the file.

    Raises:
      WorkdirError: naming the file and the first key that is missing or of the wrong type.
    """
    again = f"run jaxtransfer examine {path.parent} again, or remove the file"
    if not isinstance(found, Mapping):
        raise WorkdirError(f"{path} does not hold a JSON object; {again}")
    for key in ("schema", "rung", "split"):
        if key not in found:
            raise WorkdirError(f"{path} lacks the key {key!r}; {again}")
    if found["schema"] != SCHEMA:
        raise WorkdirError(
            f"{path} has schema {found['schema']!r}, this version reads {SCHEMA}; {again}"
        )
    if found["rung"] not in rungs:
        raise WorkdirError(f"{path} is of a rung {found['rung']!r} that the record lacks; {again}")
    for name, form in FORM.items():
        if found.get(name) is not None:
            wrong = fault(found[name], form, name)
            if wrong:
                raise WorkdirError(f"{path} {wrong}; {again}")
    return found


def fault(value: Any, form: Any, place: str) -> str | None:
    """What is wrong with a value, or None."""
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"is damaged: '{place}' is no list"
        inside = ((item, form[0], f"{place}[{index}]") for index, item in enumerate(value))
        return _first(inside)
    if isinstance(form, dict):
        if not isinstance(value, Mapping):
            return f"is damaged: '{place}' is no JSON object"
        if EACH in form:
            return _first((item, form[EACH], f"{place}.{key}") for key, item in value.items())
        absent = next((key for key in form if key not in value), None)
        if absent is not None:
            return f"lacks the key '{place}.{absent}'"
        return _first((value[key], inner, f"{place}.{key}") for key, inner in form.items())
    kinds = form if isinstance(form, tuple) else (form,)
    # JSON's true is a number to Python alone.
    if not isinstance(value, form) or (isinstance(value, bool) and bool not in kinds):
        names = " or ".join({"NoneType": "null"}.get(k.__name__, k.__name__) for k in kinds)
        return f"is damaged: '{place}' is {value!r:.60}, not of type {names}"
    is_interval = place.endswith(".ci") and value is not None
    if is_interval and (len(value) != 2 or not all(isinstance(v, _MAYBE_NUMBER) for v in value)):
        return f"is damaged: '{place}' is {value!r:.60}, not two numbers"
    return None


def _first(inside: Any) -> str | None:
    faults = (fault(value, form, place) for value, form, place in inside)
    return next((found for found in faults if found), None)
