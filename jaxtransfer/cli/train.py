"""`jaxtransfer train`: train one rung of a config."""

import argparse
from typing import Any

from jaxtransfer.cli import config_words, paths
from jaxtransfer.host_memory import keep_freed_memory

SUMMARY = "train one rung of a config, and write predictions and adapter"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the verb takes."""
    config_words.document(parser)
    parser.add_argument(
        "--workdir", required=True, type=paths.path, help="where everything is written"
    )
    parser.add_argument("--rung", required=True, help="name of the rung, as in config.methods")
    parser.add_argument("--learning-rate", type=float, help="default: the first of the rung's grid")
    parser.add_argument("--seed", type=int, help="default: the first of config.seeds")


def run(arguments: argparse.Namespace, words: list[str]) -> int:
    """Trains, and writes predictions and adapter."""
    from jaxtransfer.protocol import settings, single

    keep_freed_memory()
    single.run(
        settings.from_config(config_words.load(words)), arguments.workdir, **_choice(arguments)
    )
    return 0


def preview(arguments: argparse.Namespace, words: list[str]) -> int:
    """Prints what the one cell costs."""
    from jaxtransfer.protocol import planning, settings, single

    alone = single.alone_of(settings.from_config(config_words.load(words)), **_choice(arguments))
    print(planning.plan(alone, arguments.workdir, "train"))
    return 0


def _choice(arguments: argparse.Namespace) -> dict[str, Any]:
    from jaxtransfer.checking import check
    from jaxtransfer.protocol import settings

    for option, value, kind in (
        ("--learning-rate", arguments.learning_rate, settings.Rate),
        ("--seed", arguments.seed, settings.Seed),
    ):
        if value is not None:
            check(option, value, kind)
    return {
        "rung": arguments.rung,
        "learning_rate": arguments.learning_rate,
        "seed": arguments.seed,
    }
