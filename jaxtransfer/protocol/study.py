"""Trials chosen by Optuna, on its journal storage: several processes ask and tell at once.

The sweep's own journal says what is finished; Optuna's, beside it, is how its sampler learns of it.
"""

import json
import pathlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxtransfer.errors import ConfigError, WorkdirError
from jaxtransfer.protocol.priors import Choice, IntUniform, LogUniform, Prior, Uniform
from jaxtransfer.protocol.search_space import SearchSpace, exists, prior_of
from jaxtransfer.train.checkpoint import writing

FILE = "optuna.log"
NAME = "sweep"
TOGETHER = "it and trials.jsonl belong together, so choose another --workdir"
STRANGE = (KeyError, IndexError, TypeError, ValueError, AttributeError, AssertionError)
"""What Optuna raises of a log whose lines do not follow from one another."""


def check(space: SearchSpace) -> None:
    """Raises ConfigError, with the way out, where Optuna is missing or cannot keep a value of the space."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "--sampler optuna needs Optuna: pip install 'jaxtransfer[optuna]', or choose another"
            " sampler"
        ) from error
    for name, parameter in space.parameters.items():
        strange = [one for one in prior_of(parameter).ends() if isinstance(one, tuple)]
        if strange:
            raise ConfigError(
                f"parameter {name!r} is a choice among sequences such as {strange[0]!r}, which Optuna cannot keep:"
                " choose another --sampler"
            )


def check_log(workdir: pathlib.Path) -> int:
    """Length of the lines of Optuna's log that end; 0 if there is none.

    Raises:
      WorkdirError: if one of them is none of Optuna's, naming it.
    """
    path = workdir / FILE
    content = path.read_bytes() if path.is_file() else b""
    whole = content.rfind(b"\n") + 1
    for number, line in enumerate(content[:whole].split(b"\n")[:-1], start=1):
        try:
            found = json.loads(line)
            if not isinstance(found, dict) or "op_code" not in found:
                raise ValueError("it is no operation of Optuna's")
        except ValueError as error:
            raise WorkdirError(f"{path}, line {number}, is damaged ({error}); {TOGETHER}") from None
    return whole


def mend(workdir: pathlib.Path) -> None:
    """Drops what a killed process left of the last line of Optuna's log; raises as `check_log`."""
    from optuna.storages.journal import JournalFileSymlinkLock

    path = workdir / FILE
    if not path.is_file() or path.stat().st_size == check_log(workdir):
        return
    # A process that outlived its killed sweep may be about to end the line.
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()
    try:
        with writing(path), path.open("r+b") as file:
            file.truncate(check_log(workdir))
    finally:
        lock.release()


def told(workdir: pathlib.Path) -> dict[int, dict[str, Any]]:
    """As `parameters`, of the study that a work directory has; nothing is written.

    Raises:
      WorkdirError: if its log is damaged.
    """
    if not check_log(workdir):
        return {}
    import optuna

    try:
        return parameters(optuna.load_study(study_name=NAME, storage=_storage(workdir)))
    except STRANGE as error:
        raise _strange(workdir) from error


def open_study(workdir: pathlib.Path, *, maximise: bool, seed: int, process: int = 0) -> Any:
    """The sweep's study, begun if it is not there.

    Args:
      workdir: the sweep's.
      maximise: whether larger values are better.
      seed: of the sampler, with the process and what the study holds already.
      process: number of this process, so that no two draw the same.

    Raises:
      WorkdirError: if Optuna cannot follow its log.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            study_name=NAME,
            storage=_storage(workdir),
            direction="maximize" if maximise else "minimize",
            load_if_exists=True,
        )
        count = len(study.trials)
    except STRANGE as error:
        raise _strange(workdir) from error
    state = np.random.SeedSequence([seed, process, count]).generate_state(1)
    with warnings.catch_warnings():
        # Trials that other processes run count as poor ones; Optuna calls that experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = optuna.samplers.TPESampler(seed=int(state[0]), constant_liar=True)
    return study


def parameters(study: Any) -> dict[int, dict[str, Any]]:
    """What each trial of a study was asked to run, by number."""
    return {trial.number: dict(trial.params) for trial in study.trials}


def recover(study: Any, space: SearchSpace, rows: Sequence[Mapping[str, Any]]) -> None:
    """Tells the study of trials that a killed sweep left open, and asks anew for the unfinished.

    Args:
      study: of `open_study`.
      space: whose defaults a new study begins with.
      rows: finished trials, of the sweep's journal.
    """
    from optuna.trial import TrialState

    if not study.trials:
        study.enqueue_trial(space.defaults())
    finished = {row["trial"]: row for row in rows}
    for trial in study.trials:
        if trial.state != TrialState.RUNNING:
            continue
        if trial.number in finished:
            tell(study, trial.number, finished[trial.number])
        else:
            study.tell(trial.number, state=TrialState.FAIL)
            if trial.params:
                study.enqueue_trial(trial.params)


def ask(study: Any, space: SearchSpace, count: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbers and parameters of new trials, each asked for when the one before has been told."""
    for _ in range(count):
        trial = study.ask()
        found: dict[str, Any] = {}
        for name, parameter in space.parameters.items():
            if exists(parameter, found):
                found[name] = _suggest(trial, name, prior_of(parameter))
        yield trial.number, found


def tell(study: Any, number: int, row: Mapping[str, Any]) -> None:
    """Reports a finished trial; one that diverged is a poor one, and not one that never was."""
    from optuna.trial import TrialState

    if row["diverged"] or row["value"] is None:
        study.tell(number, state=TrialState.PRUNED)
    else:
        study.tell(number, row["value"])


def _storage(workdir: pathlib.Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(workdir / FILE)))


def _strange(workdir: pathlib.Path) -> WorkdirError:
    return WorkdirError(f"{workdir / FILE} is damaged (Optuna cannot follow it); {TOGETHER}")


def _suggest(trial: Any, name: str, prior: Prior) -> Any:
    if isinstance(prior, Choice):
        return trial.suggest_categorical(name, prior.values)
    if isinstance(prior, IntUniform):
        return trial.suggest_int(name, prior.low, prior.high)
    assert isinstance(prior, Uniform)
    return trial.suggest_float(name, prior.low, prior.high, log=isinstance(prior, LogUniform))
