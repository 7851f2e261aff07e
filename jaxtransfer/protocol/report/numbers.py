"""Numbers of a record as text, with true minus signs, and the measured values of a rung."""

from collections.abc import Mapping, Sequence
from typing import Any

MISSING = "–"
_METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "weighted_f1": "weighted F1",
    "auroc_ovr_macro": "AUROC",
    "nll": "negative log-likelihood",
    "brier": "Brier score",
    "ece": "ECE",
    "ece_perfect": "ECE if calibrated",
    "smooth_ece": "smooth ECE",
    "smooth_ece_perfect": "smooth ECE if calibrated",
}


def metric_title(name: str) -> str:
    """How a metric is called in prose.

    >>> metric_title("macro_f1")
    'macro-F1'
    """
    return _METRICS.get(name, name.replace("_", " "))


def share(value: float | None) -> str:
    """A metric's value, to three decimals.

    >>> share(0.9137)
    '0.914'
    """
    return MISSING if value is None else f"{value:.3f}".replace("-", "−")


def signed(value: float | None) -> str:
    """A difference, to three decimals with its sign.

    >>> signed(-0.02)
    '−0.020'
    """
    return MISSING if value is None else f"{value:+.3f}".replace("-", "−")


def interval(ci: Sequence[float] | None, form: Any = share) -> str:
    """An interval in brackets; empty if there is none.

    >>> interval((0.89, 0.94))
    '[0.890, 0.940]'
    """
    return "" if ci is None else f"[{form(ci[0])}, {form(ci[1])}]"


def probability(value: float | None) -> str:
    """A p-value.

    >>> probability(0.00002), probability(0.0312)
    ('< 0.001', '0.031')
    """
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def likely(probability: float) -> str:
    """A probability in per cent; none is certain that was estimated by resampling.

    >>> likely(0.993), likely(1.0), likely(0.0)
    ('99 %', '> 99 %', '< 1 %')
    """
    if probability > 0.995:
        return "> 99 %"
    return "< 1 %" if probability < 0.005 else f"{100 * probability:.0f} %"


def count(value: float | None) -> str:
    """A whole number with separators.

    >>> count(22713216)
    '22,713,216'
    """
    return MISSING if value is None else f"{value:,.0f}"


def compact(value: float | None, unit: str = "") -> str:
    """A large number in three digits and a prefix.

    >>> compact(147456), compact(1.25e9, "FLOP"), compact(0)
    ('147 k', '1.25 GFLOP', '0')
    """
    if value is None:
        return MISSING
    for size, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{_digits(value / size)} {prefix}{unit}"
    return f"{_digits(value)} {unit}".rstrip()


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"


def seconds(value: float | None) -> str:
    """A duration.

    >>> seconds(4.31), seconds(252.0)
    ('4.3 s', '4 min 12 s')
    """
    if value is None:
        return MISSING
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def measured(
    rung: Mapping[str, Any], split: str, metric: str
) -> tuple[float | None, Sequence[float] | None]:
    """Value and interval of a rung's metric on a split; None where the record has none."""
    entry = rung["metrics"].get(split, {}).get(metric, {})
    return entry.get("value"), entry.get("ci")
