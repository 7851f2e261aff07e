"""`jaxtransfer inspect`: the parameter table of a model, or of a config's rung."""

import argparse
import json

from jaxtransfer.cli import config_words
from jaxtransfer.errors import ConfigError

SUMMARY = "print the parameter table of a model, or of a config's rung"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the verb takes."""
    parser.add_argument("uri", nargs="?", help="zoo name, URI or path")
    config_words.document(parser)
    parser.add_argument(
        "--rung", help="whose rules decide what trains (default: the config's last)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace, words: list[str]) -> int:
    """Prints what would train, leaf by leaf."""
    from jaxtransfer.protocol import inspection

    _check(arguments, words)
    if arguments.uri:
        rows = inspection.of_model(arguments.uri)
    else:
        from jaxtransfer.protocol import settings

        rows = inspection.of_config(settings.from_config(config_words.load(words)), arguments.rung)
    print(json.dumps(rows, indent=2) if arguments.json else inspection.as_text(rows))
    return 0


def preview(arguments: argparse.Namespace, words: list[str]) -> int:
    """Prints what would be read."""
    from jaxtransfer.protocol import previews, settings

    _check(arguments, words)
    found = None if arguments.uri else settings.from_config(config_words.load(words))
    print("\n".join(previews.inspection(arguments.uri, found, arguments.rung)))
    return 0


def _check(arguments: argparse.Namespace, words: list[str]) -> None:
    if bool(arguments.uri) == bool(words):
        raise ConfigError("inspect takes either a URI or --config FILE")
    if arguments.uri and arguments.rung:
        raise ConfigError(f"--rung {arguments.rung} is a config's; inspect it with --config FILE")
