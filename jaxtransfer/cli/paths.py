"""Paths as words of the command line."""

import argparse
import pathlib


def path(word: str) -> pathlib.Path:
    """The path that a word names; an empty word, such as an unset variable leaves, names none.

    Raises:
      ArgumentTypeError: if it is empty.
    """
    if not word:
        raise argparse.ArgumentTypeError("an empty path; the current directory is .")
    return pathlib.Path(word)
