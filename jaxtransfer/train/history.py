"""The rows of a run: one a step, one an evaluation; in memory, and appended to `metrics.jsonl`.

A row is `{"step": steps taken, name: float, ...}`. On resume the file is cut back to the
checkpointed step, so that it reads as if nothing had happened.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import logging

from jaxtransfer.errors import WorkdirError
from jaxtransfer.train.checkpoint import writing
from jaxtransfer.train.distributed import is_first
from jaxtransfer.train.outcome import Row

FILE = "metrics.jsonl"
BOARD = "tensorboard"


class History:
    """Appends rows; with a directory, each is on disk when `append` returns.

    Attributes:
      rows: all rows up to now.
    """

    def __init__(self, directory: pathlib.Path | None, *, step: int = 0):
        """Starts at a step: later rows of an interrupted run are cut off.

        Raises:
          WorkdirError: if the rows up to the step are not all there, or cannot be written.
        """
        self.rows: list[Row] = []
        self._path = None if directory is None else directory / FILE
        self._board: Any = None
        if self._path is None or directory is None:
            return
        self.rows = _rows_until(self._path, step)
        if not is_first():
            self._path = None
            return
        text = "".join(_line(row) for row in self.rows)
        draft = self._path.with_suffix(".draft")
        with writing(self._path, step):
            with draft.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        self._board = _board(directory, step)

    def append(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Adds rows.

        Raises:
          WorkdirError: if the disk is full.
        """
        fresh = [dict(row) for row in rows]
        self.rows.extend(fresh)
        if self._path is None or not fresh:
            return
        with writing(self._path, int(fresh[-1]["step"])), self._path.open("a") as file:
            file.write("".join(_line(row) for row in fresh))
            file.flush()
            os.fsync(file.fileno())
        with self._mirroring():
            for row in fresh:
                for name, value in row.items():
                    if name != "step" and self._board is not None:
                        self._board.add_scalar(name, value, int(row["step"]))

    def close(self) -> None:
        """Closes the TensorBoard file, if there is one."""
        with self._mirroring():
            if self._board is not None:
                self._board.close()

    @contextlib.contextmanager
    def _mirroring(self) -> Iterator[None]:
        # TensorBoard's file is a copy of metrics.jsonl: without it nothing is lost, and its errors
        # must not hide those of the run.
        try:
            yield
        except OSError as error:
            logging.warning("no more rows go to TensorBoard: %s", error)
            self._board = None

    def evaluations(self, criterion: str) -> list[tuple[int, float]]:
        """Step and criterion of each evaluation, in order."""
        name = f"validation/{criterion}"
        return [(int(row["step"]), row[name]) for row in self.rows if name in row]


def _line(row: Mapping[str, float]) -> str:
    return json.dumps(row) + "\n"


def _rows_until(path: pathlib.Path, step: int) -> list[Row]:
    rows: list[Row] = []
    if not path.exists():
        if step:
            raise WorkdirError(f"{path} is missing, but there is a checkpoint at step {step}")
        return rows
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break  # the line that was being written when the run was killed
        if row["step"] > step:
            break
        rows.append(row)
    if step and (not rows or rows[-1]["step"] < step):
        raise WorkdirError(
            f"{path} ends before step {step}, of which there is a checkpoint; restore the file, or"
            " remove the work directory to start again"
        )
    return rows


def _board(directory: pathlib.Path, step: int) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:  # an optional sink; metrics.jsonl holds everything
        return None
    return SummaryWriter(str(directory / BOARD), purge_step=step + 1)
