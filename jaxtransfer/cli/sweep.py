"""`jaxtransfer sweep`: search a rung's parameters on one half of validation."""

import argparse
import shlex
from typing import Any

from jaxtransfer.cli import config_words, paths
from jaxtransfer.host_memory import keep_freed_memory

SUMMARY = (
    "search a rung's parameters on one half of validation, and confirm the best on fresh seeds"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the verb takes."""
    config_words.document(parser)
    parser.add_argument(
        "--workdir", required=True, type=paths.path, help="where everything is written"
    )
    parser.add_argument("--rung", required=True, help="name of the rung, as in config.methods")
    parser.add_argument(
        "--sampler",
        default="random",
        choices=("random", "sobol", "halving", "optuna"),
        help="default: %(default)s",
    )
    parser.add_argument("--trials", type=int, default=32, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the sampler; default: %(default)s")
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        help="that run trials at once; trials of a head on cached features share their steps in one",
    )
    parser.add_argument(
        "--confirm", type=int, default=5, help="fresh seeds for the winner; default: %(default)s"
    )


def run(arguments: argparse.Namespace, words: list[str]) -> int:
    """Searches, and prints the winner and its optimism."""
    from jaxtransfer.protocol import sweep

    keep_freed_memory()
    options = [
        f"--{name}={getattr(arguments, name)}"
        for name in ("workdir", "rung", "sampler", "trials", "seed", "processes", "confirm")
    ]
    command = shlex.join(["jaxtransfer", "sweep", *words, *options])
    sweep.run(workdir=arguments.workdir, command=command, **_choice(arguments, words))
    return 0


def preview(arguments: argparse.Namespace, words: list[str]) -> int:
    """Prints how many trials there are, and what they cost."""
    from jaxtransfer.protocol import sweep

    print(sweep.preview(workdir=arguments.workdir, **_choice(arguments, words)))
    return 0


def _choice(arguments: argparse.Namespace, words: list[str]) -> dict[str, Any]:
    from jaxtransfer.protocol import settings, sweep

    config = config_words.load(words)
    found = settings.from_config(config)
    plan = sweep.Plan(
        sampler=arguments.sampler,
        trials=arguments.trials,
        seed=arguments.seed,
        processes=arguments.processes,
        confirm=arguments.confirm,
    )
    space = sweep.space_of(config, found, arguments.rung)
    return {"settings": found, "rung": arguments.rung, "space": space, "plan": plan}
