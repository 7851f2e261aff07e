"""Corruptions of images and texts in five severities, each a function of (seed, id, kind, severity)."""

from jaxtransfer.data.corruptions.apply import (
    CORRUPTIONS,
    corrupt,
    corrupt_text,
    corrupted,
    corruption,
)
from jaxtransfer.data.corruptions.kinds import SEVERITIES

__all__ = ["CORRUPTIONS", "SEVERITIES", "corrupt", "corrupt_text", "corrupted", "corruption"]
