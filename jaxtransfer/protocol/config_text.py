"""What goes into the text of a config that is written: nothing in it can end the docstring or the literal it stands in."""

import json
from collections.abc import Mapping
from typing import Any


def in_docstring(text: str) -> str:
    r"""A text as it stands between three double quotes, with something other than a double quote after it.

    >>> print(in_docstring('q"' + '""N{foo}.py'), in_docstring("q\\N{foo}.py"))
    q\"\"\"N{foo}.py q\\N{foo}.py
    """
    return text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


def literal(value: Any) -> str:
    """A plain value as Python writes it, with double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{literal(k)}: {literal(v)}' for k, v in value.items())}}}"
    if isinstance(value, tuple):
        items = ", ".join(map(literal, value))
        return f"({items},)" if len(value) == 1 else f"({items})"
    return repr(value)


def with_tuples(value: Any) -> Any:
    """Plain values with a tuple for each list: an override can replace a tuple, and no list."""
    if isinstance(value, Mapping):
        return {key: with_tuples(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(with_tuples, value))
    return value
