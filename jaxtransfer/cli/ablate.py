"""`jaxtransfer ablate`: change a rung's components one at a time, and say what each is worth."""

import argparse
import shlex

from jaxtransfer.cli import config_words, paths
from jaxtransfer.host_memory import keep_freed_memory

SUMMARY = "change a rung's components one at a time, paired over seeds and examples"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the verb takes."""
    config_words.document(parser)
    parser.add_argument(
        "--workdir", required=True, type=paths.path, help="where everything is written"
    )
    parser.add_argument(
        "--component",
        action="append",
        default=[],
        help="one of config.ablation.components (default: all); repeatable",
    )


def run(arguments: argparse.Namespace, words: list[str]) -> int:
    """Ablates, and prints the table."""
    from jaxtransfer.protocol import ablate, ablation

    keep_freed_memory()
    chosen = [f"--component={name}" for name in arguments.component]
    ablate.run(
        ablation.read(config_words.load(words), arguments.component),
        arguments.workdir,
        command=shlex.join(
            ["jaxtransfer", "ablate", *words, "--workdir", str(arguments.workdir), *chosen]
        ),
    )
    return 0


def preview(arguments: argparse.Namespace, words: list[str]) -> int:
    """Prints the cells of every variant, and what they cost."""
    from jaxtransfer.protocol import ablation, planning

    found = ablation.read(config_words.load(words), arguments.component)
    print(planning.plan(found.settings, arguments.workdir, "ablate"))
    return 0
