"""The account that a record gives of itself: its question, why it decided so, what it does not say, how to repeat it.

Each is a function of the record's facts alone, so that whoever checks the record writes the same sentences again.
"""

from collections.abc import Mapping
from typing import Any

from jaxtransfer.evaluation.metrics import definition
from jaxtransfer.protocol.conclusion import listed
from jaxtransfer.protocol.decision import ACCEPTED, BASELINE, REFERENCE
from jaxtransfer.protocol.sections import ENSEMBLE

Record = Mapping[str, Any]
SHOWN = 12
"""Class names that a question lists."""


def question(record: Record) -> str:
    """What was asked, in one sentence: rungs, model, data, classes, budget of labels, metric."""
    task, splits = record["task"], record["data"]["splits"]
    names = [str(name) for name in task["classes"]]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    held = ", ".join(
        f"{splits[name]} to {what}"
        for name, what in (("tune", "tune"), ("accept", "decide"), ("calibration", "calibrate"))
        if name in splits
    )
    rungs = [rung for rung in record["rungs"] if rung["decision"] != REFERENCE]
    return (
        f"Which of {len(rungs)} rungs should adapt {record['config']['model']['uri']} to"
        f" {record['data'].get('source') or record['name']} ({task['kind']}, {len(names)} classes:"
        f" {', '.join(names[:SHOWN])}{more}), with {splits['train']} labelled training examples"
        f" ({_per_class(record)}) and {held}, judged by {task['metric']}?"
    )


def rationale(record: Record) -> list[str]:
    """Why the chosen rung was chosen: each step of the incumbent, then what was left against the last."""
    rungs = record["rungs"]
    first = next(rung["name"] for rung in rungs if rung["decision"] == BASELINE)
    sentences = [f"The ladder begins with {first} as its incumbent."]
    sentences += [
        f"{rung['name']} replaces {rung['difference']['incumbent']}: {rung['reason']}."
        for rung in rungs
        if rung["decision"] == ACCEPTED
    ]
    against = _against(record)
    if not against:
        sentences.append(f"No rung stands above {record['chosen']}.")
    sentences += [
        f"{rung['name']} does not replace {record['chosen']}: {rung['reason']}." for rung in against
    ]
    return sentences


def limits(record: Record) -> list[str]:
    """What the evidence does not say, as its own facts show it: seeds, examples, splits, open intervals."""
    found = [
        _seeds(record),
        _splits(record),
        _deciding(record),
        *_open(record),
        _undefined(record),
        _left_out(record),
        _tuning(record),
        _cleaning(record),
        _cost(record),
    ]
    return [sentence for sentence in found if sentence]


def reproduction(record: Record, revision: str | None) -> dict[str, Any]:
    """How to run the ladder again: command, hashes that must agree, versions.

    Args:
      record: with `command`, `config`, `hashes`, `versions` and `environment`.
      revision: of the code, if it is known.
    """
    how = (
        "Install these versions, and run the command in a new work directory; data, splits, base and config must have"
        " these hashes."
    )
    if not record["command"]:
        how = (
            "Install these versions, and give this record's config to jaxtransfer.protocol.settings.from_json and its"
            " settings to jaxtransfer.protocol.ladder.run; data, splits, base and config must have these hashes."
        )
    return {
        "how": how,
        "command": record["command"],
        "hashes": dict(record["hashes"]),
        "versions": dict(record["versions"]),
        "revision": revision,
        "device": record["environment"].get("device"),
    }


def _per_class(record: Record) -> str:
    asked = record["config"]["splits"]["train_per_class"]
    if asked >= 1:
        return f"{asked:g} a class"
    return f"a share of {asked:g} of each class"


def _against(record: Record) -> list[Mapping[str, Any]]:
    """The rungs that were compared with the chosen one, and did not replace it."""
    return [
        rung
        for rung in record["rungs"]
        if rung["difference"] is not None
        and rung["difference"]["incumbent"] == record["chosen"]
        and rung["decision"] != ACCEPTED
    ]


