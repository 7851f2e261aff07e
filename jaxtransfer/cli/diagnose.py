"""`jaxtransfer diagnose`: what the task and the backbone look like before training, and a ladder for it."""

import argparse
import json
import shlex
import sys
from typing import Any

from jaxtransfer.cli import config_words, paths
from jaxtransfer.errors import ConfigError
from jaxtransfer.host_memory import keep_freed_memory

SUMMARY = "describe the task before any training, score backbones and stages, recommend a ladder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the verb takes."""
    config_words.document(parser)
    parser.add_argument(
        "--workdir",
        type=paths.path,
        help="where diagnosis.json and recommended.py are written (default: they are not)",
    )
    parser.add_argument(
        "--candidate",
        action="append",
        default=[],
        metavar="URI",
        help="another backbone to score beside the config's; repeatable",
    )
    parser.add_argument(
        "--domain",
        action="append",
        default=[],
        metavar="NAME=CONFIG",
        help="the data of another config file, whose inputs are compared with the training split's;"
        " repeatable",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace, words: list[str]) -> int:
    """Diagnoses, prints the card, and writes it if asked to."""
    from jaxtransfer.protocol import diagnosing, diagnosis_text, settings

    keep_freed_memory()
    chosen = settings.from_config(config_words.load(words))
    domains = _domains(arguments)
    found = diagnosing.diagnose(
        chosen,
        candidates=arguments.candidate,
        domains=domains,
        seed=arguments.seed,
        command=shlex.join(["jaxtransfer", *sys.argv[1:]]),
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    print(json.dumps(found, indent=2) if arguments.json else diagnosis_text.card(found))
    if arguments.workdir is not None:
        diagnosing.write(found, chosen, arguments.workdir)
        config = shlex.quote(str(arguments.workdir / diagnosing.CONFIG))
        print(
            f"recommended ladder: jaxtransfer ladder --config {config} --workdir ...",
            file=sys.stderr,
        )
    return 0


def preview(arguments: argparse.Namespace, words: list[str]) -> int:
    """Prints what would be read and written."""
    from jaxtransfer.protocol import settings, study_previews

    lines = study_previews.diagnosis(
        settings.from_config(config_words.load(words)),
        arguments.candidate,
        _domains(arguments),
        arguments.workdir,
    )
    print("\n".join(lines))
    return 0


def _domains(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.seed < 0:
        raise ConfigError(f"--seed {arguments.seed} must be 0 or more")
    domains = dict(_domain(word) for word in arguments.domain)
    if len(domains) != len(arguments.domain):
        raise ConfigError(f"--domain names {arguments.domain}: each needs a name of its own")
    return domains


def _domain(word: str) -> tuple[str, Any]:
    """Name and data of `NAME=CONFIG`."""
    name, _, path = word.partition("=")
    if not name or not path:
        raise ConfigError(f"--domain {word!r} is not NAME=CONFIG, such as web=configs/web.py")
    data = config_words.load([f"--config={path}"]).get("data")
    if data is None:
        raise ConfigError(f"--domain {word!r}: {path} has no section 'data'")
    return name, data.to_dict()
