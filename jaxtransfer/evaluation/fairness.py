"""Gaps between groups: demographic parity and equalised odds.

The largest of several noisy differences is not 0 when all groups are in truth equal, so each gap
stands beside the value expected then.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.intervals import check_confidence, chunks, cut
from jaxtransfer.evaluation.rates import group_column, positive_classes
from jaxtransfer.evaluation.table import Predictions

MACRO = "macro"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gap:
    """How far groups are apart in a rate.

    Attributes:
      name: `demographic_parity` (of selection rates), `equal_opportunity` (of true-positive rates),
        `false_positive_rate`, or `equalised_odds` (the larger of the last two).
      label: the positive class, or `macro`: the mean over the classes whose gap is defined.
      value: largest minus smallest rate over groups; None where fewer than two groups have one.
      ratio: smallest over largest rate (for `equalised_odds` the smaller of two ratios); None for
        `macro`, where all rates are 0, and where the gap is.
      ci: interval of the gap, from a bootstrap within groups.
      expected: mean of the gap when no group differs: the upward bias of a maximum.
      p_value: share of simulations without a difference whose gap is as large.
      groups: names of the groups compared; for `macro`, of those compared for a class at least.
      left_out: groups that are not, and why; for `macro`, those left out for some class.
      definition: what exactly was computed.
      undefined: why there is no value.
    """

    name: str
    label: str
    value: float | None
    ratio: float | None
    ci: tuple[float, float] | None
    expected: float | None
    p_value: float | None
    groups: tuple[str, ...]
    left_out: Mapping[str, str]
    definition: str
    undefined: str | None = None

    def __str__(self) -> str:
        alone = f"{', '.join(self.left_out)}{' for some class' if self.label == MACRO else ''}"
        without = f"; without {alone}" if self.left_out else ""
        head = f"{self.name} ({self.label})"
        if self.value is None:
            return f"{head} undefined: {self.undefined}{without}"
        ci = f" [{self.ci[0]:.3f}, {self.ci[1]:.3f}]" if self.ci else ""
        null = "" if self.expected is None else f", {self.expected:.3f} expected of equal groups"
        p_value = "" if self.p_value is None else f" (p={self.p_value:.3g})"
        return f"{head} {self.value:.3f}{ci}{null}{p_value}, {len(self.groups)} groups{without}"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values; `undefined` is there only where something is."""
        document = {
            **dataclasses.asdict(self),
            "ci": self.ci and list(self.ci),
            "groups": list(self.groups),
            "left_out": dict(self.left_out),
        }
        if self.undefined is None:
            del document["undefined"]
        return document


TEXTS = {
    "demographic_parity": "largest minus smallest selection rate over groups",
    "equal_opportunity": "largest minus smallest true-positive rate over groups",
    "false_positive_rate": "largest minus smallest false-positive rate over groups",
    "equalised_odds": "the larger of the gaps in true-positive and in false-positive rate",
}
_INTERVAL = (
    "interval: simultaneous over pairs of groups, bootstrapped within groups{strata}, each group's"
    " shares drawn towards the pooled ones by one example; expected and p-value: groups permuted"
    " among{null} examples"
)


