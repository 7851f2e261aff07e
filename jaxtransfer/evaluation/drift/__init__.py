"""Drift: a monitor fitted on reference features, logits and inputs, and looked at again and again.

`fit` makes a monitor of a reference `Batch`; `Monitor.check` looks at one more batch and says which
kind of drift the evidence shows, at a declared rate of false alarms over all looks.
"""

from jaxtransfer.evaluation.drift.batches import Batch
from jaxtransfer.evaluation.drift.label_shift import estimate_shares
from jaxtransfer.evaluation.drift.monitor import Finding, Monitor, Settings, fit
from jaxtransfer.evaluation.drift.storage import load, save
from jaxtransfer.evaluation.drift.views import Effort

__all__ = [
    "Batch",
    "Effort",
    "Finding",
    "Monitor",
    "Settings",
    "estimate_shares",
    "fit",
    "load",
    "save",
]
