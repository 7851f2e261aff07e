"""Writes the index page of a folder of records and runs."""

import os
import pathlib

from jaxtransfer.errors import WorkdirError
from jaxtransfer.protocol import record
from jaxtransfer.protocol.entries import Entries, find
from jaxtransfer.protocol.report.board import GENERATOR, render
from jaxtransfer.protocol.workdir import RUN, write_text

PAGE = "index.html"


def write_index(
    root: pathlib.Path, out: pathlib.Path | None = None
) -> tuple[pathlib.Path, Entries]:
    """Writes the page, whole or not at all.

    Args:
      root: the folder of work directories.
      out: the page's file; `index.html` in the folder if left out.

    Returns:
      The page's path, and what it lists.

    Raises:
      WorkdirError: if the folder holds nothing to list, or the page would stand inside of a work directory or in place of
        a file that is no index.
    """
    page = root / PAGE if out is None else out
    entries = find(root)
    check_place(page)
    write_text(page, render(entries, root, page))
    return page, entries


def check_place(page: pathlib.Path) -> None:
    """Finds whether the page may be written there; errors as of `write_index`."""
    if not page.parent.is_dir():
        raise WorkdirError(f"there is no folder {page.parent} for {page.name}: make it first")
    if page.is_dir():
        raise WorkdirError(f"{page} is a folder; name a file with --out")
    for folder in pathlib.Path(os.path.abspath(page)).parents:
        if (folder / record.FILE).is_file() or (folder / RUN).is_file():
            raise WorkdirError(
                f"{page} would stand inside of the work directory {folder}, whose manifest does not list it; name"
                " another file with --out"
            )
    if page.is_file():
        with page.open(encoding="utf-8", errors="replace") as file:
            if f'name="generator" content="{GENERATOR}"' not in file.read(4096):
                raise WorkdirError(
                    f"{page} is there and is no index of ours; move it, or name another file with --out"
                )