def gaps(
    table: Predictions,
    column: str,
    *,
    positive: str | None = None,
    minimum: int = 10,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = 1000,
) -> tuple[Gap, ...]:
    """Demographic-parity and equalised-odds gaps between the groups of a column.

    Demographic parity (Calders et al. 2009) compares selection rates; equal opportunity and
    equalised odds (Hardt et al. 2016) compare true-positive rates, and false-positive rates too.
    Without a positive class each class is taken against the rest in turn, and with more than two
    `macro` is the mean over classes. A p-value is that of one gap alone.

    The bootstrap resamples within groups, for rates given the label within group and label. A gap
    errs by no more than the largest error of a difference of two groups, whichever pair is largest
    in truth; so the interval is the gap and, on either side, the quantile over the bootstrap of the
    gap between the groups' errors. It covers at least as often as it claims, which intervals from
    the quantiles of the gap itself do not, since those are biased twice. Without a difference,
    groups are exchangeable: among all examples for demographic parity, among those of equal label
    for the others, so that groups may differ in their labels.

    Args:
      table: predictions of a classification task.
      column: name of the group column.
      positive: name of the positive class; None means each in turn.
      minimum: smallest denominator of a rate that is compared; groups below it are named in
        `left_out`. 1 compares every rate that is defined.
      confidence: nominal coverage.
      seed: of bootstrap and permutations.
      replicates: of either; 0 gives values alone.

    Raises:
      EvaluationError: if the column or the class is unknown, or `minimum` is below 1.
    """
    check_confidence(confidence)
    if table.kind != "classification":
        raise EvaluationError(
            f"{table.source}: gaps compare predicted classes, and this table is of {table.kind}"
        )
    if minimum < 1:
        raise EvaluationError(f"minimum {minimum}: a rate needs at least 1 example")
    members, index = np.unique(group_column(table, column), return_inverse=True)
    names = [str(name) for name in members]
    counts = _counts(table, index, len(names))
    compared = _compared(counts, minimum)
    keys = _keys(table, positive)
    observed = _gaps(_rates(counts[None], counts), compared, keys)
    # A group whose shares are all 0 or 1 would not vary at all: pooled shares make it.
    pooled = counts.sum(axis=0, keepdims=True)
    shrunk = _shares(counts + _shares(pooled, axis=2), axis=2)
    selected = _shares(counts.sum(axis=1) + _shares(pooled.sum(axis=1), axis=1), axis=1)
    labelled = counts.sum(axis=2, keepdims=True)
    center = (selected[None], *_rates((labelled * shrunk)[None], counts)[1:])
    rng = np.random.default_rng(seed)
    bootstrap: dict[Key, list[np.ndarray]] = {key: [] for key in keys}
    equal: dict[Key, list[np.ndarray]] = {key: [] for key in keys}
    for size in chunks(replicates, counts.size):
        drawn = _within_groups(rng, counts, selected, shrunk, size)
        errors = (drawn[0] - center[0], drawn[1] - center[1], drawn[2] - center[2])
        for into, rates in ((bootstrap, errors), (equal, _permuted(rng, counts, size))):
            for key, values in _gaps(rates, compared, keys).items():
                into[key].append(values)
    found = []
    for key in keys:
        name, label = key
        value = float(observed[key][0])
        defined = np.isfinite(value)
        ci = expected = p_value = None
        if defined and replicates:
            half = float(np.quantile(np.concatenate(bootstrap[key]), confidence))
            ci = cut((value - half, value + half), (0.0, 1.0))
            simulated = np.concatenate(equal[key])
            expected = float(simulated.mean())
            p_value = float((1 + (simulated >= value - 1e-12).sum()) / (1 + replicates))
        kept, left_out = _left_out(counts, compared, key, names, table.classes, minimum)
        given = name != "demographic_parity"
        found.append(
            Gap(
                name=name,
                label=MACRO if label is None else table.classes[label],
                value=value if defined else None,
                ratio=_ratio(_rates(counts[None], counts), compared, key) if defined else None,
                ci=ci,
                expected=expected,
                p_value=p_value,
                groups=kept,
                left_out=left_out,
                definition=f"{TEXTS[name]}; "
                + _INTERVAL.format(
                    strata=" and labels" if given else "", null=" equally labelled" if given else ""
                ),
                undefined=None
                if defined
                else f"{len(kept)} of {len(names)} groups have {minimum} examples to compare",
            )
        )
    return tuple(found)


Key = tuple[str, int | None]
"""Name of a gap, and the positive class, None for the mean over classes."""


def _keys(table: Predictions, positive: str | None) -> list[Key]:
    labels: list[int | None] = [*positive_classes(table, positive)]
    return [(name, label) for label in labels + [None] * (len(labels) > 2) for name in TEXTS]


def _counts(table: Predictions, index: np.ndarray, groups: int) -> Int[np.ndarray, "g k k"]:
    """Examples by group, label and prediction."""
    k = len(table.classes)
    cells = (index.ravel() * k + table.labels) * k + table.predicted
    return np.bincount(cells, minlength=groups * k * k).reshape(groups, k, k)


def _shares(counts: np.ndarray, axis: int) -> np.ndarray:
    total = counts.sum(axis=axis, keepdims=True)
    return np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)


Rates = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Selection, true-positive and false-positive rates, each (r, groups, classes)."""


def _rates(cells: Float[np.ndarray, "r g k k"], counts: Int[np.ndarray, "g k k"]) -> Rates:
    """The rates of tables whose sizes of groups, and of labels in them, are those of `counts`."""
    total = counts.sum(axis=(1, 2))[:, None]
    labelled = counts.sum(axis=2)
    hits = np.diagonal(cells, axis1=2, axis2=3)
    selected = cells.sum(axis=2)
    return (
        selected / np.maximum(total, 1),
        hits / np.maximum(labelled, 1),
        (selected - hits) / np.maximum(total - labelled, 1),
    )


def _within_groups(
    rng: np.random.Generator,
    counts: np.ndarray,
    selected: np.ndarray,
    shrunk: np.ndarray,
    size: int,
) -> Rates:
    """Rates of bootstrap samples: of each group's predictions, and of those given the label."""
    total = counts.sum(axis=(1, 2))
    selection = rng.multinomial(total, selected, size=(size, len(total))) / total[:, None]
    labelled = counts.sum(axis=2)
    cells = rng.multinomial(labelled, shrunk, size=(size, *labelled.shape))
    return selection, *_rates(cells, counts)[1:]


