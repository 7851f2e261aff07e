"""What a comparison says: a table of systems, a table of pairs, and one sentence that claims no more than they show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxtransfer.protocol.console import align, interval, signed_interval

if TYPE_CHECKING:
    from jaxtransfer.protocol.compared import Compared, Pair

LISTED = 4
"""Pairs that a sentence lists one by one."""


def text(found: Compared) -> str:
    """The comparison as printed: systems, pairs, notes, and the sentence."""
    head = f"{found.metric} of {_rows(found)}, {found.confidence:.0%} intervals"
    systems = [["system", "tables", found.metric]]
    for name, value in found.measured.items():
        systems.append([name, str(found.seeds[name]), interval(value.to_json())])
    columns = ["first - second", f"{found.metric} difference", "p", "adjusted p", "exchange p"]
    pairs = [[*columns, "better on", "verdict"]]
    pairs += [_row(found, pair) for pair in found.pairs]
    lines = [
        head,
        align(systems),
        "",
        f"first minus second, corrected ({found.correction}); p is of a true difference"
        f" {'of at most ' + format(found.margin, 'g') if found.margin else 'of 0'}",
        align(pairs),
        "",
        *_details(found),
        *(f"note: {note}" for note in found.notes),
        found.conclusion,
    ]
    return "\n".join(lines)


def conclusion(found: Compared) -> str:
    """One sentence: what was measured, on what, the differences, and what they do not show."""
    about = f"On {_rows(found)} and {_seeds(found)}, "
    if len(found.pairs) == 1:
        (pair,) = found.pairs
        return f"{about}{_of_one(found, pair)}{_caveat(found)}."
    return f"{about}{_of_many(found)}{_caveat(found)}."


def _of_one(found: Compared, pair: Pair) -> str:
    comparison = pair.comparison
    first, second = comparison.first, comparison.second
    if comparison.ci is None:
        return (
            f"{found.metric} of {first} and {second} cannot be compared"
            f" ({comparison.difference.note}), so nothing is shown of either"
        )
    figures = _figures(found, pair)
    if not comparison.difference.standard_error:
        alike = f"{first} and {second} do not differ in {found.metric}"
        if pair.noninferiority is None:
            return f"{alike}, which does not show that they would not on other examples"
        return f"{alike}; {_of_margin(found, pair)}"
    if pair.noninferiority is not None:
        return f"{found.metric} of {first} minus {second} is {figures}: {_of_margin(found, pair)}"
    if comparison.is_significant:
        better, worse = _ordered(pair)
        beyond = f" by more than the margin of {found.margin:g}" if found.margin else ""
        return (
            f"{better} is better than {worse} in {found.metric}{beyond}: {first} minus {second} is"
            f" {figures}"
        )
    asked = (
        f"a difference beyond the margin of {found.margin:g}" if found.margin else "a difference"
    )
    settle = _settling(pair)
    return (
        f"{found.metric} of {first} minus {second} is {figures}, which does not show {asked}, and"
        f" does not show that they are equal either: up to {_reach(pair):.3f} is compatible with"
        f" it{'; ' + settle if settle else ''}"
    )


def _of_many(found: Compared) -> str:
    shown = [pair for pair in found.pairs if pair.is_settled]
    rest = [pair for pair in found.pairs if not pair.is_settled]
    count = f"{len(shown)} of {len(found.pairs)}"
    if found.asks_noninferiority:
        parts = [f"{count} questions of non-inferiority in {found.metric} are answered"]
        parts += [
            f"{_subtraction(pair)} {_figures(found, pair)}: {_of_margin(found, pair)}"
            for pair in shown[:LISTED]
        ]
    else:
        beyond = f" beyond the margin of {found.margin:g}" if found.margin else ""
        verb = "is" if len(shown) == 1 else "are"
        head = f"{count} differences in {found.metric}{beyond} {verb} shown ({found.correction})"
        listed = [
            f"{_ordered(pair)[0]} is better than {_ordered(pair)[1]} by {_gain(pair)}"
            for pair in shown[:LISTED]
        ]
        parts = [f"{head}: {listed[0]}", *listed[1:]] if listed else [head]
    if len(shown) > LISTED:
        parts.append(f"{len(shown) - LISTED} more in the table")
    if rest:
        reach = max((_reach(pair) for pair in rest), default=0.0)
        names = [f"{pair.comparison.first} and {pair.comparison.second}" for pair in rest[:LISTED]]
        more = f" and {len(rest) - LISTED} more" if len(rest) > LISTED else ""
        parts.append(
            f"not told apart {'is' if len(rest) == 1 else 'are'} {', '.join(names)}{more}, which"
            f" does not show that they are equal: differences of up to {reach:.3f} are compatible"
            " with the figures"
            if not found.asks_noninferiority
            else f"unanswered {'is' if len(rest) == 1 else 'are'} {', '.join(names)}{more}"
        )
    return "; ".join(parts)


def _of_margin(found: Compared, pair: Pair) -> str:
    """What non-inferiority shows, in words."""
    first, second = pair.comparison.first, pair.comparison.second
    test, margin = pair.noninferiority, f"the margin of {found.margin:g}"
    assert test is not None
    if test.equivalent:
        return f"they are equivalent within {margin}"
    if test.verdict == "non_inferior":
        return f"{first} is not worse than {second} by {margin} or more"
    if test.verdict == "inferior":
        return f"{first} is worse than {second} by more than {margin}"
    settle = _settling(pair)
    return (
        f"whether {first} is worse than {second} by {found.margin:g} or more is open"
        f"{'; ' + settle if settle else ''}"
    )


def _caveat(found: Compared) -> str:
    """What the figures cannot say, whatever they are."""
    if all(value == 1 for value in found.seeds.values()):
        return (
            "; one table a system, so this is of these trained models and not of the methods that"
            " trained them"
        )
    single = [name for name, value in found.seeds.items() if value == 1]
    if single:
        return (
            f"; of {', '.join(single)} there is one trained model, which is compared, and not how it"
            " was trained"
        )
    return "; the figures speak of examples and training runs like these"


def _settling(pair: Pair) -> str:
    """How many more examples or seeds would do."""
    needed = pair.needed
    if needed is None or needed.power_now is None:
        return ""
    ways = []
    if needed.needed_seeds is not None:
        ways.append(f"{needed.needed_seeds - needed.seeds} more seeds")
    if needed.needed_examples is not None:
        ways.append(f"{needed.needed_examples - needed.n:,} more examples")
    if not ways and needed.needed_both is not None:
        examples, seeds = needed.needed_both
        ways.append(f"{examples:,} examples and {seeds} seeds together")
    if not ways:
        return (
            f"no number of seeds or examples is foreseen to settle it ({needed.note})"
            if (needed.note)
            else ""
        )
    return f"if it is as large as observed, {' or '.join(ways)} would settle it with a chance of {needed.power:.0%}"


def _row(found: Compared, pair: Pair) -> list[str]:
    comparison = pair.comparison
    shown = signed_interval(
        {
            "value": comparison.difference.value,
            "ci": None if comparison.ci is None else list(comparison.ci),
        }
    )
    undefined = comparison.ci is None
    exchange = pair.exchange_adjusted
    return [
        _subtraction(pair),
        shown,
        "" if undefined else f"{comparison.p_value:.2g}",
        "" if undefined else f"{comparison.p_adjusted:.2g}",
        "" if exchange is None else f"{exchange:.2g}",
        _wins(pair),
        _verdict(found, pair),
    ]


def _verdict(found: Compared, pair: Pair) -> str:
    if pair.comparison.ci is None:
        return "undefined"
    if pair.noninferiority is not None:
        words = pair.noninferiority.verdict.replace("_", "-")
        return f"{words}, equivalent" if pair.noninferiority.equivalent else words
    if pair.comparison.is_significant:
        return f"{_ordered(pair)[0]} better"
    return "not told apart"


def _details(found: Compared) -> list[str]:
    """The tests without distribution and what would settle an open pair, a line each."""
    lines = []
    for pair in found.pairs:
        settle = _settling(pair)
        if not pair.is_settled and settle:
            lines.append(f"{_subtraction(pair)}: {settle}")
    said = {pair.exchange.note: None for pair in found.pairs if pair.exchange is not None}
    lines += [f"exchange p: {note}" for note in said if note]
    units = {pair.exchange.unit for pair in found.pairs if pair.exchange is not None}
    if units:
        lines.append(
            f"exchange p: which system made which prediction is exchanged, by {' or '.join(sorted(units))};"
            " Holm over all pairs"
        )
    return lines


def _wins(pair: Pair) -> str:
    if not pair.wins:
        return ""
    first = "/".join(str(one.only_a) for one in pair.wins[:3])
    second = "/".join(str(one.only_b) for one in pair.wins[:3])
    more = "/..." if len(pair.wins) > 3 else ""
    return f"{first}{more} to {second}{more} of {pair.wins[0].n}"


def _figures(found: Compared, pair: Pair) -> str:
    """The difference, its interval, its level and its p-value."""
    comparison = pair.comparison
    level = f"{found.confidence:.0%} interval"
    if len(found.pairs) > 1:
        level += ", corrected"
    if pair.noninferiority is not None:
        return f"{_interval(pair)} ({level})"
    return f"{_interval(pair)} ({level}, p = {comparison.p_adjusted:.2g})"


def _interval(pair: Pair) -> str:
    ci = pair.comparison.ci
    return signed_interval(
        {"value": pair.comparison.difference.value, "ci": None if ci is None else list(ci)}
    )


def _gain(pair: Pair) -> str:
    """How far the better system is ahead, with its interval, positive whatever the metric."""
    comparison = pair.comparison
    value = comparison.difference.value or 0.0
    low, high = comparison.ci or (value, value)
    if value < 0:
        value, low, high = -value, -high, -low
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _ordered(pair: Pair) -> tuple[str, str]:
    """The better system, and the other."""
    names = pair.comparison.first, pair.comparison.second
    return names if (pair.comparison.difference.improvement or 0.0) > 0 else names[::-1]


def _reach(pair: Pair) -> float:
    """The largest difference, either way, that the interval holds."""
    return max((abs(end) for end in pair.comparison.ci or ()), default=0.0)


def _subtraction(pair: Pair) -> str:
    return f"{pair.comparison.first} - {pair.comparison.second}"


def _rows(found: Compared) -> str:
    unit = "queries" if found.kind == "ranking" else "examples"
    size = found.pairs[0].comparison.difference.n
    return f"{size:,} {found.split + ' ' if found.split else ''}{unit}"


def _seeds(found: Compared) -> str:
    return _counted([pair.comparison.difference.seeds for pair in found.pairs])


def _counted(seeds: Sequence[int]) -> str:
    low, high = min(seeds), max(seeds)
    if low == high:
        return "one seed" if low == 1 else f"{low} seeds"
    return f"{low} to {high} seeds"
