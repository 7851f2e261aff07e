"""`jaxtransfer compare`: which of several runs or tables is better, and what that does not show."""

import argparse
import json

from jaxtransfer.cli import config_words

SUMMARY = "compare runs and tables of predictions, each with every other, on the same examples"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the verb takes."""
    parser.add_argument(
        "systems",
        nargs="+",
        metavar="SYSTEM",
        help="[NAME=]WORKDIR (all its rungs), [NAME=]WORKDIR:RUNG, or [NAME=]FILE,FILE,... with a file (.npz, .parquet,"
        " .csv; globs too) a seed",
    )
    parser.add_argument(
        "--metric", help="default: what the runs decided by, or the usual one of the tables' kind"
    )
    parser.add_argument(
        "--split",
        help="default: test, or all rows of tables without splits (beside a run, its split of the same ids);"
        " validation is both halves",
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=0.0,
        metavar="D",
        help="difference that counts, in units of the metric (default: %(default)g)",
    )
    parser.add_argument(
        "--noninferior",
        action="store_true",
        help="ask whether the first of each pair is worse than the second by less than the margin",
    )
    parser.add_argument(
        "--confidence",
        type=float,
        default=0.95,
        help="of all pairs together (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace, words: list[str]) -> int:
    """Compares, and prints systems, pairs and the conclusion."""
    from jaxtransfer.protocol import comparing, systems

    config_words.refuse(words, "compare")
    found = comparing.compare_systems(
        systems.read(arguments.systems),
        metric=arguments.metric,
        split=arguments.split,
        margin=arguments.margin,
        noninferior=arguments.noninferior,
        confidence=arguments.confidence,
    )
    print(json.dumps(found.to_json(), indent=2) if arguments.json else found)
    return 0


def preview(arguments: argparse.Namespace, words: list[str]) -> int:
    """Prints which systems would be compared, by what."""
    from jaxtransfer.protocol import previews, systems

    config_words.refuse(words, "compare")
    lines = previews.comparison(
        systems.read(arguments.systems),
        metric=arguments.metric,
        split=arguments.split,
        margin=arguments.margin,
        noninferior=arguments.noninferior,
    )
    print("\n".join(lines))
    return 0
