"""`jaxtransfer sweep`: search a rung's parameters on one half of validation."""

import argparse
import pathlib
import shlex

from jaxtransfer.cli import config_words
from jaxtransfer.host_memory import keep_freed_memory

SUMMARY = (
    "search a rung's parameters on one half of validation, and confirm the best on fresh seeds"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the verb takes."""
    config_words.document(parser)
    parser.add_argument(
        "--workdir", required=True, type=pathlib.Path, help="where everything is written"
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
    from jaxtransfer.protocol import settings, sweep

    keep_freed_memory()
    plan = sweep.Plan(
        sampler=arguments.sampler,
        trials=arguments.trials,
        seed=arguments.seed,
        processes=arguments.processes,
        confirm=arguments.confirm,
    )
    config = config_words.load(words)
    found = settings.from_config(config)
    options = [
        f"--{name}={getattr(arguments, name)}"
        for name in ("workdir", "rung", "sampler", "trials", "seed", "processes", "confirm")
    ]
    sweep.run(
        found,
        arguments.workdir,
        rung=arguments.rung,
        space=sweep.space_of(config, found, arguments.rung),
        plan=plan,
        command=shlex.join(["jaxtransfer", "sweep", *words, *options]),
    )
    return 0
