"""Adaptation methods: which leaves train, what is added to the network, and how it acts."""

from jaxtransfer.adapt.adapted import Adapted, adapt, merge
from jaxtransfer.adapt.bottleneck import Bottleneck
from jaxtransfer.adapt.compose import Compose
from jaxtransfer.adapt.freezing import LPFT, BitFit, Full, LinearProbe, TopStages
from jaxtransfer.adapt.lora import LoRA
from jaxtransfer.adapt.method import Method, from_description, names

__all__ = [
    "LPFT",
    "Adapted",
    "BitFit",
    "Bottleneck",
    "Compose",
    "Full",
    "LinearProbe",
    "LoRA",
    "Method",
    "TopStages",
    "adapt",
    "from_description",
    "merge",
    "names",
]
