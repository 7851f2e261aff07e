"""What earlier records say of methods on similar tasks: how often each one was tried, and how often it was chosen.

A task is similar if its input is of the same kind and its training labels per class are within a factor of
`NEAR` of those here, either way.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from jaxtransfer.errors import ConfigError
from jaxtransfer.protocol import manifest
from jaxtransfer.protocol.facts import Fact

NEAR = 4.0
SIMILAR = f"same kind of input, training labels per class within a factor of {NEAR:g}"
_INPUTS = {
    "text_folder": "text",
    "csv": "text",
    "jsonl": "text",
    "parquet": "text",
    "image_folder": "image",
    "pixel_csv": "image",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PastRecords:
    """Counts over the similar records of a directory.

    Attributes:
      found: records in the directory.
      similar: those of similar tasks.
      tried: method to the number of similar ladders that climbed it.
      won: method to the number of them that chose it.
    """

    found: int
    similar: int
    tried: Mapping[str, int]
    won: Mapping[str, int]

    def rate(self, method: str, rungs: int) -> float:
        """Share of wins, drawn towards what chance gives one of so many rungs by as many records as rungs."""
        return (self.won.get(method, 0) + 1) / (self.tried.get(method, 0) + rungs)


def read(directory: str, facts: Mapping[str, Fact], own: pathlib.Path) -> PastRecords:
    """Reads every `record.json` below a directory but the work directory's own; copies of one count once.

    Raises:
      ConfigError: if there is no such directory, or a record in it is damaged, naming it.
    """
    if not directory:
        raise ConfigError("config.records is an empty path; the current directory is .")
    root = pathlib.Path(directory)
    if not root.is_dir():
        raise ConfigError(f"config.records {directory!r} is no directory")
    tried: dict[str, int] = {}
    won: dict[str, int] = {}
    seen: set[str] = set()
    found = similar = 0
    for path in sorted(root.rglob("record.json")):
        if path.resolve() == (own / "record.json").resolve():
            continue
        digest, (kind, labels, methods, winner) = _summary(path)
        if digest in seen:
            continue
        seen.add(digest)
        found += 1
        if kind != facts["input"] or not _is_near(labels, facts["labels_per_class"]):
            continue
        similar += 1
        for method in methods:
            tried[method] = tried.get(method, 0) + 1
        won[winner] = won.get(winner, 0) + 1
    return PastRecords(found=found, similar=similar, tried=tried, won=won)


def conditions(record: Mapping[str, Any]) -> tuple[str, float]:
    """Kind of input and training labels per class, by which tasks are called similar; an older record implies them.

    Raises:
      KeyError, TypeError, ValueError: if the record is damaged.
    """
    facts = record.get("plan", {}).get("facts", {})
    kind = facts.get("input") or _INPUTS.get(record["config"]["data"]["kind"], "array")
    labels = facts.get("labels_per_class")
    if labels is None:
        labels = record["data"]["splits"]["train"] / len(record["task"]["classes"])
    return str(kind), float(labels)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, KeyError):
        return f"the key {error} is missing"
    return str(error) if isinstance(error, ValueError | OSError) else "a value is of another kind"


def _is_near(labels: float, here: Any) -> bool:
    return labels <= NEAR * here and here <= NEAR * labels


def _summary(path: pathlib.Path) -> tuple[str, tuple[str, float, set[str], str]]:
    """Digest; kind of input, labels per class, methods climbed, and the method chosen."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        kind, labels = conditions(record)
        climbed = {
            rung["name"]: rung["method"]["method"]
            for rung in record["rungs"]
            if rung["decision"] != "reference"
        }
        chosen = climbed[record["chosen"]]
        return manifest.digest(record), (kind, labels, set(climbed.values()), chosen)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"config.records: {path} is no record that can be read ({_reason(error)}); take it out of the directory"
        ) from error