def _seeds(record: Record) -> str:
    seeds = len(record["config"]["seeds"])
    if seeds == 1:
        return "One seed: no interval holds what another draw of head, data order and dropout would change."
    return (
        f"{seeds} seeds a rung: their variance is estimated from {seeds} values, and is in every interval at that"
        " precision."
    )


def _splits(record: Record) -> str:
    sizes = record["data"]["splits"]
    return (
        f"One draw of the splits (seed {record['config']['splits']['seed']}), one training set of"
        f" {sizes['train']} examples, all from {record['data'].get('source') or 'one source'}: no interval holds what"
        " other training examples would change, and none speaks for data from elsewhere."
    )


def _deciding(record: Record) -> str:
    sizes = record["data"]["splits"]
    halves = [
        half
        for rung in _against(record)
        if (ci := rung["difference"]["ci"]) is not None
        for half in [(ci[1] - ci[0]) / 2]
    ]
    text = f"{sizes['accept']} examples decide"
    if halves and max(halves) > 0:
        span = f"{min(halves):.3f} to {max(halves):.3f}"
        if f"{min(halves):.3f}" == f"{max(halves):.3f}":
            span = f"{max(halves):.3f}"
        text += (
            f": the corrected intervals against {record['chosen']} reach {span} to either side, and a difference"
            " smaller than that was unlikely to be found"
        )
    return text + "."


def _open(record: Record) -> list[str]:
    """The intervals that hold both an advantage beyond the margin and none, by how far they reach."""
    task = record["task"]
    rises = definition(task["metric"]).maximise
    reach = {}
    for rung in _against(record):
        ci = rung["difference"]["ci"]
        best = None if ci is None else (ci[1] if rises else -ci[0])
        if best is not None and best > task["margin"]:
            reach[rung["name"]] = best
    if not reach:
        return []
    shown = listed([f"{name} ({best:.3f})" for name, best in reach.items()])
    return [
        f"Not settled, since the interval against {record['chosen']} holds an advantage beyond the margin of"
        f" {task['margin']:g} (up to the number in brackets): {shown}. Not shown to be better is not shown to be no"
        " better."
    ]


def _undefined(record: Record) -> str:
    names = [
        rung["name"]
        for rung in record["rungs"]
        if rung["difference"] is not None and rung["difference"]["ci"] is None
    ]
    return f"Without an interval, and so not decided on evidence: {listed(names)}." if names else ""


def _left_out(record: Record) -> str:
    plan = record.get("plan") or {}
    names = [one["rung"] for part in ("skipped", "not_run") for one in plan.get(part, ())]
    return f"Not climbed, and so not judged: {listed(names)}." if names else ""


def _tuning(record: Record) -> str:
    alone = [
        rung["name"]
        for rung in record["rungs"]
        if rung["trainable"] and not rung["tuning"] and rung["method"].get("method") != ENSEMBLE
    ]
    tried = {len(rung["tuning"]) for rung in record["rungs"]} - {0}
    seed = record["config"]["tuning"]["seed"]
    sentences = []
    if tried:
        most = f"{min(tried)} to {max(tried)}" if len(tried) > 1 else f"{max(tried)}"
        sentences.append(f"Learning rates are the best of {most}, by one seed ({seed}).")
    if alone:
        sentences.append(f"One learning rate alone was tried for {listed(alone)}.")
    if tried or alone:
        sentences.append("Other hyperparameters were fixed; a rung may do better with others.")
    return " ".join(sentences)


def _cleaning(record: Record) -> str:
    data = record["data"]
    text = "Near duplicates between the splits were not sought by the ladder"
    cut = data.get("truncated")
    if cut and cut["examples"]:
        text += f"; {cut['examples']} of {cut['of']} documents are longer than the encoder reads, and were cut"
    return text + "."


def _cost(record: Record) -> str:
    device = record["environment"].get("device")
    return f"Costs are those of one machine (device: {device or 'not named'}), and of what else ran there."
