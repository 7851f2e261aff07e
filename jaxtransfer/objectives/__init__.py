"""Losses as sums of named terms over named streams of examples."""

from jaxtransfer.objectives.alignment import coral
from jaxtransfer.objectives.regularise import l2_sp
from jaxtransfer.objectives.schedules import LinearRamp, SigmoidRamp
from jaxtransfer.objectives.supervised import cross_entropy
from jaxtransfer.objectives.terms import Context, Objective, Term

__all__ = [
    "Context",
    "LinearRamp",
    "Objective",
    "SigmoidRamp",
    "Term",
    "coral",
    "cross_entropy",
    "l2_sp",
]
