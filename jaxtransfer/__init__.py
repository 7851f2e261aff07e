"""Transfer learning in JAX and Flax: the best adapted model, and the evidence that it is the best.

The names below are the front door; every layer can be imported on its own
(`jaxtransfer.adapt`, `jaxtransfer.data`, `jaxtransfer.evaluation`, `jaxtransfer.train`, ...).
"""

from jaxtransfer.adapt import LPFT, BitFit, Bottleneck, Full, LinearProbe, LoRA, TopStages
from jaxtransfer.api import compare, evaluate, fit, load
from jaxtransfer.data.duplicates import deduplicate
from jaxtransfer.data.load import load_table
from jaxtransfer.data.source import Table
from jaxtransfer.data.splits import stratified_split
from jaxtransfer.errors import JaxTransferError
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.fitted import Ensemble, Fitted
from jaxtransfer.host_memory import keep_freed_memory
from jaxtransfer.models.model import Model, from_module, with_head
from jaxtransfer.version import __version__

__all__ = [
    "LPFT",
    "BitFit",
    "Bottleneck",
    "Ensemble",
    "Fitted",
    "Full",
    "JaxTransferError",
    "LinearProbe",
    "LoRA",
    "Model",
    "Predictions",
    "Table",
    "TopStages",
    "__version__",
    "compare",
    "deduplicate",
    "evaluate",
    "fit",
    "from_module",
    "keep_freed_memory",
    "load",
    "load_table",
    "stratified_split",
    "with_head",
]
