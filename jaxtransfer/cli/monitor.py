"""`jaxtransfer monitor`: fit a drift monitor on a reference, and check batches against it."""

import argparse
import json
from typing import Any

from jaxtransfer.cli import config_words, paths

SUMMARY = "fit a drift monitor on a reference, and check batches against it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the verb takes."""
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    split = "only the rows of this split"

    fit = _action(actions, "fit", _fit, "fit a monitor on examples that trained nothing")
    fit.add_argument(
        "reference",
        type=paths.path,
        help=".npz with id and any of features, logits, input_NAME; label if there are labels",
    )
    fit.add_argument("--out", required=True, type=paths.path, help="the monitor's file (.npz)")
    fit.add_argument(
        "--false-alarms",
        type=float,
        default=0.05,
        help="chance that it ever alarms without drift, at most (default: %(default)s)",
    )
    fit.add_argument("--split", help=split)
    fit.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    fit.add_argument("--replace", action="store_true", help="overwrite --out and its looks")
    fit.add_argument("--dry-run", action="store_true", help="fit, and do not write --out")

    check = _action(
        actions,
        "check",
        _check,
        "look at batches, in order, and keep what was seen; exit status 1 if the monitor stands"
        " alarmed, 0 if not",
    )
    check.add_argument("monitor", type=paths.path, help="the file of monitor fit")
    check.add_argument("batches", nargs="+", type=paths.path, help=".npz, one look each")
    check.add_argument("--split", help=split)
    check.add_argument("--dry-run", action="store_true", help="do not count these looks")
    check.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace, words: list[str]) -> int:
    """Fits, or checks."""
    config_words.refuse(words, "monitor")
    return arguments.act(arguments)


def _action(actions: Any, name: str, act: Any, summary: str) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    action.set_defaults(act=act)
    return action


def _fit(arguments: argparse.Namespace) -> int:
    from jaxtransfer.protocol import monitoring

    monitor = monitoring.fit(
        arguments.reference,
        arguments.out,
        false_alarms=arguments.false_alarms,
        split=arguments.split,
        seed=arguments.seed,
        replace=arguments.replace,
        dry_run=arguments.dry_run,
    )
    print(monitoring.describe(monitor, arguments.out))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from jaxtransfer.protocol import monitoring

    findings = monitoring.check(
        arguments.monitor, arguments.batches, split=arguments.split, dry_run=arguments.dry_run
    )
    if arguments.json:
        print(json.dumps([finding.to_json() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(finding)
    return int(findings[-1].alarmed)
