"""A config file (Python, with `get_config()`) and the overrides given beside it.

The file is the user's program: whatever goes wrong in it is said with its place, as one message.
"""

import ast
import re
import runpy
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.errors import ConfigError, nearest

OPEN = re.compile(r"data|model\.options|methods\.[^.]+\.options|acceptance(\.guards)?|budget")
"""Sections of which an override may set what the file leaves out: options of loaders and methods, criterion, budget."""

SIZES = ("splits", "splits.sizes")
"""Sections whose numbers are counts or shares."""


def read(path: str, overrides: Sequence[str] = ()) -> Any:
    """The ConfigDict that a config file gives, with overrides applied.

    Args:
      path: of the file; what follows a colon is the argument of its `get_config`.
      overrides: words such as `--config.train.steps=5`. Each has to name a key that the file sets, or
        an option of a loader or a method, in `OPEN`.

    Raises:
      ConfigError: if the file raises anything (naming file, line and exception), gives no mapping,
        or an override names a key that the file does not set or a value of another type.
    """
    from absl import flags
    from ml_collections import ConfigDict, FrozenConfigDict, config_dict, config_flags

    config = _run(path)
    if not isinstance(config, Mapping | ConfigDict):
        raise ConfigError(
            f"get_config() of {path} gives {config!r}; it must return a ConfigDict or a dict"
        )
    if not isinstance(config, ConfigDict) or isinstance(config, FrozenConfigDict):
        config = ConfigDict(config)
    for word in overrides:
        _check_key(path, config, word.partition("=")[0].removeprefix("--config."))
    argv = ["jaxtransfer", *(word for word in overrides if not _is_assigned(config, word))]
    values = flags.FlagValues()
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
        values(argv)
        values.config.to_dict()  # Required placeholders raise, and are reported here.
        return values.config
    except (
        config_dict.RequiredValueError,
        flags.Error,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        message = " ".join(str(error).split())
        raise ConfigError(f"config {path!r} with {list(overrides)}: {message}") from error


def _is_assigned(config: Any, word: str) -> bool:
    """Sets an option that the file leaves out, what it says is None, or a count in place of a share and the reverse.

    `ml_collections` sets all others: a key keeps the type that the file gives it. Settings and
    loaders check the value.
    """
    key, _, text = word.removeprefix("--config.").partition("=")
    *sections, name = key.split(".")
    node = config
    for section in sections:
        node = node[_without_index(section)]
    value = _literal(text)
    place = ".".join(sections)
    # A target or a limit that the file leaves open has no type of its own; elsewhere a placeholder may stand.
    is_limit = place.startswith(("acceptance", "budget"))
    is_open, kind = _standing(node, name)
    is_unset = name not in node or (is_limit and is_open)
    is_option = OPEN.fullmatch(place) is not None and name.isidentifier() and is_unset
    is_size = place in SIZES and {type(value), kind} == {int, float}
    is_assigned = is_option or is_size or kind is type(None)
    if is_assigned:
        with node.unlocked():
            # A placeholder holds on to its type, and would not take what the settings are to refuse.
            if name in node:
                del node[name]
            node[name] = value
    return is_assigned


def _standing(node: Any, name: str) -> tuple[bool, type | None]:
    """Whether a key is open (None, or a placeholder), and the type that its value has to keep, if it has one."""
    from ml_collections import config_dict

    try:
        return node[name] is None, node.get_type(name)
    except (KeyError, config_dict.RequiredValueError):
        return True, None


def _literal(text: str) -> Any:
    """A number, a tuple, True, None or a quoted text, as Python writes it; else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _run(path: str) -> Any:
    file, *argument = path.split(":", 1)
    try:
        get_config = runpy.run_path(file).get("get_config")
        if get_config is None:
            raise ConfigError(f"config file {file} defines no get_config()")
        return get_config(*argument)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"config file {_place(file, error)}: {type(error).__name__}: {error}"
        ) from error


def _place(file: str, error: Exception) -> str:
    """The file and the line of the innermost frame in it; of a syntax error, its own."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    return f"{file}, line {lines[-1]}" if lines else file


def _check_key(path: str, config: Any, key: str) -> None:
    node = config
    place = "config"
    *sections, _ = names = [_without_index(name) for name in key.split(".")]
    for depth, name in enumerate(names):
        if not hasattr(node, "keys"):
            raise ConfigError(f"--config.{key}: {place} of {path} is {node!r}, not a section")
        if name not in node and not (depth == len(sections) and OPEN.fullmatch(".".join(sections))):
            what = "section" if depth < len(sections) else "key"
            raise ConfigError(
                f"--config.{key}: {path} has no {what} {place}.{name}; nearest: {nearest(name, node)}. Overrides"
                f" change what the file sets: add the {what} to it"
            )
        # The last is not read: a required placeholder would raise here, and is reported by `read`.
        node = node[name] if depth < len(sections) else None
        place = f"{place}.{name}"


def _without_index(name: str) -> str:
    return re.sub(r"\[.*", "", name)
