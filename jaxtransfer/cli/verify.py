"""`jaxtransfer verify`: a decision's directory checked against its own tables and manifest."""

import argparse
import json

from jaxtransfer.cli import config_words, paths

SUMMARY = "recompute a record from its tables, and check every file against its manifest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the verb takes."""
    parser.add_argument(
        "workdir",
        type=paths.path,
        help="of a finished ladder; exit status 0 if all matches, 1 if not, 2 if it holds no record that can be read",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace, words: list[str]) -> int:
    """Prints each mismatch, or that there is none."""
    from jaxtransfer.protocol import verifying

    config_words.refuse(words, "verify")
    found = verifying.verify(arguments.workdir)
    if arguments.json:
        print(json.dumps(found.to_json(), indent=2))
        return 1 if found.mismatches else 0
    for mismatch in found.mismatches:
        print(mismatch)
    for note in found.notes:
        print(f"note: {note}")
    if found.mismatches:
        print(f"{arguments.workdir} does not match: {len(found.mismatches)} mismatches")
        return 1
    print(
        f"{arguments.workdir} matches: {found.values} values of the record from {found.tables} tables, and"
        f" {found.files} files as the manifest lists them (its SHA-256: {found.manifest_digest})"
    )
    return 0


def preview(arguments: argparse.Namespace, words: list[str]) -> int:
    """Prints what would be compared."""
    from jaxtransfer.protocol import study_previews

    config_words.refuse(words, "verify")
    print("\n".join(study_previews.verification(arguments.workdir)))
    return 0
