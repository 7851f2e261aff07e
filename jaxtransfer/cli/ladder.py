"""`jaxtransfer ladder`: climb from cheap baselines to full fine-tuning, and decide."""

import argparse
import shlex

from jaxtransfer.cli import config_words, paths
from jaxtransfer.host_memory import keep_freed_memory

SUMMARY = "climb from cheap baselines to full fine-tuning, and decide"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the verb takes."""
    config_words.document(parser)
    parser.add_argument(
        "--workdir", required=True, type=paths.path, help="where everything is written"
    )


def run(arguments: argparse.Namespace, words: list[str]) -> int:
    """Climbs, and prints the verdict."""
    from jaxtransfer.protocol import ladder, settings

    keep_freed_memory()
    ladder.run(
        settings.from_config(config_words.load(words)),
        arguments.workdir,
        command=shlex.join(["jaxtransfer", "ladder", *words, "--workdir", str(arguments.workdir)]),
    )
    return 0


def preview(arguments: argparse.Namespace, words: list[str]) -> int:
    """Prints the cells of every rung, and what they cost."""
    from jaxtransfer.protocol import planning, settings

    print(planning.plan(settings.from_config(config_words.load(words)), arguments.workdir))
    return 0
