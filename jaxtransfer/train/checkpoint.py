"""Checkpoints of a run through Orbax: trainable leaves, statistics, optimizer, key and step.

A checkpoint appears whole or not at all, and the last good one goes only when a newer one is there;
so a run killed at any moment resumes.
"""

import contextlib
import dataclasses
import errno
import json
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from jaxtransfer.errors import WorkdirError
from jaxtransfer.train.distributed import is_first
from jaxtransfer.train.identity import check_identity
from jaxtransfer.train.outcome import Cost
from jaxtransfer.train.state import TrainState

IDENTITY = "training.json"
CHECKPOINTS = "checkpoints"
STEP = "step_"
BEST = "best_"
DRAFT = ".orbax-checkpoint-tmp"


class Checkpoints:
    """The checkpoints of one run in a work directory.

    Attributes:
      directory: the work directory.
    """

    def __init__(self, directory: pathlib.Path, identity: Mapping[str, Any]):
        """Opens or begins a run.

        Args:
          directory: made if it is not there; a relative one is fixed now, whatever the process's
            directory becomes.
          identity: what the run is, as JSON values; a directory of another run is refused.

        Raises:
          WorkdirError: if the directory belongs to a run with another identity, or cannot be
            written.
        """
        self.directory = directory.absolute()
        self._root = self.directory / CHECKPOINTS
        path = self.directory / IDENTITY
        with writing(path):
            self._root.mkdir(parents=True, exist_ok=True)
            self._remove_drafts()
            if path.exists():
                check_identity(path, identity)
            elif is_first():
                draft = path.with_suffix(".draft")
                draft.write_text(json.dumps(identity, indent=1, sort_keys=True) + "\n")
                draft.replace(path)

    def latest(self) -> int | None:
        """Step of the newest checkpoint, or None."""
        return max(self._steps(STEP), default=None)

    def save(self, state: TrainState, best: tuple[int, Any] | None, cost: Cost) -> None:
        """Saves a state, and the best variables so far if they are not saved yet.

        Args:
          state: as it is after its step.
          best: step of the best evaluation, and its (trainable, statistics).
          cost: of all steps up to this one.

        Raises:
          WorkdirError: if the disk is full; older checkpoints are untouched.
        """
        step = int(state.step)
        if step in self._steps(STEP):
            return
        if best is not None and best[0] not in self._steps(BEST):
            self._write(f"{BEST}{best[0]:09d}", best[1], step)
        self._write(f"{STEP}{step:09d}", _plain(state), step, cost)
        if is_first():
            keep = {f"{STEP}{step:09d}"} | ({f"{BEST}{best[0]:09d}"} if best else set())
            for entry in self._root.iterdir():
                if entry.name not in keep:
                    shutil.rmtree(entry, ignore_errors=True)

    def restore(self, like: TrainState) -> TrainState:
        """The newest state, with shapes, dtypes and shardings of `like`.

        Raises:
          WorkdirError: if it cannot be read.
        """
        loaded = self._read(f"{STEP}{self.latest():09d}", _plain(like))
        paths = jax.tree_util.tree_structure(like.replace(key=None))
        key = jax.random.wrap_key_data(loaded["key"], impl=jax.random.key_impl(like.key))
        leaves = [loaded["state"][name] for name in _named(like.replace(key=None))]
        return jax.tree.unflatten(paths, leaves).replace(key=key)

    def cost(self) -> Cost:
        """What the run had taken when its newest state was saved.

        Raises:
          WorkdirError: if the checkpoint does not say.
        """
        from orbax.checkpoint import v1 as ocp

        path = self._root / f"{STEP}{self.latest():09d}"
        try:
            return Cost(**ocp.metadata(path).custom_metadata["cost"])
        except (ValueError, OSError, KeyError, TypeError) as error:
            raise _unreadable(path, error) from error

    def restore_best(self, step: int, like: Any) -> Any:
        """The (trainable, statistics) of the best evaluation, at a step."""
        loaded = self._read(f"{BEST}{step:09d}", like)
        return jax.tree.unflatten(jax.tree.structure(like), jax.tree.leaves(loaded))

    def _remove_drafts(self) -> None:
        # What a killed run, or a full disk, left of a checkpoint that was being written.
        if is_first():
            for entry in self._root.glob(f"*{DRAFT}*"):
                shutil.rmtree(entry, ignore_errors=True)

    def _steps(self, prefix: str) -> list[int]:
        names = [entry.name for entry in self._root.iterdir() if entry.name.startswith(prefix)]
        numbers = [name.removeprefix(prefix) for name in names]
        return sorted(int(number) for number in numbers if number.isdigit())

    def _write(self, name: str, tree: Any, step: int, cost: Cost | None = None) -> None:
        from orbax.checkpoint import v1 as ocp

        target = self._root / name
        kept = self.latest()
        facts = None if cost is None else {"cost": dataclasses.asdict(cost)}
        # Of a full disk Orbax raises the error, and logs the traceback of each of its threads too,
        # some of them later: hundreds of lines.
        logging.getLogger("absl").addFilter(_is_worth_showing)
        with writing(target, step, kept=kept):
            try:
                ocp.save(target, _named(tree), custom_metadata=facts)
            except OSError:
                self._remove_drafts()
                raise
            except (ValueError, RuntimeError) as error:
                # TensorStore reports the operating system's errors as text.
                if "No space left" in str(error) or "RESOURCE_EXHAUSTED" in str(error):
                    self._remove_drafts()
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
                raise

    def _read(self, name: str, like: Any) -> Any:
        from orbax.checkpoint import v1 as ocp

        path = self._root / name
        template = {
            key: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
            for key, leaf in _named(like).items()
        }
        try:
            loaded = ocp.load(path, template)
        except (ValueError, OSError, KeyError) as error:
            raise _unreadable(path, error) from error
        return jax.tree.unflatten(jax.tree.structure(like), [loaded[key] for key in template])


@contextlib.contextmanager
def writing(path: pathlib.Path, step: int | None = None, kept: int | None = None) -> Iterator[None]:
    """Turns a failure to write into a WorkdirError that says what is left."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM):
            raise
        at = f" at step {step}" if step is not None else ""
        last = f"; the checkpoint of step {kept} is kept" if kept is not None else ""
        remedy = "free space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "make it writable"
        raise WorkdirError(
            f"cannot write {path}{at}: {error.strerror}{last}; {remedy} and run the same command"
            " again"
        ) from error


def _is_worth_showing(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname or not record.exc_info


def _plain(state: TrainState) -> dict[str, Any]:
    # Orbax does not take typed keys; containers of the optimizer are rebuilt from the template.
    return {
        "state": _named(state.replace(key=None)),
        "key": jax.random.key_data(state.key),
    }


def _named(tree: Any) -> dict[str, Any]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _unreadable(path: pathlib.Path, error: Exception) -> WorkdirError:
    return WorkdirError(
        f"checkpoint {path} cannot be read: {error}; remove the work directory to start again"
    )
