"""What the verbs that train nothing would do: which files they read, how much they compute, what they write.

A preview reads what the verb would read, so that it finds what the verb would stumble over; it computes
no measure, fetches nothing and writes nothing.
"""

import pathlib
from collections.abc import Sequence

from jaxtransfer.data import corruptions
from jaxtransfer.errors import NotFetchedError
from jaxtransfer.evaluation.metrics import names_for
from jaxtransfer.evaluation.rows import Rows
from jaxtransfer.models import zoo
from jaxtransfer.pretrained.cache import without_network
from jaxtransfer.pretrained.uri import resolve
from jaxtransfer.protocol import comparing
from jaxtransfer.protocol.examining import BATCH, FEATURES, FILE, subject_of
from jaxtransfer.protocol.extent import Extent
from jaxtransfer.protocol.matching import match
from jaxtransfer.protocol.measuring import load_tables, rows_of
from jaxtransfer.protocol.problem import TRAIN
from jaxtransfer.protocol.report.contents import read
from jaxtransfer.protocol.settings import LadderSettings
from jaxtransfer.protocol.systems import System
from jaxtransfer.train.abstract_cost import flop_rate, predict_cost

REPORT = "report.html"


def evaluation(tables: Sequence[Rows], split: str | None) -> list[str]:
    """What `evaluate` would measure: a line for each table and split."""
    lines = []
    for table in tables:
        names: list[str | None] = [split]
        if split is None and table.split is not None:
            names = list(dict.fromkeys(table.split.tolist()))
        for name in names:
            place = table.source if name is None else f"{table.source}#{name}"
            count = len(rows_of(table, name))
            lines.append(
                f"would measure {len(names_for(table))} metrics of {count:,} rows: {place}"
            )
    return lines


def comparison(
    systems: Sequence[System],
    *,
    metric: str | None,
    split: str | None,
    margin: float,
    noninferior: bool,
) -> list[str]:
    """What `compare` would compare; raises what `compare` would for what is asked."""
    name, _ = comparing.asked(systems, metric, margin, noninferior)
    matched = match(systems, split)
    lines = []
    for system in systems:
        rows = matched.tables[system.name][0]
        tables = "1 table" if len(system.tables) == 1 else f"{len(system.tables)} tables"
        lines.append(f"{system.name}: {tables} of {len(rows):,} rows ({rows.kind})")
    pairs = len(systems) * (len(systems) - 1) // 2
    where = "all rows" if matched.split is None else f"split {matched.split}"
    question = (
        f"non-inferiority at {margin:g}" if noninferior else f"a difference beyond {margin:g}"
    )
    lines.append(
        f"would compare {pairs} {'pair' if pairs == 1 else 'pairs'} by {name}, {where}, asking for"
        f" {question}"
    )
    return lines


def examination(workdir: pathlib.Path, extent: Extent, rung: str | None) -> list[str]:
    """What `examine` would run through the network, and what it would write."""
    with without_network():
        subject = subject_of(workdir, extent, rung)
    test, splits = subject.test, subject.problem.splits
    of = "text" if isinstance(test.inputs[0], str) else "image"
    kinds = extent.kinds or tuple(corruptions.CORRUPTIONS[of])
    size = min(extent.examples, len(test))
    corrupted = (1 + len(kinds) * len(extent.severities)) * size
    outliers = len(extent.outliers) * extent.examples
    # Groups, the frozen encoder, the pool of a learning curve, and the reference of a monitor.
    others = 3 * len(test) + 2 * len(splits[TRAIN]) + outliers
    cost = predict_cost(subject.adapted, dict(subject.adapted.model.example), batch_size=BATCH)
    flops = (corrupted + others) * cost.flops / BATCH
    rate = flop_rate()
    written = [workdir / name for name in (FILE, FEATURES, REPORT)]
    return [
        f"would examine {subject.rung['name']} of {workdir}: {subject.rung['trainable']:,} trained"
        f" parameters, seeds {subject.rung['seeds']}",
        f"corruptions: {len(kinds)} kinds of {of} in severities"
        f" {', '.join(map(str, extent.severities))} on {size:,} test examples",
        f"outliers: {', '.join(extent.outliers) or 'none'}",
        f"through the network: about {corrupted + others:,} examples, {flops:.3g} FLOP, at least"
        f" {flops / rate:.2g} s at the {rate / 1e9:.3g} GFLOP/s of a matrix product here; searching,"
        " resampling and timing come on top",
        f"memory: {cost.peak_bytes / 2**20:,.1f} MiB for a batch of {BATCH}, by arithmetic on shapes",
        *(f"would {'replace' if path.exists() else 'write'} {path}" for path in written),
    ]


def report(workdir: pathlib.Path) -> list[str]:
    """What `report` would write; raises what `report` would if the directory lacks something."""
    data = read(workdir)
    path = workdir / REPORT
    state = f"replace {path} ({path.stat().st_size:,} bytes)" if path.exists() else f"write {path}"
    return [f"would {state}: {len(data.rungs)} rungs of {data.record['name']}"]


def inspection(uri: str | None, settings: LadderSettings | None, rung: str | None) -> list[str]:
    """What `inspect` would read."""
    lines = []
    if settings is not None:
        chosen = settings.rung(rung) if rung else settings.rungs[-1]
        lines.append(f"would list the parameters under rung {chosen.name} ({chosen.method})")
        if "path" in settings.data:
            lines.append(_source(str(settings.data["path"])))
        uri = settings.model.uri
    assert uri is not None
    if uri in zoo.ZOO:
        entry = zoo.describe(uri)
        lines.append(f"model {uri}: {entry.parameters:,} parameters, {entry.summary}")
        uri = entry.uri
    return [*lines, _source(uri)]


def tables(paths: Sequence[pathlib.Path]) -> list[Rows]:
    """The tables of files and work directories."""
    return [table for path in paths for table in load_tables(path)]


def _source(uri: str) -> str:
    with without_network():
        try:
            return f"would read {resolve(uri)}"
        except NotFetchedError:
            return f"would fetch {uri}"
