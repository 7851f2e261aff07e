"""What one look found, and what a check says of it: the records that files and reports hold."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from jaxtransfer.evaluation.drift.diagnosis import Diagnosis
from jaxtransfer.evaluation.drift.performance import Performance
from jaxtransfer.evaluation.drift.two_sample import TwoSample


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """What one look found.

    Attributes:
      number: counted from 1.
      source: where its batch came from.
      digest: SHA-256 of the batch.
      rows: of the batch.
      tests: kind to its tests.
      e: kind to the e-value of this look.
    """

    number: int
    source: str
    digest: str
    rows: int
    tests: Mapping[str, tuple[TwoSample, ...]]
    e: Mapping[str, float]

    def to_json(self) -> dict:
        """Plain values, from which `from_json` makes it again."""
        plain = dataclasses.asdict(self)
        plain["tests"] = {
            kind: [test.to_json() for test in tests] for kind, tests in self.tests.items()
        }
        return plain

    @classmethod
    def from_json(cls, plain: Mapping) -> "Look":
        """The look that `to_json` has written."""
        tests = {
            kind: tuple(TwoSample(**test) for test in tests)
            for kind, tests in plain["tests"].items()
        }
        return cls(**{**plain, "tests": tests})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check says.

    Attributes:
      look: the look of this batch.
      repeated: this content had been checked before, and was not counted again.
      evidence: kind to the natural logarithm of its evidence after this look.
      limit: the natural logarithm at which a kind alarms.
      alarms: kind to the look it alarmed at; once alarmed, a kind stays so until a new fit.
      advice: nothing, recalibrate, refit the probe, or re-adapt.
      reasons: the evidence in words and numbers.
      diagnosis: what has moved and by how much; None without an alarm.
      performance: accuracy and calibration of this batch, if it has labels and the reference too.
      false_alarms: the declared rate.
    """

    look: Look
    repeated: bool
    evidence: Mapping[str, float]
    limit: float
    alarms: Mapping[str, int]
    advice: str
    reasons: tuple[str, ...]
    diagnosis: Diagnosis | None
    performance: Performance | None
    false_alarms: float

    @property
    def alarmed(self) -> bool:
        """Whether any kind has alarmed, at this look or before."""
        return bool(self.alarms)

    def to_json(self) -> dict:
        """Plain values."""
        return {
            "look": self.look.to_json(),
            "repeated": self.repeated,
            "log_evidence": dict(self.evidence),
            "log_evidence_limit": self.limit,
            "alarms": dict(self.alarms),
            "advice": self.advice,
            "reasons": list(self.reasons),
            "diagnosis": None if self.diagnosis is None else self.diagnosis.to_json(),
            "performance": None if self.performance is None else self.performance.to_json(),
            "false_alarms": self.false_alarms,
        }

    def __str__(self):
        head = f"look {self.look.number} ({self.look.source}, {self.look.rows} rows)"
        if self.repeated:
            head += ": checked before, not counted again"
        state = ", ".join(
            f"{kind} {np.exp(min(value, 700)):.3g}{' ALARM' * (kind in self.alarms)}"
            for kind, value in self.evidence.items()
        )
        lines = [head, f"  evidence (alarm at {np.exp(self.limit):.4g}): {state}"]
        return "\n".join([*lines, f"  advice: {self.advice}", *(f"  - {r}" for r in self.reasons)])
