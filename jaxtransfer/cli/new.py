"""`jaxtransfer new`: a config for the user's own data, commented, with splits, criterion and rungs."""

import argparse
import pathlib
import shlex
import sys

from jaxtransfer.cli import config_words, paths
from jaxtransfer.errors import ConfigError

SUMMARY = "write a commented config for your own texts, images or table"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the verb takes."""
    parser.add_argument(
        "kind",
        choices=("text", "images", "table"),
        help="text: a folder of texts by class, or a table; images: a folder by class; table: .csv, .jsonl or .parquet with"
        " a column of texts and one of labels, or .csv of pixels",
    )
    parser.add_argument("name", help="of the config; folders are named by it")
    parser.add_argument(
        "--data",
        type=paths.path,
        help="the data, which are looked at (default: their usual form)",
    )
    parser.add_argument("--text", metavar="COLUMN", help="column of the texts, if several may be")
    parser.add_argument("--label", metavar="COLUMN", help="column of the labels, if several may be")
    parser.add_argument("--out", type=paths.path, help="file to write (default: configs/NAME.py)")


def run(arguments: argparse.Namespace, words: list[str]) -> int:
    """Looks at the data, and writes the config."""
    from jaxtransfer.protocol import new_config

    text, out = _made(arguments, words)
    print(f"wrote {new_config.write(text, out)}; what it costs, and then the ladder:")
    words = ["jaxtransfer", "ladder", "--config", str(out), "--workdir", f"runs/{arguments.name}"]
    command = shlex.join(words)
    print(f"  {command} --dry-run\n  {command}")
    return 0


def preview(arguments: argparse.Namespace, words: list[str]) -> int:
    """Looks at the data, and prints the config that would be written."""
    text, out = _made(arguments, words)
    print(f"would write {out}:", file=sys.stderr)
    print(text, end="")
    return 0


def _made(arguments: argparse.Namespace, words: list[str]) -> tuple[str, pathlib.Path]:
    """The text of the config and its place; says what was seen of the data."""
    from jaxtransfer.protocol import new_config, seen_data, settings

    config_words.refuse(words, "new")
    settings.check_name("NAME", arguments.name)
    out = arguments.out or pathlib.Path("configs") / f"{arguments.name}.py"
    new_config.check_free(out)
    seen = None
    if arguments.data is not None:
        seen = seen_data.look(
            arguments.kind, arguments.data, text=arguments.text, label=arguments.label
        )
    elif arguments.text or arguments.label:
        raise ConfigError("--text and --label name columns of --data: give that too")
    text = new_config.render(arguments.kind, arguments.name, out, seen)
    if seen is not None:
        for line in (*seen.facts, *new_config.doubts(seen, new_config.check(text))):
            print(line, file=sys.stderr)
    return text, out
