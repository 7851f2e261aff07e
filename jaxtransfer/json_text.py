"""JSON that means one thing: no key twice in an object, and no number that JSON does not have."""

import json
from typing import Any


def loads(text: str) -> Any:
    """The value of a JSON text.

    Raises:
      ValueError: if it is not JSON, holds NaN or Infinity, or an object repeats a key (readers would take either).

    >>> loads('{"a": [1, null]}')
    {'a': [1, None]}
    """
    return json.loads(text, parse_constant=_refuse, object_pairs_hook=unique_keys)


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of some pairs; ValueError if a key repeats, naming it."""
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"repeated keys {repeated}")
    return made


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}, which is not JSON")
