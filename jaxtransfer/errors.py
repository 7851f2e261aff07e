"""Errors a user can act on.

Each names the value, the place and the way out; the command line prints the message alone and exits with status 2.
"""

import difflib
from collections.abc import Iterable


class JaxTransferError(Exception):
    """Base of every error that tells a user what to change."""


class RuleError(JaxTransferError, ValueError):
    """A path rule matches nothing, or leaves a leaf uncovered."""


class PretrainedError(JaxTransferError):
    """A URI, file or checkpoint cannot be found, read or fitted to the model."""


class NotFetchedError(PretrainedError):
    """What a URI names is not in the cache, and fetching is off."""


class DataError(JaxTransferError, ValueError):
    """A data source, split or batch does not hold what was asked of it."""


class AdaptationError(JaxTransferError, ValueError):
    """A method cannot act on this network, or cannot be merged into it."""


class ConfigError(JaxTransferError, ValueError):
    """A configuration names something unknown or contradicts itself."""


class TrainingError(JaxTransferError, RuntimeError):
    """Training cannot go on; the message says at which step, and what was kept."""


class EvaluationError(JaxTransferError, ValueError):
    """A predictions table or a metric is malformed."""


class WorkdirError(JaxTransferError):
    """A work directory belongs to another run, or cannot be written."""


def nearest(word: str, candidates: Iterable[str], count: int = 3) -> str:
    """Lists the candidates closest to a word, quoted, for an error message.

    >>> nearest("layer_0/quer", ["layer_0/query", "head/bias"], count=1)
    "'layer_0/query'"
    """
    pool = list(dict.fromkeys(candidates))
    close = difflib.get_close_matches(word, pool, n=count, cutoff=0.0)
    return ", ".join(repr(c) for c in close) if close else "(there are none)"
