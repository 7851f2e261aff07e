"""What the verbs that diagnose and look over records would do; nothing is written or fetched."""

import contextlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.errors import NotFetchedError
from jaxtransfer.models import zoo
from jaxtransfer.pretrained.cache import without_network
from jaxtransfer.protocol import diagnosing, entries, indexing, manifest, record
from jaxtransfer.protocol.settings import LadderSettings


def diagnosis(
    settings: LadderSettings,
    candidates: Sequence[str],
    domains: Mapping[str, Mapping[str, Any]],
    workdir: pathlib.Path | None,
) -> list[str]:
    """What `diagnose` would read and write; raises what it would for a candidate that cannot be had."""
    with without_network():
        for uri in candidates:
            with contextlib.suppress(NotFetchedError):
                diagnosing.candidate(settings, uri)
    lines = [
        f"would diagnose {settings.name}: data {settings.data.get('path', settings.data)}",
        *(
            f"backbone {uri}"
            + (f": {zoo.describe(uri).parameters:,} parameters" if uri in zoo.ZOO else "")
            for uri in (settings.model.uri, *candidates)
        ),
        *(f"domain {name}: {data.get('path', data)}" for name, data in domains.items()),
        "each example goes through each frozen backbone once, those with readable labels a second time"
        " for the stages, and up to 256 of them back for gradients",
    ]
    if workdir is None:
        return [*lines, "would write nothing: there is no --workdir"]
    written = [workdir / name for name in (diagnosing.FILE, diagnosing.CONFIG)]
    return [
        *lines,
        *(f"would {'replace' if path.exists() else 'write'} {path}" for path in written),
    ]


def verification(workdir: pathlib.Path) -> list[str]:
    """What `verify` would compare; raises what it would for a directory without a record."""
    found = record.read(workdir)
    tables = sum(len(rung["seeds"]) for rung in found["rungs"])
    has_manifest = (workdir / manifest.FILE).is_file()
    listed = len(manifest.read(workdir)["files"]) if has_manifest else 0
    files = f"{listed} files with {manifest.FILE}" if has_manifest else "no manifest"
    return [
        f"would recompute the record of {found['name']} from {tables} tables, and check {files};"
        " writes nothing"
    ]


def board(folder: pathlib.Path, out: pathlib.Path | None) -> list[str]:
    """What `index` would gather; raises what it would for a folder without records."""
    found = entries.find(folder)
    page = out if out is not None else folder / indexing.PAGE
    indexing.check_place(page)
    return [
        f"would {'replace' if page.exists() else 'write'} {page}: {len(found.decisions)} decisions,"
        f" {len(found.runs)} single runs, {len(found.searches)} sweeps and ablations, {len(found.unfinished)} not finished,"
        f" {len(found.damaged)} damaged"
    ]
