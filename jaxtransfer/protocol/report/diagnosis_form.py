"""Checks that a diagnosis has what the report shows of it, before anything is drawn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtransfer.errors import WorkdirError

SCHEMA = 1


def check_diagnosis(found: Any, path: Path) -> Mapping[str, Any]:
    """Checks that a diagnosis has what the report reads of it.

    Raises:
      WorkdirError: naming the file and what is wrong.
    """
    again = "run jaxtransfer diagnose again, or remove the file"
    if not isinstance(found, Mapping):
        raise WorkdirError(f"{path} does not hold a JSON object; {again}")
    if found.get("schema") != SCHEMA:
        raise WorkdirError(
            f"{path} has schema {found.get('schema')!r}, this version reads {SCHEMA}; {again}"
        )
    for key in ("facts", "distances", "backbones", "layers", "recommended"):
        if key not in found:
            raise WorkdirError(f"{path} lacks the key {key!r}; {again}")
    return found
