"""Reads what a report shows from a ladder's work directory, and checks that it is all there.

Everything below this module is a pure function of `ReportData`.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtransfer.errors import WorkdirError
from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol.record import check_schema, search_of
from jaxtransfer.protocol.report.diagnosis_form import check_diagnosis, is_diagnosis
from jaxtransfer.protocol.report.examination import check_examination

ACCEPT, TEST = "accept", "test"
DIAGNOSIS = "diagnosis.json"

_RECORD_KEYS = (
    *("schema", "name", "task", "data", "hashes", "rungs", "comparisons", "chosen", "conclusion"),
    *("versions", "environment", "command", "config", "created"),
)
_ACCOUNT_KEYS = ("question", "rationale", "limits", "reproduce")
_TASK_KEYS = ("kind", "classes", "metric", "margin", "confidence", "acceptance")
_RUNG_KEYS = (
    *(
        "name",
        "method",
        "rules",
        "hyperparameters",
        "tuning",
        "seeds",
        "trainable",
        "metrics",
        "cost",
    ),
    *("difference", "decision", "reason"),
)
_COMPARISON_KEYS = ("a", "b", "split", "value", "ci", "p_adjusted", "distinguishable")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ReportData:
    """What a report is drawn from.

    Attributes:
      record: the decision record, as `record.json` holds it.
      predictions: the chosen rung's predictions on all splits, one table per seed.
      histories: rung to one training history per seed, each a list of
        `{"step", "loss"}` and `{"step", "validation/<metric>"}`.
      examples: id to `{"text": ...}` or `{"png": base64}` of the hardest test examples.
      examination: what `examine` has written, or None.
      diagnosis: what `diagnose` has written, or None.
    """

    record: Mapping[str, Any]
    predictions: Sequence[Predictions]
    histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]
    examples: Mapping[str, Mapping[str, str]]
    examination: Mapping[str, Any] | None = None
    diagnosis: Mapping[str, Any] | None = None

    @property
    def rungs(self) -> list[dict[str, Any]]:
        """The record's rungs, in the ladder's order."""
        return self.record["rungs"]

    @property
    def chosen(self) -> dict[str, Any]:
        """The chosen rung."""
        return next(rung for rung in self.rungs if rung["name"] == self.record["chosen"])

    @property
    def metric(self) -> str:
        """Name of the metric that decides."""
        return self.record["task"]["metric"]

    @property
    def margin(self) -> float:
        """The difference that has to be exceeded; negative for a metric that is to be small."""
        margin = self.record["task"]["margin"]
        return margin if definition(self.metric).maximise else -margin

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in label order."""
        return list(self.record["task"]["classes"])

    @property
    def test_tables(self) -> list[Predictions]:
        """The chosen rung's test predictions, one table per seed."""
        return [table.select(TEST) for table in self.predictions]


def read(workdir: Path) -> ReportData:
    """Reads the record of a work directory with the predictions, histories and examples it names.

    Args:
      workdir: directory with `record.json`, `examples.json`, `predictions/<rung>-seed<k>.npz` of
        the chosen rung and `history/<rung>-seed<k>.jsonl` of every rung with trainable parameters.

    Raises:
      WorkdirError: if a file or a key of the record is missing, or a file cannot be parsed; it
        names which. If there is no such directory, or it is one rung's, and has no record.
    """
    workdir = Path(workdir)
    if not workdir.is_dir():
        raise WorkdirError(f"there is no directory {workdir}; name the one of a finished ladder")
    _check_is_ladder(workdir)
    record = _read_json(workdir / "record.json")
    check_record(record, workdir / "record.json")
    chosen = next(rung for rung in record["rungs"] if rung["name"] == record["chosen"])
    tables = []
    for seed in chosen["seeds"]:
        path = workdir / "predictions" / f"{chosen['name']}-seed{seed}.npz"
        _require_file(path)
        tables.append(Predictions.load(path))
    histories = {
        rung["name"]: [
            _read_history(workdir / "history" / f"{rung['name']}-seed{seed}.jsonl")
            for seed in rung["seeds"]
        ]
        for rung in record["rungs"]
        if rung["trainable"]
    }
    return ReportData(
        record=record,
        predictions=tables,
        histories=histories,
        examples=_read_json(workdir / "examples.json"),
        examination=_read_examination(workdir / "examination.json", record),
        diagnosis=read_diagnosis(workdir / DIAGNOSIS),
    )


