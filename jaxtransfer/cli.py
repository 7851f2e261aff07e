"""The command line: `jaxtransfer ladder | train | evaluate | report | inspect | monitor`.

A mistake a user can mend is printed as one message on standard error, with exit status 2; a file that cannot be read or
written is one too.
"""

import argparse
import json
import os
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from jaxtransfer.errors import ConfigError, JaxTransferError
from jaxtransfer.host_memory import keep_freed_memory
from jaxtransfer.version import __version__

CONFIG_HELP = (
    "configuration file (Python, with get_config()); override values with --config.KEY=VALUE"
)


RESUMABLE = ("ladder", "train")
"""Verbs that go on from what they have finished."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    resumes = bool(set(words[:1]) & set(RESUMABLE))
    arguments = argparse.Namespace()
    try:
        words, config_words = split_config_words(words)
        arguments = build_parser().parse_args(words)
        status = arguments.run(arguments, config_words)
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

    ladder = _verb(
        verbs, "ladder", _ladder, "climb from cheap baselines to full fine-tuning, and decide"
    )
    _add_config(ladder)
    ladder.add_argument(
        "--workdir", required=True, type=pathlib.Path, help="where everything is written"
    )

    train = _verb(
        verbs, "train", _train, "train one rung of a config, and write predictions and adapter"
    )
    _add_config(train)
    train.add_argument(
        "--workdir", required=True, type=pathlib.Path, help="where everything is written"
    )
    train.add_argument("--rung", required=True, help="name of the rung, as in config.methods")
    train.add_argument("--learning-rate", type=float, help="default: the first of the rung's grid")
    train.add_argument("--seed", type=int, help="default: the first of config.seeds")

    evaluate = _verb(
        verbs, "evaluate", _evaluate, "print the metrics of predictions, with their intervals"
    )
    evaluate.add_argument(
        "tables", nargs="+", type=pathlib.Path, help="predictions (.npz), or work directories"
    )
    evaluate.add_argument(
        "--split",
        help="only the rows of this split (default: each split on its own); validation is both its halves, tune and"
        " accept",
    )
    evaluate.add_argument("--json", action="store_true", help="print JSON")

    report = _verb(verbs, "report", _report, "write report.html of a finished ladder anew")
    report.add_argument("workdir", type=pathlib.Path)

    inspect = _verb(
        verbs, "inspect", _inspect, "print the parameter table of a model, or of a config's rung"
    )
    inspect.add_argument("uri", nargs="?", help="zoo name, URI or path")
    _add_config(inspect)
    inspect.add_argument(
        "--rung", help="whose rules decide what trains (default: the config's last)"
    )
    inspect.add_argument("--json", action="store_true", help="print JSON")

    _add_monitor(verbs)
    return parser


def split_config_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Takes `--config FILE`, `--config=FILE` and `--config.KEY=VALUE` out of the words.

    >>> split_config_words(["ladder", "--config", "c.py", "--config.train.steps=5", "--workdir", "w"])
    (['ladder', '--workdir', 'w'], ['--config=c.py', '--config.train.steps=5'])
    """
    rest: list[str] = []
    config: list[str] = []
    pending = iter(words)
    for word in pending:
        if word != "--config" and not word.startswith(("--config.", "--config=")):
            rest.append(word)
        elif "=" in word:
            config.append(word)
        else:
            value = next(pending, None)
            if value is None:
                raise ConfigError(f"{word} needs a value")
            config.append(f"{word}={value}")
    return rest, config


def load_config(config_words: Sequence[str]) -> Any:
    """Reads the config file and applies the overrides; ConfigError says which word is wrong."""
    from jaxtransfer.protocol import config_file

    paths = [word.split("=", 1)[1] for word in config_words if word.startswith("--config=")]
    if not paths:
        raise ConfigError("a config is needed: --config configs/NAME.py")
    if not pathlib.Path(paths[-1].split(":")[0]).is_file():
        raise ConfigError(f"there is no config file {paths[-1]!r}")
    return config_file.read(
        paths[-1], [word for word in config_words if word.startswith("--config.")]
    )


