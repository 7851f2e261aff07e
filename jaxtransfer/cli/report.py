"""`jaxtransfer report`: write the report of a finished ladder anew."""

import argparse

from jaxtransfer.cli import config_words, paths

SUMMARY = "write report.html of a finished ladder anew"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the verb takes."""
    parser.add_argument("workdir", type=paths.path)


def run(arguments: argparse.Namespace, words: list[str]) -> int:
    """Writes the report and prints where it is."""
    from jaxtransfer.protocol.report import write_report

    config_words.refuse(words, "report")
    print(write_report(arguments.workdir))
    return 0


def preview(arguments: argparse.Namespace, words: list[str]) -> int:
    """Prints what would be written."""
    from jaxtransfer.protocol import previews

    config_words.refuse(words, "report")
    print("\n".join(previews.report(arguments.workdir)))
    return 0
