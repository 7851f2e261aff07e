"""`jaxtransfer examine`: corruptions, outliers, slices, labels and cost of a finished ladder's rung."""

import argparse
import shlex
import sys
from typing import Any

from jaxtransfer.cli import config_words, paths
from jaxtransfer.errors import ConfigError
from jaxtransfer.host_memory import keep_freed_memory

SUMMARY = (
    "examine the chosen rung of a finished ladder: corruptions, outliers, slices, labels, cost"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the verb takes."""
    parser.add_argument("workdir", type=paths.path)
    parser.add_argument("--rung", help="name of the rung (default: the one chosen)")
    parser.add_argument(
        "--outliers",
        action="append",
        default=[],
        metavar="NAME=near|far:CONFIG",
        help="what belongs to no class: the data of another config file, near or far; repeatable",
    )
    parser.add_argument("--corruptions", metavar="KIND,...", help="default: all of the input's")
    parser.add_argument("--severities", default="1,3,5", metavar="N,...", help="of 1 to 5")
    parser.add_argument(
        "--examples", type=int, default=200, help="test examples that are corrupted"
    )
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace, words: list[str]) -> int:
    """Examines, and writes the report anew."""
    from jaxtransfer.protocol import examining
    from jaxtransfer.protocol.report import write_report

    config_words.refuse(words, "examine")
    keep_freed_memory()
    found = examining.examine(
        arguments.workdir,
        _extent(arguments),
        rung=arguments.rung,
        command=shlex.join(["jaxtransfer", *sys.argv[1:]]),
    )
    for sentence in found["summary"]:
        print(sentence)
    print(f"report: {write_report(arguments.workdir)}")
    return 0


def preview(arguments: argparse.Namespace, words: list[str]) -> int:
    """Prints how much would be examined."""
    from jaxtransfer.protocol import previews

    config_words.refuse(words, "examine")
    lines = previews.examination(arguments.workdir, _extent(arguments), arguments.rung)
    print("\n".join(lines))
    return 0


def _extent(arguments: argparse.Namespace) -> Any:
    from jaxtransfer.protocol import extent

    return extent.extent_of(
        kinds=arguments.corruptions,
        severities=arguments.severities,
        examples=arguments.examples,
        outliers=[_outliers(word) for word in arguments.outliers],
        seed=arguments.seed,
    )


def _outliers(word: str) -> tuple[str, str, Any]:
    """Name, distance and data of `NAME=near|far:CONFIG`."""
    name, _, rest = word.partition("=")
    distance, _, path = rest.partition(":")
    if not name or distance not in ("near", "far") or not path:
        raise ConfigError(
            f"--outliers {word!r} is not NAME=near:CONFIG or NAME=far:CONFIG, such as"
            " digits=far:configs/digits_efficientnet.py"
        )
    data = config_words.load([f"--config={path}"]).get("data")
    if data is None:
        raise ConfigError(f"--outliers {word!r}: {path} has no section 'data'")
    return name, distance, data.to_dict()
