"""`jaxtransfer index`: one page over all records and runs of a folder."""

import argparse
import pathlib
from typing import Any

from jaxtransfer.cli import config_words

SUMMARY = (
    "write one offline page over all records and runs of a folder, with what they say together"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the verb takes."""
    parser.add_argument("folder", type=pathlib.Path, help="of work directories, at any depth")
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        metavar="FILE",
        help="the page (default: index.html in the folder); its links are relative",
    )


def run(arguments: argparse.Namespace, words: list[str]) -> int:
    """Writes the page, and says what is in it."""
    from jaxtransfer.protocol import indexing

    config_words.refuse(words, "index")
    page, entries = indexing.write_index(arguments.folder, arguments.out)
    for one in entries.damaged:
        print(f"damaged: {one.directory}: {one.reason}")
    print(f"{page}: {_counted(entries)}")
    return 0


def preview(arguments: argparse.Namespace, words: list[str]) -> int:
    """Prints what the page would hold."""
    from jaxtransfer.protocol import indexing

    config_words.refuse(words, "index")
    page, entries = indexing.find_entries(arguments.folder, arguments.out)
    print(f"would {'replace' if page.exists() else 'write'} {page}: {_counted(entries)}")
    return 0


def _counted(entries: Any) -> str:
    return (
        f"{len(entries.decisions)} decisions, {len(entries.runs)} single runs,"
        f" {len(entries.unfinished)} not finished, {len(entries.damaged)} damaged"
    )
