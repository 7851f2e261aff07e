"""`jaxtransfer evaluate`: the metrics of predictions, with their intervals."""

import argparse
import json
import sys

from jaxtransfer.cli import config_words, paths

SUMMARY = "print the metrics of predictions, with their intervals"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the verb takes."""
    parser.add_argument(
        "tables",
        nargs="+",
        type=paths.path,
        help="predictions (.npz, .parquet or .csv), or work directories",
    )
    parser.add_argument(
        "--split",
        help="only the rows of this split (default: each split on its own); validation is both its halves, tune and"
        " accept",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace, words: list[str]) -> int:
    """Measures each table and prints it."""
    from jaxtransfer.protocol import measuring

    config_words.refuse(words, "evaluate")
    tables = [table for path in arguments.tables for table in measuring.load_tables(path)]
    if any(measuring.is_halved(table, arguments.split) for table in tables):
        print(f"note: {measuring.BOTH_HALVES}", file=sys.stderr)
    printed = measuring.measure_tables(tables, arguments.split)
    if arguments.json:
        plain = {
            name: {metric: value.to_json() for metric, value in measured.items()}
            for name, measured in printed.items()
        }
        print(json.dumps(plain, indent=2))
        return 0
    for name, measured in printed.items():
        print(name)
        for value in measured.values():
            print(f"  {value}")
    return 0


def preview(arguments: argparse.Namespace, words: list[str]) -> int:
    """Prints which tables and splits would be measured."""
    from jaxtransfer.protocol import previews

    config_words.refuse(words, "evaluate")
    print("\n".join(previews.evaluation(previews.tables(arguments.tables), arguments.split)))
    return 0
