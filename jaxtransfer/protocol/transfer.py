"""Did pretraining help? The chosen rung against the same network that starts from random weights, on the test split."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtransfer.protocol.acceptance import AcceptanceSettings
from jaxtransfer.protocol.decision import Comparison, Tables, compare_family

HELPED, HURT, OPEN = "helped", "hurt", "not distinguishable"
UNDEFINED = "undefined"


def measure_transfer(
    tables: Tables,
    chosen: str,
    references: Sequence[str],
    rule: AcceptanceSettings,
    *,
    untested: str | None = None,
) -> dict[str, Any]:
    """Compares the chosen rung with every reference, as a two-sided family of its own under Holm's correction.

    Args:
      tables: rung to its tables of the test split.
      chosen: the chosen rung.
      references: rungs that start from random weights.
      rule: metric and confidence.
      untested: why nothing is compared, if so.

    Returns:
      `chosen`, `split`, `against` (an entry a reference, with `verdict`), and `sentence`.
    """
    if untested is not None or not references:
        reason = untested or "no rung starts from random weights"
        return {
            "chosen": chosen,
            "split": "test",
            "against": [],
            "sentence": f"Negative transfer was not tested: {reason}.",
        }
    pairs = [(chosen, reference) for reference in references]
    found = compare_family(tables, pairs, rule, two_sided=True)
    against = [{"reference": item.second, **_entry(item)} for item in found]
    return {
        "chosen": chosen,
        "split": "test",
        "against": against,
        "sentence": _sentence(chosen, against, rule.metric),
    }


def _entry(item: Comparison) -> dict[str, Any]:
    document = item.to_json()
    document.pop("incumbent")
    verdict = UNDEFINED if item.ci is None else OPEN
    if item.is_significant:
        verdict = HELPED if (item.difference.improvement or 0.0) > 0 else HURT
    return {**document, "verdict": verdict}


def _sentence(chosen: str, against: Sequence[Mapping[str, Any]], metric: str) -> str:
    said = {
        HELPED: f"pretraining helped: {chosen} is better than",
        HURT: f"negative transfer: {chosen} is worse than",
        OPEN: f"{chosen} cannot be told from",
        UNDEFINED: f"undefined for {chosen} against",
    }
    parts = []
    for one in against:
        figures = ""
        if one["ci"] is not None:
            low, high = one["ci"]
            figures = f" by {one['value']:+.3f} [{low:+.3f}, {high:+.3f}]"
        parts.append(f"{said[one['verdict']]} {one['reference']}{figures}")
    text = f"In test {metric} (corrected for {len(against)}), {'; '.join(parts)}."
    return text
