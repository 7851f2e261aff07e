"""One method over several tasks and runs: interquartile mean, profiles, probability of improvement.

After Agarwal et al. 2021 (arXiv 2108.13264). A matrix of scores has a row a task and a column a
run; intervals resample the runs within each task, and take the tasks as given.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxtransfer.errors import EvaluationError
from jaxtransfer.evaluation.intervals import check_confidence, chunks

FEW_RUNS = 5
"""Below so many runs a task, resampling them is known to be too narrow, and the result says so."""

Scores = Float[np.ndarray, "... tasks runs"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Aggregate:
    """A number that sums up tasks and runs.

    Attributes:
      name: what it is, such as `interquartile_mean`.
      value: the number.
      ci: percentile interval over runs resampled within tasks; None for a single run.
      tasks: number of tasks.
      runs: number of runs a task.
      confidence: nominal coverage.
      definition: what exactly was computed.
      note: why there is no interval, or what it leaves out.
    """

    name: str
    value: float
    ci: tuple[float, float] | None
    tasks: int
    runs: int
    confidence: float
    definition: str
    note: str | None = None

    def __str__(self) -> str:
        interval = f"[{self.ci[0]:.3f}, {self.ci[1]:.3f}]" if self.ci else f"({self.note})"
        return f"{self.name} {self.value:.3f} {interval} (tasks={self.tasks}, runs={self.runs})"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        document = dataclasses.asdict(self)
        document["ci"] = None if self.ci is None else list(self.ci)
        return document


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """A performance profile: the share of runs that score above each threshold.

    Attributes:
      thresholds: (m,) the thresholds.
      share: (m,) mean over tasks of the share of runs above the threshold.
      low: (m,) lower end of the pointwise bootstrap band; None for a single run.
      high: (m,) upper end.
      tasks: number of tasks.
      runs: number of runs a task.
      confidence: nominal coverage at each threshold, not of the whole band.
    """

    thresholds: Float[np.ndarray, "m"]
    share: Float[np.ndarray, "m"]
    low: Float[np.ndarray, "m"] | None
    high: Float[np.ndarray, "m"] | None
    tasks: int
    runs: int
    confidence: float

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "thresholds": self.thresholds.tolist(),
            "share": self.share.tolist(),
            "low": None if self.low is None else self.low.tolist(),
            "high": None if self.high is None else self.high.tolist(),
            "tasks": self.tasks,
            "runs": self.runs,
            "confidence": self.confidence,
        }


def interquartile_mean(
    scores: Scores, *, confidence: float = 0.95, replicates: int = 2000, seed: int = 0
) -> Aggregate:
    """The mean of the middle half of all scores, tasks and runs together.

    A quarter of the scores, rounded down, is cut at either end.

    Args:
      scores: (tasks, runs), comparable between tasks.
      confidence: nominal coverage.
      replicates: bootstrap samples.
      seed: of the bootstrap.

    Raises:
      EvaluationError: if the scores are not finite or of another shape.

    >>> interquartile_mean(np.arange(8.0).reshape(2, 4)).value
    3.5
    """
    return _aggregate(
        "interquartile_mean",
        "mean of the middle half of the scores of all tasks and runs",
        [_checked(scores)],
        _middle_mean,
        confidence,
        replicates,
        seed,
    )


def optimality_gap(
    scores: Scores,
    target: float = 1.0,
    *,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> Aggregate:
    """How far scores stay below a target on average; what exceeds the target counts as met.

    Arguments and errors as of `interquartile_mean`.

    >>> optimality_gap(np.array([[0.5, 2.0]])).value
    0.25
    """
    if not np.isfinite(target):
        raise EvaluationError(f"target {target} is not a score")
    return _aggregate(
        "optimality_gap",
        f"mean shortfall below {target:g}, over tasks and runs",
        [_checked(scores)],
        lambda s: np.maximum(0.0, target - s).mean(axis=(-2, -1)),
        confidence,
        replicates,
        seed,
    )


def probability_of_improvement(
    a: Scores,
    b: Scores,
    *,
    paired: bool,
    maximise: bool = True,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> Aggregate:
    """How likely a run of the first method is better than one of the second, averaged over tasks.

    Unpaired: the share of all pairs of runs in which `a` is better, ties one half (Mann-Whitney).
    Paired: the share of the columns, which are then drawn together, so that what a seed or split
    does to both cancels. The two are different numbers: the first has luck in it that pairs share.

    Args:
      a: (tasks, runs).
      b: (tasks, runs); for unpaired runs their number may differ.
      paired: whether column j of both is the same seed and split.
      maximise: whether larger scores are better.
      confidence: nominal coverage.
      replicates: bootstrap samples.
      seed: of the bootstrap.

    Raises:
      EvaluationError: if the scores are not finite, or their shapes do not fit.
    """
    a, b = _checked(a), _checked(b)
    if a.shape[0] != b.shape[0]:
        raise EvaluationError(f"scores of {a.shape[0]} and {b.shape[0]} tasks: give the same ones")
    if not maximise:
        a, b = -a, -b
    if paired and a.shape != b.shape:
        raise EvaluationError(f"{a.shape[1]} runs cannot be paired with {b.shape[1]}")
    if paired:
        return _aggregate(
            "probability_of_improvement",
            "mean over tasks of the share of paired runs in which the first is better, ties half",
            [_better(a, b)],
            lambda wins: wins.mean(axis=(-2, -1)),
            confidence,
            replicates,
            seed,
        )
    return _aggregate(
        "probability_of_improvement",
        "mean over tasks of the share of pairs of runs in which the first is better, ties half",
        [a, b],
        lambda x, y: _better(x[..., :, None], y[..., None, :]).mean(axis=(-3, -2, -1)),
        confidence,
        replicates,
        seed,
    )


def performance_profile(
    scores: Scores,
    thresholds: Float[np.ndarray, "m"],
    *,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> Profile:
    """The share of runs that score above each threshold, with pointwise bootstrap bands.

    Args:
      scores: (tasks, runs).
      thresholds: (m,) in any order.
      confidence: nominal coverage at each threshold.
      replicates: bootstrap samples.
      seed: of the bootstrap.

    Raises:
      EvaluationError: if scores or thresholds are not finite or of another shape.
    """
    scores, thresholds = _checked(scores), np.asarray(thresholds, np.float64)
    check_confidence(confidence)
    if thresholds.ndim != 1 or not np.isfinite(thresholds).all():
        raise EvaluationError("thresholds must be finite numbers of shape (m,)")
    if not thresholds.size or replicates < 2:
        raise EvaluationError(f"{thresholds.size} thresholds, {replicates} replicates: give more")
    tasks, runs = scores.shape
    above = (scores[..., None] > thresholds).astype(np.float64)
    low = high = None
    if runs > 1:
        counts = _run_shares(np.random.default_rng(seed), replicates, tasks, runs)
        levels = [0.5 - confidence / 2, 0.5 + confidence / 2]
        bands, start = [], 0
        for size in chunks(len(thresholds), replicates):
            part = above[..., start : start + size].reshape(tasks * runs, size)
            share = counts.reshape(replicates, -1) @ part / tasks
            bands.append(np.quantile(share, levels, axis=0))
            start += size
        low, high = np.concatenate(bands, axis=1)
    return Profile(
        thresholds=thresholds,
        share=above.mean(axis=(0, 1)),
        low=low,
        high=high,
        tasks=tasks,
        runs=runs,
        confidence=confidence,
    )


def _aggregate(
    name: str,
    text: str,
    matrices: list[np.ndarray],
    summary: Callable[..., np.ndarray],
    confidence: float,
    replicates: int,
    seed: int,
) -> Aggregate:
    """The summary of (tasks, runs) matrices, and of resamples whose runs are drawn within tasks."""
    check_confidence(confidence)
    if replicates < 2:
        raise EvaluationError(f"{replicates} replicates have no quantiles; give at least 2")
    tasks, runs = matrices[0].shape[0], min(m.shape[1] for m in matrices)
    ci, note = None, "one run a task does not show how runs vary" if runs == 1 else None
    if runs > 1:
        rng, found = np.random.default_rng(seed), []
        for count in chunks(replicates, tasks * int(np.prod([m.shape[1] for m in matrices]))):
            found.append(summary(*(_resampled(rng, m, count) for m in matrices)))
        levels = [0.5 - confidence / 2, 0.5 + confidence / 2]
        low, high = np.quantile(np.concatenate(found), levels)
        ci = (float(low), float(high))
        if runs < FEW_RUNS:
            note = f"{runs} runs a task: the interval is narrower than {confidence:.0%}"
    return Aggregate(
        name=name,
        value=float(summary(*matrices)),
        ci=ci,
        tasks=tasks,
        runs=runs,
        confidence=confidence,
        definition=text,
        note=note,
    )


def _resampled(rng: np.random.Generator, scores: np.ndarray, replicates: int) -> np.ndarray:
    tasks, runs = scores.shape
    drawn = rng.integers(0, runs, (replicates, tasks, runs))
    return scores[np.arange(tasks)[:, None], drawn]


def _run_shares(
    rng: np.random.Generator, replicates: int, tasks: int, runs: int
) -> Float[np.ndarray, "replicates tasks runs"]:
    """What each run counts in the mean of its task."""
    return rng.multinomial(runs, np.full(runs, 1 / runs), size=(replicates, tasks)) / runs


def _middle_mean(scores: np.ndarray) -> np.ndarray:
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    return flat[..., cut : flat.shape[-1] - cut].mean(axis=-1)


def _better(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a > b) + 0.5 * (a == b)


def _checked(scores: Scores) -> Float[np.ndarray, "tasks runs"]:
    scores = np.asarray(scores)
    if scores.dtype.kind not in "fiu" or scores.ndim != 2 or 0 in scores.shape:
        raise EvaluationError(
            f"scores must be real numbers of shape (tasks, runs), not {scores.dtype} of shape"
            f" {scores.shape}"
        )
    scores = scores.astype(np.float64)
    broken = np.argwhere(~np.isfinite(scores))
    if len(broken):
        task, run = broken[0]
        raise EvaluationError(
            f"the score of task {task}, run {run} is {scores[task, run]}: leave out what has none"
        )
    return scores