def _permuted(rng: np.random.Generator, counts: np.ndarray, size: int) -> Rates:
    """Rates when groups are permuted: among all examples, and among those of equal label."""
    total = counts.sum(axis=(1, 2))
    selection = _permuted_table(rng, total, counts.sum(axis=(0, 1)), size) / total[:, None]
    cells = np.zeros((size, *counts.shape))
    for label in range(counts.shape[1]):
        table = counts[:, label]
        cells[:, :, label] = _permuted_table(rng, table.sum(axis=1), table.sum(axis=0), size)
    return selection, *_rates(cells, counts)[1:]


def _permuted_table(
    rng: np.random.Generator, rows: np.ndarray, columns: np.ndarray, size: int
) -> Float[np.ndarray, "size r c"]:
    """Contingency tables of these margins, as a permutation gives them."""
    from scipy.stats import random_table

    tables = np.zeros((size, len(rows), len(columns)))
    kept, across = np.flatnonzero(rows), np.flatnonzero(columns)
    if len(kept) < 2 or len(across) < 2:
        # One of the margins is the table; scipy does not draw such tables rightly.
        tables[:] = np.outer(rows, columns) / max(1, rows.sum())
        return tables
    drawn = random_table(rows[kept], columns[across]).rvs(size, random_state=rng)
    tables[np.ix_(np.arange(size), kept, across)] = drawn.reshape(size, len(kept), len(across))
    return tables


def _compared(counts: np.ndarray, minimum: int) -> Rates:
    """Which denominators suffice: (groups, classes) of each of the three rates."""
    labelled = counts.sum(axis=2)
    total = np.broadcast_to(counts.sum(axis=(1, 2))[:, None], labelled.shape)
    return total >= minimum, labelled >= minimum, total - labelled >= minimum


def _gap(rates: Float[np.ndarray, "r g"], compared: np.ndarray) -> Float[np.ndarray, "r"]:
    if compared.sum() < 2:
        return np.full(len(rates), np.nan)
    return np.ptp(rates[:, compared], axis=1)


def _gaps(rates: Rates, compared: Rates, keys: list[Key]) -> dict[Key, np.ndarray]:
    """Each gap of r tables, (r,); NaN where it is undefined."""
    found: dict[Key, np.ndarray] = {}
    for positive in {label for _, label in keys if label is not None}:
        single = [
            _gap(rate[:, :, positive], mask[:, positive]) for rate, mask in zip(rates, compared)
        ]
        for name, gap in zip(TEXTS, (*single, np.maximum(single[1], single[2]))):
            found[name, positive] = gap
    for name, label in keys:
        if label is None:
            gaps_of_classes = [gap for (other, _), gap in found.items() if other == name]
            defined = [gap for gap in gaps_of_classes if np.isfinite(gap[0])]
            undefined = np.full(len(rates[0]), np.nan)
            found[name, None] = np.mean(defined, axis=0) if defined else undefined
    return found


def _parts(key: Key) -> tuple[int, ...]:
    """Which of the three rates a gap is about."""
    return {"demographic_parity": (0,), "equal_opportunity": (1,), "false_positive_rate": (2,)}.get(
        key[0], (1, 2)
    )


def _ratio(rates: Rates, compared: Rates, key: Key) -> float | None:
    label = key[1]
    if label is None:
        return None
    ratios = []
    for part in _parts(key):
        values = rates[part][0, compared[part][:, label], label]
        if values.max() == 0:
            return None
        ratios.append(float(values.min() / values.max()))
    return min(ratios)


def _left_out(
    counts: np.ndarray,
    compared: Rates,
    key: Key,
    names: list[str],
    classes: tuple[str, ...],
    minimum: int,
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The groups that a gap compares, for one class at least, and those left out, with reasons."""
    labelled = counts.sum(axis=2)
    total = labelled.sum(axis=1)
    chosen = list(range(len(classes))) if key[1] is None else [key[1]]
    reasons: dict[str, dict[str, None]] = {}
    kept = np.zeros(len(names), bool)
    for label in chosen:
        full = np.ones(len(names), bool)
        for part in _parts(key):
            sizes = (total, labelled[:, label], total - labelled[:, label])[part]
            what = ("examples", f"of class {classes[label]!r}", f"not of class {classes[label]!r}")
            for group in np.flatnonzero(~compared[part][:, label]):
                reason = f"{sizes[group]} {what[part]}, fewer than {minimum}"
                reasons.setdefault(names[group], {})[reason] = None
                full[group] = False
        kept |= full
    groups = tuple(name for name, keep in zip(names, kept) if keep)
    return groups, {name: "; ".join(listed) for name, listed in reasons.items()}
