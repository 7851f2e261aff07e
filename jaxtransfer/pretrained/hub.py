"""Files and snapshots of the Hugging Face hub, at a revision resolved to a commit."""

import logging
import os
import re
from pathlib import Path
from typing import Any

from jaxtransfer.errors import NotFetchedError, PretrainedError, nearest
from jaxtransfer.pretrained.cache import CACHE_VARIABLE, cache_directory, is_offline
from jaxtransfer.pretrained.download import reason

_WEIGHTS = ("*.safetensors", "*.npz")
_OTHER_WEIGHTS = ("*.bin", "*.pt", "*.pth")
_BESIDE = ("*.json", "*.txt", "*.model")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_log = logging.getLogger(__name__)


def fetch_from_hub(
    repo: str,
    revision: str | None = None,
    file: str = "",
    *,
    cache_dir: str | os.PathLike | None = None,
    offline: bool | None = None,
) -> Path:
    """Returns the local path of a file, or of a snapshot, of a repository on the hub.

    A snapshot holds the configuration, the tokenizer and the weights: safetensors or npz, and torch
    files only where there are none of those. The endpoint is HF_ENDPOINT's, the token
    huggingface_hub's own. A revision that can move (a branch, a tag, none) is logged with the
    commit it meant.

    Args:
      repo: `organisation/name`, or `name`.
      revision: a commit, a tag or a branch; None is the main branch.
      file: path within the repository; empty for a snapshot.
      cache_dir: the files go to `hf` within it; else to the environment's JAXTRANSFER_CACHE; else
        to huggingface_hub's cache, which other programs share.
      offline: see `cache.is_offline`.

    Raises:
      PretrainedError: if repository, revision or file do not exist (with the nearest names), the
        hub cannot be reached, or the cache lacks the file while offline.
    """
    from huggingface_hub import errors as hub_errors
    from huggingface_hub import hf_hub_download, snapshot_download

    uri = f"hf:{repo}" + (f"@{revision}" if revision else "") + (f"/{file}" if file else "")
    is_own_cache = cache_dir is not None or bool(os.environ.get(CACHE_VARIABLE))
    where: dict[str, Any] = {
        "repo_id": repo,
        "revision": revision,
        "cache_dir": cache_directory(cache_dir) / "hf" if is_own_cache else None,
        "endpoint": os.environ.get("HF_ENDPOINT") or None,
        "local_files_only": is_offline(offline),
    }
    try:
        if file:
            path = Path(hf_hub_download(filename=file, **where))
        else:
            path = Path(snapshot_download(allow_patterns=[*_WEIGHTS, *_BESIDE], **where))
            if not any(match for pattern in _WEIGHTS for match in path.glob(pattern)):
                path = Path(snapshot_download(allow_patterns=[*_OTHER_WEIGHTS, *_BESIDE], **where))
    except hub_errors.GatedRepoError:
        raise PretrainedError(
            f"{uri}: the repository is gated; accept its terms on the hub and set HF_TOKEN"
        ) from None
    except hub_errors.RepositoryNotFoundError:
        raise PretrainedError(
            f"{uri}: the hub has no repository {repo!r}, or it is private (set HF_TOKEN)"
        ) from None
    except hub_errors.RevisionNotFoundError:
        raise PretrainedError(f"{uri}: {repo} has no revision {revision!r}") from None
    except hub_errors.RemoteEntryNotFoundError:
        raise PretrainedError(
            f"{uri}: {repo} has no file {file!r}; nearest: {nearest(file, _files(repo, revision))}"
        ) from None
    except (hub_errors.LocalEntryNotFoundError, hub_errors.OfflineModeIsEnabled) as error:
        if where["local_files_only"]:
            raise NotFetchedError(
                f"{uri} is not in the cache, and fetching is off (offline); fetch it once with a"
                " network"
            ) from None
        raise PretrainedError(f"{uri}: the hub cannot be reached: {reason(error)}") from None
    except hub_errors.HFValidationError as error:
        raise PretrainedError(f"{uri}: {_first_line(error)}") from None
    except Exception as error:  # of the HTTP library, which is another in each major version
        raise PretrainedError(f"{uri}: cannot be fetched: {_first_line(error)}") from error
    commit = commit_of(path)
    if commit and revision != commit and not where["local_files_only"]:
        pinned = f"hf:{repo}@{commit}" + (f"/{file}" if file else "")
        _log.warning("%s is at commit %s today; pin it as %s", uri, commit, pinned)
    return path


def commit_of(path: Path) -> str | None:
    """The commit of a path within a hub cache (`.../snapshots/<commit>/...`), else None."""
    for parent, child in zip(path.parts, path.parts[1:]):
        if parent == "snapshots" and _COMMIT.fullmatch(child):
            return child
    return None


def _files(repo: str, revision: str | None) -> list[str]:
    """The names in a repository, for an error message that can do without them."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    try:
        return api.list_repo_files(repo, revision=revision)
    except Exception:  # the error that wants these names is raised without them
        return []


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
