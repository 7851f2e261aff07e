"""The command line, a module a verb.

A mistake a user can mend is printed as one message on standard error, with exit status 2; a file that cannot be read or
written is one too.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from jaxtransfer.cli import (
    ablate,
    compare,
    config_words,
    diagnose,
    evaluate,
    examine,
    index,
    inspect,
    ladder,
    monitor,
    new,
    report,
    sweep,
    train,
    verify,
)
from jaxtransfer.errors import JaxTransferError
from jaxtransfer.version import __version__

VERBS = {
    "diagnose": diagnose,
    "ladder": ladder,
    "train": train,
    "sweep": sweep,
    "ablate": ablate,
    "evaluate": evaluate,
    "compare": compare,
    "examine": examine,
    "report": report,
    "inspect": inspect,
    "monitor": monitor,
    "verify": verify,
    "index": index,
    "new": new,
}
"""Name to the module that declares its arguments and runs it, in the order of the help."""
DRY_RUN = "print what would run, with its cost where it has one, and touch nothing"
RESUMABLE = ("ladder", "train", "sweep", "ablate")
"""Verbs that go on from what they have finished."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    resumes = bool(set(words[:1]) & set(RESUMABLE))
    arguments = argparse.Namespace()
    try:
        words, configured = config_words.split(words)
        arguments = build_parser().parse_args(words)
        act = arguments.preview if arguments.is_dry else arguments.run
        status = act(arguments, configured)
        sys.stdout.flush()
        return status
    except JaxTransferError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Who read our output has gone, as `head` does; what is still buffered must not raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        # What fails in the middle of a write does not name its file.
        place = error.filename or getattr(arguments, "workdir", None)
        what = f"{place}: {error.strerror or error}" if place else str(error)
        kept = "; finished parts are kept, the same command goes on from there" if resumes else ""
        print(f"error: {what or type(error).__name__}{kept}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = "; the same command goes on from the last checkpoint" if resumes else ""
        print(f"interrupted{kept}", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of everything but `--config...`, which `ml_collections` parses."""
    parser = argparse.ArgumentParser(
        prog="jaxtransfer",
        description="Adapt a pretrained network to your data, with the evidence.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"jaxtransfer {__version__}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    for name, module in VERBS.items():
        verb = verbs.add_parser(
            name, help=module.SUMMARY, description=module.SUMMARY, allow_abbrev=False
        )
        module.add_arguments(verb)
        verb.set_defaults(run=module.run, preview=None, is_dry=False)
        if hasattr(module, "preview"):
            verb.add_argument("--dry-run", dest="is_dry", action="store_true", help=DRY_RUN)
            verb.set_defaults(preview=module.preview)
    return parser
