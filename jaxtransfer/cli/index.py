"""`jaxtransfer index`: one page over all records and runs of a folder."""

import argparse

from jaxtransfer.cli import config_words, paths

SUMMARY = (
    "write one offline page over all records and runs of a folder, with what they say together"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the verb takes."""
    parser.add_argument("folder", type=paths.path, help="of work directories, at any depth")
    parser.add_argument(
        "--out",
        type=paths.path,
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
    for copy in entries.copies:
        print(f"copy: {copy.directory}: holds the record of {copy.of}, which is counted once")
    print(
        f"{page}: {len(entries.decisions)} decisions, {len(entries.runs)} single runs, {len(entries.searches)} sweeps"
        f" and ablations, {len(entries.unfinished)} not finished, {len(entries.damaged)} damaged"
    )
    return 0


def preview(arguments: argparse.Namespace, words: list[str]) -> int:
    """Prints what the page would gather."""
    from jaxtransfer.protocol import study_previews

    config_words.refuse(words, "index")
    print("\n".join(study_previews.board(arguments.folder, arguments.out)))
    return 0
