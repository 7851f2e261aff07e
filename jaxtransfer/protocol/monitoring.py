"""The verb `monitor`: fit a drift monitor on a reference file, and check batches against it.

The monitor's file holds its state, so each check goes on from the one before; two checks at once
wait for each other.
"""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator, Sequence

from jaxtransfer.errors import EvaluationError, WorkdirError
from jaxtransfer.evaluation.drift import Batch, Finding, Monitor, Settings, load, save
from jaxtransfer.evaluation.drift import fit as fit_monitor


def fit(
    reference: pathlib.Path,
    out: pathlib.Path,
    *,
    false_alarms: float = 0.05,
    split: str | None = None,
    seed: int = 0,
    replace: bool = False,
    dry_run: bool = False,
) -> Monitor:
    """Fits a monitor on a reference file, or on a split of it, and writes it unless it is a dry run.

    Raises:
      EvaluationError: if the reference is malformed or too small, or `out` stands already and is
        not to be replaced: its looks would be lost.
    """
    if out.exists() and not replace:
        raise EvaluationError(
            f"{out} exists, and its looks would be lost; give another --out, or --replace"
        )
    batch = Batch.load(reference)
    monitor = fit_monitor(
        batch if split is None else batch.select(split),
        Settings(false_alarms=false_alarms, seed=seed),
    )
    if not dry_run:
        save(monitor, out)
    return monitor


def check(
    monitor_path: pathlib.Path,
    batches: Sequence[pathlib.Path],
    *,
    split: str | None = None,
    dry_run: bool = False,
) -> list[Finding]:
    """Checks batch files in the order given, one look each, and keeps the monitor's new state.

    The state is written once, after the last batch: if any file is malformed, none is counted.

    Args:
      monitor_path: of `fit`.
      batches: files to look at.
      split: only the rows of this split.
      dry_run: say what the looks would find, and keep the old state.

    Raises:
      EvaluationError: if the monitor or a batch is malformed, or their columns differ.
    """
    with _alone(monitor_path.parent):
        monitor = load(monitor_path)
        findings = []
        for path in batches:
            batch = Batch.load(path)
            monitor, finding = monitor.check(batch if split is None else batch.select(split))
            findings.append(finding)
        if not dry_run and any(not finding.repeated for finding in findings):
            save(monitor, monitor_path)
    return findings


def describe(monitor: Monitor, out: pathlib.Path) -> str:
    """What a fitted monitor watches and declares, in a few lines."""
    settings = monitor.settings
    lines = [
        f"{out}: watches {', '.join(monitor.kinds)}; {len(monitor.predicted)} reference rows,"
        f" {len(monitor.rows)} of them to compare with",
        f"  false alarms at most {settings.false_alarms:g} over any number of looks",
        *(f"  {kind}: {view.rule}" for kind, view in monitor.views.items() if monitor.classes),
    ]
    return "\n".join(lines)


@contextlib.contextmanager
def _alone(directory: pathlib.Path) -> Iterator[None]:
    """Holds a lock of the kernel's on the monitor's directory, waiting for who has it."""
    try:
        handle = os.open(directory, os.O_RDONLY)
    except FileNotFoundError:
        raise EvaluationError(f"{directory}: there is no such directory") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            raise WorkdirError(
                f"{directory} cannot be locked: {error.strerror}; put the monitor on a file system"
                " that has locks"
            ) from error
        yield
    finally:
        os.close(handle)
