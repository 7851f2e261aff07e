"""What a sweep prints: how each trial ended, the best of them, and what is to be made of the winner."""

import json
from collections.abc import Mapping
from typing import Any

from jaxtransfer.protocol import samplers
from jaxtransfer.protocol.console import align, signed_interval

SHOWN = 10
"""Trials that the table has."""


def introduction(parameters: int, sampler: str, trials: int) -> str:
    """What is searched, in one line, with what is to be said of the number of trials."""
    said = samplers.note(sampler, trials - 1)
    line = f"sweep: {trials} trials, {sampler}, over {parameters} parameters; the first has the defaults"
    return f"{line}; note: {said}" if said else line


def words(parameters: Mapping[str, Any]) -> str:
    """Parameters in one line.

    >>> words({"learning_rate": 0.001, "options.rank": 8})
    'learning_rate 0.001, options.rank 8'
    """
    shown = (
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in parameters.items()
    )
    return ", ".join(shown)


def outcome(row: Mapping[str, Any]) -> str:
    """A trial's value, or why it has none."""
    if row["diverged"]:
        return f"diverged: {row['diverged']}"
    return "undefined" if row["value"] is None else f"{row['value']:.3f}"


def table(found: Mapping[str, Any]) -> str:
    """The best trials of `sweep.json` as text, the winner first."""
    winner = found["winner"]
    others = [row for row in found["trials"] if row["value"] is not None]
    sign = 1.0 if winner["value"] >= max(row["value"] for row in others) else -1.0
    others.sort(key=lambda row: (-row["steps"], -sign * row["value"]))
    rows = [winner, *(row for row in others if row != winner)][:SHOWN]
    return align(
        [
            ["trial", "steps", found["metric"], "seconds", "parameters"],
            *(
                [
                    f"{'*' if row == winner else ' '} {row['trial']}",
                    str(row["steps"]),
                    f"{row['value']:.3f}",
                    f"{row['seconds']:.1f}",
                    words(row["parameters"]),
                ]
                for row in rows
            ),
        ]
    )


def sentences(found: Mapping[str, Any]) -> list[str]:
    """What the sweep says: the winner, its optimism, and what was not read."""
    winner, confirmed, optimism = found["winner"], found["confirmed"], found["optimism"]
    diverged = sum(bool(row["diverged"]) for row in found["trials"])
    ended = f", {diverged} of which diverged" if diverged else ""
    count = len({row["trial"] for row in found["trials"]})
    said = [
        f"Best of {count} trials{ended}: trial {winner['trial']}, {found['metric']}"
        f" {winner['value']:.3f} on {found['read']}; neither its acceptance half nor the test split"
        " was read."
    ]
    values = ", ".join("diverged" if v is None else f"{v:.3f}" for v in confirmed["values"])
    shown = signed_interval(optimism)
    if optimism["undefined"]:
        shown += f" ({optimism['undefined']})"
    said.append(
        f"On {len(confirmed['values'])} fresh seeds it has {values}: an optimism of {shown}."
        " Its examples are the same, so what was won by choosing on them is not in this."
    )
    said.append(f"In the config: {json.dumps({'rung': found['rung'], **winner['parameters']})}")
    return said
