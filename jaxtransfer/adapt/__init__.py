"""Adaptation methods: which leaves train, what is added to the network, and how that acts and merges."""

from jaxtransfer.adapt.adapted import Adapted, adapt, merge
from jaxtransfer.adapt.compose import Compose
from jaxtransfer.adapt.freezing import LPFT, BitFit, Full, LinearProbe, TopStages
from jaxtransfer.adapt.method import Method, from_description, names

__all__ = [
    "LPFT",
    "Adapted",
    "BitFit",
    "Compose",
    "Full",
    "LinearProbe",
    "Method",
    "TopStages",
    "adapt",
    "from_description",
    "merge",
    "names",
]
