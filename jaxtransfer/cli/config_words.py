"""The words of a command line that `ml_collections` parses: a config file, and overrides of its values."""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxtransfer.errors import ConfigError

HELP = "configuration file (Python, with get_config()); override values with --config.KEY=VALUE"


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Takes `--config FILE`, `--config=FILE` and `--config.KEY=VALUE` out of the words.

    >>> split(["ladder", "--config", "c.py", "--config.train.steps=5", "--workdir", "w"])
    (['ladder', '--workdir', 'w'], ['--config=c.py', '--config.train.steps=5'])
    """
    rest: list[str] = []
    config: list[str] = []
    pending = iter(words)
    for word in pending:
        if word != "--config" and not word.startswith(("--config.", "--config=")):
            rest.append(word)
        elif "=" in word:
            config.append(word)
        else:
            value = next(pending, None)
            if value is None:
                raise ConfigError(f"{word} needs a value")
            config.append(f"{word}={value}")
    return rest, config


def load(config_words: Sequence[str]) -> Any:
    """Reads the config file and applies the overrides; ConfigError says which word is wrong."""
    from jaxtransfer.protocol import config_file

    paths = [word.split("=", 1)[1] for word in config_words if word.startswith("--config=")]
    if not paths:
        raise ConfigError("a config is needed: --config configs/NAME.py")
    if not pathlib.Path(paths[-1].split(":")[0]).is_file():
        raise ConfigError(f"there is no config file {paths[-1]!r}")
    return config_file.read(
        paths[-1], [word for word in config_words if word.startswith("--config.")]
    )


def refuse(config_words: list[str], verb: str) -> None:
    """Says that a verb takes none, if there are any; raises ConfigError."""
    if config_words:
        raise ConfigError(f"{verb} takes no --config; it reads what the run has written")


def document(parser: argparse.ArgumentParser) -> None:
    """Shows `--config` in a verb's help; `split` has taken it out before argparse looks."""
    parser.add_argument("--config", metavar="FILE", help=HELP)