def _verb(verbs: Any, name: str, run: Any, summary: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    verb.set_defaults(run=run)
    return verb


def _add_config(parser: argparse.ArgumentParser) -> None:
    # Only documented here: `split_config_words` has taken it out before argparse looks.
    parser.add_argument("--config", metavar="FILE", help=CONFIG_HELP)


def _add_monitor(verbs: Any) -> None:
    summary = "fit a drift monitor on a reference, and check batches against it"
    monitor = verbs.add_parser("monitor", help=summary, description=summary, allow_abbrev=False)
    actions = monitor.add_subparsers(title="actions", required=True, metavar="ACTION")
    split = "only the rows of this split"

    fit = _verb(actions, "fit", _monitor_fit, "fit a monitor on examples that trained nothing")
    fit.add_argument(
        "reference",
        type=pathlib.Path,
        help=".npz with id and any of features, logits, input_NAME; label if there are labels",
    )
    fit.add_argument("--out", required=True, type=pathlib.Path, help="the monitor's file (.npz)")
    fit.add_argument(
        "--false-alarms",
        type=float,
        default=0.05,
        help="chance that it ever alarms without drift, at most (default: %(default)s)",
    )
    fit.add_argument("--split", help=split)
    fit.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    fit.add_argument("--replace", action="store_true", help="overwrite --out and its looks")

    check = _verb(
        actions,
        "check",
        _monitor_check,
        "look at batches, in order, and keep what was seen; exit status 1 if the monitor stands"
        " alarmed, 0 if not",
    )
    check.add_argument("monitor", type=pathlib.Path, help="the file of monitor fit")
    check.add_argument("batches", nargs="+", type=pathlib.Path, help=".npz, one look each")
    check.add_argument("--split", help=split)
    check.add_argument("--dry-run", action="store_true", help="do not count these looks")
    check.add_argument("--json", action="store_true", help="print JSON")


def _ladder(arguments: argparse.Namespace, config_words: list[str]) -> int:
    from jaxtransfer.protocol import ladder, settings

    keep_freed_memory()
    ladder.run(
        settings.from_config(load_config(config_words)),
        arguments.workdir,
        command=shlex.join(
            ["jaxtransfer", "ladder", *config_words, "--workdir", str(arguments.workdir)]
        ),
    )
    return 0


def _train(arguments: argparse.Namespace, config_words: list[str]) -> int:
    from jaxtransfer.protocol import settings, single
    from jaxtransfer.protocol.checking import check

    keep_freed_memory()
    for option, value, kind in (
        ("--learning-rate", arguments.learning_rate, settings.Rate),
        ("--seed", arguments.seed, settings.Seed),
    ):
        if value is not None:
            check(option, value, kind)
    single.run(
        settings.from_config(load_config(config_words)),
        arguments.workdir,
        rung=arguments.rung,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
    )
    return 0


def _evaluate(arguments: argparse.Namespace, config_words: list[str]) -> int:
    from jaxtransfer.protocol import measuring

    _refuse_config(config_words, "evaluate")
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


def _report(arguments: argparse.Namespace, config_words: list[str]) -> int:
    from jaxtransfer.protocol.report import write_report

    _refuse_config(config_words, "report")
    print(write_report(arguments.workdir))
    return 0


def _inspect(arguments: argparse.Namespace, config_words: list[str]) -> int:
    from jaxtransfer.protocol import inspection

    if bool(arguments.uri) == bool(config_words):
        raise ConfigError("inspect takes either a URI or --config FILE")
    if arguments.uri:
        if arguments.rung:
            raise ConfigError(
                f"--rung {arguments.rung} is a config's; inspect it with --config FILE"
            )
        rows = inspection.of_model(arguments.uri)
    else:
        from jaxtransfer.protocol import settings

        rows = inspection.of_config(settings.from_config(load_config(config_words)), arguments.rung)
    print(json.dumps(rows, indent=2) if arguments.json else inspection.as_text(rows))
    return 0


def _monitor_fit(arguments: argparse.Namespace, config_words: list[str]) -> int:
    from jaxtransfer.protocol import monitoring

    _refuse_config(config_words, "monitor")
    monitor = monitoring.fit(
        arguments.reference,
        arguments.out,
        false_alarms=arguments.false_alarms,
        split=arguments.split,
        seed=arguments.seed,
        replace=arguments.replace,
    )
    print(monitoring.describe(monitor, arguments.out))
    return 0


def _monitor_check(arguments: argparse.Namespace, config_words: list[str]) -> int:
    from jaxtransfer.protocol import monitoring

    _refuse_config(config_words, "monitor")
    findings = monitoring.check(
        arguments.monitor, arguments.batches, split=arguments.split, dry_run=arguments.dry_run
    )
    if arguments.json:
        print(json.dumps([finding.to_json() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(finding)
    return int(findings[-1].alarmed)


def _refuse_config(config_words: list[str], verb: str) -> None:
    if config_words:
        raise ConfigError(f"{verb} takes no --config; it reads what the run has written")


if __name__ == "__main__":
    sys.exit(main())
