"""What a finished ladder says in words: only what its intervals support.

The first sentences report the decision, taken on the acceptance half of validation; the later ones what the test split,
read afterwards, adds to it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.protocol.decision import Comparison, Verdict, may_exceed


def conclude(
    *,
    chosen: str,
    verdicts: Mapping[str, Verdict],
    comparisons: Sequence[Comparison],
    measured: Mapping[str, Mapping[str, Any]],
    metric: str,
    margin: float,
    confidence: float,
    accept_count: int,
    tuned: Sequence[str],
    probe: str | None,
) -> list[str]:
    """The sentences of the verdict.

    Args:
      chosen: the rung that the acceptance rule chose.
      verdicts: rung to its verdict.
      comparisons: pairs of rungs on the test split, corrected as one family.
      measured: rung to its test value of the metric, as the record holds it.
      metric: the metric's name.
      margin: what a difference has to exceed.
      confidence: level of the intervals.
      accept_count: examples in the acceptance half.
      tuned: rungs that train part of the backbone.
      probe: the linear probe's name, if the ladder has one.
    """
    sentences = [_chosen(chosen, measured, metric, confidence)]
    open_rungs = [
        verdict.rung
        for verdict in verdicts.values()
        if verdict.comparison is not None
        and verdict.comparison.second == chosen
        and may_exceed(verdict.comparison, margin)
    ]
    if open_rungs:
        excludes = "its interval does not" if len(open_rungs) == 1 else "their intervals do not"
        sentences.append(
            f"On the {accept_count} validation examples that decide, {listed(open_rungs)} did not clear the margin of"
            f" {margin:g} over {chosen}; {excludes} exclude an advantage either."
        )
    better = _better_than(chosen, comparisons)
    if better:
        sentences.append(
            f"The test split, which took no part in the choice, finds better than {chosen}:"
            f" {listed(better)} (corrected for all pairs); with {accept_count} examples the"
            " acceptance half could not show it."
        )
    by_pair = {(item.first, item.second): item for item in comparisons}
    if probe is not None and tuned:
        sentences.append(_against_probe(tuned, probe, by_pair, metric))
    within = [item for item in comparisons if item.first in tuned and item.second in tuned]
    if within:
        sentences.append(_among_tuned(within, metric))
    return sentences


def _better_than(chosen: str, comparisons: Sequence[Comparison]) -> list[str]:
    """The rungs that the comparisons find better than the chosen one, with their differences."""
    found = []
    for item in comparisons:
        if not item.is_significant or item.ci is None or chosen not in (item.first, item.second):
            continue
        gain = item.difference.improvement or 0.0
        value, (low, high) = item.difference.value or 0.0, item.ci
        if item.second == chosen and gain > 0:
            found.append(f"{item.first} {value:+.3f} [{low:+.3f}, {high:+.3f}]")
        elif item.first == chosen and gain < 0:
            found.append(f"{item.second} {-value:+.3f} [{-high:+.3f}, {-low:+.3f}]")
    return found


def _chosen(
    chosen: str, measured: Mapping[str, Mapping[str, Any]], metric: str, confidence: float
) -> str:
    value = measured[chosen]
    if value["value"] is None:
        return f"Chosen: {chosen}; its test {metric} is undefined: {value['undefined']}."
    level = ""
    if value["ci"]:
        low, high = value["ci"]
        level = f" [{low:.3f}, {high:.3f}] ({100 * confidence:g} % interval)"
    return f"Chosen: {chosen}, with a test {metric} of {value['value']:.3f}{level}, n={value['n']}."


def _against_probe(
    tuned: Sequence[str], probe: str, by_pair: Mapping[tuple[str, str], Comparison], metric: str
) -> str:
    groups: dict[str, list[str]] = {
        "better": [],
        "worse": [],
        "not distinguishable": [],
        "undefined": [],
    }
    for rung in tuned:
        comparison = by_pair[rung, probe]
        if comparison.ci is None:
            groups["undefined"].append(rung)
        elif not comparison.is_significant:
            groups["not distinguishable"].append(_figures(comparison, rung))
        elif (comparison.difference.improvement or 0) > 0:
            groups["better"].append(_figures(comparison, rung))
        else:
            groups["worse"].append(_figures(comparison, rung))
    parts = [
        f"{how} {'is' if len(rungs) == 1 else 'are'} {listed(rungs)}"
        for how, rungs in groups.items()
        if rungs
    ]
    return f"Against {probe} in test {metric} (corrected for all pairs): {'; '.join(parts)}."


def _among_tuned(within: Sequence[Comparison], metric: str) -> str:
    distinct = [item for item in within if item.is_significant]
    largest = max(within, key=lambda item: abs(item.difference.value or 0.0))
    figures = _figures(largest, f"{largest.first} minus {largest.second}")
    if not distinct:
        which = (
            "the difference" if len(within) == 1 else f"the largest of {len(within)} differences"
        )
        return (
            f"The tuned rungs are not distinguishable from one another in test {metric}: {which} is"
            f" {figures}."
        )
    pairs = [
        f"{item.first} over {item.second}"
        if (item.difference.improvement or 0) > 0
        else f"{item.second} over {item.first}"
        for item in distinct
    ]
    return (
        f"Among the tuned rungs, {len(distinct)} of {len(within)} differences in test {metric}"
        f" {'is' if len(distinct) == 1 else 'are'} distinguishable: {listed(pairs)}; the largest is {figures}."
    )


def _figures(comparison: Comparison, name: str) -> str:
    if comparison.ci is None:
        return f"{name} undefined"
    low, high = comparison.ci
    return f"{name} {comparison.difference.value:+.3f} [{low:+.3f}, {high:+.3f}]"


def listed(names: Sequence[str]) -> str:
    """Names as prose lists them.

    >>> listed(["bitfit", "lora", "full"])
    'bitfit, lora and full'
    """
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"
