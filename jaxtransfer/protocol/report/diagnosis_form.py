"""Checks that a diagnosis has what the report shows of it, before anything is drawn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtransfer.errors import WorkdirError
from jaxtransfer.protocol.report.examination import fault

SCHEMA = 1
_NUMBER = (int, float, type(None))
_WORDS = (str, type(None))
_SCORE = {"name": str, "value": _NUMBER, "undefined": _WORDS, "note": _WORDS}
_MEASURE = {"name": str, "value": _NUMBER, "undefined": _WORDS, "p_adjusted": _NUMBER}
_STAGE = {
    **{"stage": str, "parameters": int, "reading": _WORDS},
    **dict.fromkeys(("probe", "target", "gradient"), _SCORE),
}
_LAYERS = {
    **{"n": int, "rule": str, "unread": _WORDS, "stages": [_STAGE]},
    "cka": {"names": [str], "values": [[_NUMBER]]},
}
FORM: dict[str, Any] = {
    "facts": dict,
    "hashes": dict.fromkeys(("data", "splits", "base"), str),
    "distances": [{"to": str, "is_domain": bool, "differs": bool, "measures": [_MEASURE]}],
    "backbones": [{"uri": str, "scores": [_SCORE]}],
    "recommended": {"first": str, "rungs": [str], "remarks": [str]},
}
"""What the report reads; `layers`, beside these, is null for a backbone without stages."""

_OTHER = {"data": "other data", "splits": "other splits", "base": "another backbone"}


def is_diagnosis(document: Any) -> bool:
    """Whether a JSON document is what `diagnose` writes, damaged or not, and no plain file of facts."""
    return not isinstance(document, Mapping) or "schema" in document or "recommended" in document


def foreign(found: Mapping[str, Any], hashes: Mapping[str, str]) -> tuple[str, ...]:
    """What a diagnosis was of that a ladder of these hashes is not: `other data`, `other splits`, `another backbone`."""
    own = found.get("hashes", {})
    return tuple(said for name, said in _OTHER.items() if own.get(name) != hashes.get(name))


def check_diagnosis(found: Any, path: Path) -> Mapping[str, Any]:
    """Checks that a diagnosis has what the report reads of it.

    Raises:
      WorkdirError: naming the file and the first key that is missing or of the wrong type.
    """
    again = "run jaxtransfer diagnose again, or remove the file"
    if not isinstance(found, Mapping):
        raise WorkdirError(f"{path} does not hold a JSON object; {again}")
    if found.get("schema") != SCHEMA:
        raise WorkdirError(
            f"{path} has schema {found.get('schema')!r}, this version reads {SCHEMA}; {again}"
        )
    for key in (*FORM, "layers"):
        if key not in found:
            raise WorkdirError(f"{path} lacks the key {key!r}; {again}")
    forms = FORM if found["layers"] is None else {**FORM, "layers": _LAYERS}
    for name, form in forms.items():
        wrong = fault(found[name], form, name)
        if wrong:
            raise WorkdirError(f"{path} {wrong}; {again}")
    return found
