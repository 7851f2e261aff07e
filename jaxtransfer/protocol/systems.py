"""Systems to compare, as a command names them: rungs of runs, and foreign tables, one table a seed.

A word is `WORKDIR`, `WORKDIR:RUNG`, or files and globs joined by commas; `NAME=` before it names it.
"""

import dataclasses
import glob
import os
import pathlib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.errors import ConfigError, EvaluationError, nearest
from jaxtransfer.evaluation.rows import Rows
from jaxtransfer.evaluation.tables import load_table
from jaxtransfer.protocol.measuring import load_tables
from jaxtransfer.protocol.workdir import read_run

SEED = re.compile(r"(?P<name>.+)-seed(?P<seed>\d+)")
"""A run's own file of predictions: rung and seed."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class System:
    """A model or method with its predictions.

    Attributes:
      name: how it is called.
      tables: one a seed.
      seeds: their names, where the files say them; else None.
      metric: what its run decided by; None for a foreign table.
      data: SHA-256 of its run's data; None for a foreign table.
      origin: name of the folder that it comes from.
      words: how a command names it, without a name; empty for a table from Python.
    """

    name: str
    tables: tuple[Rows, ...]
    seeds: tuple[str, ...] | None = None
    metric: str | None = None
    data: str | None = None
    origin: str = ""
    words: str = ""

    def __post_init__(self):
        if not self.tables:
            raise EvaluationError(f"system {self.name!r} has no table; give one a seed")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Found:
    """One table that a word names."""

    system: str
    seed: str | None
    table: Rows
    origin: str
    words: str
    metric: str | None = None
    data: str | None = None


def read(words: Sequence[str]) -> list[System]:
    """Reads the systems that words name.

    Args:
      words: see the module; a word that is an existing path is that path, whatever is in it.

    Raises:
      ConfigError: if a rung or file is unknown (naming the nearest), or two systems have one name.
      WorkdirError: if a directory holds no predictions.
      EvaluationError: if a table cannot be read.
    """
    systems: list[System] = []
    for word in words:
        systems += _systems_of(word)
    return distinct(systems)


def distinct(systems: Sequence[System]) -> list[System]:
    """The systems, each with a name of its own: where two share one, the folder's goes before it.

    Raises:
      ConfigError: if there are fewer than two, or two have one name nevertheless.
    """
    names = [system.name for system in systems]
    systems = [
        dataclasses.replace(one, name=f"{one.origin}:{one.name}")
        if one.origin and names.count(one.name) > 1
        else one
        for one in systems
    ]
    names = [system.name for system in systems]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        one, other = [system for system in systems if system.name == repeated[0]][:2]
        way = (
            f"A={shlex.quote(one.words)} B={shlex.quote(other.words)}"
            if one.words and other.words
            else "{'A': table, 'B': table}"
        )
        raise ConfigError(f"several systems are called {repeated[0]!r}; name them, as in {way}")
    if len(names) < 2:
        raise ConfigError(
            f"a comparison needs two systems, and there is {len(names)} ({', '.join(names)}); give"
            " another WORKDIR[:RUNG], or files of predictions"
        )
    return list(systems)


def of_objects(given: Sequence[Any]) -> list[System]:
    """Systems from Python: words as of a command, tables, or mappings from a name to these.

    Raises:
      ConfigError: if one is none of these; else as `read`.
    """
    systems: list[System] = []
    for item in given:
        if isinstance(item, Mapping):
            for name, value in item.items():
                systems.append(_named(str(name), value))
        elif isinstance(item, Rows):
            systems.append(System(name=item.source, tables=(item,)))
        elif isinstance(item, str | os.PathLike):
            systems += _systems_of(os.fspath(item))
        else:
            raise ConfigError(
                f"a system is a table, a path, or {{name: tables}}, not a {type(item).__name__}"
            )
    return distinct(systems)


def _named(name: str, value: Any) -> System:
    if isinstance(value, Rows):
        return System(name=name, tables=(value,))
    if isinstance(value, str | os.PathLike):
        return _systems_of(f"{name}={os.fspath(value)}")[0]
    if isinstance(value, Sequence) and all(isinstance(table, Rows) for table in value):
        return System(name=name, tables=tuple(value))
    raise ConfigError(f"system {name!r} is {value!r}; give a table, one table a seed, or a path")


def _systems_of(word: str) -> list[System]:
    if not word:
        raise ConfigError("a system is an empty path; the current directory is .")
    name, rest = "", word
    if not pathlib.Path(word).exists():
        before, equals, after = word.partition("=")
        if equals and before and after and "/" not in before:
            name, rest = before, after
    parts = [rest] if pathlib.Path(rest).exists() else rest.split(",")
    found = [table for part in parts for table in _found(part, is_named=bool(name))]
    if name:
        return [_system(name, found)]
    grouped: dict[str, list[_Found]] = {}
    for one in found:
        grouped.setdefault(one.system, []).append(one)
    if len(parts) > 1 and len(grouped) > 1:
        raise ConfigError(
            f"{word!r} joins tables of several names ({', '.join(grouped)}) as seeds of one system;"
            f" say its name: NAME={word}"
        )
    return [_system(label, tables) for label, tables in grouped.items()]


def _system(name: str, found: Sequence[_Found]) -> System:
    seeds = tuple(one.seed for one in found if one.seed is not None)
    metrics = {one.metric for one in found}
    return System(
        name=name,
        tables=tuple(one.table for one in found),
        seeds=seeds if len(seeds) == len(set(seeds)) == len(found) else None,
        metric=metrics.pop() if len(metrics) == 1 else None,
        data=found[0].data if len({one.data for one in found}) == 1 else None,
        origin=found[0].origin,
        words=",".join(dict.fromkeys(one.words for one in found)),
    )


def _found(part: str, *, is_named: bool) -> list[_Found]:
    """The tables of one path, glob, work directory or `WORKDIR:RUNG`; of one rung if they are named."""
    path, rung = pathlib.Path(part).expanduser(), ""
    if not path.exists():
        head, colon, tail = part.rpartition(":")
        if colon and pathlib.Path(head).expanduser().is_dir():
            path, rung = pathlib.Path(head).expanduser(), tail
    if path.is_dir():
        found = _of_run(path, rung)
        names = dict.fromkeys(one.system for one in found)
        if is_named and len(names) > 1:
            raise ConfigError(
                f"{part} has the rungs {', '.join(names)}, which one name cannot stand for: choose"
                f" one, as in NAME={part}:{next(reversed(names))}"
            )
        return found
    if path.exists():
        return [_of_table(load_table(path))]
    matched = sorted(glob.glob(str(path)))
    if not matched:
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ConfigError(
            f"there is no file or work directory {part!r}; nearest beside it:"
            f" {nearest(path.name, beside)}"
        )
    return [one for match in matched for one in _found(match, is_named=is_named)]


def _of_table(table: Rows) -> _Found:
    """A table that was read from a file, named by it."""
    path = pathlib.Path(table.source)
    match = SEED.fullmatch(path.stem)
    return _Found(
        system=match["name"] if match else path.stem,
        seed=match["seed"] if match else None,
        table=table,
        origin=path.absolute().parent.name,
        words=table.source,
    )


def _of_run(workdir: pathlib.Path, rung: str) -> list[_Found]:
    tables = load_tables(workdir)
    facts = read_run(workdir) or {}
    found = [
        dataclasses.replace(
            one,
            origin=workdir.absolute().name,
            words=f"{workdir}:{one.system}",
            metric=facts.get("config", {}).get("acceptance", {}).get("metric"),
            data=facts.get("hashes", {}).get("data"),
        )
        for one in map(_of_table, tables)
    ]
    order = [one["name"] for one in facts.get("config", {}).get("rungs", ())]
    found.sort(
        key=lambda one: (
            order.index(one.system) if one.system in order else len(order),
            one.system,
            int(one.seed or 0),
        )
    )
    if not rung:
        return found
    names = dict.fromkeys(one.system for one in found)
    if rung not in names:
        raise ConfigError(f"{workdir} has no rung {rung!r}; nearest: {nearest(rung, names)}")
    return [one for one in found if one.system == rung]