def read_diagnosis(path: Path) -> Mapping[str, Any] | None:
    """A diagnosis with its form checked; None where no file is, or one with plain facts alone.

    Raises:
      WorkdirError: if the file cannot be parsed, or lacks what the report reads.
    """
    document = _read_json(path) if path.is_file() else {}
    return check_diagnosis(document, path) if is_diagnosis(document) else None


def _read_examination(path: Path, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    return check_examination(_read_json(path), [rung["name"] for rung in record["rungs"]], path)


def _check_is_ladder(workdir: Path) -> None:
    run = workdir / "run.json"
    if (workdir / "record.json").is_file() or not run.is_file():
        return
    facts = _read_json(run)
    verb = facts.get("verb") if isinstance(facts, Mapping) else None
    searched = search_of(workdir, verb)
    if searched is not None:
        raise WorkdirError(f"{workdir} holds {searched}; a report is a ladder's")
    if verb == "train":
        raise WorkdirError(
            f"{workdir} holds one rung that `jaxtransfer train` trained, and a report is a ladder's:"
            f" see its metrics with jaxtransfer evaluate {workdir}"
        )


def check_record(record: Any, path: Path) -> None:
    """Checks that a record has the keys a report reads.

    Raises:
      WorkdirError: naming the file and the first key that is missing, or the schema that is not
        supported.
    """
    if not isinstance(record, Mapping):
        raise WorkdirError(f"{path} does not hold a JSON object")
    _require_keys(path, "", record, _RECORD_KEYS)
    check_schema(record, str(path))
    if record["schema"] > 1:
        _require_keys(path, "", record, _ACCOUNT_KEYS)
    _require_keys(path, "task.", record["task"], _TASK_KEYS)
    _require_keys(path, "data.", record["data"], ("splits",))
    metric = record["task"]["metric"]
    for key in ("rungs", "comparisons"):
        if not isinstance(record[key], list):
            raise WorkdirError(f"{path} is damaged: '{key}' is no list; run the ladder again")
    for index, rung in enumerate(record["rungs"]):
        place = f"rungs[{index}]."
        _require_keys(path, place, rung, _RUNG_KEYS)
        _require_keys(path, f"{place}cost.", rung["cost"], ("seconds",))
        for split in (ACCEPT, TEST):
            _require_keys(path, f"{place}metrics.", rung["metrics"], (split,))
            _require_keys(path, f"{place}metrics.{split}.", rung["metrics"][split], (metric,))
        if rung["difference"] is not None:
            _require_keys(
                path, f"{place}difference.", rung["difference"], ("incumbent", "value", "ci")
            )
    for index, comparison in enumerate(record["comparisons"]):
        _require_keys(path, f"comparisons[{index}].", comparison, _COMPARISON_KEYS)
    names = [rung["name"] for rung in record["rungs"]]
    if record["chosen"] not in names:
        raise WorkdirError(
            f"{path}: chosen is {record['chosen']!r}, which is none of its rungs {names}"
        )


def _require_keys(path: Path, place: str, values: Any, keys: Sequence[str]) -> None:
    if not isinstance(values, Mapping):
        raise WorkdirError(
            f"{path} is damaged: '{place.rstrip('.')}' is no JSON object; run the ladder again"
        )
    for key in keys:
        if key not in values:
            raise WorkdirError(
                f"{path} lacks the key '{place}{key}'; run the ladder again to complete it"
            )


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise WorkdirError(
            f"{path} is missing; run the ladder on {path.parent.parent} again to complete it"
        )


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise WorkdirError(
            f"{path} is missing; run the ladder on {path.parent} again to complete it"
        )
    return _parse(path, _read_text(path))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise WorkdirError(f"{path} is damaged: it is not UTF-8 ({error})") from None


def _read_history(path: Path) -> list[dict[str, Any]]:
    _require_file(path)
    lines = _read_text(path).splitlines()
    # A metric that was undefined at some step leaves a gap in its curve.
    return [
        _parse(path, line, f" line {number}", constants=lambda _: None)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def _parse(
    path: Path, text: str, place: str = "", constants: Callable[[str], Any] | None = None
) -> Any:
    def refuse(constant: str) -> None:
        raise WorkdirError(
            f"{path}{place} holds {constant}, which is not JSON; a value that is undefined is null"
        )

    try:
        return json.loads(text, parse_constant=constants or refuse)
    except json.JSONDecodeError as error:
        raise WorkdirError(f"{path}{place} is not JSON: {error}") from None
