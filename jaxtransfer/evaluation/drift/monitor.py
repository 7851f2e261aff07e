"""The monitor: fitted once on a reference, then shown batch after batch.

Each look compares its batch with all rows before it, one kind of drift at a time, and adds to that
kind's evidence; the chance that any kind ever alarms without drift is at most the declared one,
over any number of looks.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from jaxtransfer.errors import EvaluationError, nearest
from jaxtransfer.evaluation.drift.batches import INPUT, Batch
from jaxtransfer.evaluation.drift.diagnosis import diagnose
from jaxtransfer.evaluation.drift.finding import Finding, Look
from jaxtransfer.evaluation.drift.performance import performance
from jaxtransfer.evaluation.drift.sequential import Evidence, average, e_value
from jaxtransfer.evaluation.drift.two_sample import TwoSample
from jaxtransfer.evaluation.drift.views import KINDS, WEIGHTS, Effort, View, compare, fit_view, pair

FEWEST_REFERENCE = 50
FEWEST_BATCH = 10
FEWEST_KEPT = 1000
FITTING = 1 / 3
"""Share of the reference that fits the views."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What the monitor declares and how much it computes.

    Attributes:
      false_alarms: the chance that any kind ever alarms without drift, at most.
      effort: permutations and rows of a look.
      keep: at most so many rows are kept for later looks; beyond it a random part of them.
      seed: of all that is drawn.
    """

    false_alarms: float = 0.05
    effort: Effort = dataclasses.field(default_factory=Effort)
    keep: int = 20_000
    seed: int = 0

    def __post_init__(self):
        if not 0 < self.false_alarms < 1:
            raise EvaluationError(
                f"the rate of false alarms {self.false_alarms} is not between 0 and 1, as 0.05 is"
            )
        if self.seed < 0:
            raise EvaluationError(f"seed {self.seed} is negative; give 0 or more")
        if self.keep < FEWEST_KEPT:
            raise EvaluationError(
                f"keep = {self.keep} rows are too few; keep at least {FEWEST_KEPT}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Rows seen so far, as the views have them.

    Attributes:
      numbers: kind to (n, d), of features, inputs and confidence.
      predicted: (n,) predicted classes.
      look: (n,) the look each came with; 0 is the reference.
    """

    numbers: Mapping[str, Float[np.ndarray, "n d"]]
    predicted: Int[np.ndarray, "n"]
    look: Int[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.look)

    def take(self, indices: np.ndarray) -> "Rows":
        """Some of the rows, by indices or a mask."""
        return Rows(
            numbers={kind: rows[indices] for kind, rows in self.numbers.items()},
            predicted=self.predicted[indices],
            look=self.look[indices],
        )

    def of(self, kind: str) -> np.ndarray:
        """What is compared for a kind."""
        return self.predicted if kind == "labels" else self.numbers[kind]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Monitor:
    """A fitted monitor and all it has seen; `check` gives the next one.

    Attributes:
      settings: what it declares.
      classes: names of the classes; empty without logits.
      inputs: names of the input statistics.
      views: kind to view, of those of features, inputs and confidence that the reference has.
      rows: two thirds of the reference, and the batches of the looks.
      labels: (n,) of the whole reference, or None.
      predicted: (n,) predicted classes of the whole reference.
      confidence: (n,) of the whole reference; empty without logits.
      looks: so far.
    """

    settings: Settings
    classes: tuple[str, ...]
    inputs: tuple[str, ...]
    views: Mapping[str, View]
    rows: Rows
    labels: Int[np.ndarray, "n"] | None
    predicted: Int[np.ndarray, "n"]
    confidence: Float[np.ndarray, "n"]
    looks: tuple[Look, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of drift that are watched."""
        return tuple(k for k in KINDS if k in self.views or (k == "labels" and self.classes))

    @property
    def limit(self) -> float:
        """The logarithm of the evidence at which a kind alarms: each has an equal share of alpha."""
        return -float(np.log(self.settings.false_alarms / len(self.kinds)))

    def evidence(self, kind: str) -> Evidence:
        """The evidence of a kind after the looks so far."""
        return Evidence(log_e=tuple(float(np.log(look.e[kind])) for look in self.looks))

    @property
    def alarms(self) -> dict[str, int]:
        """Kind to the look at which it first alarmed."""
        share = self.settings.false_alarms / len(self.kinds)
        found = {kind: self.evidence(kind).alarm(share) for kind in self.kinds}
        return {kind: look for kind, look in found.items() if look is not None}

    def check(self, batch: Batch) -> tuple["Monitor", Finding]:
        """Looks at one batch; the same content again is not counted again.

        Returns:
          The monitor after the look, and what it says.

        Raises:
          EvaluationError: if the batch has other columns, classes or widths than the reference, or
            too few rows.
        """
        self._check_columns(batch)
        digest = batch.digest
        seen = next((look for look in self.looks if look.digest == digest), None)
        if seen is not None:
            return self, self._finding(seen, batch, repeated=True)
        number = len(self.looks) + 1
        rng = np.random.default_rng([self.settings.seed, number])
        new = view_rows(self.views, batch, number)
        tests, e = self.compare(new, self.rows, rng), {}
        for kind, found in tests.items():
            e[kind] = average(
                [e_value(test.p, test.permutations) for test in found],
                [WEIGHTS[kind][test.name] for test in found],
            )
        look = Look(
            number=number, source=batch.source, digest=digest, rows=len(batch), tests=tests, e=e
        )
        after = dataclasses.replace(
            self,
            looks=(*self.looks, look),
            rows=_joined(self.rows, new, self.settings.keep, rng),
        )
        return after, after._finding(look, batch, repeated=False)

    def compare(
        self, new: Rows, old: Rows, rng: np.random.Generator
    ) -> dict[str, tuple[TwoSample, ...]]:
        """The tests of each kind between some rows and others, by kind."""
        effort = self.settings.effort
        pairing = pair(len(new), len(old), effort, rng)
        return {
            kind: tuple(
                compare(
                    kind,
                    self.views.get(kind),
                    new.of(kind),
                    old.of(kind),
                    pairing,
                    classes=len(self.classes),
                    effort=effort,
                    rng=rng,
                )
            )
            for kind in self.kinds
        }

    def _finding(self, look: Look, batch: Batch, *, repeated: bool) -> Finding:
        alarms = self.alarms
        measured = None
        if self.labels is not None and batch.labels is not None:
            measured = performance(
                self.confidence, self.predicted == self.labels, batch.confidence,
                batch.predicted == batch.labels,
            )  # fmt: skip
        found, advice, reasons = diagnose(self, alarms)
        if measured is not None:
            reasons = (*reasons, str(measured))
        return Finding(
            look=look,
            repeated=repeated,
            evidence={kind: self.evidence(kind).path[-1] for kind in self.kinds},
            limit=self.limit,
            alarms=alarms,
            advice=advice,
            reasons=reasons,
            diagnosis=found,
            performance=measured,
            false_alarms=self.settings.false_alarms,
        )

    def _check_columns(self, batch: Batch) -> None:
        what = f"{batch.source}: "
        if len(batch) < FEWEST_BATCH:
            raise EvaluationError(
                f"{what}{len(batch)} rows are too few for a look; gather at least {FEWEST_BATCH}"
            )
        width = self.views["features"].scale.size if "features" in self.views else None
        theirs = None if batch.features is None else batch.features.shape[1]
        if width != theirs:
            raise EvaluationError(
                f"{what}column 'features' has {_count(theirs)}, the reference's {_count(width)}"
            )
        if self.classes != batch.classes:
            raise EvaluationError(
                f"{what}column 'logits' has the classes {list(batch.classes)}, the reference's"
                f" {list(self.classes)}"
            )
        for name in self.inputs:
            if name not in batch.inputs:
                raise EvaluationError(
                    f"{what}column '{INPUT}{name}' is missing, which the reference has; nearest:"
                    f" {nearest(name, batch.inputs)}"
                )
        for name in batch.inputs:
            if name not in self.inputs:
                raise EvaluationError(
                    f"{what}column '{INPUT}{name}' is not in the reference; leave it out or fit"
                    " the monitor anew"
                )


def _count(width: int | None) -> str:
    return "no columns" if width is None else f"{width} columns"


def fit(reference: Batch, settings: Settings | None = None) -> Monitor:
    """Fits a monitor on a reference: examples like those to come, which trained nothing.

    A random third fits the views; the first look is compared with the rest.

    Args:
      reference: at least 50 rows; with labels, label shift is told apart better.
      settings: the declared rate of false alarms, and the effort.

    Raises:
      EvaluationError: if there are too few rows, or most of them are equal.
    """
    settings = settings or Settings()
    if len(reference) < FEWEST_REFERENCE:
        raise EvaluationError(
            f"{reference.source}: {len(reference)} rows are too few for a reference; give at least"
            f" {FEWEST_REFERENCE}, better a thousand"
        )
    rng = np.random.default_rng([settings.seed, 0])
    # Not stratified: given the views, the rest must be as random as the batches to come.
    order = rng.permutation(len(reference))
    cut = round(len(reference) * FITTING)
    fitting, baseline = reference.take(order[:cut]), reference.take(order[cut:])
    names = {
        "features": reference.features is not None,
        "inputs": bool(reference.inputs),
        "confidence": reference.logits is not None,
    }
    try:
        views = {kind: fit_view(kind, fitting) for kind, there in names.items() if there}
    except EvaluationError as error:
        raise EvaluationError(f"{reference.source}: {error}") from error
    rows = view_rows(views, baseline, 0)
    return Monitor(
        settings=settings,
        classes=reference.classes,
        inputs=tuple(reference.inputs),
        views=views,
        rows=_joined(rows.take(np.arange(0)), rows, settings.keep, rng),
        labels=reference.labels,
        predicted=reference.predicted,
        confidence=np.zeros(0) if reference.logits is None else reference.confidence,
    )


def view_rows(views: Mapping[str, View], batch: Batch, look: int) -> Rows:
    """A batch as the views have it, in float32, which is how it is kept."""
    return Rows(
        numbers={kind: view.of(kind, batch).astype(np.float32) for kind, view in views.items()},
        predicted=batch.predicted,
        look=np.full(len(batch), look),
    )


def _joined(old: Rows, new: Rows, keep: int, rng: np.random.Generator) -> Rows:
    """Old and new rows; beyond `keep`, a random part of them all.

    The part is drawn without regard to which rows are new, as the independence of looks requires.
    """
    rows = Rows(
        numbers={
            kind: np.concatenate([old.numbers[kind], new.numbers[kind]]) for kind in new.numbers
        },
        predicted=np.concatenate([old.predicted, new.predicted]),
        look=np.concatenate([old.look, new.look]),
    )
    if len(rows) <= keep:
        return rows
    return rows.take(np.sort(rng.choice(len(rows), keep, replace=False)))
